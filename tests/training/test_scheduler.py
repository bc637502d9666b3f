"""The learning rate at every boundary, against its closed form."""

import math
from itertools import pairwise

import pytest

from transformer.training.scheduler import Schedule, make_schedule


def closed_form(step: int, peak: float, total: int, warmup: int) -> float:
    if step <= warmup:
        return peak * step / warmup
    if step >= total:
        return 0.1 * peak
    return peak * (0.55 + 0.45 * math.cos(math.pi * (step - warmup) / (total - warmup)))


@pytest.mark.parametrize(("total", "share"), [(1000, 0.05), (97, 0.05), (20, 0.5), (1, 0.05)])
def test_every_step_follows_the_closed_form(total: int, share: float) -> None:
    schedule = make_schedule(3e-4, total, share)
    warmup = math.ceil(share * total)
    for step in range(1, total):
        assert schedule(step) == pytest.approx(closed_form(step, 3e-4, total, warmup), rel=1e-12)


def test_boundaries() -> None:
    schedule = Schedule(peak=1.0, total_steps=100, warmup_steps=10)
    assert schedule(1) == 0.1
    assert schedule(10) == 1.0
    assert schedule(11) < 1.0
    assert schedule(55) == pytest.approx(0.55)
    assert schedule(99) > 0.1
    assert schedule(100) == pytest.approx(0.1)


def test_it_never_rises_again() -> None:
    schedule = Schedule(peak=1.0, total_steps=100, warmup_steps=10)
    rates = [schedule(step) for step in range(10, 1000)]
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert set(rates[90:]) == {0.1}


def test_without_a_warm_up_it_starts_at_the_peak() -> None:
    assert make_schedule(2.0, 100, 0.0)(0) == 2.0


@pytest.mark.parametrize(("total", "share"), [(1000, 0.05), (20, 0.5), (3, 0.0), (1, 1.0)])
def test_a_straight_line_ends_one_step_before_nothing(total: int, share: float) -> None:
    schedule = make_schedule(2.0, total, share, "linear")
    warmup = math.ceil(share * total)
    assert schedule(max(1, warmup)) == pytest.approx(2.0 if warmup else 2.0 * total / (total + 1))
    falls = {round(schedule(s) - schedule(s + 1), 12) for s in range(max(1, warmup), total)}
    assert falls <= {round(2.0 / (total - warmup + 1), 12)}
    assert schedule(total) == schedule(total + 500) == pytest.approx(2.0 / (total - warmup + 1))
