"""Ablation: what does the model lose without this part?

The output of a head or of a whole sublayer is replaced, the rest is computed, and the loss is
compared. Two replacements are common:

    zero   the part writes nothing. Plain, but a value that the rest of the model never saw:
           part of the damage may come from that alone.
    mean   the part writes what it writes on average over the given texts, whatever the text.
           This removes what it says about *this* text and keeps what it always says.

A loss that rises shows that the part is **necessary** for these texts, given everything else
as it is. A loss that does not rise does not show that the part does nothing: another may do
the same and take over. And what is necessary need not be sufficient: see patching.py.

Sources: Olsson et al. (2022), who ablate heads by zero; Wang et al. (2022) for the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.data.batch import IGNORED
from transformer.generation import evaluating
from transformer.interpretability.hooks import Edit, from_block_of, measure, replacing
from transformer.interpretability.logit_lens import rows_together
from transformer.model import DecoderOnlyTransformer

Kind = Literal["zero", "mean"]


@dataclass(frozen=True)
class Component:
    """A head, or the whole attention or feed-forward sublayer of a block."""

    tap: str
    """`blocks.{i}.attention.heads`, `blocks.{i}.attention.output` or
    `blocks.{i}.feed_forward.output`."""
    head: int | None = None
    """Only for heads."""

    def __str__(self) -> str:
        return self.tap if self.head is None else f"{self.tap}.{self.head}"


def components(model: DecoderOnlyTransformer) -> list[Component]:
    """Every head and every sublayer, in the order they compute."""
    found = []
    for i in range(model.config.n_layers):
        heads = range(model.config.n_heads)
        found += [Component(f"blocks.{i}.attention.heads", head) for head in heads]
        found += [Component(f"blocks.{i}.attention.output")]
        found += [Component(f"blocks.{i}.feed_forward.output")]
    return found


@torch.no_grad()
def replacements(
    model: DecoderOnlyTransformer, ids: Tensor, kind: Kind = "mean", is_text: Tensor | None = None
) -> dict[Component, Tensor]:
    """What each component is to write instead: (D,), or (K,) for a head.

    Args:
        ids: (B, T) the texts over which to take means.
        is_text: (B, T) bool, False at padding, which does not count; None: no padding.
    """
    counts = torch.ones_like(ids, dtype=torch.bool) if is_text is None else is_text  # (B, T)

    def mean(output: Tensor) -> Tensor:
        """(B, T, D) -> (D,), or (B, H, T, K) -> (H, K)."""
        by_token = output.transpose(1, 2) if output.dim() == 4 else output  # (B, T, ...)
        return by_token[counts].mean(dim=0)

    parts = components(model)
    means = measure(model, ids, {part.tap: mean for part in parts})
    values = {}
    for part in parts:
        value = means[part.tap] if part.head is None else means[part.tap][part.head]
        values[part] = value if kind == "mean" else torch.zeros_like(value)
    return values


@torch.no_grad()
def token_losses(
    model: DecoderOnlyTransformer,
    ids: Tensor,
    targets: Tensor,
    component: Component | None = None,
    value: Tensor | None = None,
    known: Sequence[Tensor] = (),
) -> Tensor:
    """The loss at each token while `component` writes `value`; of the whole model for None.

    Args:
        ids, targets: (B, T); where a target is -100, the loss is 0.
        known: `streams(model, ids)`; with it, only what comes after is computed.

    Returns:
        (B, T) cross-entropy in nats. Its mean over the tokens one cares about is what the
        part is judged by: a head that copies songs matters in songs.
    """
    edits, start = {}, ""
    if component is not None and value is not None:
        edits = {component.tap: _overwrite(component.head, value)}
        start = component.tap if known else ""
    with evaluating(model), from_block_of(model, start, known), replacing(model, edits):
        hidden = model.hidden_states(ids)  # (B, T, D)
    return hidden_losses(model, hidden.flatten(0, 1), targets.flatten()).view(ids.shape)  # (B, T)


@torch.no_grad()
def hidden_losses(model: DecoderOnlyTransformer, hidden: Tensor, targets: Tensor) -> Tensor:
    """The same from the stream after the final norm, (N, D) and (N,), a chunk of logits at a time.

    Returns:
        (N,) in nats. exp(-loss) is the probability of the target.
    """
    rows = rows_together(model)
    chunks = zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    losses = [
        F.cross_entropy(model.unembed(h).float(), t, ignore_index=IGNORED, reduction="none")
        for h, t in chunks
    ]
    return torch.cat(losses)


def _overwrite(head: int | None, value: Tensor) -> Edit:
    """An edit to `value` of everything, or of one head of (B, H, T, K)."""

    def edit(activation: Tensor) -> Tensor:
        changed = activation.clone()
        part = changed if head is None else changed[:, head]
        part.copy_(value.expand_as(part))
        return changed

    return edit
