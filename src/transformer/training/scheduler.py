"""The learning rate over a run: rise, fall, stay.

    peak ┤       ╭─╮           warm-up: linear from near 0 over the first 5 % of the steps.
         │      ╱   ╲            AdamW divides by an estimate of the gradient's size, which is
         │     ╱     ╲           rough at first, so early steps are kept small. A precaution:
         │    ╱       ╲          with pre-norm blocks and clipping we measured no gain from it
         │   ╱         ╲         (benchmarks/experiments/warmup.py).
         │  ╱           ╲      cosine: down to 10 % of the peak. Large steps cross the
     10 %┤ ╱             ╰────   landscape, small ones settle into a valley.
       0 ┤╱                    after the last planned step: 10 %, and never up again
         └───────┴───────┴───▶ step
                 W       S

    step ≤ W:      peak · step / W
    W < step < S:  peak · (0.1 + 0.9 · (1 + cos(π · (step − W) / (S − W))) / 2)
    step ≥ S:      peak · 0.1

`--schedule linear`, a rung of the ladder, falls in a straight line to the end, where almost nothing
is left: the smallest steps settle best, and a run that is not continued needs no rate for later.

    W < step < S:  peak · (S − step + 1) / (S − W + 1)
    step ≥ S:      peak / (S − W + 1)

Steps count from 1 (the first update), so no update is wasted on a learning rate of zero. The
rate is a pure function of the step: there is no state to save, and none to restore wrongly.

Source: Loshchilov and Hutter, "SGDR" (2016), without the restarts; Goyal et al., "Accurate,
Large Minibatch SGD" (2017), for the warm-up; Bergsma et al., "Straight to Zero" (2025).
"""

import math
from dataclasses import dataclass

from transformer.training.config import Fall

FLOOR = 0.1  # share of the peak that remains at the end


@dataclass(frozen=True)
class Plan:
    """How many steps, and over how many of them the learning rate falls."""

    steps_per_epoch: int
    total_steps: int
    schedule_steps: int


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step; see the picture above.

    >>> schedule = Schedule(peak=3e-4, total_steps=1000, warmup_steps=50)
    >>> [round(schedule(step) * 1e4, 3) for step in (1, 25, 50, 525, 1000, 5000)]
    [0.06, 1.5, 3.0, 1.65, 0.3, 0.3]
    """

    peak: float
    total_steps: int
    """S: the step at which the fall ends."""
    warmup_steps: int
    """W: the step at which the peak is reached; 0 starts at the peak."""
    fall: Fall = "cosine"

    def __call__(self, step: int) -> float:
        """The learning rate of update number `step`, counted from 1."""
        if step < self.warmup_steps:
            return self.peak * step / self.warmup_steps
        W, S = self.warmup_steps, self.total_steps
        step = min(step, S)
        if self.fall == "linear":
            return self.peak * (S - step + 1) / (S - W + 1)
        done = (step - W) / (S - W) if step < S else 1.0
        return self.peak * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2)


def make_schedule(peak: float, total_steps: int, warmup: float, fall: Fall = "cosine") -> Schedule:
    """The schedule whose warm-up takes the share `warmup` of all steps, rounded up."""
    return Schedule(peak, total_steps, min(math.ceil(warmup * total_steps), total_steps), fall)
