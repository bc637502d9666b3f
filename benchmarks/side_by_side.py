"""Compare ways of doing the same thing, in one run, on a machine that is never quite idle.

Absolute seconds on a shared machine mean little, so contestants take turns (A B C A B C …)
and what is reported is the *ratio* of each round, and the median of those ratios: whatever
slows the machine down for a while slows a whole round.
"""

import statistics
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

Seconds = dict[str, list[float]]


def interleave(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int = 7, warmup: int = 1
) -> Seconds:
    """Run every contestant once a round; return the seconds of each counted round."""
    seconds: Seconds = {name: [] for name in contestants}
    for round_number in range(warmup + rounds):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            if round_number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Seconds, slower: str, faster: str) -> float:
    """How many times faster `faster` is: median over rounds of slower / faster."""
    pairs = zip(seconds[slower], seconds[faster], strict=True)
    return statistics.median(a / b for a, b in pairs)


def print_ratios(
    seconds: Seconds, baseline: str, *, title: str, work: float = 1.0, unit: str = "calls"
) -> None:
    """A table: median seconds, `unit` per second, and speed against the baseline with its range.

    Args:
        work: how many `unit` one call does, the same for every contestant.
    """
    table = Table(title=title)
    for heading in ("", "median s", f"{unit}/s", f"× {baseline}", "min … max"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(seconds[baseline], times, strict=True)]
        median = statistics.median(times)
        table.add_row(
            name,
            f"{median:.4f}",
            f"{work / median:,.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} … {max(ratios):.2f}",
        )
    Console().print(table)
