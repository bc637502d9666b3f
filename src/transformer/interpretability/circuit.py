"""Which earlier head does the induction head lean on?

An induction head must find the token B after an earlier A. There are two known ways:

    … A B … A     A *previous-token head* writes into B's vector which token came before it.
      ▲ │         The induction head looks for "A came before me".
      └─┘

    … A B … A     A *duplicate-token head* finds the earlier A and brings along its position.
      ▲     │     The induction head looks one place further on.
      └─────┘

Which one a model has learned is a question to the model, not to a textbook: two runs of the same
command can differ. So each head of an earlier block is ablated, one at a time (its output set to
zero), and two things are measured: the induction head's score, which says whether it still finds
its place, and the probability of the copied token. The head that is missed most is then judged by
where it looks. With first(t) as in `Repeats`, and means over the repeated tokens t,

    previous-token score     A[first(t) + 1, first(t)]     from B to the earlier A
    duplicate-token score    A[t, first(t)]                from the present A to the earlier one

Ablation shows that a head is necessary; it does not show what it writes. And a head whose work a
second one does as well is not missed at all.

Sources: Elhage et al. (2021) for the previous-token head; Wang et al. (2022) for duplicate-token
heads and their positions.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from transformer.interpretability.ablation import hidden_losses
from transformer.interpretability.hooks import Edit, from_block_of, measure, replacing, streams
from transformer.interpretability.induction import (
    NOT_REPEATED,
    BestHead,
    Repeats,
    best_head,
    by_block,
    duplicate_token_scores,
    induction_scores,
)
from transformer.model import DecoderOnlyTransformer

COPIES = 0.3  # an induction score from which we speak of an induction head
MISSED = 0.25  # the share of that score which has to be lost without a head that it leans on
MOSTLY = 0.5  # of a head's attention


@dataclass(frozen=True)
class Helper:
    """One head of an earlier block, and the model without it."""

    layer: int
    head: int
    score: float
    """Induction score of the best head, while this one writes nothing."""
    probability: float
    """Mean probability of the copied token, while this one writes nothing."""
    previous_token: float
    duplicate_token: float

    @property
    def kind(self) -> str:
        """What it looks at for more than half of its attention."""
        if max(self.previous_token, self.duplicate_token) < MOSTLY:
            return "neither"
        if self.previous_token >= self.duplicate_token:
            return "previous-token head"
        return "duplicate-token head"


@dataclass(frozen=True)
class Circuit:
    """The best induction head, and what becomes of it without each earlier head."""

    best: BestHead
    probability: float
    """Mean probability of the copied token, with all heads."""
    helpers: list[Helper]
    """Every head of the blocks before it, the one most missed first."""

    @property
    def leans_on(self) -> Helper | None:
        """The head most missed, if the score falls by at least a quarter without it."""
        if self.best.score < COPIES or not self.helpers:
            return None
        most = self.helpers[0]
        return most if most.score <= (1 - MISSED) * self.best.score else None


def find_circuit(model: DecoderOnlyTransformer, repeats: Repeats) -> Circuit:
    """Ablate each head before the best induction head: one run of the model for each."""
    looks = by_block(model, repeats.ids, partial(_places, repeats=repeats))  # (n_layers, 3, H)
    best = best_head(looks[:, 0])
    _, probability = _look(model, repeats, best)
    known = streams(model, repeats.ids)
    helpers = []
    for layer in range(best.layer):
        for head in range(model.config.n_heads):
            tap = f"blocks.{layer}.attention.heads"
            with from_block_of(model, tap, known), replacing(model, {tap: _silence(head)}):
                score, without = _look(model, repeats, best)
            helpers.append(Helper(layer, head, score, without, *looks[layer, 1:, head].tolist()))
    return Circuit(best, probability, sorted(helpers, key=lambda helper: helper.score))


def previous_token_scores(weights: Tensor, repeats: Repeats) -> Tensor:
    """Mean attention from the token after a first occurrence to that occurrence: (n_layers, H)."""
    first = repeats.first.to(weights.device)  # (B, T)
    rows, queries = (first != NOT_REPEATED).nonzero(as_tuple=True)  # (N,) each
    places = first[rows, queries]  # (N,)
    attention = weights.movedim(2, 1)[:, :, rows, places + 1, places]  # (n_layers, H, N)
    return attention.float().mean(dim=-1)  # (n_layers, H)


def _places(weights: Tensor, repeats: Repeats) -> Tensor:
    """Where heads look, (n_layers, 3, H): induction, previous token, duplicate token."""
    kinds = (induction_scores, previous_token_scores, duplicate_token_scores)
    return torch.stack([kind(weights, repeats) for kind in kinds], dim=1)


def _look(model: DecoderOnlyTransformer, repeats: Repeats, best: BestHead) -> tuple[float, float]:
    """Induction score of the best head, and the mean probability of the copied token."""
    rows, queries = (repeats.first != NOT_REPEATED).nonzero(as_tuple=True)  # (N,) each
    copied = repeats.ids[rows, queries + 1]  # (N,)
    weights = f"blocks.{best.layer}.attention.weights"
    found = measure(
        model,
        repeats.ids,
        {
            weights: lambda w: induction_scores(w[None], repeats)[0, best.head],
            "final_norm": lambda hidden: hidden[rows, queries],  # (N, D)
        },
    )
    losses = hidden_losses(model, found["final_norm"], copied)  # (N,)
    return float(found[weights]), float((-losses).exp().mean())


def _silence(head: int) -> Edit:
    """An edit of (B, H, T, K) that sets what one head writes to zero."""

    def edit(heads: Tensor) -> Tensor:
        changed = heads.clone()
        changed[:, head] = 0
        return changed

    return edit


def describe(circuit: Circuit) -> str:
    """The finding in words that are true of any model.

    >>> helper = Helper(0, 1, 0.1, 0.2, previous_token=0.9, duplicate_token=0.0)
    >>> print(describe(Circuit(BestHead(0.8, 1, 2), 0.9, [helper])))
    Head 1.2 leans on head 0.1, a previous-token head: without it, its induction score falls \
from 0.80 to 0.10, and the probability of the copied token changes from 0.90 to 0.20
    """
    best, score = f"{circuit.best.layer}.{circuit.best.head}", f"{circuit.best.score:.2f}"
    if circuit.best.score < COPIES:
        return f"No head has an induction score of {COPIES}: there is no circuit to look for"
    if not circuit.helpers:
        return f"Head {best} is in the first block: there is no earlier head to lean on"
    most, helper = circuit.helpers[0], circuit.leans_on
    if helper is None:
        return (
            f"Head {best} leans on no single earlier head: its induction score falls most, from "
            f"{score} to {most.score:.2f}, without head {most.layer}.{most.head}"
        )
    kind = f"a {helper.kind}"
    if helper.kind == "neither":
        kind = "neither a previous-token nor a duplicate-token head"
    return (
        f"Head {best} leans on head {helper.layer}.{helper.head}, {kind}: without it, its "
        f"induction score falls from {score} to {helper.score:.2f}, and the probability of the "
        f"copied token changes from {circuit.probability:.2f} to {helper.probability:.2f}"
    )
