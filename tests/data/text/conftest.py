"""A corpus of all kinds of files, for the tests of text files."""

from pathlib import Path

import pytest
from text_helpers import write_all_kinds

from transformer.data.text.files import TextCorpus


@pytest.fixture
def corpus(tmp_path: Path) -> TextCorpus:
    return write_all_kinds(tmp_path / "texts")
