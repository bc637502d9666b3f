"""Sinusoidal positions: every place in a text gets a vector of its own, from a formula.

Attention is a weighted sum, and a sum does not know in which order its terms came. So a vector that
says "I am at place p" is added to each token's vector. Each pair of columns (2i, 2i + 1) is the
hand of a clock; the first turns fast, the last so slowly that it never comes round:

    PE(p, 2i)     = sin(p · ω_i)
    PE(p, 2i + 1) = cos(p · ω_i)          ω_i = 10000^(-2i / D),   i = 0 … D/2 - 1

So the sines are in the even columns, the cosines in the odd ones, and the two of a pair share
their ω. Places count from 0: row 0 is 0, 1, 0, 1, …

In float32 the product p · ω_i loses digits as p grows. So the angles are computed in float64, and
only the finished table is made float32.
"""

import torch
from torch import Tensor

BASE = 10_000.0


def sinusoidal_encoding(length: int, d_model: int) -> Tensor:
    """The table of the places 0 … length - 1.

    Args:
        length: number of places T, at least 1.
        d_model: width D of a vector, even.

    Returns:
        (T, D) float32.
    """
    places = torch.arange(length, dtype=torch.float64)  # (T,)
    # 0, 2, 4, …: the 2i of the formula, once for each pair.
    even_columns = torch.arange(0, d_model, 2, dtype=torch.float64)  # (D/2,)
    speeds = BASE ** (-even_columns / d_model)  # (D/2,)  ω_i, in radians per place
    # A column of places times a row of speeds: every product at once.
    angles = places[:, None] * speeds[None, :]  # (T, D/2)
    table = torch.empty(length, d_model, dtype=torch.float64)  # (T, D)
    # A step of 2 writes every other column. Both get the same angles: it is one hand of one clock.
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles)
    return table.float()
