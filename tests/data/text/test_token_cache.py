"""The token cache: built once, whole or not at all, and again when it is damaged."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from text_helpers import DOCUMENTS, TOKENIZER, source

from transformer.data.text.files import TextCorpus
from transformer.data.text.split import Side
from transformer.data.text.token_cache import token_streams
from transformer.errors import UserError
from transformer.training.config import TrainingConfig
from transformer.training.data_sources import open_source


def test_the_second_time_nothing_is_tokenised(
    corpus: TextCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = source(corpus, tmp_path)
    monkeypatch.setattr(TextCorpus, "parts", lambda self: pytest.fail("read again"))
    again = source(TextCorpus(tmp_path / "texts"), tmp_path)
    np.testing.assert_array_equal(again.train_tokens, made.train_tokens)
    assert isinstance(again.train_tokens, np.memmap)


@pytest.mark.parametrize("damage", ["flip", "cut", "info", "missing"])
def test_a_damaged_cache_is_built_again(corpus: TextCorpus, tmp_path: Path, damage: str) -> None:
    expected = np.array(source(corpus, tmp_path).train_tokens)
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    data = (folder / "train.bin").read_bytes()
    match damage:
        case "flip":
            (folder / "train.bin").write_bytes(data[:9] + bytes([data[9] ^ 1]) + data[10:])
        case "cut":
            (folder / "train.bin").write_bytes(data[:-2])
        case "info":
            (folder / "info.json").write_text('{"dtype":')
        case "missing":
            (folder / "validation.bin").unlink()
    np.testing.assert_array_equal(source(corpus, tmp_path).train_tokens, expected)
    assert (folder / "train.bin").read_bytes() == data


def test_an_interrupted_build_leaves_nothing(
    corpus: TextCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: TextCorpus) -> object:
        yield "train", DOCUMENTS[0]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TextCorpus, "parts", interrupted)
        with pytest.raises(KeyboardInterrupt):
            source(corpus, tmp_path)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert len(source(corpus, tmp_path).train_tokens) > 1000


def test_a_cache_folder_that_cannot_be_written(corpus: TextCorpus, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"cannot write .*cache/.*--cache-dir"):
        source(corpus, tmp_path)


def test_a_full_disk(corpus: TextCorpus, tmpfs: Path) -> None:
    (tmpfs / "ballast").write_bytes(bytes(shutil.disk_usage(tmpfs).free - 4096))
    with pytest.raises(UserError, match=r"the disk is full; make room, or .*--cache-dir"):
        source(corpus, tmpfs)
    assert not [path for path in (tmpfs / "cache").iterdir() if path.is_dir()]


def test_a_text_replaced_while_it_is_read_is_not_kept(corpus: TextCorpus, tmp_path: Path) -> None:
    one = tmp_path / "texts" / "one.txt"
    one.write_text("replaced after its hash was taken")
    with pytest.raises(UserError, match=r"one.txt was changed while it was read; start again"):
        source(corpus, tmp_path)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    one.unlink()
    with pytest.raises(UserError, match=r"cannot read .*one.txt: No such file"):
        source(corpus, tmp_path)


def test_the_tokens_are_kept_where_cache_dir_says(corpus: TextCorpus, tmp_path: Path) -> None:
    texts, cache = tmp_path / "texts", tmp_path / "elsewhere"
    config = TrainingConfig(
        dataset="text", text=(texts,), tokenizer="bpe:300", seq_length=16, cache_dir=cache
    )
    open_source(config, tmp_path / "tokenizer.json")
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {
        *("info.json", "train.bin", "validation.bin")
    }


def test_of_several_that_want_a_cache_one_builds_it(tmp_path: Path) -> None:
    builds = []

    def documents() -> Iterator[tuple[Side, str]]:
        builds.append(1)
        time.sleep(0.2)  # long enough for the others to arrive
        yield "train", DOCUMENTS[0]

    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(token_streams, tmp_path / "cache", TOKENIZER, documents) for _ in range(4)
        ]
        streams = [job.result() for job in jobs]
    assert len(builds) == 1
    assert all(np.array_equal(one["train"], streams[0]["train"]) for one in streams)
