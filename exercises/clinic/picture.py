"""The patient's picture: its curves beside those of healthy ones, and where each head looks."""

from pathlib import Path
from typing import Any

from exercises.clinic.examination import EVALUATE, EVERY, Evidence
from transformer.runs.curves import new_figure, save_picture

HEALTHY_COLOUR = "0.7"


def draw(evidence: Evidence, healthy: list[dict[str, Any]], title: str, path: Path) -> None:
    blocks, heads = len(evidence.attention), len(evidence.attention[0])
    figure = new_figure(11, 4 + 3 * blocks)
    figure.suptitle(title)
    above, below = figure.subfigures(2, 1, height_ratios=[4, 3 * blocks])
    _draw_curves(above, evidence, healthy)
    panels: Any = below.subplots(blocks, heads, squeeze=False)
    for block, row in enumerate(panels):
        for head, axes in enumerate(row):
            axes.imshow(evidence.attention[block][head], vmin=0, vmax=1, cmap="magma")
            axes.set_title(f"block {block}, head {head}", fontsize=9)
            axes.set(xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(figure, path)


def _draw_curves(figure: Any, evidence: Evidence, healthy: list[dict[str, Any]]) -> None:
    loss, validation, gradient = figure.subplots(1, 3)
    for axes, name, steps, label in (
        (loss, "train", EVERY, "training loss"),
        (validation, "validation", EVALUATE, "validation loss"),
        (gradient, "gradient", EVERY, "length of the gradient"),
    ):
        for number, curves in enumerate(healthy):
            told = "healthy, three seeds" if number == 0 else None
            _plot(axes, curves[name], steps, color=HEALTHY_COLOUR, label=told)
        _plot(axes, getattr(evidence, name), steps, color="tab:red", label="this patient")
        if name != "gradient":
            axes.axhline(evidence.floor, color="tab:green", ls="--", label="best possible")
            axes.set_ylim(bottom=0)
        axes.set(title=label, xlabel="step", yscale="log" if name == "gradient" else "linear")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def _plot(axes: Any, values: list[float], steps: int, **style: Any) -> None:
    first = 0 if steps == EVALUATE else steps
    axes.plot([first + i * steps for i in range(len(values))], values, **style)
