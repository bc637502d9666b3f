"""How a judge compares, and what it says when something is wrong.

A judge does not only see *that* a result is wrong. It computes what the usual mistakes would give,
and if one of them is what came, it names it:

    check.equal(
        yours.scaled_dot_product_attention(q, k, v)[0],
        expected,
        given="one query, two keys, K = 4",
        mistakes={"the scores are not divided by √K": unscaled},
    )
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

SMALL = 24  # numbers that are shown in full


@dataclass(frozen=True)
class Failure:
    """The first thing that is wrong, in the smallest case that shows it."""

    stage: str
    given: str
    came: str
    expected: str
    mistake: str
    """The probable mistake, in words; names of code at its beginning are in `backticks`."""


class WrongError(Exception):
    """Raised by a check; the judge ends there."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.mistake)
        self.failure = failure


class Check:
    """The checks of one stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def fail(self, *, given: str, came: object, expected: object, mistake: str) -> None:
        raise WrongError(Failure(self.stage, given, shown(came), shown(expected), mistake))

    def that(
        self, right: bool, *, given: str, came: object, expected: object, mistake: str
    ) -> None:
        """Fail unless `right`."""
        if not right:
            self.fail(given=given, came=came, expected=expected, mistake=mistake)

    def equal(
        self,
        came: Any,
        expected: Any,
        *,
        given: str,
        mistakes: Mapping[str, Any] | None = None,
        otherwise: str = "the values are others",
        tolerance: float = 1e-5,
    ) -> None:
        """Fail unless `came` is `expected`, both tensors or numbers, within `tolerance`.

        Args:
            mistakes: what each usual mistake would give; the first that `came` equals is named.
            otherwise: what is said if none of them explains it.
        """
        is_number = not isinstance(expected, Tensor)
        expected = torch.as_tensor(expected)
        self.shape(came, expected, given=given, is_number=is_number)
        found = torch.as_tensor(came).detach()
        if is_close(found, expected, tolerance):
            return
        if not found.isfinite().all() and expected.isfinite().all():
            otherwise = "there are values that are not finite numbers"
        for mistake, wrong in (mistakes or {}).items():
            wrong = torch.as_tensor(wrong)
            if wrong.shape == found.shape and is_close(found, wrong, tolerance):
                otherwise = mistake
                break
        left, right = _sides(found, expected, tolerance)
        self.fail(given=given, came=left, expected=right, mistake=otherwise)

    def shape(self, came: Any, expected: Tensor, *, given: str, is_number: bool = False) -> None:
        """Fail unless `came` is a tensor of the shape and kind of `expected` (or a number)."""
        if isinstance(came, Real) and not isinstance(came, bool) and not expected.dim():
            return
        if not isinstance(came, Tensor):
            kind = type(came).__name__
            self.fail(
                given=given,
                came=f"{'nothing (None)' if came is None else f'a {kind}'}",
                expected="a number" if is_number else f"a tensor {_size(expected)}",
                mistake="nothing is returned: is there a `return`?"
                if came is None
                else f"the result is not a {'number' if is_number else 'tensor'}",
            )
        if came.shape != expected.shape:
            self.fail(
                given=given,
                came=f"shape {_size(came)}",
                expected=f"shape {_size(expected)}",
                mistake="the shape is another",
            )
        if came.dtype.is_floating_point != expected.dtype.is_floating_point or (
            came.dtype == torch.bool
        ) != (expected.dtype == torch.bool):
            self.fail(
                given=given,
                came=f"numbers of type {came.dtype}",
                expected=f"numbers of type {expected.dtype}",
                mistake="the type is another",
            )


def is_close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Equal within `tolerance`, relative where numbers are larger than 1."""
    if not (a.dtype.is_floating_point or b.dtype.is_floating_point):
        return torch.equal(a, b.to(a.dtype))
    a, b = a.double(), b.double()
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


def shown(value: object) -> str:
    """As it is shown to the learner: small tensors whole, large ones by their shape."""
    if not isinstance(value, Tensor):
        return str(value)
    value = value.detach()
    if value.numel() > SMALL:
        return f"a tensor {_size(value)}"
    if value.dtype.is_floating_point:
        value = (value * 1e4).round() / 1e4 + 0.0
    return _rows(value.tolist())


def _rows(value: Any) -> str:
    """Nested lists, the last two levels as lines."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "\n".join(_rows(each) for each in value)
    if isinstance(value, list):
        return "[" + "  ".join(_rows(each) for each in value) + "]"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _size(tensor: Tensor) -> str:
    return "(" + ", ".join(map(str, tensor.shape)) + ")"


def _sides(found: Tensor, expected: Tensor, tolerance: float) -> tuple[str, str]:
    """Both whole, if they are small and look different; else the first number that differs."""
    whole = shown(found), shown(expected)
    if found.numel() <= SMALL and whole[0] != whole[1]:
        return whole
    numbers = found.double(), expected.double()
    if not (found.dtype.is_floating_point or expected.dtype.is_floating_point):
        tolerance = 0.0
    close = torch.isclose(*numbers, rtol=tolerance, atol=tolerance, equal_nan=True)
    place = (~close).nonzero()[0].tolist()
    a, b = (each[tuple(place)].item() for each in numbers)
    digits = 6 if f"{a:.6g}" != f"{b:.6g}" else 15
    where = f" at [{', '.join(map(str, place))}] of a tensor {_size(found)}" if place else ""
    return f"{a:.{digits}g}{where}", f"{b:.{digits}g}{where}"
