"""A measured ladder for the page: what commands/ladder.py saved, checked, rounded and thinned.

A file may come from another machine or have been edited, and the page draws every number of it. So
nothing is passed on that was not looked at: fields that the page does not show are left out.
"""

from pathlib import Path
from typing import Any

from transformer.climbing.summary import FORMAT
from transformer.errors import UserError
from transformer.machine.saved_values import Saved, read_saved

POINTS = 40  # of a curve, at most
DIGITS = 5  # of a number; the spread between seeds is in the third


def ladder_table(path: Path) -> dict[str, Any]:
    """The table of Step 11.

    Raises:
        UserError: the file is no saved ladder, or a value in it cannot be.
    """
    saved = read_saved(path)
    if saved.values.get("format") != FORMAT:
        raise UserError(
            f"{path} is not the ladder.json of commands/ladder.py: its 'format' must be "
            f"{FORMAT!r}, but is {saved.values.get('format')!r}"
        )
    rungs = saved.take("rungs", tuple[dict, ...])  # type: ignore[type-arg]
    if not rungs:
        raise UserError(f"{path} has no rungs")
    return {
        "format": FORMAT,
        "dataset": saved.take("dataset", str),
        "tokenizer": saved.take("tokenizer", str),
        "tokens": saved.take("tokens", int, least=1),
        "seeds": saved.take("seeds", int, least=1),
        "floor": _rounded(saved.take("floor", float | None, least=0)),
        "rungs": [_rung(Saved(f"{path}, rung {i}", rung)) for i, rung in enumerate(rungs)],
    }


def _rung(saved: Saved) -> dict[str, Any]:
    return {
        "rung": saved.take("rung", str),
        "factor": _rounded(saved.take("factor", float, least=0)),
        "seeds": saved.take("seeds", int, least=1),
        "loss": _spread(saved, "loss"),
        "gain": _spread(saved, "gain", optional=True),
        "tokens": saved.take("tokens", int, least=1),
        "tokens_to_target": _spread(saved, "tokens_to_target", optional=True),
        "seconds_per_token": _rounded(saved.take("seconds_per_token", float, least=1e-12)),
        "parameters": saved.take("parameters", int, least=1),
        "peak_mb": _rounded(saved.take("peak_mb", float | None, least=0)),
        "induction": _rounded(saved.take("induction", float | None, least=0)),
        "curve": _curve(saved),
    }


def _spread(saved: Saved, name: str, *, optional: bool = False) -> dict[str, float | None] | None:
    if optional and saved.take(name, dict | None) is None:
        return None
    spread = saved.section(name)
    mean, deviation = spread.take("mean", float), spread.take("deviation", float, least=0)
    return {"mean": _rounded(mean), "deviation": _rounded(deviation)}


def _curve(saved: Saved) -> list[list[float | None]]:
    """At most `POINTS` of its points, the last among them."""
    points = saved.take("curve", tuple[tuple[float, ...], ...])
    if len(points) < 2 or any(len(point) != 2 for point in points):
        raise UserError(f"{saved.where}: 'curve' must hold two or more pairs of tokens and loss")
    stride = -(-len(points) // POINTS)
    return [[_rounded(value) for value in point] for point in points[::-1][::stride][::-1]]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
