"""Steps 2 and 3: scaled dot-product attention, and the multi-head attention built from it.

Every position compares its *query* with the *keys* of all positions up to and including itself,
and takes a weighted average of their *values*. (Here Q, K and V name these matrices; in shapes
K is the size of a head.)

    scores  = Q Kᵀ / √K           how well does key s fit query t?
    weights = softmax(scores)     each row is positive and sums to 1
    output  = weights · V         a weighted mean of the values

Why divide by √K: for queries and keys with independent entries of mean 0 and variance 1, a dot
product of K terms has variance K. Undivided, one score would tower over the others, softmax
would saturate, and almost no gradient would flow through it.

The *causal mask* removes every key that comes after the query. It is what makes one forward
pass train T predictions at once without any of them seeing its answer:

              key 0  1  2  3
    query 0       ●  ·  ·  ·
          1       ●  ●  ·  ·      ● may look     · weight exactly 0
          2       ●  ●  ●  ·
          3       ●  ●  ●  ●

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.config import ModelConfig
from transformer.kv_cache import LayerCache
from transformer.machine.fast_paths import fused_attention, uses_kernel

Tap = Callable[[Tensor], Tensor]


def causal_mask(
    queries: int, keys: int | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Which key each query may look at: (queries, keys) bool, True where it may.

    With more keys than queries the queries are the *last* positions: the first query of a
    chunk that continues a cached text sees the whole cache and itself.

    >>> causal_mask(2, 4).int()
    tensor([[1, 1, 1, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    keys = queries if keys is None else keys
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return allowed.tril(diagonal=keys - queries)  # (T, S)


def _unchanged(x: Tensor) -> Tensor:
    return x


def scaled_dot_product_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    on_scores: Tap = _unchanged,
    on_weights: Tap = _unchanged,
) -> tuple[Tensor, Tensor]:
    """softmax(Q Kᵀ / √K) · V, line by line.

    Args:
        queries: (..., T, K).
        keys, values: (..., S, K); S = T unless a cache supplies earlier positions.
        mask: bool, broadcastable to (..., T, S), True where a query may look; every query
            must be allowed at least one key.
        on_scores, on_weights: called with the scores (before the mask) and the weights; what
            they return is used instead. This is where the inside is recorded and replaced.

    Returns:
        output (..., T, K) and weights (..., T, S).
    """
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.size(-1))  # (..., T, S)
    scores = on_scores(scores)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))  # exp(-inf) = 0: weight exactly 0
    weights = on_weights(F.softmax(scores, dim=-1))  # (..., T, S)
    return weights @ values, weights  # (..., T, K), (..., T, S)


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each on its own K = D/H wide projection of the input.

        x (T, D) ──qkv_projection──▶ Q, K, V ──split──▶ H × (T, K)
                                                            │ attention, head by head
        output (T, D) ◀──output_projection── join ◀─────────┘

    One head gathers one mixture of positions; several heads gather several at once (the
    previous token, the subject, the last time this word occurred). `output_projection` maps
    each head's result to width D and adds them up: that is what goes into the residual stream.

    The `nn.Identity` modules are taps: named places where hooks read or replace what passes
    through. Scores and weights exist only on the explicit path; a hook on either selects it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv_projection = nn.Linear(config.d_model, 3 * config.d_model)
        self.output_projection = nn.Linear(config.d_model, config.d_model)
        self.queries, self.keys, self.values = nn.Identity(), nn.Identity(), nn.Identity()
        self.scores, self.weights, self.heads = nn.Identity(), nn.Identity(), nn.Identity()
        self.output = nn.Identity()

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        queries, keys, values = self.project(x)  # (B, H, T, K) each
        mask = None
        if cache is not None:
            keys, values = cache.append(keys, values)  # (B, H, S, K), S = cached + T
            mask = cache.mask
        heads = self.heads(self.attend(queries, keys, values, mask))  # (B, H, T, K)
        joined = heads.transpose(1, 2).flatten(2)  # (B, T, D)
        return self.output(self.output_projection(joined))  # (B, T, D)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) -> queries, keys, values, each (B, H, T, K)."""
        split = self.qkv_projection(x).unflatten(-1, (3, self.config.n_heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # each (B, H, T, K)
        return self.queries(queries), self.keys(keys), self.values(values)

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Causal attention of the last T positions on all S, with scores in float32 at least.

        `mask` is the cache's, for rows that end at different places; None is the causal mask.
        """
        if uses_kernel(self.config.attention, queries, self.scores, self.weights):
            return fused_attention(queries, keys, values, mask)  # (B, H, T, K)
        if mask is None:
            mask = causal_mask(queries.size(-2), keys.size(-2), device=keys.device)
        precise = torch.promote_types(values.dtype, torch.float32)
        with torch.autocast(values.device.type, enabled=False):
            q, k, v = (x.to(precise) for x in (queries, keys, values))
            output, _ = scaled_dot_product_attention(
                q, k, v, mask, on_scores=self.scores, on_weights=self.weights
            )
        return output.to(values.dtype)  # (B, H, T, K)
