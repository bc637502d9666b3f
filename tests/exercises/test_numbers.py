"""The numbers that the exercises' texts quote."""

import doctest
import math

import pytest
import torch

from exercises.contents import EXERCISES
from exercises.judging.judge import load


@pytest.mark.parametrize("name", [n for n, e in EXERCISES.items() if e.folder.exists()])
def test_examples_in_docstrings(name: str) -> None:
    solution = load(EXERCISES[name].folder / "solution.py", f"solution_of_{name}")
    assert doctest.testmod(solution).failed == 0


def test_muons_polynomial() -> None:
    a, b, c = load(EXERCISES["muon"].folder / "solution.py", "solution").COEFFICIENTS

    def rounds(s: torch.Tensor, count: int) -> torch.Tensor:
        for _ in range(count):
            s = a * s + b * s**3 + c * s**5
        return s

    quoted = (0.034, 0.118, 0.400, 1.09, 0.70)
    start = torch.tensor(0.01)
    for count, number in enumerate(quoted, 1):
        assert abs(rounds(start, count) - number) < 0.005 * number + 0.0005
    after = rounds(torch.linspace(0.01, 1.0, 10_000), 5)
    assert 0.68 < after.min() < 0.69
    assert 1.13 < after.max() < 1.14
    assert not rounds(torch.tensor(1.3), 9).isfinite()


def test_what_float32_holds() -> None:
    assert torch.tensor(89.0).exp() == math.inf
    assert torch.tensor(88.0).exp().isfinite()
    assert torch.tensor(300.0).exp() == math.inf
