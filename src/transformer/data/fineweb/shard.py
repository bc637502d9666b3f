"""Shards: the unit of caching and of the split into training and validation.

A **shard** is a run of row groups of one file. A file of `size` bytes is cut into
max(1, round(size / shard_bytes)) parts; part j of n has the row groups ⌊jG/n⌋ … ⌊(j+1)G/n⌋ - 1
of the file's G. So the shards of a data set are known from the listing alone, before any byte of
the files has been read:

    000_00000.parquet  2.15 GB  ──▶ shard 0 … 7      ≈ 130 row groups, 91 M tokens per shard
    001_00000.parquet  2.15 GB  ──▶ shard 8 … 15
    …                                                sample-10BT: 114 shards

**The split** puts whole shards on one side: ranked by sha256(salt, path, part), the first ⌈10 %⌉
are validation. It depends on names only, so every machine finds the same one, the share is
exact, and no document is on both sides.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformer.data.fineweb.hub import HubFile
from transformer.errors import UserError

SHARD_BYTES = 256 * 1024 * 1024
MIN_SHARDS = 10  # so that a tenth is at least one
VALIDATION_SHARE = 10  # one in ten
SURELY_A_BLOCK = 256 * 1024  # bytes: a part as large as this has a row group of text
_SALT = "transformer-by-hand/split/1"


@dataclass(frozen=True)
class Shard:
    """Part `part` of `parts` of a file; `number` counts through the whole data set."""

    number: int
    file: HubFile
    part: int
    parts: int

    @property
    def name(self) -> str:
        return f"shard_{self.number:05d}"

    def blocks(self, n_blocks: int) -> range:
        """Its row groups, of the `n_blocks` that the file has."""
        return range(self.part * n_blocks // self.parts, (self.part + 1) * n_blocks // self.parts)


def cut_into_shards(
    files: Sequence[HubFile], shard_bytes: int, count_blocks: Callable[[HubFile], int]
) -> tuple[Shard, ...]:
    """All shards, in the order of the files.

    A small data set gets smaller shards, until there are ten. If they become so small that a
    part might have no row group at all, `count_blocks` is called and no part is left empty.

    Raises:
        UserError: fewer than two row groups, so there is nothing to split.
    """
    target = float(shard_bytes)
    parts = _parts(files, target)
    while sum(parts) < MIN_SHARDS and target > 1:
        target *= 0.95
        parts = _parts(files, target)
    if target < min(shard_bytes, SURELY_A_BLOCK):
        parts = [min(n, count_blocks(file)) for n, file in zip(parts, files, strict=True)]
    if sum(parts) < 2:
        raise UserError(
            f"the data set has {sum(parts)} row groups in {len(files)} Parquet files; training "
            "and validation need at least one each: write it with smaller row groups, or use "
            "--dataset text"
        )
    pairs = [(file, part, n) for file, n in zip(files, parts, strict=True) for part in range(n)]
    return tuple(Shard(number, *pair) for number, pair in enumerate(pairs))


def split_shards(shards: Sequence[Shard]) -> tuple[tuple[Shard, ...], tuple[Shard, ...]]:
    """(training, validation): every shard in exactly one, a tenth (rounded up) in validation."""
    ranked = sorted(shards, key=_rank)
    n_validation = -(-len(shards) // VALIDATION_SHARE)
    validation = set(ranked[:n_validation])
    train = tuple(shard for shard in shards if shard not in validation)
    return train, tuple(shard for shard in shards if shard in validation)


def _parts(files: Sequence[HubFile], target: float) -> list[int]:
    return [max(1, round(file.size / target)) for file in files]


def _rank(shard: Shard) -> str:
    return hashlib.sha256(f"{_SALT}/{shard.file.path}/{shard.part}".encode()).hexdigest()
