"""2021: other neurons. ReLU² and SwiGLU in place of GELU.

    GELU        z · Φ(z)                     since GPT-1 (2018); gelu_tanh approximates it (GPT-2)
    ReLU²       max(0, z)²                   found by search for fast training
    SwiGLU      silu(z) · u,  z = W_gate x,  u = W_expand x          Llama and most models since

ReLU² is exactly 0 for half of all inputs, so few neurons fire and one can look at which; where it
fires, it grows with the square, so a neuron can tell "a bit" from "a lot". SwiGLU has a second
matrix decide how much of the first passes. It has three matrices where the others have two: at an
equal number of parameters d_ff is two thirds as large, and d_ff is meant literally here.

Pitfall: a square makes large sums larger. Where the others start W₁ at the usual size, ReLU² wants
0.4 of it, or the first steps are rough.

Sources: So et al., "Primer" (2021); Shazeer, "GLU Variants Improve Transformer" (2020).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.config import ModelConfig

RELU2_START = 0.4  # of the usual size of the first matrix


class VariantFeedForward(nn.Module):
    """(B, T, D) -> (B, T, D), with the neurons of `variant.feed_forward`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind, bias = config.variant.feed_forward, config.variant.bias
        self.expand = nn.Linear(config.d_model, config.d_ff, bias=bias)
        if self.kind == "swiglu":
            self.gate = nn.Linear(config.d_model, config.d_ff, bias=bias)
        self.contract = nn.Linear(config.d_ff, config.d_model, bias=bias)
        self.activations, self.output = nn.Identity(), nn.Identity()  # taps

    def forward(self, x: Tensor) -> Tensor:
        activations = self.activations(self.fire(x))  # (B, T, F)
        return self.output(self.contract(activations))  # (B, T, D)

    def fire(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, F)."""
        sums = self.expand(x)  # (B, T, F)
        if self.kind == "relu2":
            return F.relu(sums).square()
        if self.kind == "swiglu":
            return F.silu(self.gate(x)) * sums
        return F.gelu(sums, approximate="tanh" if self.kind == "gelu_tanh" else "none")


@torch.no_grad()
def start_relu2_smaller(model: nn.Module) -> None:
    """Make the first matrix of every ReLU² layer smaller."""
    for module in model.modules():
        if isinstance(module, VariantFeedForward) and module.kind == "relu2":
            module.expand.weight.mul_(RELU2_START)
