"""What kind of place does a head look at? Five scores, each from 0 to 1, and an entropy.

For a query at position t and a key at position s, w[t, s] is the attention weight; every row
sums to 1. All scores are means over the queries t >= 1 of all sequences (position 0 can only
look at itself, which says nothing):

    previous_token  w[t, t-1]
    first_token     w[t, 0]            often high in heads that find nothing to look at
    current_token   w[t, t]
    same_token      Σ w[t, s] over the s < t with the same token; only the t that have one
    uniform         1 - ½ Σ_s |w[t, s] - 1/(t+1)|: 1 minus the total variation distance from
                    looking at everything equally
    entropy         -Σ_s w[t, s] ln w[t, s], in nats; 0 looks at one place, ln(t+1) at all

A score is high or low only against chance: `chance_scores` gives those of a head that looks
at everything equally, as heads of an untrained model nearly do. They are not small in short
texts. A score describes these sequences; it is no proof of what the head is for.

The names are those of the literature: previous-token heads (Elhage et al. 2021), duplicate-
token heads for `same_token` (Wang et al. 2022), attention sinks for `first_token` (Xiao et
al. 2023).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from transformer.errors import UserError
from transformer.interpretability.induction import by_block
from transformer.model import DecoderOnlyTransformer


@dataclass(frozen=True)
class PatternScores:
    """Each (n_layers, H); defined at the top of this file."""

    previous_token: Tensor
    first_token: Tensor
    current_token: Tensor
    same_token: Tensor
    """NaN where no token of the sequences comes twice."""
    uniform: Tensor
    entropy: Tensor
    """In nats."""


def model_patterns(model: DecoderOnlyTransformer, ids: Tensor) -> PatternScores:
    """Score every head of a model on the sequences `ids`, with one block's weights in memory."""

    def scores(weights: Tensor) -> Tensor:
        return torch.stack(list(vars(pattern_scores(weights, ids)).values()), dim=1)  # (1, 6, H)

    return PatternScores(*by_block(model, ids, scores).unbind(dim=1))  # (n_layers, H) each


def pattern_scores(weights: Tensor, ids: Tensor) -> PatternScores:
    """Score every head on the sequences `ids`.

    Args:
        weights: (n_layers, B, H, T, T) from `attention_weights(model, ids)`.
        ids: (B, T), no padding, T >= 2.
    """
    if ids.size(1) < 2:
        raise UserError("patterns need at least 2 tokens; give a longer prompt")
    rows = weights[..., 1:, :].double()  # (n_layers, B, H, T-1, T), queries 1 … T-1
    even = _uniform_attention(ids)[1:]  # (T-1, T)
    to_same = (rows * _earlier_same(ids)[:, None, 1:]).sum(dim=-1)  # (n_layers, B, H, T-1)
    has_same = _earlier_same(ids)[:, 1:].any(dim=-1)  # (B, T-1)
    entropy = torch.special.entr(rows).sum(dim=-1)  # (n_layers, B, H, T-1)
    return PatternScores(
        previous_token=_mean(rows.diagonal(dim1=-2, dim2=-1)),
        first_token=_mean(rows[..., 0]),
        current_token=_mean(rows.diagonal(offset=1, dim1=-2, dim2=-1)),
        same_token=to_same.movedim(2, 1)[:, :, has_same].mean(dim=-1),
        uniform=_mean(1 - (rows - even).abs().sum(dim=-1) / 2),
        entropy=_mean(entropy),
    )


def chance_scores(ids: Tensor) -> PatternScores:
    """The scores of one head that looks at every position up to its own equally: (1, 1)."""
    B, T = ids.shape
    return pattern_scores(_uniform_attention(ids).expand(1, B, 1, T, T), ids)


def _uniform_attention(ids: Tensor) -> Tensor:
    T = ids.size(1)
    allowed = torch.ones(T, T, dtype=torch.float64, device=ids.device).tril()  # (T, T)
    return allowed / allowed.sum(dim=-1, keepdim=True)


def _earlier_same(ids: Tensor) -> Tensor:
    """(B, T, T) bool: key s comes before query t and holds the same token."""
    return (ids[:, :, None] == ids[:, None, :]).tril(diagonal=-1)


def _mean(scores: Tensor) -> Tensor:
    """(n_layers, B, H, T-1) -> (n_layers, H)."""
    return scores.mean(dim=(1, 3))
