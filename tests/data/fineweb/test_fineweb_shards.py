"""Shards and their split."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fineweb_tools import PATH, REPO, write_file
from local_hub import Fault, LocalHub
from processes import LIMIT

from transformer.data.fineweb.background import spawn
from transformer.data.fineweb.hub import HubFile
from transformer.data.fineweb.shard import Shard, cut_into_shards, split_shards
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.fineweb_dataset import FineWebConfig, FineWebSource


def test_shards_partition_every_file_and_a_tenth_is_validation() -> None:
    gigabyte = 1_000_000_000
    files = [HubFile(f"{i:03d}.parquet", 2_147_000_000) for i in range(14)]
    files.append(HubFile("014.parquet", 575 * gigabyte // 1000))
    shards = cut_into_shards(files, 256 * 1024 * 1024, lambda file: 0)
    assert len(shards) == 114  # sample-10BT
    train, validation = split_shards(shards)
    assert len(validation) == 12
    assert set(train).isdisjoint(validation)
    assert sorted([*train, *validation], key=lambda s: s.number) == list(shards)
    for file in files:
        blocks = [b for s in shards if s.file == file for b in s.blocks(1043)]
        assert blocks == list(range(1043))


@pytest.mark.parametrize(
    ("groups", "n_shards"), [([2], 2), ([1, 1, 1], 3), ([3, 40], 10), ([100], 10), ([1] * 25, 25)]
)
def test_small_data_sets_have_no_empty_shard(groups: list[int], n_shards: int) -> None:
    files = [HubFile(f"{i}.parquet", 700 * n) for i, n in enumerate(groups)]
    shards = cut_into_shards(files, 256 * 1024 * 1024, lambda file: file.size // 700)
    assert len(shards) == n_shards
    assert all(len(s.blocks(s.file.size // 700)) > 0 for s in shards)
    assert len(split_shards(shards)[1]) == -(-n_shards // 10)


def test_parts_of_a_file_with_too_few_row_groups_may_be_empty() -> None:
    file = HubFile("a.parquet", 1000)
    assert len(Shard(0, file, 0, 3).blocks(2)) == 0
    assert [*Shard(0, file, 1, 3).blocks(2), *Shard(0, file, 2, 3).blocks(2)] == [0, 1]


def test_one_row_group_cannot_be_split(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_file(tmp_path / PATH / "0.parquet", [["only", "one"]])
    with LocalHub({REPO: tmp_path}) as hub, pytest.raises(UserError, match="1 row groups"):
        FineWebSource(tokenizer, FineWebConfig(hub_endpoint=hub.url, cache_dir=tmp_path / "c"))


def test_nothing_is_built_while_training_waits_for_the_hub(
    config: FineWebConfig, tokenizer: Tokenizer, hub: LocalHub
) -> None:
    text = FineWebSource(tokenizer, config).text
    shard, other = text.train[:2]
    block = text.blocks(shard)[0]
    text.blocks(other)  # the footers are there
    hub.forget()
    hub.fail(Fault("stall", seconds=2.0), kind="range")
    reading = spawn(lambda: text.read(shard, block))
    _until(lambda: hub.count("range") == 1)
    text.builder.want([other])
    time.sleep(0.5)
    assert hub.count("range") == 1
    reading.result(LIMIT)
    _until(lambda: text.cache.has(other))
    text.builder.close()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
