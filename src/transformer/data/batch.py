"""What every data set hands to the trainer: batches that know where they came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

IGNORED = -100  # a target that is not asked: it adds nothing to the loss

State = dict[str, Any]
"""A JSON-able position in a data stream."""


@dataclass(frozen=True)
class Batch:
    """`targets[b, t]` is the token that follows `inputs[b, t]`, or IGNORED.

    `state` is the position *after* this batch. It travels with the batch, so whoever
    reads ahead (a prefetching worker) never makes the position run ahead of the training:
    the trainer saves the state of the last batch that it really used.
    """

    inputs: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64
    state: State


class BatchSource(Protocol):
    """Toy stories, text files and FineWeb all look like this to the trainer."""

    fingerprint: str
    """Identifies data, split, tokenizer, sequence length and seed: a saved state is only
    valid for the source with the same fingerprint."""

    floor: float | None
    """The best possible validation loss in nats per token, where it is known."""

    def train_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1, state: State | None = None
    ) -> Iterator[Batch]:
        """Endless. `batch_size` rows for this rank; rank r of a world of N takes rows
        r·batch_size … of each global batch of N·batch_size consecutive sequences."""
        ...

    def validation_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Finite and the same every time; the last batch may hold fewer rows."""
        ...
