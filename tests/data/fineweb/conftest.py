"""A small data set on a local hub, and a cache of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fineweb_tools import REPO, write_dataset
from local_hub import LocalHub

from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.fineweb_dataset import FineWebConfig


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return load_tokenizer("p50k_base")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set's files."""
    return write_dataset(tmp_path_factory.mktemp("data"), files=4, groups=6, rows=4)


@pytest.fixture
def hub(folder: Path) -> Iterator[LocalHub]:
    """New for each test: threads that an earlier one has left do not ask this one."""
    with LocalHub({REPO: folder}) as hub:
        yield hub


@pytest.fixture
def config(hub: LocalHub, tmp_path: Path) -> FineWebConfig:
    return FineWebConfig(hub_endpoint=hub.url, cache_dir=tmp_path / "cache")
