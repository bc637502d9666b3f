"""Copying heads: heads that write the token that they look at.

An attention pattern says where a head reads, not what it writes. Follow its write along the
*direct path*, past all later blocks, to the logits: a copying head raises the logits of the
tokens it attends to, more than those of other tokens.

The **copying score**, for a query at position t of a sequence with tokens x:

    ℓ       logits of what the head writes there (final LayerNorm's gain, unembedding)
    ℓ⁺      ReLU(ℓ - mean of ℓ over the vocabulary): what it raises, and how far
    ratio   Σ_s w[t, s] · ℓ⁺[x_s]  /  Σ ℓ⁺[v] over the distinct tokens v up to t
    score   2 · (mean ratio) - 1

1: the head raises only what it attends to; -1: only other tokens. Chance is not 0: a head
whose write has nothing to do with where it looks scores 2/n - 1 among n distinct tokens. An
induction head is both: a high induction score (it reads at the right place) and a high
copying score (it writes what it read).

Source: Olsson et al. (2022), appendix "Head activation evaluators", which rescales to -1 … 1
in the same way. The score takes no notice of how large the write is; attribution.py does.
"""

import torch
from torch import Tensor

from transformer.interpretability.attribution import head_writes, unembedding, unscaled_norm
from transformer.interpretability.hooks import measure
from transformer.interpretability.induction import NOT_REPEATED, Repeats
from transformer.model import DecoderOnlyTransformer

MOST_NUMBERS = 2**24  # of the tokens' vectors at once: 64 MiB in float32


@torch.no_grad()
def copying_scores(model: DecoderOnlyTransformer, repeats: Repeats) -> Tensor:
    """Copying score of every head, at the repeated positions.

    Returns:
        (n_layers, H), each from -1 to 1; -1 for a head that raises nothing.
    """
    rows, queries = (repeats.first != NOT_REPEATED).nonzero(as_tuple=True)  # (N,) each
    tokens = repeats.ids[rows]  # (N, T)
    seen = _first_seen(repeats.ids)[rows] & (
        torch.arange(tokens.size(1), device=tokens.device) <= queries[:, None]
    )  # (N, T): each distinct token up to the query once
    taps = ("blocks.*.attention.weights", "blocks.*.attention.heads")
    repeated = dict.fromkeys(taps, lambda activation: activation[rows, :, queries])
    measured = measure(model, repeats.ids, repeated)
    scores = []
    for layer in range(model.config.n_layers):
        weights = measured[f"blocks.{layer}.attention.weights"]  # (N, H, T)
        heads = measured[f"blocks.{layer}.attention.heads"]  # (N, H, K)
        raised = _raised(model, head_writes(model, layer, heads), tokens)  # (N, H, T)
        attended = (weights * raised).sum(dim=-1)  # (N, H)
        total = (raised * seen[:, None]).sum(dim=-1)  # (N, H)
        ratio = attended / total.clamp_min(torch.finfo(total.dtype).tiny)
        scores.append(2 * ratio.mean(dim=0) - 1)
    return torch.stack(scores)


def _raised(model: DecoderOnlyTransformer, writes: Tensor, tokens: Tensor) -> Tensor:
    """How far writes (N, H, D) raise the logits of tokens (N, T) above the mean: (N, H, T)."""
    direct = unscaled_norm(model, writes)  # (N, H, D)
    table = unembedding(model)  # (V, D)
    together = max(1, MOST_NUMBERS // (tokens.size(1) * table.size(1)))  # rows of (T, D)
    parts = zip(torch.split(direct, together), torch.split(tokens, together), strict=True)
    logits = torch.cat([d @ table[t].transpose(-2, -1) for d, t in parts])  # (N, H, T)
    mean = direct @ table.mean(dim=0)  # (N, H): mean over the vocabulary
    return (logits - mean[..., None]).relu()


def _first_seen(ids: Tensor) -> Tensor:
    """(B, T) bool: this position holds the first occurrence of its token."""
    return ~(ids[:, :, None] == ids[:, None, :]).tril(diagonal=-1).any(dim=-1)
