"""What the tests of fine-tuning begin with."""

from pathlib import Path

import pytest
from fine_tuning_tools import train_in, write_texts


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classic run that has learned something."""
    return train_in(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with learned positions and much else of the ladder."""
    flags = ("--rung", "untied", "--positions", "learned", "--dropout", "0.2")
    return train_in(tmp_path_factory.mktemp("learned"), *flags)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one, with the texts."""
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path)
    return tmp_path
