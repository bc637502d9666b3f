import re

import pytest

from transformer.config import ModelConfig
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
        ("attention", "flash", "attention must be 'auto' or 'fused' or 'explicit', but is 'flash'"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(field: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        ModelConfig(**{"vocab_size": 100, field: value})  # type: ignore[arg-type]


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(UserError, match="d_model must be even"):
        ModelConfig(vocab_size=100, d_model=9, n_heads=3)
