"""Step 1: sinusoidal positions, which tell the model where each token is.

Attention is a weighted sum, and a sum ignores order, so order has to be put into the vectors
themselves. Each pair of columns is a clock hand that turns at its own speed:

    PE(p, 2i)     = sin(p · ω_i)
    PE(p, 2i + 1) = cos(p · ω_i)          ω_i = 10000^(-2i / D)

The first hand goes round every 6.3 positions, the last takes 58,470 at D = 256 (62,832 in the
limit of large D). Two properties make this useful, and tests prove both:

- Moving by k positions turns every hand by a fixed angle: PE(p + k) = R_k · PE(p), with one
  rotation matrix R_k for all p. "Three to the left" is the same linear map everywhere.
- PE(p) · PE(q) = Σ_i cos((p - q) · ω_i): similarity depends on the distance only.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5.
"""

import torch
from torch import Tensor, nn

from transformer.config import ModelConfig
from transformer.errors import UserError

BASE = 10_000.0


def sinusoidal_encoding(length: int, d_model: int) -> Tensor:
    """The table of positions 0 … length - 1.

    Args:
        length: number of positions T.
        d_model: width D; even, since sines and cosines come in pairs.

    Returns:
        (T, D) float32; sines in the even columns, cosines in the odd ones. Angles are
        computed in float64: in float32 the product p · ω loses digits as p grows.

    >>> sinusoidal_encoding(2, 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    if length < 1:
        raise UserError(f"length must be at least 1, but is {length}")
    if d_model < 2 or d_model % 2:
        raise UserError(f"d_model must be even and at least 2, but is {d_model}")
    positions = torch.arange(length, dtype=torch.float64)  # (T,)
    columns = torch.arange(0, d_model, 2, dtype=torch.float64)  # (D/2,)
    frequencies = BASE ** (-columns / d_model)  # (D/2,)  ω_i, in radians per position
    angles = positions[:, None] * frequencies  # (T, D/2)
    pairs = torch.stack((angles.sin(), angles.cos()), dim=-1)  # (T, D/2, 2)
    return pairs.flatten(1).float()  # (T, D)


class SinusoidalPositions(nn.Module):
    """Adds to each vector the table's row for its place; there is nothing to learn.

    `places` is a slice (the same positions for every row of a batch) or a (B, T) tensor.
    """

    table: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        table = sinusoidal_encoding(config.max_seq_len, config.d_model)
        table = table * config.variant.position_scale
        self.register_buffer("table", table, persistent=False)  # (max_seq_len, D)

    def forward(self, x: Tensor, places: Tensor | slice) -> Tensor:
        return x + self.table[places]  # (B, T, D) + (T, D) or (B, T, D)
