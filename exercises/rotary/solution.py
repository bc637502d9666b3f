"""Rotary positions: queries and keys are turned by an angle that grows with their place.

The K channels of a head are K/2 pairs. Channel i forms a pair with channel i + K/2, so the first
half of the vector meets the second. Each pair is a point in the plane and is turned about 0, as the
hand of a clock, each pair at its own speed:

    a = x_i,  b = x_(i + K/2)        at place p both are replaced by

    x_i           becomes   a · cos(p · ω_i) - b · sin(p · ω_i)
    x_(i + K/2)   becomes   a · sin(p · ω_i) + b · cos(p · ω_i)

    ω_i = base^(-2i / K),   i = 0 … K/2 - 1

A dot product sees only the difference of two angles. So the score of a query and a key depends on
how far they are apart, and on nothing else about their places. At place 0 nothing is turned.

Computed in float32 at least (float64 stays float64), since angles grow large; the result has the
type of x again.
"""

import torch
from torch import Tensor


def rotate(x: Tensor, places: Tensor, base: float = 10_000.0) -> Tensor:
    """Turns each vector by the angles of its place.

    Args:
        x: queries or keys, (B, H, T, K), K even.
        places: int64, (T,), the same for all texts; or (B, T), where each text has its own. They
            need not begin at 0.
        base: of the speeds.

    Returns:
        (B, H, T, K), of the type of x.
    """
    K = x.size(-1)
    # The 2i of the formula, once for each pair.
    exponents = torch.arange(0, K, 2, dtype=torch.float64) / K  # (K/2,)
    speeds = (base**-exponents).to(places.device)  # (K/2,)  ω_i, in radians per place
    # In float64: in float32 the product loses digits as the place grows.
    angles = places[..., None] * speeds  # (T, K/2) or (B, T, K/2)
    if places.dim() == 2:
        # A dimension of size 1 where x has its heads: all heads of a text are turned in the same
        # way. Without it, B would meet H.
        angles = angles[:, None]  # (B, 1, T, K/2)
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    cos, sin = angles.cos().to(precise.dtype), angles.sin().to(precise.dtype)
    first, second = precise[..., : K // 2], precise[..., K // 2 :]  # (B, H, T, K/2) each
    # Both lines need both old values, so neither half may be overwritten before the other is done.
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.to(x.dtype)  # (B, H, T, K)
