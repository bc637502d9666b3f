"""The judge of the learning rate's schedule."""

import cmath
import math
from collections.abc import Callable
from types import ModuleType

from exercises.judging.check import Check
from exercises.judging.inside import reference, same_training
from transformer.training.mine import Mine
from transformer.training.scheduler import Schedule

FORBIDDEN = {
    "torch.optim.lr_scheduler.LambdaLR": "the exercise is the formula",
    "torch.optim.lr_scheduler.LinearLR": "the exercise is the formula",
    "torch.optim.lr_scheduler.CosineAnnealingLR": "the exercise is the formula",
    "torch.optim.lr_scheduler.OneCycleLR": "the exercise is the formula",
    "torch.optim.lr_scheduler.SequentialLR": "the exercise is the formula",
    "transformer.training.scheduler.Schedule": "it is our solution",
    "transformer.training.scheduler.make_schedule": "it is our solution",
}
PEAK, S, W, LOWEST = 8.0, 10, 4, 1.5
Rate = Callable[[int, float, int, int, float], float]


def in_small(yours: ModuleType, check: Check) -> None:
    """The rise, the fall, what comes after; then W = 0 and W = S."""
    rate = yours.learning_rate
    _rise(rate, check)
    _fall(rate, check)
    _after(rate, check)
    _without_warmup(rate, check)
    _only_warmup(rate, check)


def _given(step: int, total: int = S, warmup: int = W) -> str:
    return (
        f"step = {step}, peak = {PEAK:g}, total_steps = {total}, warmup_steps = {warmup}, "
        f"lowest = {LOWEST:g}"
    )


def _rise(rate: Rate, check: Check) -> None:
    check.equal(
        rate(1, PEAK, S, W, LOWEST),
        2.0,
        given=_given(1),
        mistakes={
            "steps count from 1, not from 0: the first update is wasted on a rate of 0": 0.0,
            "the rise starts at lowest; it should start at 0": LOWEST + (PEAK - LOWEST) / W,
            "the rise should reach the peak at step W, this one does at W - 1": PEAK / (W - 1),
            "the rise should reach the peak at step W, this one does at W + 1": PEAK / (W + 1),
            "steps count from 1: one was added again": PEAK * 2 / W,
            "the rise is never below lowest; it should be straight from 0": LOWEST + 1e-9,
            "there is no rise: the cosine starts at step 0": (
                LOWEST + (PEAK - LOWEST) * (1 + math.cos(math.pi / S)) / 2
            ),
            "there is no rise: the peak comes at once": PEAK,
            "the rise takes all steps, not only W": PEAK / S,
        },
        otherwise="the first step has a wrong rate",
    )
    check.equal(
        rate(3, PEAK, S, W, LOWEST), 6.0, given=_given(3), otherwise="the rise is not straight"
    )


def _cosine(done: float, low: float = LOWEST, top: float = PEAK) -> float:
    return low + (top - low) * (1 + math.cos(math.pi * done)) / 2


def _fall(rate: Rate, check: Check) -> None:
    """Near the end, where lowest shows; then a third of the way; then its begin."""
    for step in (9, 6, W):
        done = (step - W) / (S - W)
        cut_off = max(LOWEST, _cosine(done, low=0.0))
        check.equal(
            rate(step, PEAK, S, W, LOWEST),
            _cosine(done),
            given=_given(step),
            mistakes={
                "the rise continues; step W has the peak, then the rate falls": PEAK * step / W,
                "the rate stays at the peak": PEAK,
                "the fall is straight; it should follow a cosine": PEAK + (LOWEST - PEAK) * done,
                "the fall is counted from step 0, not from W": _cosine(step / S),
                "the fall takes S steps; it has S - W": _cosine((step - W) / S),
                "the fall goes to 0 and is cut off at lowest; it should land there softly": cut_off,
                "the fall ends at 0; it should end at lowest": _cosine(done, low=0.0),
                "`lowest` is added on top: what falls is peak - lowest, not the peak": (
                    LOWEST + _cosine(done, low=0.0)
                ),
                "`lowest` is a rate, not a share of the peak": _cosine(done, low=PEAK * LOWEST),
                "this cosine goes from 1 to 0; (1 + cos(π · …)) / 2 is flat at both ends": (
                    LOWEST + (PEAK - LOWEST) * math.cos(math.pi * done / 2)
                ),
                "the cosine goes from 1 to -1: add 1 and halve it": (
                    LOWEST + (PEAK - LOWEST) * math.cos(math.pi * done)
                ),
                "the fall is not halved: 1 + cos goes from 2 to 0": (
                    LOWEST + (PEAK - LOWEST) * (1 + math.cos(math.pi * done))
                ),
                "π is missing: the cosine takes radians": _cosine(done / math.pi),
                "180 is in the place of π: the cosine takes radians": _cosine(180 * done / math.pi),
                "the cosine is upside down: the rate jumps to lowest and rises": _cosine(1 - done),
            },
            otherwise="in the fall the rate is wrong",
        )


def _after(rate: Rate, check: Check) -> None:
    check.equal(
        rate(S, PEAK, S, W, LOWEST),
        LOWEST,
        given=_given(S),
        mistakes={"the fall should be over at step S, this one is at S + 1": _cosine(6 / 7)},
        otherwise="step S has the lowest rate",
    )
    for step in (13, 16):
        done = (step - W) / (S - W)
        check.equal(
            rate(step, PEAK, S, W, LOWEST),
            LOWEST,
            given=_given(step),
            mistakes={
                "after step S the cosine rises again: a run that continues would be shaken up": (
                    _cosine(done)
                ),
                "after step S the rate is 0: a run that continues would learn nothing": 0.0,
            },
            otherwise="after step S the rate should stay at lowest",
        )


def _without_warmup(rate: Rate, check: Check) -> None:
    given, expected = _given(1, warmup=0), _cosine(1 / S)
    try:
        came = rate(1, PEAK, S, 0, LOWEST)
    except ZeroDivisionError as error:
        check.fail(
            given=given,
            came=error,
            expected=expected,
            mistake="without warm-up the rise divides by 0: it is for steps before W only",
        )
    check.equal(came, expected, given=given, otherwise="without warm-up the rate is wrong")


def _only_warmup(rate: Rate, check: Check) -> None:
    given = _given(S, warmup=S)
    try:
        came = rate(S, PEAK, S, S, LOWEST)
    except ZeroDivisionError as error:
        check.fail(
            given=given,
            came=error,
            expected=LOWEST,
            mistake="if W = S, the fall divides by S - W = 0: ask for step ≥ S first",
        )
    check.equal(
        came,
        LOWEST,
        given=given,
        mistakes={"if W = S, step S has the lowest rate: ask for step ≥ S first": PEAK},
        otherwise="if W = S, step S has the lowest rate",
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Whole runs. The cosine comes from a hand that turns by the same angle at each step."""
    for total, warmup, peak, lowest in [
        (1, 0, 1e-3, 1e-4),
        (7, 1, 3e-4, 0.0),
        (20, 0, 0.5, 0.5),
        (50, 13, 6e-4, 6e-5),
        (31, 30, 2.0, 0.1),
    ]:
        turn = cmath.exp(1j * math.pi / (total - warmup))
        hand = 1.0 + 0.0j
        for step in range(1, total + 5):
            if step > warmup:
                hand *= turn
            expected = lowest + (peak - lowest) * (1 + hand.real) / 2
            if step >= total:
                expected = lowest
            elif step < warmup:
                expected = peak * step / warmup
            check.equal(
                yours.learning_rate(step, peak, total, warmup, lowest) / peak,
                expected / peak,
                given=f"step = {step}, peak = {peak}, total_steps = {total}, "
                f"warmup_steps = {warmup}, lowest = {lowest}; as shares of the peak",
                otherwise="the rate is wrong",
                tolerance=1e-7,
            )


def in_the_model(yours: ModuleType, check: Check) -> None:
    """The same rates as in a real run, then the same weights."""
    ours = Schedule(3e-4, total_steps=40, warmup_steps=2)
    schedule = Mine({"schedule": yours}).schedule(ours)
    for step in range(1, 60):
        check.equal(
            schedule(step) / ours.peak,
            ours(step) / ours.peak,
            given=f"step {step} of a run of 40, as a share of the peak",
            otherwise="the rate is another than in our training",
        )
    same_training(Mine({"schedule": yours}), reference(), reference(), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return [module.learning_rate(step, 1.0, 1000, 50, 0.1) for step in range(1, 1100)]
