"""The judge of RMSNorm."""

import math
from types import ModuleType

import torch
from torch import Tensor, nn

from exercises.judging.check import Check
from exercises.judging.ladder import same_in_ladder
from exercises.judging.modules import has_gradient, has_weights, with_random_weights
from transformer.config import Variant
from transformer.ladder.rms_norm import RMSNorm

_WHY = "the exercise is what it does inside"
FORBIDDEN = {
    "torch.nn.RMSNorm": _WHY,
    "torch.nn.functional.rms_norm": _WHY,
    "torch.rms_norm": _WHY,
    "torch.nn.functional.normalize": _WHY,
    "transformer.ladder.rms_norm.rms_normed": "it is our solution",
    "transformer.ladder.rms_norm.RMSNorm": "it is our solution",
}
X = torch.tensor([[1.0, 2.0, 4.0, 5.0], [0.0, 4.0, -4.0, 8.0]])


def in_small(yours: ModuleType, check: Check) -> None:
    """The weight; the size alone; ε, made large; γ; numbers of 16 bits."""
    given = "RMSNorm(4)"
    norm = yours.RMSNorm(4)
    has_weights(norm, {"weight": (4,)}, check, given=given)
    check.equal(
        norm.weight,
        torch.ones(4),
        given=f"{given}, the weight it starts with",
        mistakes={"γ starts at 0: everything that comes out would be 0": torch.zeros(4)},
        otherwise="γ is to start at 1, so that at first it changes nothing",
    )
    _size(norm, check)
    _epsilon(yours, check)
    gain = torch.tensor([1.0, 2.0, -1.0, 0.5])
    with torch.no_grad():
        norm.weight.copy_(gain)
    normed = X / X.square().mean(-1, keepdim=True).sqrt()
    check.equal(
        norm(X),
        normed * gain,
        given=f"x = {X.tolist()}\nweight = {gain.tolist()}",
        mistakes={
            "γ is ignored": normed,
            "it is divided by γ": normed / gain,
            "γ is added; it is a factor": normed + gain,
        },
        otherwise="with another weight the values are others",
    )
    _sixteen_bits(yours, check)


def _size(norm: nn.Module, check: Check) -> None:
    squares, centred = X.square(), X - X.mean(-1, keepdim=True)
    check.equal(
        norm(X),
        X / squares.mean(-1, keepdim=True).sqrt(),
        given=f"x = {X.tolist()}, the weight it starts with",
        mistakes={
            "the mean is subtracted, as in LayerNorm; here it is not": centred
            / centred.square().mean(-1, keepdim=True).sqrt(),
            "it is divided by the standard deviation, which subtracts the mean": X
            / X.std(-1, keepdim=True, unbiased=False),
            "it is divided by the standard deviation, which subtracts the mean and divides by "
            "D - 1": X / X.std(-1, keepdim=True),
            "the squares are added up: their mean is wanted, or the size would shrink with D": X
            / squares.sum(-1, keepdim=True).sqrt(),
            "there is no root: it is divided by the mean of the squares": X
            / squares.mean(-1, keepdim=True),
            "the factor is 1 + γ; it is γ": 2 * X / squares.mean(-1, keepdim=True).sqrt(),
            "it is multiplied by the size, not divided": X * squares.mean(-1, keepdim=True).sqrt(),
            "it is divided by the mean of the absolute values, not of the squares": X
            / X.abs().mean(-1, keepdim=True),
            "the mean runs over the positions, not over the D values of each": X
            / squares.mean(0).sqrt(),
            "there is one mean for all positions together": X / squares.mean().sqrt(),
        },
        otherwise="already with a weight of ones the values are others",
        tolerance=1e-4,
    )
    check.equal(
        norm(torch.zeros(2, 4)),
        torch.zeros(2, 4),
        given="x is 0 everywhere",
        mistakes={
            "where all values are 0, 0 is divided by 0: where is ε?": torch.full((2, 4), torch.nan)
        },
        otherwise="where all values are 0 the result is to be 0",
    )


def _epsilon(yours: ModuleType, check: Check) -> None:
    mean = X.square().mean(-1, keepdim=True)
    check.equal(
        yours.RMSNorm(4, eps=4.0)(X),
        X / (mean + 4).sqrt(),
        given=f"eps = 4, x = {X.tolist()}",
        mistakes={
            "ε is added to the root; it belongs under the root": X / (mean.sqrt() + 4),
            "ε is ignored": X / (mean + 1e-5).sqrt(),
            "ε is squared": X / (mean + 16).sqrt(),
            "ε is only a lower bound; it is to be added": X / mean.clamp(min=4).sqrt(),
            "ε is added before the mean is taken, to the sum": X / (mean + 1).sqrt(),
        },
        otherwise="with a large ε the values are others",
        tolerance=1e-4,
    )


def _sixteen_bits(yours: ModuleType, check: Check) -> None:
    large = (100 * X).half()  # up to 800, whose square is 640,000; the largest float16 is 65,504
    given = f"x = {large.tolist()} in float16, the weight in float32"
    found = yours.RMSNorm(4)(large)
    check.that(
        not isinstance(found, Tensor) or found.dtype == torch.float16,
        given=given,
        came=f"numbers of type {getattr(found, 'dtype', None)}",
        expected="numbers of type torch.float16",
        mistake="the result has not the type of x",
    )
    expected = (X / X.square().mean(-1, keepdim=True).sqrt()).half()
    lost = isinstance(found, Tensor) and bool((found[1] == 0).all())
    check.equal(
        found,
        expected,
        given=given,
        otherwise="the squares are infinite in float16, and x / ∞ is 0: compute in float32"
        if lost
        else "in float16 the values are others",
        tolerance=2e-3,
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Many shapes, against a loop over the vectors."""
    for shape in ((6,), (3, 6), (2, 5, 7), (1, 1, 4), (2, 3, 5, 2), (3, 2, 1)):
        norm = with_random_weights(yours.RMSNorm(shape[-1], eps=0.1))
        x = torch.randn(*reversed(shape), dtype=torch.float64)
        x = x.permute(*reversed(range(len(shape)))) * 3 + 2  # not contiguous
        check.equal(
            norm(x),
            _with_loops(x, norm.weight.tolist(), 0.1),
            given=f"x {shape}, float64, eps = 0.1",
            otherwise="the values are others: is float64 kept?",
            tolerance=1e-9,
        )
    norm = with_random_weights(yours.RMSNorm(3, eps=0.1))
    has_gradient(norm, (torch.randn(2, 3),), check, given="x (2, 3) that needs a gradient")


def _with_loops(x: Tensor, gain: list[float], eps: float) -> Tensor:
    """Vector by vector, number by number."""
    rows = []
    for vector in x.reshape(-1, x.size(-1)).tolist():
        size = math.sqrt(sum(v * v for v in vector) / len(vector) + eps)
        rows.append([g * v / size for v, g in zip(vector, gain, strict=True)])
    return torch.tensor(rows, dtype=x.dtype).reshape(x.shape)


def in_the_model(yours: ModuleType, check: Check) -> None:
    def theirs_for(module: nn.Module) -> nn.Module | None:
        if not isinstance(module, RMSNorm):
            return None
        assert module.weight is not None
        theirs: nn.Module = yours.RMSNorm(len(module.weight), module.eps)
        return theirs

    same_in_ladder(Variant(norm="rms", norm_eps=1e-3), theirs_for, check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.RMSNorm(128)(torch.zeros(8, 128, 128))
