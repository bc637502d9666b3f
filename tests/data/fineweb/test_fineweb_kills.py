"""SIGKILL at the worst moments: the next start is clean, and the stream is the same."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fineweb_tools import REPO
from local_hub import LocalHub
from processes import kill, start, wait, wait_until

from transformer.data.fineweb import shard_cache
from transformer.data.fineweb.cached_shard import CachedShard
from transformer.data.fineweb.remote_parquet import RemoteParquet
from transformer.data.tokenizer import load_tokenizer
from transformer.fineweb_dataset import FineWebConfig, FineWebSource
from transformer.machine import files

T = 16
ROWS = 120

MOMENTS: dict[str, tuple[Any, str]] = {
    "reading a block": (RemoteParquet, "read_block"),
    "keeping a block": (shard_cache.ShardCache, "keep"),
    "writing": (shard_cache, "write_shard"),
    "joining": (CachedShard, "read_table"),
    "renaming": (files.os, "replace"),
    "publishing": (shard_cache.ShardCache, "publish"),
    "evicting": (shard_cache.ShardCache, "_evict"),
    "writing metadata": (shard_cache, "write_atomically"),
    "opening": (CachedShard, "__init__"),
}


@pytest.fixture
def config(config: FineWebConfig) -> FineWebConfig:
    return replace(config, max_cached_shards=2)


def stream(config: FineWebConfig, notices: list[str], *, patient: bool = False) -> np.ndarray:
    """Some rows. A patient reader lets all wanted shards be built, published and evicted."""
    tokenizer = load_tokenizer("p50k_base")
    source = FineWebSource(tokenizer, config, seq_length=T, notify=notices.append)
    rows = []
    for batch in islice(source.train_batches(batch_size=8), ROWS):
        rows.append(batch.inputs)
        while patient and source.text.builder._next() is not None:
            time.sleep(0.002)
    source.close()
    return torch.cat(rows).numpy()


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    with LocalHub({REPO: folder}) as hub:
        cache = tmp_path_factory.mktemp("whole")
        return stream(FineWebConfig(hub_endpoint=hub.url, cache_dir=cache), [])


def die_at(owner: Any, name: str, call: int, before: bool) -> Callable[..., Any]:
    """Replace a function by one that kills its process around its n-th call."""
    original = getattr(owner, name)
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and before:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return original(*args, **kwargs)
        finally:  # also if it failed: a shard that is looked for is often not there yet
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)

    return wrapped


def run_and_die(config: FineWebConfig, moment: str, call: int, before: bool) -> None:
    owner, name = MOMENTS[moment]
    setattr(owner, name, die_at(owner, name, call, before))
    stream(config, [], patient=True)


def killed(target: Callable[..., None], *args: object) -> bool:
    """Run in a process of its own; whether it was killed (and did not finish before)."""
    status = wait(start(target, *args))
    assert status in (0, -signal.SIGKILL)
    return status != 0


def check_clean_start(config: FineWebConfig, expected: np.ndarray) -> None:
    notices: list[str] = []
    assert np.array_equal(stream(config, notices), expected)
    assert not [notice for notice in notices if "damaged" in notice or "warning" in notice]
    wait_until(lambda: not list(config.cache_folder.rglob("*.part")))  # of a block read ahead
    assert len(list(config.cache_folder.glob("shard_*.parquet"))) <= config.max_cached_shards + 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["keeping a block", "joining", "evicting"])
def test_a_kill_leaves_nothing_behind(
    config: FineWebConfig, expected: np.ndarray, moment: str
) -> None:
    assert killed(run_and_die, config, moment, 2, False)
    check_clean_start(config, expected)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_kills_at_many_calls_leave_nothing_behind(
    config: FineWebConfig, expected: np.ndarray, moment: str, before: bool
) -> None:
    kills = 0
    for call in (1, 2, 3, 5, 8):
        fresh = replace(config, cache_dir=config.cache_folder / f"{call}")
        kills += killed(run_and_die, fresh, moment, call, before)
        check_clean_start(fresh, expected)
    assert kills >= 3


@pytest.mark.slow
def test_kills_at_random_times_in_one_cache_leave_nothing_behind(
    config: FineWebConfig, expected: np.ndarray
) -> None:
    rng = random.Random(0)
    kills = 0
    for _ in range(25):
        process = start(stream, config, [])
        time.sleep(rng.uniform(0.02, 1.0))
        kills += kill(process) == -signal.SIGKILL
    check_clean_start(config, expected)
    assert kills > 10
