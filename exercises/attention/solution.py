"""Scaled dot-product attention: every position asks, and gets a weighted mean of what answers.

    scores  = Q Kᵀ / √K           how well does key s fit query t?
    weights = softmax(scores)     each row is positive and sums to 1
    output  = weights · V         a weighted mean of the values

Dividing by √K: for entries of mean 0 and variance 1 a dot product of K terms has variance K.
Undivided, one score would tower over the others and softmax would pass almost no gradient.

Where the mask is False a query may not look: its weight there is exactly 0.
"""

import math

import torch
from torch import Tensor


def scaled_dot_product_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(Q Kᵀ / √K) · V.

    Args:
        queries: (..., T, K).
        keys, values: (..., S, K).
        mask: bool, broadcastable to (..., T, S), True where a query may look; every query may
            look somewhere. None: everywhere.

    Returns:
        output (..., T, K) and weights (..., T, S).
    """
    K = queries.size(-1)
    # One dot product for each pair: (..., T, K) times (..., K, S). `.T` would swap all dimensions.
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(K)  # (..., T, S)
    if mask is not None:
        # exp(-inf) is exactly 0. A large negative number would do almost the same, but "almost"
        # lets the future leak in low precision. After softmax it would be too late: the others
        # would no longer sum to 1.
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=-1)  # over the keys
    return weights @ values, weights
