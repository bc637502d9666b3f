"""The ladder as a picture: loss over time, a line for each rung, and what each rung gained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer.climbing.summary import RungSummary
from transformer.runs.curves import new_figure, save_picture


def draw_ladder(found: Sequence[RungSummary], floor: float | None, path: Path, title: str) -> None:
    """Write the picture; the kind follows from the name of the file."""
    figure = new_figure(12, 5)
    left, right = figure.subplots(1, 2)
    colors = _colors(len(found))
    for each, color in zip(found, colors, strict=True):
        seconds = [tokens * each.seconds_per_token for tokens, _ in each.curve]
        left.plot(seconds, [loss for _, loss in each.curve], color=color, label=each.rung)
    left.axhline(found[0].loss.mean, color="grey", linewidth=0.8, linestyle="--")
    if floor is not None:
        left.axhline(floor, color="grey", linewidth=0.8, linestyle=":")
    lowest = min(each.loss.mean for each in found)
    left.set_ylim(lowest - 0.05, lowest + 2.5 * (found[0].loss.mean - lowest) + 0.3)
    left.set(xlabel="seconds of training", ylabel="validation loss, nats per token", title=title)
    left.legend(fontsize="x-small", ncols=2, loc="upper right")
    left.grid(alpha=0.3)
    _draw_gains(right, found, colors)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(figure, path)


def _draw_gains(axes: Any, found: Sequence[RungSummary], colors: Sequence[Any]) -> None:
    gains = [
        (each.rung, each.gain.mean, each.gain.deviation, color)
        for each, color in zip(found, colors, strict=True)
        if each.gain is not None
    ]
    rungs, means, deviations, bars = zip(*gains, strict=True) if gains else ((), (), (), ())
    axes.barh(range(len(gains)), means, xerr=deviations, color=bars)
    axes.set_yticks(range(len(gains)), rungs)
    axes.invert_yaxis()
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="gain over the rung before, nats per token (± over seeds)")
    axes.grid(alpha=0.3, axis="x")


def _colors(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["viridis"](0.9 * i / max(1, count - 1)) for i in range(count)]
