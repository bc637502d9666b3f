"""The judge of the sinusoidal positions."""

import itertools
import math
from types import ModuleType

import torch
from torch import Tensor

from exercises.judging.check import Check, is_close
from exercises.judging.inside import same_inside
from transformer.training.mine import Mine

FORBIDDEN = {
    "transformer.positional_encoding.sinusoidal_encoding": "it is our solution",
    "transformer.positional_encoding.SinusoidalPositions": "it has our solution inside",
}


def in_small(yours: ModuleType, check: Check) -> None:
    """Three places, three pairs: no two formulas agree there."""
    T, D = 3, 6
    given = f"length = {T}, d_model = {D}"
    found = yours.sinusoidal_encoding(T, D)
    exact = _table(T, D)
    if isinstance(found, Tensor):
        check.that(
            found.shape != (D, T),
            given=given,
            came=f"shape ({D}, {T})",
            expected=f"shape ({T}, {D})",
            mistake="rows and columns are swapped: a row belongs to a place",
        )
        check.that(
            found.shape != (T, D // 2),
            given=given,
            came=f"shape ({T}, {D // 2})",
            expected=f"shape ({T}, {D})",
            mistake="there is one column for each pair, but a pair has two: sine and cosine",
        )
    check.equal(
        found,
        exact,
        given=given,
        mistakes=_mistakes(T, D),
        otherwise="the values are others: compare column by column, a pair at a time",
    )
    check.that(
        found.dtype == torch.float32,
        given=given,
        came=found.dtype,
        expected=torch.float32,
        mistake="the table is not float32, as the rest of the model is",
    )


def _mistakes(T: int, D: int) -> dict[str, Tensor]:
    """What the usual mistakes give for this length and width."""
    exact = _table(T, D)
    column = torch.arange(D, dtype=torch.float64)
    i = column // 2  # (D,) the pair of each column
    swapped = exact.unflatten(1, (-1, 2)).flip(-1).flatten(1)
    return {
        "sine and cosine are swapped: the sine is in the even columns": swapped,
        "all sines come first, then all cosines: they should take turns": torch.cat(
            [exact[:, 0::2], exact[:, 1::2]], 1
        ),
        "all cosines come first, then all sines: they should take turns": torch.cat(
            [exact[:, 1::2], exact[:, 0::2]], 1
        ),
        "every column is a sine: the odd columns are cosines": exact[:, 0::2].repeat_interleave(
            2, 1
        ),
        "the exponent is -i / D, not -2i / D: all hands but the first turn too fast": _table(
            T, D, -i / D
        ),
        "the two columns of a pair have speeds of their own: they share ω_i": _table(
            T, D, -column / D
        ),
        "the exponent is -i / (D/2 - 1), not -i / (D/2): the last hand is to be faster than "
        "1/10000": _table(T, D, -i / (D // 2 - 1)),
        "the exponent is positive: hands turn faster and faster, not slower": _table(
            T, D, 2 * i / D
        ),
        "the exponent is -4i / D: is the 2 there twice?": _table(T, D, -4 * i / D),
        "places count from 1, but the first is 0": _table(T + 1, D)[1:],
        "the base is 1000, not 10000": _table(T, D, -2 * i / D * 0.75),
        "the base is 100000, not 10000": _table(T, D, -2 * i / D * 1.25),
        "all hands turn equally fast": _table(T, D, torch.zeros(D)),
    }


def _table(T: int, D: int, exponents: Tensor | None = None) -> Tensor:
    """The formula, number by number; `exponents` (D,) instead of the right ones."""
    table = torch.empty(T, D, dtype=torch.float64)
    for p, j in itertools.product(range(T), range(D)):
        exponent = -(j - j % 2) / D if exponents is None else float(exponents[j])
        angle = p * 10_000.0**exponent
        table[p, j] = math.sin(angle) if j % 2 == 0 else math.cos(angle)
    return table


def at_random(yours: ModuleType, check: Check) -> None:
    """Many sizes, number by number; then places so far out that float32 shows."""
    for T, D in itertools.product((1, 2, 7, 33), (2, 4, 10, 12)):
        check.equal(
            yours.sinusoidal_encoding(T, D),
            _table(T, D),
            given=f"length = {T}, d_model = {D}",
            tolerance=1e-6,
        )
    T, D = 20_000, 8
    far = yours.sinusoidal_encoding(T, D)[-3:]
    exact = torch.tensor(
        [
            [
                f((T - 3 + p) * 10_000.0 ** (-2 * i / D))
                for i in range(4)
                for f in (math.sin, math.cos)
            ]
            for p in range(3)
        ],
        dtype=torch.float64,
    )
    nearly = isinstance(far, Tensor) and far.shape == exact.shape and is_close(far, exact, 0.05)
    check.equal(
        far,
        exact,
        given=f"length = {T}, d_model = {D}; the last 3 places",
        otherwise="far out digits are lost: compute the angles in float64, then call .float()"
        if nearly
        else "far out the values are others",
        tolerance=1e-6,
    )


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"positions": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.sinusoidal_encoding(512, 128)
