"""2019: RMS norm. LayerNorm without its mean, and here without its bias.

    RMSNorm(x) = γ · x / √(mean(x²) + ε)                LayerNorm subtracts mean(x) first, adds β

What a sublayer needs is an input of known size. Subtracting the mean removes one of D directions
and costs a pass over the vector; leaving it out changes little. Biases go for the same reason:
they are few, and a large model learns as well without them. Without a gain (`norm_gain=False`)
the norm has nothing to learn: γ can be absorbed by the matrix that follows.

Pitfall: the mean of squares is computed in float32, also where the rest is in bf16, and ε stands
inside the root.

Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
"""

import torch
from torch import Tensor, nn

from transformer.config import ModelConfig


def rms_normed(x: Tensor, eps: float) -> Tensor:
    """x / √(mean(x²) + ε) over the last dimension, in float32 at least.

    >>> rms_normed(torch.tensor([3.0, -4.0]), eps=0.0)  # mean of squares 12.5
    tensor([ 0.8485, -1.1314])
    """
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    size = (precise.square().mean(dim=-1, keepdim=True) + eps).rsqrt()  # (..., 1)
    return (precise * size).to(x.dtype)


class RMSNorm(nn.Module):
    """(..., D) -> (..., D), with a gain γ (D,) that starts at 1 unless `norm_gain` is off."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.eps = config.variant.norm_eps
        self.weight = nn.Parameter(torch.ones(config.d_model)) if config.variant.norm_gain else None

    def forward(self, x: Tensor) -> Tensor:
        normed = rms_normed(x, self.eps)  # (..., D)
        return normed if self.weight is None else normed * self.weight.to(x.dtype)


def layer_norm(config: ModelConfig) -> nn.LayerNorm:
    """LayerNorm as in block.py, with what a variant leaves out."""
    variant = config.variant
    return nn.LayerNorm(
        config.d_model,
        eps=variant.norm_eps,
        elementwise_affine=variant.norm_gain,
        bias=variant.bias,
    )
