"""The folder of cached shards: what stays, what goes, what is found damaged, what it costs."""

import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from fineweb_tools import REPO, write_dataset
from local_hub import LocalHub
from processes import LIMIT, wait_until

from transformer import fineweb_dataset
from transformer.data.packing import Tokens
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.fineweb_dataset import FineWebConfig, FineWebSource

T = 16


def build_all(source: FineWebSource) -> None:
    for shard in source.text.train:
        assert source.text.builder.build(shard)


def all_blocks(source: FineWebSource) -> list[Tokens]:
    """The training split in file order."""
    text = source.text
    return [text.read(s, block) for s in text.train for block in text.blocks(s)]


def same(first: list[Tokens], second: list[Tokens]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def cached(config: FineWebConfig) -> set[str]:
    return {path.stem for path in config.cache_folder.glob("shard_*.parquet")}


def test_the_least_recently_used_shard_goes_and_never_one_in_use(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    text = FineWebSource(tokenizer, replace(config, max_cached_shards=3)).text
    a, b, c, d, e = text.train[:5]
    for shard in (a, b, c):
        text.builder.build(shard)
    text.cache.open(a)  # now b was used longest ago
    text.builder.build(d)
    assert cached(config) == {a.name, c.name, d.name}
    text.builder.protect([c, d])
    text.cache.open(a)
    text.cache.open(d)
    text.builder.build(e)  # c is oldest, but in use
    assert cached(config) == {c.name, d.name, e.name}


def test_a_shard_that_another_process_evicts_while_it_is_open_is_built_again(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    text = FineWebSource(tokenizer, config).text
    shard = text.train[0]
    text.builder.build(shard)
    expected = text.read(shard, text.blocks(shard)[0])
    text.cache.path(shard).unlink()
    assert np.array_equal(text.read(shard, text.blocks(shard)[0]), expected)
    assert text.builder.build(shard)
    assert text.cache.has(shard)


def test_a_shard_that_is_finished_too_late_does_not_stay(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    """The stream has moved on, and both shards that it wants fill the cache."""
    text = FineWebSource(tokenizer, replace(config, max_cached_shards=2)).text
    late, *wanted = text.train[:3]
    for shard in wanted:
        assert text.builder.build(shard)
    text.cache.in_use = {shard.name for shard in wanted}
    text.builder.build(late)
    assert cached(config) == {shard.name for shard in wanted}


def test_streaming_keeps_at_most_the_cached_shards_and_one_more(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    source = FineWebSource(tokenizer, replace(config, max_cached_shards=2), seq_length=T)
    most = 0
    for _ in islice(source.train_batches(batch_size=8), 300):
        most = max(most, len(cached(config)))
    source.close()
    assert 1 <= most <= 3


def test_sixty_flipped_bytes_are_found_and_the_shard_is_built_again(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    notices: list[str] = []
    config = replace(config, max_cached_shards=30)
    whole = FineWebSource(tokenizer, config).text
    rng = random.Random(0)
    found = 0
    for turn in range(60):
        shard = rng.choice(whole.train)
        assert whole.builder.build(shard)
        expected = [whole.read(shard, block) for block in whole.blocks(shard)]
        path = whole.cache.path(shard)
        data = bytearray(path.read_bytes())
        footer = int.from_bytes(data[-8:-4], "little") + 8
        place = rng.randrange(len(data)) if turn % 2 else len(data) - 1 - rng.randrange(footer)
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if turn % 3 == 0:
            (config.cache_folder / "cache_metadata.json").unlink()
        notices.clear()
        text = FineWebSource(tokenizer, config, notify=notices.append).text
        got = [text.read(shard, block) for block in text.blocks(shard)]
        assert same(got, expected)
        if any(f"{path.stem} is damaged" in notice for notice in notices):
            found += 1
            assert text.builder.build(shard)
    assert found > 30  # the others hit texts, or changed nothing


def test_a_byte_flipped_while_the_shard_is_open_is_found(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    source = FineWebSource(tokenizer, replace(config, max_cached_shards=30))
    build_all(source)
    expected = all_blocks(source)
    for shard in source.text.train:
        path = source.text.cache.path(shard)
        data = bytearray(path.read_bytes())
        for place in range(100, len(data) // 2, 500):
            data[place] ^= 4
        with path.open("r+b") as stream:  # the same file, not a new one
            stream.write(data)
    assert same(all_blocks(source), expected)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"version": 1, "shards": {"shard_00001": 3}}'),
        lambda path: path.write_text("[]"),
        lambda path: path.write_bytes(b"\xff\x00" * 50),
    ],
    ids=["deleted", "cut", "wrong", "list", "binary"],
)
def test_a_lost_index_is_made_again_from_the_shards(
    config: FineWebConfig, tokenizer: Tokenizer, damage: Callable[[Path], object], hub: LocalHub
) -> None:
    config = replace(config, max_cached_shards=30)
    source = FineWebSource(tokenizer, config)
    build_all(source)
    index = config.cache_folder / "cache_metadata.json"
    before = json.loads(index.read_text())
    expected = all_blocks(source)
    damage(index)
    hub.forget()
    assert same(all_blocks(FineWebSource(tokenizer, config)), expected)
    assert hub.count("range") == 0
    after = json.loads(index.read_text())
    for entry in (*before["shards"].values(), *after["shards"].values()):
        assert entry.pop("last_access") > time.time() - 600
    assert before == after
    assert set(after) == {"version", "identity", "shards"}


def test_the_index_has_the_fields_that_the_text_shows(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    build_all(FineWebSource(tokenizer, config))
    index = json.loads((config.cache_folder / "cache_metadata.json").read_text())
    text = (fineweb_dataset.__doc__ or "").split("`cache_metadata.json` says")[1]
    shown = json.loads(text[text.index("{") : text.index("…}}")].rstrip(", ") + "}}")
    assert shown.keys() == index.keys()
    assert shown["version"] == index["version"]
    assert shown["identity"].keys() == index["identity"].keys()
    assert {"revision", "tokenizer"} == {
        key for key, value in shown["identity"].items() if value != index["identity"][key]
    }
    (entry,) = shown["shards"].values()
    assert all(entry.keys() == of_one.keys() for of_one in index["shards"].values())


def test_a_cache_of_other_data_is_refused_and_left_alone(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    from transformer.data.bpe import train_bpe

    build_all(FineWebSource(tokenizer, config))
    before = cached(config)
    other = train_bpe(["a small text for a small tokenizer"] * 10, 270)
    for lose_index in (False, True):
        if lose_index:
            (config.cache_folder / "cache_metadata.json").unlink()
        with pytest.raises(UserError, match=r"tokenizer is .*--cache-dir"):
            FineWebSource(other, config)
        with pytest.raises(UserError, match=r"text_column is .*--cache-dir"):
            FineWebSource(tokenizer, replace(config, text_column="url"))
    assert cached(config) == before


def test_a_full_disk_costs_a_warning_and_no_token(
    config: FineWebConfig, tokenizer: Tokenizer, tmpfs: Path
) -> None:
    expected = FineWebSource(tokenizer, config, seq_length=T)
    notices: list[str] = []
    full = replace(config, cache_dir=tmpfs, max_cached_shards=30)
    source = FineWebSource(tokenizer, full, seq_length=T, notify=notices.append)
    (tmpfs / "ballast").write_bytes(bytes(230 * 1024))
    pairs = zip(
        source.train_batches(batch_size=8), expected.train_batches(batch_size=8), strict=True
    )
    warning = re.compile(r"warning: shard_\d+ cannot be kept")
    end = time.monotonic() + LIMIT
    for n, (got, wanted) in enumerate(pairs):
        assert torch.equal(got.inputs, wanted.inputs)
        if n >= 300 and any(map(warning.match, notices)):  # the builder may be slow
            break
        assert time.monotonic() < end, notices
    source.close()
    expected.close()
    assert any("no room" in notice for notice in notices)
    wait_until(lambda: not list(tmpfs.rglob("*.part")))  # of a block read ahead


@pytest.mark.parametrize("tmpfs", ["1m"], indirect=True)
def test_the_oldest_shard_makes_room_on_a_full_disk(
    tmp_path: Path, tokenizer: Tokenizer, tmpfs: Path
) -> None:
    """There is never room for a shard and its blocks together."""
    folder = write_dataset(tmp_path / "data", files=5, groups=12, rows=100)
    with LocalHub({REPO: folder}) as hub:
        config = FineWebConfig(hub_endpoint=hub.url, cache_dir=tmpfs)
        text = FineWebSource(tokenizer, config).text
        first, second = text.train[:2]
        assert text.builder.build(first)
        free, size = shutil.disk_usage(tmpfs).free, text.cache.path(first).stat().st_size
        (tmpfs / "ballast").write_bytes(bytes(free - size // 2))
        text.builder.protect([second])
        assert text.builder.build(second)
        assert {path.stem for path in tmpfs.glob("shard_*.parquet")} == {second.name}
        assert not list(tmpfs.glob("blocks/*/*"))


def test_validation_evicts_nothing(config: FineWebConfig, tokenizer: Tokenizer) -> None:
    source = FineWebSource(tokenizer, replace(config, max_cached_shards=2), seq_length=T)
    for shard in source.text.train[:2]:
        source.text.builder.build(shard)
    before: set[str] = cached(config)
    assert len(list(source.validation_batches(batch_size=8))) > 0
    assert cached(config) == before


def test_a_damaged_block_is_fetched_again(config: FineWebConfig, tokenizer: Tokenizer) -> None:
    notices: list[str] = []
    text = FineWebSource(tokenizer, config, notify=notices.append).text
    shard = text.train[0]
    block = text.blocks(shard)[0]
    expected = text.read(shard, block)
    path = text.cache.path(shard, block)
    data = path.read_bytes()
    for wrong in (data[:-20], b"", data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :]):
        notices.clear()
        path.write_bytes(wrong)
        assert np.array_equal(text.read(shard, block), expected)
    path.write_bytes(data[:-20])
    text.read(shard, block)
    assert f"{path.stem} is damaged" in "".join(notices)
    assert text.builder.build(shard)
    assert np.array_equal(text.read(shard, block), expected)


def test_blocks_that_nobody_reads_are_deleted_after_a_day(
    config: FineWebConfig, tokenizer: Tokenizer
) -> None:
    text = FineWebSource(tokenizer, config).text
    shards = text.train[1:3]
    for shard in shards:
        text.read(shard, text.blocks(shard)[0])
    old, new = (text.cache.path(shard, text.blocks(shard)[0]) for shard in shards)
    long_ago = time.time() - 90_000
    for path in (old, new):
        os.utime(path, (long_ago, long_ago))
    text.read(shards[1], text.blocks(shards[1])[0])  # used again
    assert text.builder.build(text.train[0])
    assert [old.exists(), new.exists()] == [False, True]
