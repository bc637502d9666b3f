"""Multi-head attention: H small attentions next to each other, each on K = D / H channels.

    x (B, T, D) ──qkv_projection──▶ Q | K | V  (B, T, 3D)
                                        │ split into heads:  3 × (B, H, T, K)
                                        │ causal attention, each head by itself
    output (B, T, D) ◀──output_projection── joined (B, T, D)

One attention gathers one mixture of positions; H of them gather several at once. The order of the
columns matters, or weights could not be exchanged:

    the 3D columns   first all D of the queries, then all D of the keys, then those of the values
    each D columns   head 0 has the first K of them, head 1 the next K, …
    joined           the same order again: head 0's K results, then head 1's, …

`scaled_dot_product_attention(Q, K, V, mask)` and `causal_mask(T, S)` are the exercises before this
one; they are given here, or copy yours into this file. Attention acts on the last two dimensions,
so the heads must be a dimension before them, like B.

A cache remembers keys and values of earlier positions, during generation. If there is one:

    keys, values = cache.append(keys, values)    takes (B, H, T, K), returns (B, H, S, K): all
                                                 positions so far, and these T at the end
    cache.mask                                   the mask to use; None means the causal mask of
                                                 T queries and S keys
"""

from typing import Any

from torch import Tensor, nn

from transformer.attention import causal_mask, scaled_dot_product_attention
from transformer.config import ModelConfig


class MultiHeadAttention(nn.Module):
    """(B, T, D) -> (B, T, D); no position sees a later one.

    It has two submodules: `qkv_projection`, nn.Linear from D to 3D, and `output_projection`,
    nn.Linear from D to D, both with a bias. There is no dropout.
    """

    def __init__(self, config: ModelConfig) -> None:
        """D is config.d_model, H is config.n_heads."""
        super().__init__()
        self.n_heads = config.n_heads
        # One matrix for all three, and for all heads: one product instead of 3 · H small ones.
        self.qkv_projection = nn.Linear(config.d_model, 3 * config.d_model)
        self.output_projection = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """x (B, T, D) -> (B, T, D).

        Args:
            cache: see above; None if there are no earlier positions.
        """
        B, T, D = x.shape
        queries, keys, values = self.qkv_projection(x).chunk(3, dim=-1)  # (B, T, D) each
        queries = self._split(queries)  # (B, H, T, K)
        keys = self._split(keys)  # (B, H, T, K)
        values = self._split(values)  # (B, H, T, K)
        mask = None
        if cache is not None:
            # What the cache returns begins with the earlier positions: S = earlier + T.
            keys, values = cache.append(keys, values)  # (B, H, S, K)
            mask = cache.mask
        if mask is None:
            mask = causal_mask(T, keys.size(2)).to(x.device)  # (T, S)
        heads, _ = scaled_dot_product_attention(queries, keys, values, mask)  # (B, H, T, K)
        # Back to one row per position *before* the heads are joined: (B, H, T, K) reshaped to
        # (B, T, D) at once would have the right shape, and mix up positions and heads.
        joined = heads.transpose(1, 2).reshape(B, T, D)
        # It lets the heads' results meet: until here no channel of one saw another's.
        return self.output_projection(joined)  # (B, T, D)

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, K)."""
        B, T, D = x.shape
        # First cut each row into heads, then bring the heads forward. `view(B, H, T, K)` would cut
        # across the rows: a head would get a few positions whole instead of a few channels of all.
        return x.view(B, T, self.n_heads, D // self.n_heads).transpose(1, 2)
