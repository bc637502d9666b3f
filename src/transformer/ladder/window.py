"""2020: a sliding window. A query sees itself and the w − 1 positions before it.

              key 0  1  2  3  4
    query 0       ●  ·  ·  ·  ·
          1       ●  ●  ·  ·  ·
          2       ●  ●  ●  ·  ·         w = 3
          3       ·  ●  ●  ●  ·
          4       ·  ·  ●  ●  ●

The cost of a long text is then T · w scores and not T². Information still travels further: block
after block by up to w − 1 positions. Large models use it in most blocks, full attention in a few.
It saves time and memory and does not lower the loss.

Pitfall: after n blocks the reach is n · (w − 1), so a song that was sung further back than that is
forgotten. (Here the keys outside the window are masked, not skipped: it shows what a window does,
and is not faster.)

Source: Beltagy et al., "Longformer" (2020).
"""

import torch
from torch import Tensor


def window_mask(queries: Tensor, keys: int, window: int) -> Tensor:
    """Which keys each query may see.

    Args:
        queries: the places of the queries, (T,) or (B, T) int64.
        keys: S; key s is at place s.

    Returns:
        bool, (T, S) or (B, 1, T, S).

    >>> window_mask(torch.arange(4), 4, 2).int()
    tensor([[1, 0, 0, 0],
            [1, 1, 0, 0],
            [0, 1, 1, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    places = torch.arange(keys, device=queries.device)  # (S,)
    distance = queries[..., None] - places  # (T, S) or (B, T, S)
    seen = (distance >= 0) & (distance < window)
    return seen[:, None] if seen.dim() == 3 else seen
