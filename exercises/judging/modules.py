"""What several judges ask of a learner's module: its weights, its gradient, no look ahead."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from exercises.judging.check import Check, is_close

Module = TypeVar("Module", bound=nn.Module)


def has_weights(
    module: object, expected: Mapping[str, tuple[int, ...]], check: Check, *, given: str
) -> None:
    """Exactly these parameters, of these shapes."""
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        check.fail(given=given, came=kind, expected="nn.Module", mistake="it is no nn.Module")
        return
    found = dict(module.named_parameters(remove_duplicate=False))
    for name, shape in expected.items():
        if name not in found:
            check.fail(
                given=given,
                came=", ".join(found) or "no weights",
                expected=name,
                mistake=f"`{name}` is a plain tensor, not an nn.Parameter: nothing would train it"
                if isinstance(_attribute(module, name), Tensor)
                else f"there is no weight called {name}",
            )
        check.that(
            found[name].shape == shape,
            given=given,
            came=f"{name} {tuple(found[name].shape)}",
            expected=f"{name} {shape}",
            mistake=f"the weight {name} has another shape",
        )
    more = sorted(module.state_dict().keys() - expected.keys())
    check.that(
        not more,
        given=given,
        came=", ".join(more),
        expected="nothing more than " + ", ".join(expected),
        mistake=f"`{'` and `'.join(more)}` should not be saved: weights could not be exchanged",
    )


def _attribute(module: object, path: str) -> object:
    """The attribute of a dotted path, None if there is none."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


@torch.no_grad()
def with_random_weights(module: Module, size: float = 0.5) -> Module:
    """In float64, every weight different: gains are not 1, biases not 0."""
    module.double()
    for parameter in module.parameters():
        parameter.copy_(size * torch.randn(parameter.shape) + (parameter.dim() == 1))
    return module


def has_gradient(
    function: Callable[..., Any], inputs: tuple[Tensor, ...], check: Check, *, given: str
) -> None:
    """Its gradient is what the differences of its outputs say."""
    inputs = tuple(x.detach().double().requires_grad_() for x in inputs)
    check.that(
        torch.autograd.gradcheck(function, inputs, raise_exception=False),
        given=given,
        came="another gradient than the differences of the outputs say",
        expected="the gradient",
        mistake="the gradient is wrong: is something detached, or computed in NumPy?",
    )


def sees_no_future(
    function: Callable[[Tensor], Tensor], x: Tensor, check: Check, *, given: str
) -> None:
    """A change at place t of x (B, T, …) changes nothing before t, and something at t."""
    before = function(x).detach()
    for t in range(x.size(1)):
        changed = x.clone()
        changed[:, t] = changed[:, t] + 1
        after = function(changed).detach()
        check.that(
            is_close(after[:, :t], before[:, :t], 1e-9),
            given=f"{given}; x changed at place {t}",
            came="other outputs before it",
            expected="the same outputs before it",
            mistake="a position sees what comes after it: the answer leaks",
        )
        check.that(
            not is_close(after[:, t], before[:, t], 1e-9),
            given=f"{given}; x changed at place {t}",
            came="the same output there",
            expected="another output there",
            mistake="a position does not see itself",
        )


def is_steady(function: Callable[[Tensor], Tensor], x: Tensor, check: Check) -> None:
    """In evaluation, the same x gives the same result."""
    first, second = function(x), function(x)
    given = "the same input twice, in evaluation"
    check.shape(first, first if isinstance(first, Tensor) else x, given=given)
    check.that(
        torch.equal(first, second),
        given=given,
        came="two results that differ",
        expected="the same result twice",
        mistake="dropout acts in evaluation too: it is for training only",
    )
