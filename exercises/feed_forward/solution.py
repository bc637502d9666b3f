"""The feed-forward layer: what each position computes from what attention has brought it.

    FeedForward(x) = W₂ · GELU(W₁ x + b₁) + b₂        W₁: D -> F,  W₂: F -> D

Each of the F hidden neurons compares x with a pattern (its row of W₁) and, the better it fits, adds
more of a vector (its column of W₂). No position sees another. What comes out is not yet added to x:
that is the block's task, and so is dropout.

    GELU(z) = z · Φ(z)            Φ(z) = (1 + erf(z / √2)) / 2

is a ReLU with a soft corner. Φ(z) is the probability that a number drawn from the standard normal
distribution is smaller than z: near 0 for z < -2, a half at 0, near 1 for z > 2. `torch.erf` is
given; the approximations with tanh or a sigmoid are other functions.
"""

import math

import torch
from torch import Tensor, nn

from transformer.config import ModelConfig


class FeedForward(nn.Module):
    """(B, T, D) -> (B, T, D), the same for every position.

    It has two submodules: `expand`, nn.Linear from D to F, and `contract`, nn.Linear from F to D,
    both with a bias.
    """

    def __init__(self, config: ModelConfig) -> None:
        """D is config.d_model, F is config.d_ff."""
        super().__init__()
        self.expand = nn.Linear(config.d_model, config.d_ff)
        self.contract = nn.Linear(config.d_ff, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        z = self.expand(x)  # (B, T, F)
        # The one thing here that is not linear. Without it two matrices in a row would be no more
        # than one matrix.
        phi = (1 + torch.erf(z / math.sqrt(2))) / 2  # (B, T, F)
        # After `contract` nothing more is done: what is written into the stream may be negative.
        return self.contract(z * phi)  # (B, T, D)
