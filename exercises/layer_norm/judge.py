"""The judge of LayerNorm."""

import math
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from exercises.judging.modules import has_gradient, has_weights, with_random_weights
from transformer.training.mine import Mine

_WHY = "the exercise is what it does inside"
FORBIDDEN = {
    "torch.nn.LayerNorm": _WHY,
    "torch.nn.functional.layer_norm": _WHY,
    "torch.layer_norm": _WHY,
    "torch.native_layer_norm": _WHY,
    "torch.nn.GroupNorm": "with one group it is the same as LayerNorm",
    "torch.nn.functional.group_norm": "with one group it is the same as LayerNorm",
}
X = torch.tensor([[1.0, 2.0, 3.0, 6.0], [0.0, 4.0, -4.0, 8.0]])


def in_small(yours: ModuleType, check: Check) -> None:
    """The weights; then the statistics alone; then ε, made large; then γ and β."""
    given = "LayerNorm(4)"
    norm = yours.LayerNorm(4)
    has_weights(norm, {"weight": (4,), "bias": (4,)}, check, given=given)
    check.equal(
        norm.weight,
        torch.ones(4),
        given=f"{given}, the weight it starts with",
        mistakes={"γ starts at 0: everything that comes out would be 0": torch.zeros(4)},
        otherwise="γ is to start at 1, so that at first it changes nothing",
    )
    check.equal(
        norm.bias,
        torch.zeros(4),
        given=f"{given}, the bias it starts with",
        otherwise="β is to start at 0, so that at first it changes nothing",
    )
    _statistics(norm, check)
    _flat_and_far(norm, check)
    _epsilon(yours, check)
    _gain_and_bias(yours, check)


def _statistics(norm: nn.Module, check: Check) -> None:
    mean = X.mean(-1, keepdim=True)
    spread = X.std(-1, keepdim=True, unbiased=False)
    columns = (X - X.mean(0)) / X.std(0, unbiased=False)
    check.equal(
        norm(X),
        (X - mean) / spread,
        given=f"x = {X.tolist()}, the weights it starts with",
        mistakes={
            "the variance is divided by D - 1, as x.var() and x.std() do unless told otherwise": (
                X - mean
            )
            / X.std(-1, keepdim=True),
            "the mean is subtracted for the variance only, not from what is divided": X / spread,
            "the mean is not subtracted": X / X.square().mean(-1, keepdim=True).sqrt(),
            "it is divided by the variance, not by its root": (X - mean) / spread**2,
            "nothing is divided: the size stays as it was": X - mean,
            "the mean and the variance run over the positions, not over the D values of each": (
                columns
            ),
            "there is one mean and one variance for all positions together": (X - X.mean())
            / X.std(unbiased=False),
            "mean and variance of all positions together, the variance divided by one less": (
                X - X.mean()
            )
            / X.std(),
        },
        otherwise="already without γ and β the values are others",
        tolerance=1e-4,
    )


def _flat_and_far(norm: nn.Module, check: Check) -> None:
    flat = torch.full((2, 4), 3.0)
    check.equal(
        norm(flat),
        torch.zeros(2, 4),
        given="x is 3 everywhere: its variance is 0",
        mistakes={
            "where all values are equal 0 is divided by 0: where is ε?": torch.full(
                (2, 4), torch.nan
            )
        },
        otherwise="where all values are equal, each is the mean, and 0 should come out",
    )
    far = X + 1e4
    check.equal(
        norm(far),
        F.layer_norm(far.double(), (4,)),
        given=f"x = 10000 + {X.tolist()}, float32",
        otherwise="digits are lost: is the variance computed as mean(x²) - mean(x)²? Subtract the "
        "mean first, then square",
        tolerance=1e-2,
    )


def _epsilon(yours: ModuleType, check: Check) -> None:
    mean, variance = X.mean(-1, keepdim=True), X.var(-1, keepdim=True, unbiased=False)
    check.equal(
        yours.LayerNorm(4, eps=4.0)(X),
        (X - mean) / (variance + 4).sqrt(),
        given=f"eps = 4, x = {X.tolist()}",
        mistakes={
            "ε is added to the root; it belongs under the root": (X - mean) / (variance.sqrt() + 4),
            "ε is ignored": (X - mean) / (variance + 1e-5).sqrt(),
            "ε is squared": (X - mean) / (variance + 16).sqrt(),
            "ε is only a lower bound; it is to be added": (X - mean) / variance.clamp(min=4).sqrt(),
        },
        otherwise="with a large ε the values are others",
        tolerance=1e-4,
    )


def _gain_and_bias(yours: ModuleType, check: Check) -> None:
    norm = yours.LayerNorm(4)
    gain, bias = torch.tensor([1.0, 2.0, -1.0, 0.5]), torch.tensor([0.0, 1.0, 3.0, -2.0])
    with torch.no_grad():
        norm.weight.copy_(gain)
        norm.bias.copy_(bias)
    normed = F.layer_norm(X, (4,))
    check.equal(
        norm(X),
        normed * gain + bias,
        given=f"x = {X.tolist()}\nweight = {gain.tolist()}\nbias = {bias.tolist()}",
        mistakes={
            "γ and β are ignored": normed,
            "γ is ignored": normed + bias,
            "β is ignored": normed * gain,
            "β is added before γ: it is not to be scaled": (normed + bias) * gain,
            "γ and β are swapped": normed * bias + gain,
            "β is subtracted": normed * gain - bias,
        },
        otherwise="with other weights the values are others",
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Many shapes, against a loop over the vectors."""
    for shape in ((6,), (3, 6), (2, 5, 7), (1, 1, 4), (2, 3, 5, 2), (3, 2, 1)):
        D = shape[-1]
        norm = with_random_weights(yours.LayerNorm(D, eps=0.1))
        x = torch.randn(*reversed(shape), dtype=torch.float64)
        x = x.permute(*reversed(range(len(shape)))) * 3 + 2  # not contiguous
        check.equal(
            norm(x),
            _with_loops(x, norm.weight, norm.bias, 0.1),
            given=f"x {shape}, float64, eps = 0.1",
            tolerance=1e-9,
        )
    norm = with_random_weights(yours.LayerNorm(3, eps=0.1))
    has_gradient(norm, (torch.randn(2, 3),), check, given="x (2, 3) that needs a gradient")
    half = yours.LayerNorm(4).bfloat16()(X.bfloat16())
    check.that(
        isinstance(half, Tensor) and half.dtype == torch.bfloat16,
        given="weights and x in bfloat16",
        came=getattr(half, "dtype", None),
        expected=torch.bfloat16,
        mistake="the result has another type than x and the weights",
    )


@torch.no_grad()
def _with_loops(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Vector by vector, number by number."""
    rows = []
    for vector in x.reshape(-1, x.size(-1)).tolist():
        mean = sum(vector) / len(vector)
        root = math.sqrt(sum((v - mean) ** 2 for v in vector) / len(vector) + eps)
        rows.append([g * (v - mean) / root + b for v, g, b in zip(vector, gain, bias, strict=True)])
    return torch.tensor(rows, dtype=x.dtype).reshape(x.shape)


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"layer_norm": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.LayerNorm(128)(torch.zeros(8, 128, 128))
