"""The learning rate of each step: a straight rise, then half a cosine down.

    peak   ┤       ╭─╮
           │      ╱   ╲
           │     ╱     ╲
           │    ╱       ╲
    lowest ┤   ╱         ╰────      after the last planned step: lowest, and never up again
         0 ┤  ╱
           └──┴────┴─────┴────▶ step
              0    W     S

    step < W        peak · step / W
    W ≤ step < S    lowest + (peak - lowest) · (1 + cos(π · (step - W) / (S - W))) / 2
    step ≥ S        lowest

The cosine of 0 is 1 and that of π is -1: the factor (1 + cos) / 2 falls from 1 to 0, slowly at both
ends. Steps count from 1, so the first update already has a rate that is not 0.
"""

import math


def learning_rate(
    step: int, peak: float, total_steps: int, warmup_steps: int, lowest: float
) -> float:
    """The learning rate of update number `step`.

    Args:
        step: 1, 2, …; training may continue after total_steps.
        peak: the largest rate, that of step W.
        total_steps: S.
        warmup_steps: W, from 0 (begin at the peak) to S. If W = S, step S has the lowest rate.
        lowest: the rate from step S on.
    """
    if step >= total_steps:
        # First, because W = S would divide by 0 below; and past S the cosine would rise again.
        return lowest
    if step < warmup_steps:
        # With W = 0 no step comes here, so there is no division by 0.
        return peak * step / warmup_steps
    # 0 at the peak, 1 at the end: only the steps of the fall count.
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    # The fall ends at lowest, so only what is above it shrinks.
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2
