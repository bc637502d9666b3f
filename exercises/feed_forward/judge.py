"""The judge of the feed-forward layer."""

import math
from dataclasses import replace
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from exercises.judging.modules import has_gradient, has_weights, with_random_weights
from transformer.config import ModelConfig
from transformer.training.mine import Mine

FORBIDDEN = {
    "torch.nn.functional.gelu": "the exercise is what it does inside; torch.erf is given",
    "torch.nn.GELU": "the exercise is what it does inside; torch.erf is given",
    "transformer.feed_forward.FeedForward": "it is our solution",
    "torch.nn.TransformerEncoderLayer": "the exercise is what it does inside",
}
CONFIG = ModelConfig(5, d_model=2, n_heads=1, d_ff=3, dropout=0.0)
EXPAND, EXPAND_BIAS = [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], [0.5, 0.0, -0.5]
CONTRACT, CONTRACT_BIAS = [[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]], [0.25, -0.25]


def in_small(yours: ModuleType, check: Check) -> None:
    """The weights; then one vector; then dropout."""
    layer = yours.FeedForward(CONFIG).eval()
    expected = {"expand.weight": (3, 2), "expand.bias": (3,)}
    expected |= {"contract.weight": (2, 3), "contract.bias": (2,)}
    has_weights(layer, expected, check, given="d_model = 2, d_ff = 3")
    weights = (EXPAND, EXPAND_BIAS, CONTRACT, CONTRACT_BIAS)
    with torch.no_grad():
        for name, values in zip(expected, weights, strict=True):
            layer.get_parameter(name).copy_(torch.tensor(values))
    x = torch.tensor([[[1.0, -2.0], [-1.0, 0.5]]])
    w1, b1, w2, b2 = map(torch.tensor, weights)
    z = x @ w1.T + b1

    def out(hidden: Tensor) -> Tensor:
        return hidden @ w2.T + b2

    right = out(F.gelu(z))
    check.equal(
        layer(x),
        right,
        given=f"x = {x[0].tolist()}\nW₁ = {EXPAND}, b₁ = {EXPAND_BIAS}\n"
        f"W₂ = {CONTRACT}, b₂ = {CONTRACT_BIAS}",
        mistakes={
            **{name: out(hidden) for name, hidden in _other_functions(z).items()},
            "GELU acts on what comes out too: a sublayer must be able to write negative numbers": (
                F.gelu(right)
            ),
            "GELU acts after the second matrix, not between the two": F.gelu(out(z)),
            "`x` is added: that is the block's task, and would happen twice": right + x,
            "GELU acts on x, before the first matrix": out(F.gelu(x) @ w1.T + b1),
            "GELU is applied twice": out(F.gelu(F.gelu(z))),
            "the second matrix gets no bias": right - b2,
            "the first matrix gets no bias": out(F.gelu(z - b1)),
        },
        otherwise="the values are others",
    )
    _dropout(yours, check)


def _other_functions(z: Tensor) -> dict[str, Tensor]:
    """What neurons would give that are no GELU."""
    phi = (1 + torch.erf(z / math.sqrt(2))) / 2
    return {
        "nothing lies between the two matrices: they are no more than one matrix": z,
        "it is a ReLU, not a GELU: its corner is not soft": F.relu(z),
        "it is the approximation with tanh, not with erf": F.gelu(z, approximate="tanh"),
        "it is the approximation z · sigmoid(1.702 z), not with erf": z * torch.sigmoid(1.702 * z),
        "it is z · sigmoid(z), which is called SiLU, not GELU": F.silu(z),
        "`z` is missing as a factor: GELU is z · Φ(z), not Φ(z)": phi,
        "`z` is not divided by √2 inside erf": z * (1 + torch.erf(z)) / 2,
        "`z` is divided by 2 inside erf, not by its root": z * (1 + torch.erf(z / 2)) / 2,
        "the 1 is missing: Φ is (1 + erf) / 2": z * torch.erf(z / math.sqrt(2)) / 2,
        "the half is missing: Φ is (1 + erf) / 2": 2 * z * phi,
        "only erf is halved: Φ is (1 + erf) / 2": z * (0.5 + phi),
    }


def _dropout(yours: ModuleType, check: Check) -> None:
    layer = with_random_weights(yours.FeedForward(replace(CONFIG, dropout=0.5))).train()
    x = torch.randn(1, 40, 2, dtype=torch.float64)
    with torch.no_grad():
        check.equal(
            layer(x),
            _with_loops(layer, x),
            given="x (1, 40, 2), in training, config.dropout = 0.5",
            otherwise="there is dropout inside: the block does that, and it would happen twice",
        )


def at_random(yours: ModuleType, check: Check) -> None:
    """Many shapes, neuron by neuron."""
    for B, T, D, d_ff in ((1, 1, 2, 3), (2, 5, 4, 7), (3, 1, 6, 2), (4, 2, 2, 9)):
        layer = with_random_weights(yours.FeedForward(ModelConfig(5, D, 1, d_ff=d_ff)))
        x = torch.randn(B, D, T, dtype=torch.float64).transpose(1, 2)  # not contiguous
        check.equal(
            layer(x),
            _with_loops(layer, x),
            given=f"x ({B}, {T}, {D}), float64, F = {d_ff}",
            tolerance=1e-9,
        )
    layer = with_random_weights(yours.FeedForward(CONFIG))
    has_gradient(layer, (torch.randn(1, 2, 2),), check, given="x (1, 2, 2) that needs a gradient")


@torch.no_grad()
def _with_loops(layer: nn.Module, x: Tensor) -> Tensor:
    """Each neuron adds its vector; Φ with Python's own erf."""
    w1, b1 = layer.get_parameter("expand.weight"), layer.get_parameter("expand.bias")
    w2, b2 = layer.get_parameter("contract.weight"), layer.get_parameter("contract.bias")
    output = torch.zeros_like(x) + b2
    for neuron in range(len(w1)):
        z = (x * w1[neuron]).sum(-1) + b1[neuron]  # (B, T)
        phi = z.clone().apply_(lambda value: math.erf(value / math.sqrt(2)) / 2 + 0.5)
        output += (z * phi)[..., None] * w2[:, neuron]
    return output


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"feed_forward": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    layer = module.FeedForward(ModelConfig(5, 64, 1, d_ff=256))
    return layer(torch.zeros(8, 128, 64))
