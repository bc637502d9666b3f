"""What runs have come to, side by side: over tokens and over time."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.machine.saved_values import read_saved
from transformer.runs.curves import save_picture, smooth
from transformer.runs.metrics import History, Record, is_evaluation, is_step, read_metrics


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


def summarise_all(runs: list[Path], report: Callable[[str], None]) -> list[RunSummary]:
    """Those that can be read; `report` is told of what cannot.

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


def summarise(run: Path, report: Callable[[str], None]) -> RunSummary:
    """Read config.json and metrics.jsonl of a run."""
    config = read_saved(run / "config.json")
    records = read_metrics(run / "metrics.jsonl", report)
    steps = [record for record in records if is_step(record)]
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 2, sharey=True)
    lines = []
    for number, run in enumerate(runs):
        color = f"C{number % 10}"
        steps = [r for r in run.records if is_step(r) and r["train_loss"] is not None]
        tokens, seconds = [r["tokens"] for r in steps], _sums(seconds_of(steps))
        losses = smooth([r["train_loss"] for r in steps])
        judged = [r for r in run.records if is_evaluation(r) and r["val_loss"] is not None]
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


def _sums(values: list[float]) -> list[float]:
    total, sums = 0.0, []
    for value in values:
        total += value
        sums.append(total)
    return sums
