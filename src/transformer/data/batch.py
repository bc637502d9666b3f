"""What every data set hands to the trainer: batches that know where they came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.machine.saved_values import Saved

IGNORED = -100  # a target that is not scored: it adds nothing to the loss

State = dict[str, Any]
"""A JSON-able position in a data stream."""


def saved_position(state: State, fingerprint: str, *names: str) -> list[int]:
    """The counters `names` of a position that a source saved.

    Raises:
        UserError: it was saved by a source with another fingerprint, or is no position at all.
    """
    saved = Saved("the saved position in the data", state)
    check_same_data("the saved position", saved.take("fingerprint", str), fingerprint)
    return [saved.take(name, int, least=0) for name in names]


def check_same_data(what: str, found: str, fingerprint: str) -> None:
    """
    Raises:
        UserError: `what` (a position, a checkpoint) was saved with another fingerprint.
    """
    if found != fingerprint:
        raise UserError(
            f"{what} belongs to other data: its fingerprint is {found!r}, that of this data "
            f"{fingerprint!r}; the text or repository, its revision, the tokenizer, --seq-length "
            "and --seed must be the same"
        )


@dataclass(frozen=True)
class Batch:
    """`targets[b, t]` is the token that follows `inputs[b, t]`, or IGNORED.

    `state` is the position *after* this batch. It travels with the batch, so a worker that
    prefetches cannot make the saved position run ahead of training: the trainer saves the
    state of the last batch that it really used.
    """

    inputs: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64
    state: State


class BatchSource(Protocol):
    """Toy stories, text files and FineWeb all look like this to the trainer."""

    tokenizer: Tokenizer
    """The tokenizer that made the ids."""

    fingerprint: str
    """Identifies data, split, tokenizer, sequence length and seed: a saved state is only
    valid for the source with the same fingerprint."""

    floor: float | None
    """The best possible validation loss in nats per token, where it is known."""

    @property
    def tokens_per_epoch(self) -> int | None:
        """The tokens of one pass; None where the data has no end."""
        ...

    def train_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1, state: State | None = None
    ) -> Iterator[Batch]:
        """Endless. `batch_size` rows for this rank; rank r of a world of N takes rows
        r·batch_size … of each global batch of N·batch_size consecutive sequences.

        Raises:
            UserError: at once, if `state` is not a position in this data.
        """
        ...

    def validation_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Finite and the same every time; the last batch may hold fewer rows."""
        ...

    def close(self) -> None:
        """End whatever works in the background, such as a download."""
        ...
