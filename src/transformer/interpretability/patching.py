"""Activation patching: which activation, moved into another run, moves the answer?

Take two prompts of equal length that differ where it matters and have different answers:

    clean       … she sang: la tum ri do. He sang: la tum   -> ri
    corrupted   … she sang: la tum bu do. He sang: la tum   -> bu

Run the corrupted prompt, but at one place (an activation, a position, perhaps one head) put
in the value from the clean run, and compute everything after it. The answer is judged by the
logit difference between the clean answer and the corrupted one at the last position, and
scaled so that 0 is the corrupted run and 1 the clean run:

    recovered = (patched - corrupted) / (clean - corrupted)

Values beyond 0 and 1 occur. Recovering 1 shows that the patched values are **sufficient** to
carry the difference between these two prompts. It does not show that they are necessary:
another place may carry it as well, and a whole residual stream carries everything. For
necessity see ablation.py. What both prompts share cannot show up here at all.

Sources: Vig et al., "Investigating Gender Bias in Language Models Using Causal Mediation
Analysis" (2020); Meng et al., "Locating and Editing Factual Associations in GPT" (2022),
causal tracing; Wang et al. (2022); Heimersheim and Nanda, "How to Use and Interpret
Activation Patching" (2024), for what it shows and what not.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.errors import UserError
from transformer.generation import evaluating
from transformer.interpretability.hooks import (
    Edit,
    block_of,
    from_block_of,
    record,
    replacing,
    streams,
)
from transformer.model import DecoderOnlyTransformer

Site = Literal["residual", "residual_middle", "attention.output", "feed_forward.output"]
EXPERIMENTS_PER_BATCH = 64
POSITIONS_PER_BATCH = 4096  # fewer experiments at once with long prompts
SMALLEST_DIFFERENCE = 1e-3  # logits; dividing by less would blow rounding up into findings


@dataclass(frozen=True)
class PromptPair:
    """Two prompts of equal length and the token that is right after each."""

    clean: Tensor
    """(T,) int64."""
    corrupted: Tensor
    """(T,) int64."""
    clean_answer: int
    corrupted_answer: int

    def __post_init__(self) -> None:
        if self.clean.shape != self.corrupted.shape:
            raise UserError(
                f"the clean prompt has {len(self.clean)} tokens, the corrupted one "
                f"{len(self.corrupted)}; they must have equally many, so that positions match"
            )
        if self.clean_answer == self.corrupted_answer:
            raise UserError(
                f"both prompts have the same answer, token {self.clean_answer}; "
                "patching can only move an answer that differs"
            )


@dataclass(frozen=True)
class Patch:
    """One value to take from the clean run."""

    tap: str
    """Name of an activation (hooks.py): residual stream, output, or heads."""
    position: int | None = None
    """None: every position."""
    head: int | None = None
    """Only for `...attention.heads`; None: every head."""


@dataclass(frozen=True)
class PatchingResult:
    """Logit differences (clean answer minus corrupted answer) at the last position."""

    clean: float
    corrupted: float
    patched: Tensor
    """(N,) one per experiment."""

    @property
    def recovered(self) -> Tensor:
        """(N,): 0 as the corrupted run, 1 as the clean run."""
        return (self.patched - self.corrupted) / (self.clean - self.corrupted)


@torch.no_grad()
def run_patches(
    model: DecoderOnlyTransformer,
    pair: PromptPair,
    experiments: Sequence[Sequence[Patch]],
    batch_size: int = EXPERIMENTS_PER_BATCH,
) -> PatchingResult:
    """Run the corrupted prompt once per experiment, with all the patches of that experiment.

    The experiments are rows of a batch: each row is patched at its own places, so a sweep
    over every block and position costs about as much as that many prompts do.

    Args:
        experiments: each a set of patches that are made together; none is the corrupted run.

    Raises:
        UserError: the two prompts hardly differ in their logit difference, so that there is
            nothing to recover; or a patch of the logits, which are the answer itself.
    """
    taps = sorted({patch.tap for patches in experiments for patch in patches})
    if "logits" in taps:
        raise UserError("logits cannot be patched: they are the answer itself")
    clean_values = record(model, pair.clean[None], [*taps, "final_norm"])
    last = clean_values["final_norm"][:, -1]  # (1, D)
    clean = _logit_difference(model.unembed(last), pair)[0]
    known = streams(model, pair.corrupted[None])
    runs = [_run_batch(model, pair, [()], clean_values, known)]  # the corrupted prompt as it is
    together = max(1, min(batch_size, POSITIONS_PER_BATCH // len(pair.clean)))
    for start in range(0, len(experiments), together):
        batch = experiments[start : start + together]
        runs.append(_run_batch(model, pair, batch, clean_values, known))
    corrupted, patched = runs[0][0], torch.cat([clean.new_empty(0), *runs[1:]])
    if abs(clean - corrupted) < SMALLEST_DIFFERENCE:
        raise UserError(
            f"the logit difference is {clean:.4f} after the clean prompt and {corrupted:.4f} "
            "after the corrupted one; choose prompts between which the model distinguishes"
        )
    return PatchingResult(float(clean), float(corrupted), patched)


def _run_batch(
    model: DecoderOnlyTransformer,
    pair: PromptPair,
    experiments: Sequence[Sequence[Patch]],
    clean_values: dict[str, Tensor],
    known: Sequence[Tensor],
) -> Tensor:
    """Logit differences (N,) of N corrupted runs, each patched in its own way."""
    by_tap: dict[str, list[tuple[int, Patch]]] = defaultdict(list)
    for row, patches in enumerate(experiments):
        for patch in patches:
            by_tap[patch.tap].append((row, patch))
    edits = {tap: _paste(clean_values[tap], chosen) for tap, chosen in by_tap.items()}
    ids = pair.corrupted.expand(len(experiments), -1)  # (N, T)
    first = min(edits, key=block_of, default="")
    with evaluating(model), from_block_of(model, first, known), replacing(model, edits):
        last = model.hidden_states(ids)[:, -1]  # (N, D); other positions need no logits
    return _logit_difference(model.unembed(last), pair)


def _logit_difference(logits: Tensor, pair: PromptPair) -> Tensor:
    """(N, V) -> (N,)."""
    return (logits[:, pair.clean_answer] - logits[:, pair.corrupted_answer]).float()


def _paste(clean: Tensor, chosen: Sequence[tuple[int, Patch]]) -> Edit:
    """An edit that puts `clean` (1, …, T, features) where the patches of each row say."""
    by_head = clean.dim() == 4  # (1, H, T, K), otherwise (1, T, D)

    def edit(activation: Tensor) -> Tensor:
        mask = torch.zeros(activation.shape[:-1], dtype=torch.bool, device=activation.device)
        for row, patch in chosen:
            positions = slice(None) if patch.position is None else patch.position
            if by_head:
                mask[row, slice(None) if patch.head is None else patch.head, positions] = True
            else:
                mask[row, positions] = True
        return torch.where(mask[..., None], clean, activation)

    return edit


def sweep(
    model: DecoderOnlyTransformer,
    pair: PromptPair,
    site: Site = "residual",
    batch_size: int = EXPERIMENTS_PER_BATCH,
) -> Tensor:
    """Recovered logit difference of patching one site at each block and position alone.

    Before the first token that differs both runs are the same, so it is 0 there.

    Returns:
        (n_layers, T).
    """
    if site not in get_args(Site):
        raise UserError(f"site must be one of {', '.join(get_args(Site))}, but is {site!r}")
    layers, T = range(model.config.n_layers), len(pair.clean)
    differing = (pair.clean != pair.corrupted).nonzero().flatten().tolist()
    first = min(differing, default=0)
    experiments = [[Patch(f"blocks.{i}.{site}", t)] for i in layers for t in range(first, T)]
    recovered = run_patches(model, pair, experiments, batch_size).recovered.view(len(layers), -1)
    return F.pad(recovered, (first, 0))  # (n_layers, T)


def sweep_heads(model: DecoderOnlyTransformer, pair: PromptPair) -> Tensor:
    """Recovered logit difference of patching one head, at all positions.

    Returns:
        (n_layers, H).
    """
    layers, heads = range(model.config.n_layers), range(model.config.n_heads)
    experiments = [[Patch(f"blocks.{i}.attention.heads", head=h)] for i in layers for h in heads]
    return run_patches(model, pair, experiments).recovered.view(len(layers), len(heads))
