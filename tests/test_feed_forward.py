import math

import pytest
import torch
from scipy.stats import norm

from transformer.block import Block
from transformer.config import ModelConfig
from transformer.feed_forward import FeedForward
from transformer.parts import CLASSIC

CONFIG = ModelConfig(vocab_size=11, d_model=8, n_heads=2, d_ff=12)


@torch.no_grad()
def test_it_is_the_formula_neuron_by_neuron() -> None:
    """GELU(z) = z · Φ(z), with Φ from scipy."""
    layer = FeedForward(CONFIG).double()
    x = torch.randn(8, dtype=torch.float64)
    expected = layer.contract.bias.tolist()
    for f in range(12):
        z = float(layer.expand.weight[f] @ x + layer.expand.bias[f])
        for d in range(8):
            expected[d] += z * norm.cdf(z) * float(layer.contract.weight[d, f])
    assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(layer(x), expected, strict=True))


def test_every_position_is_computed_alone() -> None:
    layer = FeedForward(CONFIG).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    before = layer(x)
    changed = x.clone()
    changed[0, 2] += 1.0
    difference = (layer(changed) - before).abs().sum(dim=-1)  # (B, T)
    assert difference[0, 2] > 0
    difference[0, 2] = 0
    assert difference.count_nonzero() == 0


def test_two_thirds_of_a_blocks_parameters_are_here() -> None:
    block = Block(ModelConfig(vocab_size=11), CLASSIC)
    here, whole = (
        sum(p.numel() for p in part.parameters()) for part in (block.feed_forward, block)
    )
    assert here / whole == pytest.approx(2 / 3, rel=0.01)


def test_the_tap_is_where_the_neurons_fire() -> None:
    layer = FeedForward(CONFIG)
    layer.activations.register_forward_hook(lambda _module, _args, output: output * 0)
    out = layer(torch.randn(1, 3, 8))
    torch.testing.assert_close(out, layer.contract.bias.expand(1, 3, 8))
