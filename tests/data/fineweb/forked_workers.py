"""Starts loader workers by fork, again and again, while other threads never stop asking the hub.

    python forked_workers.py HUB CACHE STARTS

A program of its own, for two reasons: it forks, and without protection it hangs.
"""

import sys
import threading
from itertools import count
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from transformer.data.tokenizer import load_tokenizer
from transformer.fineweb_dataset import FineWebConfig, FineWebDataset, FineWebSource

T, PAIRS = 16, 24


def keep_asking(source: FineWebSource, number: int, enough: threading.Event) -> None:
    """Read blocks straight from the hub until it is enough."""
    for n in count(number):
        if enough.is_set():
            return
        shard = source.text.train[n % len(source.text.train)]
        source.text.remote(shard.file).read_block(source.text.blocks(shard)[0])


def main(hub: str, cache: Path, starts: int) -> None:
    torch.set_num_threads(1)
    streamed = FineWebConfig(hub_endpoint=hub, cache_dir=cache / "streamed", max_cached_shards=2)
    source = FineWebSource(load_tokenizer("p50k_base"), streamed, seq_length=T)
    batches = source.train_batches(batch_size=8)
    enough = threading.Event()
    asking = [
        threading.Thread(target=keep_asking, args=(source, number, enough), daemon=True)
        for number in range(3)
    ]
    for thread in asking:
        thread.start()
    config = FineWebConfig(hub_endpoint=hub, cache_dir=cache / "loaded", tokens_per_epoch=PAIRS * T)
    dataset = FineWebDataset("validation", config, seq_length=T, batch_size=4)
    expected = torch.cat([inputs for inputs, _ in dataset])
    for _ in range(starts):
        next(batches)
        loader = DataLoader(dataset, None, num_workers=2, multiprocessing_context="fork")
        assert torch.equal(torch.cat([inputs for inputs, _ in loader]), expected)
    enough.set()  # Python 3.11 ends a thread that is inside Arrow, in C++, by aborting the process
    for thread in asking:
        thread.join(60)
    source.close()
    print(f"{starts} starts")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
