"""A learning rate for each rung, found with equal effort: the classic model gets as much as any.

Each rung is trained with half, once and twice the rates that it begins with, on half the tokens
and a seed that is used for nothing else, and the best of the three wins. A rung begins with what
the one below it won, so that rates can wander further than a factor of two over the ladder. AdamW's
rate and Muon's change together.

Three trainings see a valley of this width only roughly. That is the same for all rungs; a rung's
gain over another contains what is left of it.
"""

from collections.abc import Callable

from transformer.climbing.study import TUNING_SEED, Training
from transformer.climbing.trainings import Row, Trainings

FACTORS = (0.5, 1.0, 2.0)


def tuned(trainings: Trainings, report: Callable[[Row], object]) -> dict[str, float]:
    """For each rung the factor of its own rates that ended with the lowest loss."""
    study = trainings.study
    found: dict[str, float] = {}
    for rung in study.rungs:
        before = study.before(rung)
        start = found[before] if before else 1.0
        tries = [
            Training(study.path(rung), TUNING_SEED, study.steps // 2, start * factor)
            for factor in FACTORS
        ]
        rows = trainings.run(tries, report)
        found[rung] = min(rows, key=lambda row: row.loss).factor
    return found
