"""RMSNorm: LayerNorm without the mean and without the bias.

Over the D values of each position, by itself:

    RMSNorm(x) = γ · x / √(mean(x²) + ε)            mean(x²) = (x_1² + … + x_D²) / D

What a sublayer needs is an input of known size: the root of the mean of the squares becomes 1.
Nothing is subtracted and nothing is added. γ (`weight`) has one number for each of the D columns
and is learned; ε keeps the root away from 0.

Pitfall: numbers of 16 bits. In float16 the square of 300 is infinite already, and in bfloat16 a
sum has 8 bits of precision. So everything is computed in float32 at least (float64 stays float64),
and only the result has the type of x again, whatever type `weight` has.
"""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """(..., D) -> (..., D), each vector of size 1 (root of the mean square), times `weight`.

    Its only parameter is `weight`, (D,), ones at the start.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        """
        Args:
            d_model: width D.
            eps: ε, under the root.
        """
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D), with any dimensions in front -> the same shape and type."""
        # float16 and bfloat16 become float32, float32 and float64 stay as they are.
        precise = x.to(torch.promote_types(x.dtype, torch.float32))  # (..., D)
        squares = precise * precise  # (..., D)
        # A mean, not a sum: a vector of ones has size 1, whatever D is.
        size = torch.sqrt(squares.mean(dim=-1, keepdim=True) + self.eps)  # (..., 1)
        normed = precise / size * self.weight  # (..., D)
        return normed.to(x.dtype)
