"""The learning rate at every boundary, against its closed form."""

import math
from itertools import pairwise

import pytest

from transformer.training.scheduler import WarmupCosine, warmup_cosine


def closed_form(step: int, peak: float, total: int, warmup: int) -> float:
    if step <= warmup:
        return peak * step / warmup
    if step >= total:
        return 0.1 * peak
    return peak * (0.55 + 0.45 * math.cos(math.pi * (step - warmup) / (total - warmup)))


@pytest.mark.parametrize(("total", "share"), [(1000, 0.05), (97, 0.05), (20, 0.5), (1, 0.05)])
def test_every_step_follows_the_closed_form(total: int, share: float) -> None:
    schedule = warmup_cosine(3e-4, total, share)
    warmup = math.ceil(share * total)
    for step in range(1, total):
        assert schedule(step) == pytest.approx(closed_form(step, 3e-4, total, warmup), rel=1e-12)


def test_boundaries() -> None:
    schedule = WarmupCosine(peak=1.0, total_steps=100, warmup_steps=10)
    assert schedule(1) == 0.1
    assert schedule(10) == 1.0
    assert schedule(11) < 1.0
    assert schedule(55) == pytest.approx(0.55)
    assert schedule(99) > 0.1
    assert schedule(100) == pytest.approx(0.1)


def test_it_never_rises_again() -> None:
    schedule = WarmupCosine(peak=1.0, total_steps=100, warmup_steps=10)
    rates = [schedule(step) for step in range(10, 1000)]
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert set(rates[90:]) == {0.1}


def test_without_a_warm_up_it_starts_at_the_peak() -> None:
    assert warmup_cosine(2.0, 100, 0.0)(0) == 2.0
