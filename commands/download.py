"""Fill FineWeb's cache in advance, to train without a network.

uv run python commands/download.py --tokens 100000000
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

from dataclasses import dataclass, field
from typing import Annotated

import tyro
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from transformer.data.tokenizer import load_tokenizer
from transformer.errors import UserError
from transformer.fineweb_dataset import FineWebConfig, FineWebSource
from transformer.terminal.command_line import plain_console, run


@dataclass(frozen=True)
class Flags:
    """What to download; give train.py the same flags, so that it finds what it looks for."""

    data: FineWebConfig = field(default_factory=FineWebConfig)
    tokens: int = 100_000_000
    """Training tokens to have on disk, at least."""
    tokenizer: str = "p50k_base"
    """p50k_base, or the file of a tokenizer."""
    seq_length: int = 128
    """Tokens in a sequence."""
    seed: int = 0
    """The order of the shards depends on it."""


def main(flags: Annotated[Flags, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes]) -> int:
    """Download the first shards that training will read, and the validation set.

    It can be interrupted and started again: what is complete is kept.
    """
    if flags.tokens < 1:
        raise UserError(f"--tokens must be at least 1, but is {flags.tokens}")
    if flags.seq_length < 2:
        raise UserError(f"--seq-length must be at least 2, but is {flags.seq_length}")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=plain_console()) as progress:

        def notify(message: str) -> None:
            progress.console.print(message)

        source = FineWebSource(
            load_tokenizer(flags.tokenizer),
            flags.data,
            seq_length=flags.seq_length,
            seed=flags.seed,
            notify=notify,
        )
        rows = sum(len(batch.inputs) for batch in source.validation_batches(batch_size=64))
        tokens, shards = download(source, flags.tokens, progress)
    folder = flags.data.cache_folder
    print(
        f"{tokens:,} training tokens in {shards} shards and {rows:,} validation sequences are in "
        f"{folder}; train without a network with the same --seed and --seq-length"
    )
    return 0


def download(source: FineWebSource, tokens: int, progress: Progress) -> tuple[int, int]:
    """Build shards in training order until they hold this many tokens; (tokens, shards)."""
    order = source.text.shard_order(source.seed)
    limit = source.config.max_cached_shards
    total = progress.add_task("0 tokens", total=tokens)
    held = 0
    for n, shard in enumerate(order, start=1):
        if n > limit:
            needed = min(-(-tokens * limit // max(1, held)), len(order))
            raise UserError(
                f"{limit} shards hold only {held:,} of {tokens:,} tokens; raise "
                f"--max-cached-shards to about {needed} here and in train.py"
            )
        source.text.builder.protect(order[:n])
        task = progress.add_task(f"  {shard.name}", total=None)
        done = source.text.builder.build(
            shard, lambda done, of, task=task: progress.update(task, completed=done, total=of)
        )
        progress.remove_task(task)
        if not done:
            raise UserError(
                f"{shard.name} could not be kept (why is said above); {held:,} tokens are in "
                f"{source.config.cache_folder}"
            )
        held += int(source.text.cache.entries()[shard.name]["tokens"])
        progress.update(total, completed=min(held, tokens), description=f"{held:,} tokens")
        if held >= tokens:
            return held, n
    raise UserError(
        f"the data set has only {held:,} training tokens in {len(order)} shards; "
        f"--tokens {tokens:,} is more"
    )


if __name__ == "__main__":
    run(main)
