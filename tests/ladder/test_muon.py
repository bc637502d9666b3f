"""Muon against PyTorch's, and its polynomial against a singular value decomposition."""

import pytest
import torch
from torch import nn

from transformer.ladder.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 48), (1, 8)])
def test_the_polynomial_keeps_singular_vectors_and_evens_the_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonalised(matrix) @ right.T  # diagonal, if the vectors are the same
    values = found.diagonal()
    assert torch.allclose(found, values.diag(), atol=1e-9)
    assert 0.6 < values.min() <= values.max() < 1.25


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(12, 12), (32, 8), (8, 32)])
def test_it_steps_as_pytorchs(shape: tuple[int, int], bf16: bool) -> None:
    """PyTorch's works in bfloat16, so the two agree to that."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    settings = {"lr": 0.1, "momentum": 0.95, "weight_decay": 0.1}
    pair = Muon([ours], bf16=bf16, **settings), torch.optim.Muon([theirs], **settings)
    for _ in range(5):
        gradient = torch.randn(shape, generator=generator)
        for parameter, optimizer in zip((ours, theirs), pair, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    moved = (ours - start).norm()
    assert (ours - theirs).norm() < 0.03 * moved


def test_matrices_that_are_stored_as_one_move_by_themselves() -> None:
    generator = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(2, 24, 8, generator=generator)
    whole = nn.Parameter(start.clone())
    parts = [nn.Parameter(part.clone()) for part in start.split([8, 8, 8])]
    whole.grad = gradient.clone()
    for part, piece in zip(parts, gradient.split([8, 8, 8]), strict=True):
        part.grad = piece.clone()
    Muon([{"params": [whole], "splits": [8, 8, 8]}]).step()
    Muon(parts).step()
    assert torch.equal(whole, torch.cat(list(parts)))
    assert not torch.equal(whole, start)


def test_products_in_bf16_are_rounded_and_weights_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(2, 24, 8, generator=generator)
    moved = {}
    for bf16 in (False, True):
        weight = nn.Parameter(start.clone())
        weight.grad = gradient.clone()
        optimizer = Muon([weight], bf16=bf16)
        optimizer.step()
        moved[bf16] = weight.detach() - start
        assert weight.dtype == optimizer.state[weight]["momentum"].dtype == torch.float32
    assert 1e-4 < (moved[True] - moved[False]).norm() / moved[False].norm() < 0.03


def test_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="for matrices"):
        Muon([nn.Parameter(torch.zeros(3))])
