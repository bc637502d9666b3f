"""Which values a flag may have: the smallest is written next to the field's type.

    batch_size: Positive = 8
    workers: Annotated[int, AtLeast(0)] = 1

Such a field is a flag of a command and, in Python, a field of a dataclass; messages name the flag.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from transformer.errors import UserError

LARGEST = 2**64 - 1
LARGEST_SEED = 2**63 - 1  # PyTorch takes less than 2^64, and seed + 1, seed + 2, … are used too


@dataclass(frozen=True)
class AtLeast:
    """The smallest value of a field, next to its type."""

    value: int


Positive = Annotated[int, AtLeast(1)]
AtLeastTwo = Annotated[int, AtLeast(2)]


def flag(name: str) -> str:
    """A field's name as it is typed: `batch_size` -> `--batch-size`."""
    return "--" + name.replace("_", "-")


def check_bounds(config: Any) -> None:
    """Check every field of a dataclass against its type.

    Raises:
        UserError: a number is too small, too large or not finite, or a text is none of the
            choices. The message names field and value.
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{flag(name)} must be a finite number, but is {value}")
        if isinstance(value, int) and value > LARGEST:
            raise UserError(f"{flag(name)} must be at most {LARGEST}, but is {value}")
        if get_origin(hint) is Literal and value not in get_args(hint):
            choices = ", ".join(get_args(hint))
            raise UserError(f"{flag(name)} must be one of {choices}, but is {value!r}")
        for part in (hint, *get_args(hint)):  # Annotated[int, AtLeast(1)], perhaps in "… | None"
            for least in getattr(part, "__metadata__", ()):
                if value is None or not isinstance(least, AtLeast) or value >= least.value:
                    continue
                raise UserError(f"{flag(name)} must be at least {least.value}, but is {value}")


def check_seed(seed: int) -> None:
    """
    Raises:
        UserError: a random generator cannot start from `seed`, or not from those after it.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"--seed must be from 0 to {LARGEST_SEED} (2^63 - 1), but is {seed}")
