"""LayerNorm: every vector is brought to the same size before a sublayer reads it.

Over the D values of each position, by itself:

    LayerNorm(x) = γ · (x - mean) / √(variance + ε) + β

    mean      = (x_1 + … + x_D) / D
    variance  = ((x_1 - mean)² + … + (x_D - mean)²) / D        over D, not D - 1

γ (`weight`) and β (`bias`) have one number for each of the D columns and are learned. ε keeps the
root away from 0 where all D values are equal.

No position sees another: with x of shape (B, T, D) there are B · T means, each of D values.

Pitfall: mean(x²) - mean(x)² is the same variance on paper. In float32 it is the small difference
of two large numbers if the mean is large, and few digits are left of it.
"""

import torch
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """(..., D) -> (..., D), each vector with mean 0 and variance 1, times `weight`, plus `bias`.

    Its two parameters are `weight`, (D,), ones at the start, and `bias`, (D,), zeros at the start.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        """
        Args:
            d_model: width D.
            eps: ε, under the root.
        """
        super().__init__()
        self.eps = eps
        # As nn.Parameter they are found by optimisers, saved, and moved to a GPU with the model.
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D), with any dimensions in front -> the same shape."""
        # keepdim leaves a dimension of size 1, so that each mean meets the vector it came from.
        mean = x.mean(dim=-1, keepdim=True)  # (..., 1)
        centred = x - mean  # (..., D)
        # The mean of their squares is the variance over D; x.var would divide by D - 1.
        variance = (centred * centred).mean(dim=-1, keepdim=True)  # (..., 1)
        normed = centred / torch.sqrt(variance + self.eps)  # (..., D)
        # First γ, then β: β is not scaled.
        return normed * self.weight + self.bias
