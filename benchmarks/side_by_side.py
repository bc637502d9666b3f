"""Compare ways of doing the same thing, in one run, on a machine that is never quite idle.

Absolute seconds on a shared machine mean little, so contestants take turns (A B C A B C …)
and the result is the median of the *ratios* of single rounds: whatever slows the machine down
for a while slows a whole round.
"""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

Seconds = dict[str, list[float]]


class Process:
    """A contestant in a process of its own, as its users would run it; a call is one turn.

    None profits from another's settings of the memory allocator or waits for its garbage
    collection, and each has its own peak of memory.

    Args:
        script: a benchmark that, with these flags, ends in `take_turns`.
        environment: variables to set in addition to those of this process.
    """

    def __init__(
        self, script: str | Path, *flags: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self.peak_mb = 0.0

    def __call__(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"a contestant ended: {self._process.args!r}")
        self.peak_mb = float(answer)

    def end(self) -> None:
        self._process.communicate()


def take_turns(make: Callable[[], Callable[[], object]]) -> None:
    """The other end of `Process`: one turn for each line, answered with the peak memory in MB.

    Memory is counted from before `make`, when everything has been imported.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a contestant prints is not an answer
    before = _peak()
    turn = make()
    for _ in sys.stdin:
        turn()
        answers.write(f"{_peak() - before}\n")


def _peak() -> float:
    unit = 1024 if sys.platform == "linux" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


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
