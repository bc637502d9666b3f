"""Timing that compares: whoever is timed takes turns with the others (A B C A B C …), so that what
slows the machine down for a while slows a whole round."""

import time
from collections.abc import Callable, Mapping


def interleave(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int = 7, warmup: int = 1
) -> dict[str, list[float]]:
    """Call every contestant once a round; the seconds of each round after the first `warmup`."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(warmup + rounds):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds
