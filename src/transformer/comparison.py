"""What runs have come to, side by side: over tokens and over time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer.curves import smooth
from transformer.errors import UserError
from transformer.metrics_log import History, Record, is_evaluation, is_step, read_metrics
from transformer.run_folder import read_json


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


def find_runs(runs_dir: Path, names: tuple[str, ...] = ()) -> list[Path]:
    """The named run folders, or all of `runs_dir`.

    Raises:
        UserError: one is not there.
    """
    if not names:
        return sorted(path.parent for path in runs_dir.glob("*/config.json"))
    found = []
    for name in names:
        places = [path for path in (runs_dir / name, Path(name)) if (path / "config.json").exists()]
        if not places:
            raise UserError(f"there is no run {name} in {runs_dir}")
        found.append(places[0])
    return found


def summarise(run: Path) -> RunSummary:
    """Read config.json and metrics.jsonl of a run."""
    config = read_json(run / "config.json")
    records = read_metrics(run / "metrics.jsonl")
    steps = [record for record in records if is_step(record)]
    history = History(records)
    best = history.best
    return RunSummary(
        name=run.name,
        dataset=config["training"]["dataset"],
        parameters=config["parameters"],
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
    for number, run in enumerate(runs):
        color = f"C{number % 10}"
        steps = [r for r in run.records if is_step(r) and r["train_loss"] is not None]
        tokens = {r["step"]: r["tokens"] for r in steps}
        seconds = dict(zip(tokens, _sums(seconds_of(steps)), strict=True))
        judged = [r for r in run.records if is_evaluation(r) and r["val_loss"] is not None]
        judged = [r for r in judged if r["step"] in tokens]
        for axis, x in zip(axes, (tokens, seconds), strict=True):
            losses = smooth([r["train_loss"] for r in steps])
            axis.plot(list(x.values()), losses, color=color, linewidth=0.8, alpha=0.6)
            points = [x[r["step"]] for r in judged], [r["val_loss"] for r in judged]
            axis.plot(*points, color=color, marker=".", label=run.name)
    axes[0].set(xlabel="tokens", ylabel="nats per token (thin: training)")
    axes[1].set(xlabel="seconds of training")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _sums(values: list[float]) -> list[float]:
    total, sums = 0.0, []
    for value in values:
        total += value
        sums.append(total)
    return sums
