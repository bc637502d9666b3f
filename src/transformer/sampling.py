"""Step 8: sampling. From logits to the next token: one pipeline of filters, then one draw.

The model gives a score to each of V tokens. Taking the best one every time (greedy) is
repeatable and tends to go round in circles. Drawing from softmax(logits) itself is varied, but
now and then picks one of the thousands of tokens that are each almost impossible, and then the
text goes off the rails. Everything here is between the two:

    logits ─▶ repetition penalty ─▶ temperature ─▶ top-k ─▶ top-p ─▶ min-p ─▶ softmax ─▶ draw

    repetition penalty  tokens of the text so far become less likely
    temperature τ       logits / τ: below 1 the likely becomes likelier, above 1 less so;
                        0 means the limit, all probability on the best token
    top-k               the k most likely tokens stay
    top-p (nucleus)     the smallest set of most likely tokens that has probability p stays:
                        a few where the model is sure, many where it is not
    min-p               tokens with at least min-p times the best one's probability stay

A filter sets the logits of what it removes to -inf, which softmax turns into exactly 0, and
the next filter sees the distribution that the last one left. The order therefore matters.

Sources: Keskar et al., "CTRL" (2019), repetition penalty; Fan et al., "Hierarchical Neural
Story Generation" (2018), top-k; Holtzman et al., "The Curious Case of Neural Text
Degeneration" (2019), top-p; Nguyen et al., "Turning Up the Heat" (2024), min-p.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer.errors import UserError
from transformer.machine.device import in_float64

REMOVED = float("-inf")
PENALTIES = 0.01, 100.0  # outside these, nothing is left of the model's own distribution
FIRST_LOOK = 1024  # tokens sorted before all V are: the nucleus is rarely larger


@dataclass(frozen=True)
class SamplingSettings:
    """How the next token is chosen; the defaults leave the model's distribution alone.

    Raises:
        UserError: a value is impossible; the message names it.
    """

    temperature: float = 1.0
    """0 is greedy, 1 the model's own distribution."""
    top_k: int | None = None
    """Keep the k most likely tokens."""
    top_p: float | None = None
    """Keep the smallest set of most likely tokens that has this probability."""
    min_p: float | None = None
    """Keep tokens at least this many times as likely as the best."""
    repetition_penalty: float = 1.0
    """Above 1, tokens of the text so far become less likely; 1.1 is gentle, 1.5 strong."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < math.inf:  # false for NaN as well
            raise UserError(f"temperature must be 0 or positive, but is {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k must be at least 1, but is {self.top_k}; leave it out for all")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise UserError(f"top_p must be above 0 and at most 1, but is {self.top_p}")
        if self.min_p is not None and not 0.0 <= self.min_p <= 1.0:
            raise UserError(f"min_p must be between 0 and 1, but is {self.min_p}")
        weakest, strongest = PENALTIES
        if not weakest <= self.repetition_penalty <= strongest:
            raise UserError(
                f"repetition_penalty must be from {weakest} to {strongest}, "
                f"but is {self.repetition_penalty}"
            )


PRESETS = {
    "greedy": SamplingSettings(temperature=0.0),
    "precise": SamplingSettings(temperature=0.5, top_k=40),
    "balanced": SamplingSettings(temperature=0.8, top_p=0.95),
    "creative": SamplingSettings(temperature=1.1, min_p=0.05),
}


def next_token_distribution(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    history: Tensor | None = None,
) -> Tensor:
    """The probabilities that the next token is drawn from, after all filters.

    Args:
        logits: (B, V).
        history: (B, T) ids of the text so far, for the repetition penalty; negative ids are
            padding. The other arguments are those of `SamplingSettings`.

    Returns:
        (B, V); each row sums to 1.

    >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    >>> next_token_distribution(logits, temperature=0.5)  # squared, then normalised again
    tensor([[0.6579, 0.2368, 0.1053]])
    >>> next_token_distribution(logits, top_p=0.7)
    tensor([[0.6250, 0.3750, 0.0000]])
    """
    settings = SamplingSettings(temperature, top_k, top_p, min_p, repetition_penalty)
    return filter_stages(logits, settings, history)[-1][1].softmax(dim=-1)


def filter_stages(
    logits: Tensor, settings: SamplingSettings, history: Tensor | None = None
) -> list[tuple[str, Tensor]]:
    """The pipeline stage by stage: (name, logits after it), "model" first.

    Stages that would change nothing are left out.

    Raises:
        UserError: a row of the logits has no finite maximum (NaN, or nothing to choose).
    """
    if not logits.amax(dim=-1).isfinite().all():
        raise UserError("the model's logits are not finite numbers; its training has diverged")
    logits = logits if logits.dtype == torch.float64 else logits.float()
    stages = [("model", logits)]
    if settings.repetition_penalty != 1.0 and history is not None:
        logits = penalise_repetition(logits, history, settings.repetition_penalty)
        stages.append(("repetition penalty", logits))
    if settings.temperature == 0.0:
        return [*stages, ("greedy", keep_greedy(logits))]
    if settings.temperature != 1.0:
        logits = apply_temperature(logits, settings.temperature)
        stages.append(("temperature", logits))
    if settings.top_k is not None:
        logits = keep_top_k(logits, settings.top_k)
        stages.append(("top-k", logits))
    if settings.top_p is not None and settings.top_p < 1.0:
        logits = keep_top_p(logits, settings.top_p)
        stages.append(("top-p", logits))
    if settings.min_p:
        logits = keep_min_p(logits, settings.min_p)
        stages.append(("min-p", logits))
    return stages


def next_ids(
    logits: Tensor,
    settings: SamplingSettings,
    generators: Sequence[torch.Generator],
    history: Tensor | None = None,
) -> Tensor:
    """One token per row, drawn from what the pipeline leaves: (B, V) -> (B,).

    Where only k tokens can be left (top-k, greedy), the pipeline gets those alone, in the order of
    their ids: the draw is the same, and it need not go through V numbers a dozen times.
    """
    k = 1 if settings.temperature == 0.0 else settings.top_k
    if k is None or settings.repetition_penalty != 1.0:
        return draw(filter_stages(logits, settings, history)[-1][1].softmax(dim=-1), generators)
    ids = _contenders(logits, k)  # (B, n)
    final = filter_stages(logits.gather(-1, ids), settings)[-1][1]  # (B, n)
    places = draw(final.softmax(dim=-1), generators)  # (B,)
    return ids.gather(-1, places[:, None])[:, 0]


def _contenders(logits: Tensor, k: int) -> Tensor:
    """The ids of the k largest logits of each row, and of all that equal the last of them in some
    row, in ascending order: (B, V) -> (B, n), n >= min(k, V)."""
    largest = logits.topk(min(k, logits.size(-1)))
    ties = int((logits >= largest.values[:, -1:]).sum(dim=-1).max())
    ids = largest.indices if ties <= k else logits.topk(ties).indices
    return ids.sort(dim=-1).values


def penalise_repetition(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    """Divide the logits of tokens in `history` by `penalty`; multiply where negative.

    Dividing a negative logit would bring it nearer to 0 and make the token *likelier*, hence
    the two cases. (B, V), (B, T) -> (B, V)
    """
    rows, V = logits.shape
    said = torch.zeros(rows, V + 1, dtype=torch.bool, device=logits.device)
    said.scatter_(1, history.where(history >= 0, V), True)  # padding is sent to column V
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    largest = torch.finfo(logits.dtype).max
    penalised = penalised.clamp(-largest, largest)  # an infinite score would beat every other
    return torch.where(said[:, :V], penalised, logits)


def keep_greedy(logits: Tensor) -> Tensor:
    """Only the largest logit stays; of equal ones, the one with the lowest id."""
    best = logits.argmax(dim=-1, keepdim=True)  # (B, 1), the first maximum
    return torch.full_like(logits, REMOVED).scatter(-1, best, 0.0)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """logits / τ, moved so that the largest is 0: a tiny τ then cannot make it infinite.

    A τ that the type of the logits cannot hold is replaced by the nearest that it can: rounded
    to 0 it would give 0 / 0, which is not a number.
    """
    type_ = torch.finfo(logits.dtype)
    held = min(max(temperature, type_.tiny), type_.max)
    return (logits - logits.amax(dim=-1, keepdim=True)) / held


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Exactly the k largest stay; of equal logits, those with lower ids."""
    largest = logits.topk(min(k, logits.size(-1))).values  # (B, k), sorted
    threshold = largest[:, -1:]  # (B, 1)
    return _keep_from(threshold, (largest == threshold).sum(dim=-1), logits)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The smallest set of most likely tokens whose probabilities sum to p or more stays.

    From the most likely down, a token stays if those before it have not reached p yet; so the
    first always does. "Reached" allows for the rounding of softmax: without that, with
    probabilities 0.5, 0.3, 0.2 and p = 0.8, chance would decide between two and three tokens.
    """
    V = logits.size(-1)
    total = logits.logsumexp(dim=-1, keepdim=True)  # (B, 1)
    for looked_at in (min(FIRST_LOOK, V), V):  # sorting all V takes far longer
        largest = logits.topk(looked_at).values  # (B, looked_at), sorted
        mass = in_float64((largest - total).exp()).cumsum(dim=-1)
        reached = (mass >= p - 8 * torch.finfo(logits.dtype).eps).to(logits.device)
        if reached[:, -1].all():
            break
    last = (~reached).sum(dim=-1, keepdim=True).clamp(max=looked_at - 1)  # (B, 1), its rank
    threshold = largest.gather(-1, last)  # (B, 1)
    inside = torch.arange(looked_at, device=last.device) <= last  # (B, looked_at)
    return _keep_from(threshold, ((largest == threshold) & inside).sum(dim=-1), logits)


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Tokens at least `min_p` times as likely as the best stay: a bound on logit differences."""
    threshold = logits.amax(dim=-1, keepdim=True) + math.log(min_p)  # (B, 1)
    return logits.masked_fill(logits < threshold, REMOVED)


def _keep_from(threshold: Tensor, ties: Tensor, logits: Tensor) -> Tensor:
    """Logits above `threshold` (B, 1) stay, and the first `ties` (B,) of those equal to it."""
    kept = logits >= threshold  # (B, V)
    rows, ids = (logits == threshold).nonzero(as_tuple=True)  # row by row, in order of id
    order = torch.arange(len(rows), device=rows.device) - torch.searchsorted(rows, rows)
    too_many = order >= ties[rows]
    kept[rows[too_many], ids[too_many]] = False
    return torch.where(kept, logits, REMOVED)


def draw(probabilities: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """One token per row, by inverting the distribution function: (B, V) -> (B,).

        cumulative   |--a--|----------b----------|-c-|      u falls into b's stretch:
                     0               ▲ u             1      the row's token is b

    Each row takes one uniform number u from its own generator, so that a row's text does not
    depend on its neighbours. The generators are on the CPU: a seed means the same everywhere.
    """
    uniform = torch.stack([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
    cumulative = in_float64(probabilities).cumsum(dim=-1)  # (B, V)
    cumulative = cumulative / cumulative[:, -1:]  # ends at exactly 1, above every u
    uniform = uniform.to(cumulative.device)  # (B, 1)
    drawn = torch.searchsorted(cumulative, uniform, right=True).squeeze(-1)
    return drawn.to(probabilities.device)
