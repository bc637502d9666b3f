"""Induction heads: heads that find how the text continued the last time.

    … A B C … A          the current token is A; it occurred before, followed by B
        ▲     │
        └─────┘          the head attends to B, the token AFTER the earlier A

Attending there and copying the token (copying_heads.py) predicts B. One attention alone cannot
match: neither A's query nor B's key knows on its own that this B came after an A. An earlier
head must bring that, in one of two known ways, which circuit.py tells apart: by telling B which
token came before it, or by finding the earlier A and its position. So a circuit of this kind
takes two blocks.

The **induction score** of a head is the mean of its attention from each token of a second
copy to the token after the same token in the first copy: 1 for an ideal induction head. The
offset matters. A *duplicate-token head* attends to the earlier A itself; its induction score
is 0 and its duplicate-token score 1.

The score says where a head looks, not how it finds the place. Where copies always start at the
same mark, a head can count from there instead of matching tokens, and score as high; a copy
that starts in the middle tells the two apart (docs/experiments.md has a real case).

Sources: Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021), which
found the circuit; Olsson et al., "In-context Learning and Induction Heads" (2022), whose
"prefix matching" this is: attention "to the token which induction would suggest comes next".
They repeat 25 random tokens four times; here there are two copies, so that a single place is
right and the ideal score is 1. Duplicate-token heads: Wang et al., "Interpretability in the
Wild" (2022).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from transformer.errors import UserError
from transformer.interpretability.hooks import measure, record
from transformer.model import DecoderOnlyTransformer

NOT_REPEATED = -1


@dataclass(frozen=True)
class Repeats:
    """Sequences in which something occurs twice."""

    ids: Tensor
    """(B, T) int64."""
    first: Tensor
    """(B, T) int64: for a token of a second copy whose successor is copied too, the position
    of the same token in the first copy; -1 for every other position."""


class BestHead(NamedTuple):
    """The head with the highest score."""

    score: float
    layer: int
    head: int


def attention_weights(model: DecoderOnlyTransformer, ids: Tensor) -> Tensor:
    """Where every head looks: (n_layers, B, H, T, T); rows are queries and sum to 1."""
    recorded = record(model, ids, ["blocks.*.attention.weights"])
    return torch.stack(list(recorded.values()))  # (n_layers, B, H, T, T)


def by_block(
    model: DecoderOnlyTransformer, ids: Tensor, scores: Callable[[Tensor], Tensor]
) -> Tensor:
    """Scores of every block's attention weights, of which one block's are in memory at a time.

    Args:
        scores: function of weights (1, B, H, T, T), with a result (1, ...).

    Returns:
        (n_layers, ...), as `scores(attention_weights(model, ids))` gives.
    """
    found = measure(model, ids, {"blocks.*.attention.weights": lambda w: scores(w[None])})
    return torch.cat(list(found.values()))


def induction_scores(weights: Tensor, repeats: Repeats) -> Tensor:
    """Mean attention to the token after the first occurrence.

    Args:
        weights: (n_layers, B, H, T, T) from `attention_weights(model, repeats.ids)`.

    Returns:
        (n_layers, H), each from 0 to 1.
    """
    return _attention_to_first_copy(weights, repeats, offset=1)


def duplicate_token_scores(weights: Tensor, repeats: Repeats) -> Tensor:
    """Mean attention to the first occurrence itself: (n_layers, H)."""
    return _attention_to_first_copy(weights, repeats, offset=0)


def _attention_to_first_copy(weights: Tensor, repeats: Repeats, offset: int) -> Tensor:
    first = repeats.first.to(weights.device)  # (B, T)
    rows, queries = (first != NOT_REPEATED).nonzero(as_tuple=True)  # (N,) each
    keys = first[rows, queries] + offset  # (N,)
    attention = weights.movedim(2, 1)[:, :, rows, queries, keys]  # (n_layers, H, N)
    return attention.float().mean(dim=-1)  # (n_layers, H)


def chance(repeats: Repeats) -> float:
    """Either score of a head that looks at all positions up to its own equally: 1/(t+1)."""
    _, queries = (repeats.first != NOT_REPEATED).nonzero(as_tuple=True)  # (N,)
    return float((1 / (queries + 1)).mean())


def best_head(scores: Tensor) -> BestHead:
    """The highest of (n_layers, H) scores."""
    layer, head = divmod(int(scores.argmax()), scores.size(1))
    return BestHead(float(scores[layer, head]), layer, head)


def fitting_length(max_seq_len: int, vocab_size: int) -> int:
    """How many random tokens a model can be shown twice: 25, or as many as fit.

    Raises:
        UserError: fewer than 2 fit, and of a single token nothing can be copied.
    """
    length = min(25, (max_seq_len - 1) // 2, vocab_size - 1)
    if length < 2:
        raise UserError(
            f"this model's context is {max_seq_len} tokens and its vocabulary {vocab_size}; "
            "to look for induction takes at least 5 and 3: two tokens, and the same two again"
        )
    return length


def repeated_random_tokens(
    vocab_size: int, end_of_text: int, length: int = 25, count: int = 32, seed: int = 0
) -> Repeats:
    """End-of-text, `length` random tokens, and the same tokens once more, `count` times.

    No token comes twice within a copy, so that each has one first occurrence. Nothing but
    the repetition helps to predict the second copy: no word, no grammar.

    Raises:
        UserError: the vocabulary has fewer than `length` other tokens.
    """
    every = torch.arange(vocab_size)
    candidates = every[every != end_of_text]
    if not 2 <= length <= len(candidates):
        raise UserError(f"length must be from 2 to {len(candidates)}, but is {length}")
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(candidates), generator=generator) for _ in range(count)]
    copies = candidates[torch.stack(orders)[:, :length]]  # (B, length)
    ids = torch.cat([torch.full((count, 1), end_of_text), copies, copies], dim=1)  # (B, T)
    first = torch.full_like(ids, NOT_REPEATED)
    first[:, 1 + length : -1] = torch.arange(1, length)
    return Repeats(ids, first)
