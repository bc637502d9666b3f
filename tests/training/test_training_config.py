"""Flags of training: each impossible value is named."""

import re
from typing import get_type_hints

import pytest

from transformer.errors import UserError
from transformer.machine.bounds import flag
from transformer.training.config import TrainingConfig


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_flag_takes_a_number_that_is_not_finite(value: float) -> None:
    floats = [name for name, kind in get_type_hints(TrainingConfig).items() if kind is float]
    assert len(floats) >= 5
    for name in floats:
        with pytest.raises(UserError, match=f"{flag(name)} must be a finite number, but is"):
            TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("dropout", 1.0, "--dropout must be at least 0 and below 1, but is 1.0"),
        ("weight_decay", -0.1, "--weight-decay must be at least 0, but is -0.1"),
        ("learning_rate", 0.0, "--learning-rate must be above 0, but is 0.0"),
        ("warmup", 1.5, "--warmup is a share from 0 to 1, but is 1.5"),
        ("steps", 10**400, "--steps must be at most 18446744073709551615, but is 10"),
    ],
)
def test_a_flag_out_of_range_is_named_with_its_value(name: str, value: float, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        TrainingConfig(**{name: value})  # type: ignore[arg-type]
