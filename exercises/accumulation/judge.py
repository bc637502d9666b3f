"""The judge of gradient accumulation."""

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from exercises.accumulation.graphs import nothing_is_kept
from exercises.judging.check import Check
from exercises.judging.inside import reference, same_training
from transformer.training.mine import Mine

FORBIDDEN = {"transformer.training_utils.GradientAccumulator": "it is our solution"}
SO_FAR = "the shares use the tokens counted so far: count all before the first backward"
Pairs = Sequence[tuple[Tensor, Tensor]]


class Work:
    """A model of one weight w: the loss of a token is w · (its number). It notes its calls."""

    def __init__(self) -> None:
        self.weight = torch.tensor(1.0, requires_grad=True)
        self.read: list[Tensor] = []
        self.waiting = 0  # forward passes whose activations are still held
        self.most_waiting = 0

    def loss_of(self, inputs: Tensor, targets: Tensor) -> Tensor:
        self.read.append(inputs)
        scored = targets != -100
        loss = (self.weight * inputs)[scored].sum() / scored.sum().clamp(min=1)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        loss.register_hook(self._done)
        return loss

    def _done(self, gradient: Tensor) -> None:
        self.waiting -= 1

    @property
    def gradient(self) -> Tensor:
        return torch.tensor(0.0) if self.weight.grad is None else self.weight.grad


def in_small(yours: ModuleType, check: Check) -> None:
    """Equal micro-batches; unequal ones; what was called when; nothing to score."""
    _equal_sizes(yours, check)
    _unequal_sizes(yours, check)
    _nothing_scored(yours, check)


def _pairs(numbers: list[list[float]], scored: list[list[int]]) -> Pairs:
    """Micro-batches of one sequence each."""
    return [
        (torch.tensor([row]), torch.where(torch.tensor([keep]) == 1, 7, -100))
        for row, keep in zip(numbers, scored, strict=True)
    ]


def _given(numbers: list[list[float]], scored: list[list[int]]) -> str:
    rows = [
        ", ".join(f"{x:g}" if keep else f"({x:g})" for x, keep in zip(*pair, strict=True))
        for pair in zip(numbers, scored, strict=True)
    ]
    return "losses of the tokens (not scored in parentheses), a line for each micro-batch:\n" + (
        "\n".join(rows)
    )


def _run(
    yours: ModuleType, numbers: list[list[float]], scored: list[list[int]], check: Check
) -> tuple[Any, Work]:
    work, pairs = Work(), _pairs(numbers, scored)
    result = yours.accumulate(work.loss_of, pairs)
    check.that(
        all(x._version + targets._version == 0 for x, targets in pairs),
        given=_given(numbers, scored),
        came="other inputs or targets than before",
        expected="the same",
        mistake="a micro-batch was written into: who called has lost it",
    )
    check.that(
        isinstance(result, tuple | list) and len(result) == 2,
        given=_given(numbers, scored),
        came=type(result).__name__,
        expected="a pair: the mean loss and the number of scored tokens",
        mistake="two things are to be returned: the mean loss and the number of scored tokens",
    )
    return result, work


def _equal_sizes(yours: ModuleType, check: Check) -> None:
    numbers, scored = [[1.0, 2.0, 3.0], [3.0, 5.0, 7.0]], [[1, 1, 1], [1, 1, 1]]
    given = _given(numbers, scored)
    result, work = _run(yours, numbers, scored, check)
    _calls(work, given, check)
    check.equal(
        work.gradient,
        torch.tensor(3.5),
        given=f"{given}\nthe gradient, which is the mean of these numbers",
        mistakes={
            "the micro-batches' gradients are added without their shares: too long by as many "
            "times as there are micro-batches": 7.0,
            "only the last micro-batch has a gradient, without its share": 5.0,
            "only the last micro-batch has a gradient": 2.5,
            "only the first micro-batch has a gradient": 1.0,
            "the share was applied twice": 1.75,
            "the loss is a mean already: dividing it by its tokens is one division too many": (
                3.5 / 3
            ),
            SO_FAR: 2 * 3 / 3 + 5 * 3 / 6,
        },
        otherwise="with micro-batches of equal size the gradient is wrong",
    )
    _mean(result[0], 3.5, given, {"the losses are added, not averaged": 7.0}, 5.0, check)
    _count(result[1], 6, given, check)


def _calls(work: Work, given: str, check: Check) -> None:
    sizes = [tuple(inputs.shape) for inputs in work.read]
    check.that(
        sizes != [(2, 3)],
        given=given,
        came="one call of loss_of with all sequences",
        expected="one call for each micro-batch",
        mistake="the micro-batches are joined into a big one: its activations would not fit",
    )
    firsts = [float(inputs[0, 0]) for inputs in work.read]
    check.that(
        firsts == [1.0, 3.0],
        given=given,
        came=f"{len(firsts)} calls of loss_of, their first numbers {firsts}",
        expected="2 calls, their first numbers [1.0, 3.0]",
        mistake="`loss_of` is to be called once for each micro-batch, in order",
    )
    check.that(
        work.weight.grad is not None,
        given=given,
        came="no gradient",
        expected=torch.tensor(3.5),
        mistake="no gradient came to the weight: nobody called backward, or the loss is detached",
    )
    check.that(
        work.most_waiting == 1,
        given=given,
        came=f"{work.most_waiting} micro-batches had been read before the first backward",
        expected="backward after each one",
        mistake="backward comes only after the loop: until then the activations of all "
        "micro-batches are in memory, as with a big batch",
    )


def _unequal_sizes(yours: ModuleType, check: Check) -> None:
    numbers = [[1.0, 2.0, 3.0, 10.0], [8.0, 20.0]]
    scored = [[1, 1, 1, 0], [1, 0]]
    given = _given(numbers, scored)
    result, work = _run(yours, numbers, scored, check)
    means = "a mean of means is not the mean: a micro-batch counts by its scored tokens"
    mistakes = {
        means: (2 + 8) / 2,
        "the shares count all positions, not only the scored ones": (2 * 4 + 8 * 2) / 6,
        "the shares divide by all positions, not only by the scored ones": (2 * 3 + 8 * 1) / 6,
        "the sums are not divided by the number of scored tokens": 14.0,
    }
    check.equal(
        work.gradient,
        torch.tensor(14 / 4),
        given=f"{given}\nthe gradient, which is the mean of the scored numbers",
        mistakes=mistakes,
        otherwise="with micro-batches of different sizes the gradient is wrong",
    )
    _mean(result[0], 14 / 4, given, mistakes, 8.0, check)
    _count(result[1], 4, given, check, positions=6)


def _mean(
    came: Any, expected: float, given: str, mistakes: dict[str, float], last: float, check: Check
) -> None:
    check.that(
        not (isinstance(came, Tensor) and came.requires_grad),
        given=given,
        came="a mean loss that still has its graph",
        expected="a plain number",
        mistake="the loss still holds its graph, and with it memory: use .item() or .detach()",
    )
    check.equal(
        came,
        expected,
        given=f"{given}\nthe gradient is right; the first result, the mean loss",
        mistakes={
            **{f"in the loss that is returned, {text}": wrong for text, wrong in mistakes.items()},
            "the mean loss is that of the last micro-batch": last,
        },
        otherwise="the gradient is right, the mean loss is not",
    )


def _count(came: Any, expected: int, given: str, check: Check, positions: int = 0) -> None:
    check.that(
        not isinstance(came, bool) and came == expected,
        given=f"{given}\nthe second result, the number of scored tokens",
        came=came,
        expected=expected,
        mistake="positions that are not scored are counted too"
        if came == positions
        else "the number of scored tokens is wrong",
    )


def _nothing_scored(yours: ModuleType, check: Check) -> None:
    nan = "0 / 0: where nothing is scored, the loss and its gradient are 0"
    for numbers, scored, mean, count in (
        ([[5.0, 6.0], [1.0, 3.0]], [[0, 0], [1, 1]], 2.0, 2),
        ([[5.0, 6.0]], [[0, 0]], 0.0, 0),
    ):
        given = _given(numbers, scored)
        try:
            result, work = _run(yours, numbers, scored, check)
        except ZeroDivisionError as error:
            check.fail(given=given, came=error, expected=mean, mistake=nan)
        mistakes = {nan: torch.nan}
        check.equal(
            work.gradient,
            torch.tensor(mean),
            given=f"{given}\nthe gradient",
            mistakes=mistakes,
            otherwise="where a micro-batch has nothing to score, the gradient is wrong",
        )
        check.equal(result[0], mean, given=f"{given}\nthe mean loss", mistakes=mistakes)
        _count(result[1], count, given, check)


def at_random(yours: ModuleType, check: Check) -> None:
    """Micro-batches of other sizes each, against one big batch."""
    for shapes in [[(1, 1)], [(2, 3), (1, 5)], [(3, 4), (1, 1), (2, 7), (5, 2)]]:
        V, D = 6, 4
        weight = torch.randn(V, D, dtype=torch.float64, requires_grad=True)
        inputs = [torch.randn(T, B, D, dtype=torch.float64).transpose(0, 1) for B, T in shapes]
        targets = [torch.randint(V, (T, B)).T for B, T in shapes]  # not contiguous
        for each in targets:
            each[torch.rand(each.shape) < 0.4] = -100
        targets[-1][0, 0] = 3
        expected, gradient, scored = _big_batch(inputs, targets, weight)
        mean, count = yours.accumulate(
            partial(_mean_loss, weight), list(zip(inputs, targets, strict=True))
        )
        given = f"micro-batches of (B, T) = {shapes} in float64, 40 % not scored"
        check.equal(
            torch.zeros_like(weight) if weight.grad is None else weight.grad,
            gradient,
            given=f"{given}; the gradient",
            otherwise="the gradient is another than that of one big batch",
            tolerance=1e-6,  # the shares may be float32
        )
        check.equal(
            float(mean),
            expected,
            given=f"{given}; the mean loss",
            otherwise="the mean loss is another than that of one big batch",
            tolerance=1e-6,
        )
        check.that(
            int(count) == scored,
            given=given,
            came=count,
            expected=scored,
            mistake="the number of scored tokens is wrong",
        )

    nothing_is_kept(yours, check)


def _mean_loss(weight: Tensor, x: Tensor, wanted: Tensor) -> Tensor:
    total = F.cross_entropy((x @ weight.T).flatten(0, 1), wanted.flatten(), reduction="sum")
    return total / (wanted != -100).sum().clamp(min=1)


def _big_batch(
    inputs: list[Tensor], targets: list[Tensor], weight: Tensor
) -> tuple[float, Tensor, int]:
    wanted = torch.cat([each.flatten() for each in targets])
    logits = torch.cat([x.flatten(0, 1) for x in inputs]) @ weight.T
    loss = F.cross_entropy(logits, wanted)
    return loss.item(), torch.autograd.grad(loss, weight)[0], int((wanted != -100).sum())


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_training(Mine({"accumulation": yours}), reference(), reference(), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    weight = torch.ones(64, 64, requires_grad=True)
    pairs = [(torch.ones(64, 64), torch.zeros(8, 8, dtype=torch.int64))] * 4
    return module.accumulate(lambda x, targets: (x @ weight).mean(), pairs)
