"""2019 to 2023: fewer heads of keys and values than of queries.

    8 query heads    0 1 2 3 4 5 6 7
    2 key heads      ───0─── ───1───        each is read by 8 / 2 = 4 query heads

While a model writes, every token reads all cached keys and values; with a quarter of the heads
the cache is a quarter as large, and long texts go that much faster. It does not lower the loss, at
best it does not raise it. One key head for all is called multi-query attention.

Pitfall: query head h reads key head h // (H / n_kv_heads). Neighbours share, not every n-th head;
weights from elsewhere only fit if that is the same.

Sources: Shazeer, "Fast Transformer Decoding" (2019); Ainslie et al., "GQA" (2023).
"""

from torch import Tensor


def shared_heads(x: Tensor, n_heads: int) -> Tensor:
    """Keys or values (B, n_kv_heads, S, K) -> (B, H, S, K), each head repeated for its readers.

    >>> import torch
    >>> shared_heads(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), 4).flatten().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    if x.size(1) == n_heads:
        return x
    return x.repeat_interleave(n_heads // x.size(1), dim=1)
