"""What the rows say: the loss of each rung, its gain, and tokens and time to the classic's loss.

loss              at the end: mean over the seeds, ± their standard deviation
gain              over the rung it stands on, seed by seed (they share data and order)
to the classic's  tokens after which the validation loss first is what the classic model has at
                  the end (a straight line between two evaluations), and the time they take
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.table import Table

from transformer.climbing.study import Study
from transformer.climbing.trainings import Row

FORMAT = "ladder 1"  # of what is saved


@dataclass(frozen=True)
class Spread:
    """A mean and a standard deviation (0 for one value)."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """
        >>> Spread.of([1.0, 3.0])
        Spread(mean=2.0, deviation=1.4142135623730951)
        """
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(statistics.mean(values), deviation)


@dataclass(frozen=True)
class RungSummary:
    """One rung over all seeds.

    Attributes:
        factor: of the rung's own learning rates.
        gain: in nats per token over the rung before it; None for the first.
        tokens_to_target: None if a seed did not get there; `seeds_there` says how many did.
        tokens: that were scored; the end of a short text is filled with others.
        seconds_per_token: of training, without validation and compiling.
        curve: (tokens, mean loss).
    """

    rung: str
    factor: float
    seeds: int
    loss: Spread
    gain: Spread | None
    tokens: int
    tokens_to_target: Spread | None
    seeds_there: int
    seconds_per_token: float
    parameters: int
    peak_mb: float | None
    induction: float | None
    curve: list[tuple[float, float]]

    @property
    def seconds_to_target(self) -> float | None:
        reached = self.tokens_to_target
        return None if reached is None else reached.mean * self.seconds_per_token


def tokens_until(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    """Where a curve first is at `target`, between two points on a straight line.

    >>> tokens_until([(100, 5.0), (200, 3.0)], target=4.0)
    150.0
    """
    before: tuple[float, float] | None = None
    for tokens, loss in curve:
        if loss <= target:
            if before is None or loss == target:
                return float(tokens)
            share = (before[1] - target) / (before[1] - loss)
            return before[0] + share * (tokens - before[0])
        before = tokens, loss
    return None


def summarise(study: Study, rows: Sequence[Row], seconds: Mapping[str, float]) -> list[RungSummary]:
    """One line for each rung, in the order of the rows; the first is what the others are
    measured against."""
    by_rung: dict[str, list[Row]] = {}
    for row in rows:
        by_rung.setdefault(row.rung, []).append(row)
    target = statistics.mean(row.loss for row in next(iter(by_rung.values())))
    found = []
    for rung in by_rung:
        before = by_rung.get(study.before(rung) or "")
        found.append(_summary(by_rung[rung], before, target, seconds[rung] * study.steps))
    end = Spread(float(found[0].tokens), 0.0)
    found[0] = replace(found[0], tokens_to_target=end, seeds_there=found[0].seeds)
    return found


def _summary(
    rows: Sequence[Row], before: Sequence[Row] | None, target: float, seconds: float
) -> RungSummary:
    """`seconds`: of a whole training."""
    reached = [tokens_until(row.curve, target) for row in rows]
    arrived = [tokens for tokens in reached if tokens is not None]
    peaks = [row.peak_mb for row in rows if row.peak_mb is not None]
    scores = [row.induction for row in rows if row.induction is not None]
    points = zip(*(row.curve for row in rows), strict=True)
    return RungSummary(
        rung=rows[0].rung,
        factor=rows[0].factor,
        seeds=len(rows),
        loss=Spread.of([row.loss for row in rows]),
        gain=None if before is None else _gain(before, rows),
        tokens=rows[0].curve[-1][0],
        tokens_to_target=Spread.of(arrived) if len(arrived) == len(rows) else None,
        seeds_there=len(arrived),
        seconds_per_token=seconds / rows[0].curve[-1][0],
        parameters=rows[0].parameters,
        peak_mb=max(peaks) if peaks else None,
        induction=statistics.mean(scores) if scores else None,
        curve=[
            (statistics.mean(t for t, _ in each), statistics.mean(loss for _, loss in each))
            for each in points
        ],
    )


def _gain(before: Sequence[Row], after: Sequence[Row]) -> Spread | None:
    losses = {row.seed: row.loss for row in before}
    pairs = [losses[row.seed] - row.loss for row in after if row.seed in losses]
    return Spread.of(pairs) if pairs else None


def precisions(rows: Sequence[Row]) -> str:
    """Those of all rows; more than one where several machines were at work."""
    return ", ".join(sorted({row.precision or "unknown" for row in rows}))


def to_json(study: Study, found: Sequence[RungSummary], rows: Sequence[Row]) -> dict[str, Any]:
    """What the page draws; losses in nats per token."""
    return {
        "format": FORMAT,
        "dataset": study.dataset,
        "tokenizer": study.base.tokenizer,
        "tokens": found[0].tokens,
        "seeds": study.seeds,
        "floor": rows[0].floor,
        "precision": precisions(rows),
        "rungs": [asdict(each) for each in found],
    }


def table(found: Sequence[RungSummary], title: str) -> Table:
    """For the terminal, 80 columns wide."""
    shown = Table(title=title, box=None, padding=(0, 1, 0, 0))
    shown.add_column("rung", no_wrap=True)
    headings = ("loss", "gain", "tokens\nto it", "time\nto it", "tokens\n/s", "M params", "MB")
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    first = found[0]
    for each in found:
        reached = each.tokens_to_target
        shown.add_row(
            each.rung,
            _plus_minus(each.loss, each.seeds),
            "" if each.gain is None else _plus_minus(each.gain, each.seeds),
            _share(each) if reached is None else f"{first.tokens / reached.mean:.2f}×",
            _times(first, each),
            f"{1 / each.seconds_per_token:,.0f}",
            f"{each.parameters / 1e6:.2f}",
            "–" if each.peak_mb is None else f"{each.peak_mb:,.0f}",
        )
    return shown


def _plus_minus(spread: Spread, seeds: int) -> str:
    """One seed has no spread."""
    return f"{spread.mean:z.3f}" + f" ±{spread.deviation:.3f}" * (seeds > 1)


def _share(each: RungSummary) -> str:
    """Where not all seeds got there: how many did."""
    return f"{each.seeds_there} of {each.seeds}" if each.seeds_there else "–"


def _times(first: RungSummary, each: RungSummary) -> str:
    """How many times sooner than the classic model at its end."""
    seconds = each.seconds_to_target
    whole = first.tokens * first.seconds_per_token
    return "–" if seconds is None else f"{whole / seconds:.2f}×"
