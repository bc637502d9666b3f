"""curves.png: the losses of a run, its learning rate and, on toy stories, its copying head."""

import warnings
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.machine.files import written_whole
from transformer.runs.metrics import Record, evaluations

ENDINGS = (".png", ".svg", ".pdf", ".jpg")
SMOOTHING = 0.98  # of the thin curve of single steps, as an exponential mean


def draw_curves(records: list[Record], path: Path, title: str) -> None:
    """Losses and learning rate; below, where it was measured, the best induction score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [r for r in records if "grad_norm" in r and r["train_loss"] is not None]
    judged = [r for r in evaluations(records) if r["val_loss"] is not None]
    copying = [r for r in judged if r.get("induction") is not None]
    figure = Figure(figsize=(8, 7 if copying else 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
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
    """Write it whole; characters that the font lacks become boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format=path.suffix.lower().lstrip("."))


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


def smooth(values: list[float], beta: float = SMOOTHING) -> list[float]:
    """Exponential mean without a bias towards its start.

    >>> smooth([2.0, 2.0, 2.0])
    [2.0, 2.0, 2.0]
    """
    means, total, weight = [], 0.0, 0.0
    for value in values:
        total = beta * total + (1 - beta) * value
        weight = beta * weight + (1 - beta)
        means.append(total / weight)
    return means
