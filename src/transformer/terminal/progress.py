"""What training says while it runs: a live bar in a terminal, plain lines in a file."""

import statistics
import sys
import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from transformer.runs.metrics import Record
from transformer.training_utils import EXPLANATIONS

LONG = 24 * 3600.0  # seconds; what takes longer gets a hint
LINE_EVERY = 10.0  # seconds between lines where there is no terminal to draw a bar on
WAITING = 0.02  # of a step, over the last RECENT: above it, waiting for data is shown
RECENT = 20


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich calls this where it handles the error, and would exit


class Reporter:
    """Prints for one process of several: rank 0 speaks, the others are silent.

    Where printing fails (the reader of a pipe is gone, the disk of a log is full), `failure` says
    so and nothing more is printed; the trainer takes it as a request to save and stop.
    """

    def __init__(self, speaks: bool = True) -> None:
        self.total_steps = self._start_step = self._shown = 0
        self._start_time = self._last_line = 0.0
        self._notice = ""
        self._waits: deque[float] = deque(maxlen=RECENT)
        self.failure: OSError | None = None
        self.console = _Console(
            quiet=not speaks, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            disable=not (speaks and self.console.is_terminal),
        )
        self._task = self._bar.add_task("")

    def begin(self, step: int, total_steps: int) -> None:
        """Where the bar starts (not at 0 in a resumed run), and where it ends."""
        self.total_steps = total_steps
        self._bar.update(self._task, completed=step, total=total_steps)

    def __enter__(self) -> "Reporter":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print lines above the bar."""
        try:
            self.console.print(text)
            sys.stdout.flush()
        except OSError as error:
            self.failure, self.console.quiet = self.failure or error, True

    def notice(self, text: str) -> None:
        """News from another thread (a download): a warning is printed, as is everything before
        the first step; later it is at the end of the bar until there is something newer."""
        if text.startswith("warning") or not self._shown:
            self.say(text)
        if self._shown:
            self._notice = text

    def seconds_left(self, step: int) -> float | None:
        """From the mean pace so far; None before the first step."""
        done = step - self._start_step
        if done <= 0:
            return None
        return (time.monotonic() - self._start_time) / done * (self.total_steps - step)

    def show(self, step: int, loss: float, tokens_per_second: float, waited: float) -> None:
        """Move the bar, or print a line if the last one is a while ago.

        Args:
            waited: the share of the step's time in which its data was waited for.
        """
        self._shown += 1
        if self._shown == 1:  # compilation says nothing about the steps to come
            self._start_step, self._start_time = step, time.monotonic()
        else:
            self._waits.append(waited)
        left = self.seconds_left(step)
        if self._shown == 4 and left is not None:
            self._announce(left)
        text = f"loss {loss:.4f}  {tokens_per_second:,.0f} tokens/s"
        text += f"  {duration(left)} left" if left is not None else ""
        text += self._waiting()
        text += f"  [{self._notice}]" if self._notice else ""
        self._bar.update(self._task, completed=step, description=escape(text))
        now = time.monotonic()
        if self._bar.disable and now - self._last_line >= LINE_EVERY:
            self._last_line = now
            self.say(f"step {step}/{self.total_steps}  {text}")

    def _waiting(self) -> str:
        share = statistics.mean(self._waits) if self._waits else 0.0
        return f"  {share:.0%} waiting for data" if share > WAITING else ""

    def _announce(self, left: float) -> None:
        self.say(f"On this machine that will take about {duration(left)}.")
        if left > LONG:
            self.say(
                "That is long. --quick trains a smaller model on fewer tokens, --dataset toy one "
                "that learns to tell stories in minutes; Ctrl-C saves, --resume continues."
            )


def describe(record: Record) -> str:
    """One evaluation in words."""
    floor, val = record.get("floor"), record["val_loss"]
    of_floor = f", floor {floor:.4f}, {val / floor:.0%}" if floor else ""
    induction = record.get("induction")
    copying = f", induction {induction:.2f}" if induction is not None else ""
    return (
        f"step {record['step']}, epoch {record['epoch']:.2f}: train {record['train_loss']:.4f}, "
        f"validation {val:.4f} nats/token{of_floor}, "
        f"perplexity {_short(record['val_perplexity'])}{copying}\n"
        f"  {record['status']}: {EXPLANATIONS[record['status']]}"
    )


def _short(perplexity: float) -> str:
    """
    >>> [_short(x) for x in (2.006, 50281.4, 1.5e26)]
    ['2.01', '50281.40', '1.5e+26']
    """
    return f"{perplexity:.2f}" if perplexity < 1e6 else f"{perplexity:.3g}"


def duration(seconds: float) -> str:
    """
    >>> [duration(s) for s in (42, 200, 7300, 200_000)]
    ['42 s', '3 min 20 s', '2 h 1 min', '2 days 7 h']
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 172_800:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} days {seconds % 86_400 // 3600} h"
