"""How did a run learn, and which of several learned better? Pictures, and runs in numbers.

curves.png       one run: its losses, its learning rate and, on toy stories, its copying head
comparison.png   several runs: loss over tokens and loss over time
"""

import os
import warnings
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.machine.files import written_whole
from transformer.machine.saved_values import read_saved
from transformer.runs.metrics import History, Record, Report, is_evaluation, read_metrics

ENDINGS = (".png", ".svg", ".pdf", ".jpg")
SMOOTHING = 0.98  # of the thin curve of single steps, as an exponential mean


def draw_curves(records: list[Record], path: Path, title: str) -> None:
    """Losses and learning rate; below, where it was measured, the best induction score."""
    steps, judged = _measured(records)
    copying = [r for r in judged if r.get("induction") is not None]
    figure = new_figure(8, 7 if copying else 5)
    heights = [5, 2] if copying else [5]
    panels: Any = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
    losses, below = panels[0, 0], panels[-1, 0]
    _draw_losses(losses, steps, judged)
    losses.set(ylabel="nats per token")
    losses.set_title(title, parse_math=False)  # a $ in a name is a $
    if copying:
        scores = [r["induction"] for r in copying]
        below.plot([r["step"] for r in copying], scores, color="tab:purple", marker=".")
        below.set(ylabel="induction score\nof the best head", ylim=(0, 1))
        below.grid(alpha=0.3)
    below.set_xlabel("optimiser step")
    save_picture(figure, path)


def check_picture(path: Path) -> None:
    """
    Raises:
        UserError: no picture can be written to `path`.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the name of a picture in it")
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"a picture's name ends in one of {', '.join(ENDINGS)}, but is {path.name}")


def save_picture(figure: Any, path: Path, dpi: float | str = "figure") -> None:
    """Write it whole; characters that the font lacks become boxes, with no warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format=path.suffix.lower().lstrip("."))


def new_figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _measured(records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Steps and evaluations whose loss was a finite number."""
    steps = [r for r in records if not is_evaluation(r) and r["train_loss"] is not None]
    judged = [r for r in records if is_evaluation(r) and r["val_loss"] is not None]
    return steps, judged


def _draw_losses(axes: Any, steps: list[Record], judged: list[Record]) -> None:
    """Training loss (each step, and smoothed), validation loss, floor, learning rate."""
    if steps:
        x = [r["step"] for r in steps]
        losses = [r["train_loss"] for r in steps]
        axes.plot(x, losses, color="tab:blue", alpha=0.25, linewidth=0.7)
        axes.plot(x, smooth(losses), color="tab:blue", label="training loss (smoothed)")
        rate = axes.twinx()
        rate.plot(x, [r["learning_rate"] for r in steps], color="tab:gray", linewidth=0.8, ls=":")
        rate.set_ylabel("learning rate (dotted)", color="tab:gray")
    if judged:
        x = [r["step"] for r in judged]
        val_losses = [r["val_loss"] for r in judged]
        axes.plot(x, val_losses, color="tab:orange", marker=".", label="validation loss")
        if judged[-1].get("floor") is not None:
            axes.axhline(judged[-1]["floor"], color="tab:green", ls="--", label="best possible")
    axes.grid(alpha=0.3)
    if steps or judged:
        axes.legend()


def smooth(values: list[float]) -> list[float]:
    """Exponential mean without a bias towards its start.

    >>> smooth([2.0, 2.0, 2.0])
    [2.0, 2.0, 2.0]
    """
    means, total, weight = [], 0.0, 0.0
    for value in values:
        total = SMOOTHING * total + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        means.append(total / weight)
    return means


@dataclass(frozen=True)
class RunSummary:
    """One run in numbers."""

    name: str
    dataset: str
    parameters: int
    steps: int
    tokens: int
    seconds: float
    """Spent in optimiser steps; validation and saving are not counted."""
    best_loss: float | None
    best_step: int | None
    status: str
    records: list[Record]


def summarise_all(runs: list[Path], report: Report) -> list[RunSummary]:
    """The runs that can be read; `report` is called for each that cannot.

    Raises:
        UserError: none can.
    """
    summaries = []
    for run in runs:
        try:
            summaries.append(summarise(run, report))
        except UserError as error:
            report(f"warning: {error}; this run is left out")
    if not summaries:
        raise UserError("none of these runs can be read")
    return summaries


def summarise(run: Path, report: Report = lambda warning: None) -> RunSummary:
    """Read config.json and metrics.jsonl of a run."""
    config = read_saved(run / "config.json")
    records = read_metrics(run / "metrics.jsonl", report)
    steps = [record for record in records if not is_evaluation(record)]
    history = History(records)
    best = history.best
    return RunSummary(
        name=os.fsencode(run.name).decode("utf-8", "replace"),
        dataset=config.section("training").take("dataset", str),
        parameters=config.take("parameters", int, least=1),
        steps=steps[-1]["step"] if steps else 0,
        tokens=steps[-1]["tokens"] if steps else 0,
        seconds=sum(seconds_of(steps)),
        best_loss=None if best is None else best["val_loss"],
        best_step=None if best is None else best["step"],
        status=history.evaluations[-1]["status"] if history.evaluations else "-",
        records=records,
    )


def seconds_of(steps: list[Record]) -> list[float]:
    """How long each step took, from its tokens and their rate."""
    before, seconds = 0, []
    for record in steps:
        seconds.append((record["tokens"] - before) / max(record["tokens_per_second"], 0.1))
        before = record["tokens"]
    return seconds


def draw_comparison(runs: list[RunSummary], path: Path) -> None:
    """Loss over tokens and loss over time: training thin, validation with dots."""
    figure = new_figure(11, 4.5)
    axes: Any = figure.subplots(1, 2, sharey=True)
    lines = []
    for number, run in enumerate(runs):
        color = f"C{number % 10}"
        steps, judged = _measured(run.records)
        tokens, seconds = [r["tokens"] for r in steps], [*accumulate(seconds_of(steps))]
        losses = smooth([r["train_loss"] for r in steps])
        for axis, x in zip(axes, (tokens, seconds), strict=True):
            axis.plot(x, losses, color=color, linewidth=0.8, alpha=0.6)
            at = dict(zip((r["step"] for r in steps), x, strict=True))
            points = [(at[r["step"]], r["val_loss"]) for r in judged if r["step"] in at]
            xs, ys = [place for place, _ in points], [loss for _, loss in points]
            (line,) = axis.plot(xs, ys, color=color, marker=".")
        lines.append(line)
    axes[0].set(xlabel="tokens", ylabel="nats per token (thin: training)")
    axes[1].set(xlabel="seconds of training")
    for axis in axes:
        axis.grid(alpha=0.3)
        _add_legend(axis, lines, [run.name for run in runs])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(figure, path)


def _add_legend(axis: Any, lines: list[Any], names: list[str]) -> None:
    """The names as they are: a $ begins no mathematics, a _ in front hides no line."""
    legend = axis.legend(lines, [str(number) for number in range(len(names))])
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)
