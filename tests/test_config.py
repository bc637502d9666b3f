import re
from dataclasses import fields

import pytest

from transformer.config import ModelConfig, TrainingConfig, flag
from transformer.errors import UserError


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("d_model", 30, "d_model must be divisible by n_heads, but 30 / 4"),
        ("n_heads", 0, "n_heads must be a whole number of at least 1, but is 0"),
        ("n_layers", -2, "n_layers must be a whole number of at least 1, but is -2"),
        ("d_ff", 2.5, "d_ff must be a whole number of at least 1, but is 2.5"),
        ("vocab_size", True, "vocab_size must be a whole number of at least 1, but is True"),
        ("max_seq_len", "8", "max_seq_len must be a whole number of at least 1, but is '8'"),
        ("dropout", 1.0, "dropout must be at least 0 and below 1, but is 1.0"),
        ("dropout", float("nan"), "dropout must be at least 0 and below 1, but is nan"),
        ("attention", "flash", "attention must be 'fused' or 'explicit', but is 'flash'"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(field: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        ModelConfig(**{"vocab_size": 100, field: value})  # type: ignore[arg-type]


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(UserError, match="d_model must be even"):
        ModelConfig(vocab_size=100, d_model=9, n_heads=3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_flag_takes_a_number_that_is_not_finite(value: float) -> None:
    floats = [field.name for field in fields(TrainingConfig) if field.type is float]
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
