"""A learning rate for each rung, found with equal effort: the classic model gets as much as any.

Each rung is trained with half, once and twice the rates that it begins with, on a seed that is used
for nothing else, and the best of the three wins. A rung begins with what the one before it won, so
that rates can wander further than a factor of two over the ladder. AdamW's rate and Muon's change
together.

Three trainings see a valley of this width only roughly. That is the same for all rungs; a rung's
gain over another contains what is left of it.
"""

from collections.abc import Callable

from transformer.climbing.study import TUNING_SEED, Training
from transformer.climbing.trainings import Row, Trainings
from transformer.ladder.rungs import RUNGS, path_to

FACTORS = (0.5, 1.0, 2.0)


def tuned(
    trainings: Trainings, rungs: tuple[str, ...], report: Callable[[Row], object]
) -> dict[str, float]:
    """For each rung the factor of its own rates that ended with the lowest loss."""
    found: dict[str, float] = {}
    for rung in rungs:
        before = next((r for r in reversed(path_to(rung)[:-1]) if r in found), None)
        start = found[before] if before else 1.0
        tries = [
            Training(rung, TUNING_SEED, trainings.study.steps, start * factor) for factor in FACTORS
        ]
        rows = trainings.run(tries, report)
        found[rung] = min(rows, key=lambda row: row.loss).factor
    assert set(found) <= RUNGS.keys()
    return found
