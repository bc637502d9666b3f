"""What streaming costs the hub, by its own counters, for one process and for two."""

import random
import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest
import torch
from fineweb_tools import PATH, REPO, make_text, write_file
from local_hub import LocalHub
from processes import CONTEXT, LIMIT, start, wait

from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.fineweb_dataset import FineWebConfig, FineWebSource

T = 16


def test_the_first_batch_costs_the_footer_and_one_block(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    rng = random.Random(0)
    groups = [[make_text(rng, 15_000) for _ in range(8)] for _ in range(12)]
    write_file(tmp_path / PATH / "0.parquet", groups)
    with LocalHub({REPO: tmp_path}) as hub:
        config = FineWebConfig(hub_endpoint=hub.url, cache_dir=tmp_path / "cache", workers=4)
        source = FineWebSource(tokenizer, config)
        batches = source.train_batches(batch_size=8)
        first = next(batches)
        assert hub.count("range") <= 3
        assert hub.count("info") + hub.count("tree") == 2
        assert hub.bytes_sent() <= 64 * 1024 + 3_000_000
        assert hub.bytes_sent() < sum(p.stat().st_size for p in tmp_path.rglob("0.parquet")) / 5
        hub.forget()
        resumed = FineWebSource(tokenizer, replace(config, cache_dir=tmp_path / "cache"))
        elsewhere = {**first.state, "shard": 5, "sequence": 3}
        next(resumed.train_batches(batch_size=8, state=elsewhere))
        assert hub.count("range") == 1
        assert hub.count("tree") == 0


def test_a_row_group_is_fetched_once_and_tokenized_once(
    config: FineWebConfig, tokenizer: Tokenizer, hub: LocalHub
) -> None:
    source = FineWebSource(tokenizer, replace(config, max_cached_shards=30, workers=4))
    for batch in source.train_batches(batch_size=8):
        if batch.state["pass"] > 1 and len(list(config.cache_folder.glob("shard_*.parquet"))) > 1:
            break  # on a busy machine two passes are over before two shards are built
    source.close()
    n_blocks = sum(len(source.text.blocks(shard)) for shard in source.text.train)
    ranges = Counter((r.path, r.start) for r in hub.requests if r.kind == "range")
    assert max(ranges.values()) == 1
    assert len(ranges) == n_blocks + len(source.text.listing.files)  # and the footers
    assert source.text.counts["hub"] == n_blocks  # what comes from the hub is tokenised


def _stream(config: FineWebConfig, n: int, queue: "Queue[object]") -> None:
    source = FineWebSource(load_tokenizer("p50k_base"), config, seq_length=T)
    batches = islice(source.train_batches(batch_size=8), n)
    queue.put(torch.cat([batch.inputs for batch in batches]).numpy())
    builder, end = source.text.builder, time.monotonic() + LIMIT
    while builder._next() is not None and time.monotonic() < end:
        time.sleep(0.05)  # a build that is cut short is done again by the other process
    source.close()


@pytest.mark.slow
@pytest.mark.parametrize("max_cached_shards", [pytest.param(30, marks=pytest.mark.slow), 2])
def test_two_processes_share_a_cache(
    config: FineWebConfig, tokenizer: Tokenizer, hub: LocalHub, max_cached_shards: int
) -> None:
    shared = replace(config, max_cached_shards=max_cached_shards)
    queue = CONTEXT.Queue()
    processes = [start(_stream, shared, 150, queue) for _ in range(2)]
    results = [queue.get(timeout=LIMIT) for _ in processes]
    assert [wait(process) for process in processes] == [0, 0]
    assert np.array_equal(*results)
    if max_cached_shards == 30:
        ranges = Counter((r.path, r.start) for r in hub.requests if r.kind == "range")
        twice = [key for key, n in ranges.items() if n > 1]
        assert {start for _, start in twice} <= {0}  # footers; both processes may need one at once
    fresh = replace(config, cache_dir=config.cache_folder / "alone", workers=0)
    batches = islice(FineWebSource(tokenizer, fresh, seq_length=T).train_batches(batch_size=8), 150)
    assert np.array_equal(results[0], torch.cat([batch.inputs for batch in batches]).numpy())
