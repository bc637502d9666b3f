import math

import pytest
import torch

from transformer.errors import UserError
from transformer.positional_encoding import BASE, sinusoidal_encoding


def test_every_entry_is_the_formula_in_plain_python() -> None:
    length, d_model = 50, 12
    table = sinusoidal_encoding(length, d_model)
    for position in range(length):
        for column in range(d_model):
            angle = position / BASE ** ((column - column % 2) / d_model)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shift", [1, 7, 100])
def test_shifting_is_one_fixed_linear_map(shift: int) -> None:
    """PE(p + k) = PE(p) · R_k, with one block-diagonal rotation for all p."""
    d_model, length = 16, 200
    table = sinusoidal_encoding(length + shift, d_model).double()
    rotation = torch.zeros(d_model, d_model, dtype=torch.float64)
    for pair in range(d_model // 2):
        angle = shift * BASE ** (-2 * pair / d_model)
        sine, cosine = math.sin(angle), math.cos(angle)
        block = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
        rotation[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = block
    torch.testing.assert_close(table[:length] @ rotation, table[shift:], atol=1e-6, rtol=0)


def test_similarity_depends_on_distance_only() -> None:
    table = sinusoidal_encoding(300, 32).double()
    similarity = table @ table.T
    for distance in (0, 1, 5, 60):
        diagonal = similarity.diagonal(distance)
        assert (diagonal - diagonal[0]).abs().max() < 1e-5
    assert similarity[0, 0] > similarity[0, 1] > similarity[0, 2]  # and falls off nearby


def first_return(sines: torch.Tensor) -> float:
    """Where a sine that starts at 0 has gone round once: its second sign change, interpolated."""
    changes = torch.nonzero(sines[1:-1].sign() != sines[2:].sign()).flatten() + 1
    before = int(changes[1])
    low, high = sines[before].item(), sines[before + 1].item()
    return before - low / (high - low)


def test_the_slowest_and_the_fastest_hand_turn_as_the_docstring_says() -> None:
    """The times are read off the table: 6.3 positions, and 58,470 for D = 256."""
    table = sinusoidal_encoding(60_000, 256)
    assert first_return(table[:, 0]) == pytest.approx(6.3, abs=0.05)
    assert first_return(table[:, -2]) == pytest.approx(58_470, abs=1)
    assert round(2 * math.pi * BASE) == 62_832  # what 2π / ω of the last hand tends to


@pytest.mark.parametrize(("length", "d_model"), [(0, 8), (-1, 8), (4, 7), (4, 0)])
def test_impossible_sizes_are_refused(length: int, d_model: int) -> None:
    with pytest.raises(UserError, match="must be"):
        sinusoidal_encoding(length, d_model)
