"""Sampling: from logits to the next token.

    logits ──▶ temperature ──▶ top-k ──▶ top-p ──▶ softmax ──▶ draw

    temperature τ    logits / τ: below 1 the likely becomes likelier, above 1 less so. 0 is the
                     limit: all probability on the best token ("greedy")
    top-k            the k most likely tokens stay
    top-p            the smallest set of most likely tokens that has probability p or more stays:
                     few where the model is sure, many where it is not

A filter sets the logits of what it removes to -inf, which softmax turns into exactly 0, and leaves
the others as they are. The next filter sees the distribution that is left: softmax of the new
logits, which sums to 1 again. So the order matters.

Where logits are equal, the token with the lower id comes first. (`sort` keeps that order only with
`stable=True`, `topk` promises none.)

Drawing inverts the distribution function. u is uniform in [0, 1):

    cumulative   |--a--|----------b----------|-c-|      u falls into b's stretch:
                 0               ▲ u             1      the token is b
"""

import torch
from torch import Tensor


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits (B, V) at this temperature, 0 or positive: (B, V).

    At 0 only the largest logit of each row stays (of equal ones, the first); all others become
    -inf. A number may be added to a whole row: softmax does not see it.
    """
    if temperature == 0:
        # argmax takes the first of several maxima.
        best = logits.argmax(dim=-1, keepdim=True)  # (B, 1)
        return torch.full_like(logits, float("-inf")).scatter(-1, best, 0.0)
    return logits / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Exactly the k largest logits of each row stay, or all if there are fewer: (B, V)."""
    order = logits.sort(dim=-1, descending=True, stable=True).indices  # (B, V)
    # Not "all logits >= the k-th": several may be equal to it.
    removed = order[:, k:]  # (B, V - k); empty if k >= V
    return logits.scatter(-1, removed, float("-inf"))


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The smallest set of most likely tokens with probability p or more stays: (B, V).

    From the most likely down, a token stays if those before it have less than p together. So the
    token that crosses p stays too, and the first always does. 0 < p <= 1.
    """
    sorted_logits, order = logits.sort(dim=-1, descending=True, stable=True)  # (B, V)
    probabilities = sorted_logits.softmax(dim=-1)  # (B, V)
    before = probabilities.cumsum(dim=-1) - probabilities  # (B, V), without the token itself
    sorted_logits = sorted_logits.masked_fill(before >= p, float("-inf"))
    # Back from the sorted order: what is at place i belongs to token order[i].
    return torch.empty_like(logits).scatter(-1, order, sorted_logits)


def next_token_distribution(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Tensor:
    """The probabilities that the next token is drawn from: (B, V) -> (B, V).

    Temperature, then top-k, then top-p, then softmax. None leaves a filter out.
    """
    logits = apply_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    # Last: what was removed becomes 0, and the rest sums to 1 again.
    return logits.softmax(dim=-1)


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """One token for each row.

    Args:
        probabilities: (B, V); each row sums to 1, give or take the rounding.
        uniform: (B,), a number in [0, 1) for each row.

    Returns:
        (B,) int64: the first token whose cumulative probability, itself included, is larger than
        the row's number. It is never a token with probability 0, and never V.
    """
    cumulative = probabilities.double().cumsum(dim=-1)  # (B, V)
    # Rounding may end at 0.9999999, below a large u. Divided by the end, it is exactly 1.
    cumulative = cumulative / cumulative[:, -1:]
    # How many stretches end at or before u? <= and not <: a stretch of length 0 is skipped.
    return (cumulative <= uniform[:, None]).sum(dim=-1)  # (B,)
