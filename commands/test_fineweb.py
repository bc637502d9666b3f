"""Does FineWeb work here? What is in it, what it looks like, how fast it arrives.

uv run python commands/test_fineweb.py
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import shutil
import time
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from transformer.data.batch import IGNORED
from transformer.data.fineweb.block_order import Position
from transformer.data.fineweb.block_stream import group_rows
from transformer.data.tokenizer import load_tokenizer
from transformer.fineweb_dataset import FineWebConfig, FineWebSource
from transformer.terminal.command_line import plain_console, run
from transformer.terminal.text_stream import harmless

BLOCKS = 3  # to read and time
MEGABYTE = 1e6


@dataclass(frozen=True)
class Flags:
    """Look at FineWeb, or at any data set of the hub, before training on it."""

    data: FineWebConfig = field(default_factory=FineWebConfig)
    tokenizer: str = "p50k_base"
    """p50k_base, or the file of a tokenizer."""
    seq_length: int = 128
    """Tokens in a sequence."""
    seed: int = 0
    """Decides the order."""


def main(flags: Annotated[Flags, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes]) -> int:
    """Look at FineWeb, or at any data set of the hub, before training on it."""
    console = plain_console()
    start = time.perf_counter()

    def notify(message: str) -> None:
        console.print(f"  {message}")

    source = FineWebSource(
        load_tokenizer(flags.tokenizer),
        replace(flags.data, workers=0),  # so that what is timed is all that is read
        seq_length=flags.seq_length,
        seed=flags.seed,
        notify=notify,
    )
    show_data(console, source)
    show_sample(console, source, start)
    show_speed(console, source)
    return verdict(console, source)


def show_data(console: Console, source: FineWebSource) -> None:
    text, config = source.text, source.config
    table = Table("", "", show_header=False, box=None, padding=(0, 2, 0, 0))
    size = sum(file.size for file in text.listing.files)
    table.add_row("data set", f"{config.repo} {config.path} at {text.listing.commit[:12]}")
    table.add_row("files", f"{len(text.listing.files)} ({size / 1e9:.2f} GB)")
    table.add_row("shards", f"{len(text.shards)} of about {size / len(text.shards) / 1e6:.0f} MB")
    table.add_row("split", f"{len(text.train)} training, {len(text.validation)} validation")
    entries = text.cache.entries()
    on_disk = sum(entry["bytes"] for entry in entries.values()) / MEGABYTE
    cached = f"{len(entries)} of at most {config.max_cached_shards} shards, {on_disk:.0f} MB"
    table.add_row("cache", f"{config.cache_folder}: {cached}")
    table.add_row("tokenizer", f"{source.tokenizer.name}, {source.tokenizer.vocab_size:,} tokens")
    console.print(table)


def show_sample(console: Console, source: FineWebSource, start: float) -> None:
    """The beginning of a document, its tokens, and a window as the model gets it."""
    batch = next(source.train_batches(batch_size=1))
    seconds = time.perf_counter() - start
    console.print(f"\nfirst batch after {seconds:.1f} s")
    _, block = next(source.text.stream("train", Position(), source.seed))
    ends = (block == source.tokenizer.end_of_text).nonzero()[0]
    document = block[ends[0] + 1 : ends[1]].tolist()
    console.rule("the beginning of a document", align="left")
    console.print(harmless(source.tokenizer.decode(document[:100])))
    console.print(f"\n{len(document)} tokens: {document[:12]} ...")
    pieces = [source.tokenizer.decode([token]) for token in document[:12]]
    console.print(harmless("│".join(pieces).replace("\n", "\\n")))
    scored = batch.targets[0][batch.targets[0] != IGNORED].tolist()
    console.rule("a sequence: the model reads", align="left")
    console.print(harmless(source.tokenizer.decode(batch.inputs[0].tolist())))
    console.rule("and must predict", align="left")
    console.print(harmless(source.tokenizer.decode(scored)))
    console.rule()


def show_speed(console: Console, source: FineWebSource) -> None:
    """Reads the same few blocks twice: the second time must not need the hub."""
    shard = source.text.shard_order(source.seed)[0]
    place = Position(block=min(2, len(source.text.blocks(shard))))  # after what was shown
    for title in ("first reading", "second reading"):
        before = source.text.counts.copy()
        start, tokens = time.perf_counter(), 0
        stream = source.text.stream("train", place, source.seed)
        for _, block in islice(stream, BLOCKS):
            tokens += len(block)
        seconds = time.perf_counter() - start
        came = source.text.counts - before
        origin = ", ".join(
            f"{n} from {'the hub' if way == 'hub' else 'disk'}" for way, n in came.items()
        )
        console.print(f"{title}: {tokens / seconds / 1e6:6.2f} M tokens/s ({origin})")
    if came["hub"]:
        console.print("warning: nothing could be kept on disk", style="bold")


def verdict(console: Console, source: FineWebSource) -> int:
    validation = source.text.stream("validation", Position(), 0, passes=1)
    group = next(group_rows(validation, Position(), 1, source.seq_length))
    free = shutil.disk_usage(source.config.cache_folder).free
    per_shard = sum(f.size for f in source.text.listing.files) / len(source.text.shards) * 1.2
    missing = source.config.max_cached_shards + 2 - len(source.text.cache.entries())
    needed = max(0, missing) * per_shard
    if free < needed:
        console.print(
            f"warning: {needed / 1e9:.1f} GB will be needed and {free / 1e9:.1f} GB are free in "
            f"{source.config.cache_folder}: training works, but reads from the hub again and "
            "again; lower --max-cached-shards or give another --cache-dir",
            style="bold",
        )
    console.print(f"validation: {len(group)} sequence read")
    console.print("training can start: uv run python commands/train.py", style="bold")
    return 0


if __name__ == "__main__":
    run(main)
