"""2021: rotary positions. Not a vector added to the token, but an angle between query and key.

Sinusoids put "where" into the same vector as "what", and attention has to take them apart again.
Here queries and keys are turned instead, pair by pair, by an angle that grows with their place:

    (a, b) at place p   ──▶   (a cos pω − b sin pω,  b cos pω + a sin pω)

A dot product sees only the difference of two angles, so a score depends on what the tokens are and
on how far apart they are, and on nothing else:

    ⟨R(p) q, R(s) k⟩ = ⟨q, R(s − p) k⟩

The stream itself holds no positions, and there is nothing to learn. Channel i is paired with
channel i + K/2, and ω_i = base^(−2i / K): the same clock hands as in positional_encoding.py.

Pitfall: what the cache keeps are *rotated* keys. And base 10,000 is for short contexts; with a
larger base the slowest hands turn so little that they carry no position at all.

Source: Su et al., "RoFormer" (2021).
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from transformer.config import ModelConfig

Table = npt.NDArray[np.float32]


@lru_cache(maxsize=4)
def rotations(length: int, head_size: int, base: float) -> tuple[Table, Table]:
    """cos(p · ω_i) and sin(p · ω_i), (length, K/2) each: one table for all blocks.

    >>> rotations(2, 4, base=10_000.0)[1]
    array([[0.        , 0.        ],
           [0.84147096, 0.00999983]], dtype=float32)
    """
    frequencies = base ** (-np.arange(0, head_size, 2) / head_size)  # (K/2,)  ω_i
    angles = np.arange(length)[:, None] * frequencies  # (length, K/2), in float64
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


class Rotary(nn.Module):
    """Turns queries and keys (B, H, T, K) by the angles of their places."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes = (config.max_seq_len, config.head_size, config.variant.rotary_base)
        cos, sin = map(torch.from_numpy, rotations(*sizes))
        self.register_buffer("cos", cos, persistent=False)  # (max_seq_len, K/2)
        self.register_buffer("sin", sin, persistent=False)  # (max_seq_len, K/2)

    def forward(self, x: Tensor, places: Tensor | slice) -> Tensor:
        cos, sin = self.cos[places], self.sin[places]  # (T, K/2), or (B, T, K/2) by row
        if cos.dim() == 3:
            cos, sin = cos[:, None], sin[:, None]  # (B, 1, T, K/2): the same for each head
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        a, b = precise.chunk(2, dim=-1)  # (B, H, T, K/2) each
        turned = torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)  # (B, H, T, K)
        return turned.to(x.dtype)


class NoPositions(nn.Module):
    """What stands in the place of the sinusoids: the stream holds no positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()

    def forward(self, x: Tensor, places: Tensor | slice) -> Tensor:
        return x
