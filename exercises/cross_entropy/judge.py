"""The judge of cross-entropy."""

import math
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from transformer.training.mine import Mine

FORBIDDEN = {
    "torch.nn.functional.cross_entropy": "the exercise is what it does inside",
    "torch.nn.functional.nll_loss": "the exercise is to pick the targets and take the mean",
    "torch.nn.CrossEntropyLoss": "the exercise is what it does inside",
    "torch.nn.NLLLoss": "the exercise is to pick the targets and take the mean",
    "transformer.loss.cross_entropy": "it is our solution",
    "transformer.loss.linear_cross_entropy": "it is our solution, in chunks",
}
TABLE = "every row is asked for every target: indexing with [:, targets] makes a table"
NOT_AN_INDEX = "a target of -100 was looked up in the row: leave those positions out before"


def in_small(yours: ModuleType, check: Check) -> None:
    """One row; two rows; rows that are not scored; large logits; gradients."""
    _one_row(yours.cross_entropy, check)
    _two_rows(yours.cross_entropy, check)
    _not_scored(yours.cross_entropy, check)
    _nothing_scored(yours.cross_entropy, check)
    _large(yours.cross_entropy, check)
    _gradient(yours.cross_entropy, check)


def _one_row(loss_of: Callable[[Tensor, Tensor], Tensor], check: Check) -> None:
    logits = torch.tensor([[2.0, 1.5, -1.0]])
    log_p = logits.log_softmax(-1)[0]
    check.equal(
        loss_of(logits, torch.tensor([1])),
        -log_p[1],
        given=f"logits = {logits.tolist()}\ntargets = [1]",
        mistakes={
            "the sign is wrong: a logarithm of a probability is negative, a loss is not": log_p[1],
            "this is the probability of the target; its logarithm is missing": log_p[1].exp(),
            "this is minus the probability of the target; its logarithm is missing": (
                -log_p[1].exp()
            ),
            "softmax is missing: the target's logit itself was taken": -logits[0, 1],
            "softmax is missing: these are logits, not probabilities": -logits[0, 1].log(),
            "softmax was applied twice: logits are expected, and the formula has its own": (
                -logits.softmax(-1).log_softmax(-1)[0, 1]
            ),
            "the logarithm is to base 2: the loss is in nats, base e": -log_p[1] / math.log(2),
            "softmax runs over the positions, not over the vocabulary": torch.tensor(0.0),
        },
        otherwise="the loss of a single position is wrong",
    )


def _two_rows(loss_of: Callable[[Tensor, Tensor], Tensor], check: Check) -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 1.0]])
    log_p = logits.log_softmax(-1)
    losses = torch.stack([-log_p[0, 0], -log_p[1, 2]])
    check.equal(
        loss_of(logits, torch.tensor([0, 2])),
        losses.mean(),
        given=f"logits = {logits.tolist()}\ntargets = [0, 2]",
        mistakes={
            "the losses are added, not averaged: the step would grow with the batch": losses.sum(),
            "softmax runs over the positions, not over the vocabulary": -(
                logits.log_softmax(0)[[0, 1], [0, 2]].mean()
            ),
            "the sum of the exponentials is that of all rows: each row has its own (keepdim)": (
                -(logits - logits.flatten().logsumexp(0))[[0, 1], [0, 2]].mean()
            ),
            TABLE: -log_p[:, [0, 2]].mean(),
            f"{TABLE}, and its sum is taken": -log_p[:, [0, 2]].sum() / 2,
        },
        otherwise="one position is right, two are not",
    )


def _not_scored(loss_of: Callable[[Tensor, Tensor], Tensor], check: Check) -> None:
    """V = 120: here -100 is a place that Python finds, from the end."""
    logits = (torch.arange(3 * 120) % 7).reshape(3, 120) / 2
    logits[1, 0], logits[1, 20] = -3.0, 5.0
    targets = torch.tensor([3, -100, 5])
    log_p = logits.log_softmax(-1)
    total = -log_p[0, 3] - log_p[2, 5]
    given = "3 rows of logits, V = 120\ntargets = [3, -100, 5]"
    try:
        came = loss_of(logits, targets)
    except (IndexError, RuntimeError) as error:
        if not isinstance(error, IndexError) and "out of bounds" not in str(error):
            raise  # something else: its line is shown
        check.fail(given=given, came=error, expected=total / 2, mistake=NOT_AN_INDEX)
    check.equal(
        came,
        total / 2,
        given=given,
        mistakes={
            "the sum is divided by all positions, not only by those that are scored": total / 3,
            "the losses are added, not averaged": total,
            f"{NOT_AN_INDEX}. Python counted from the end": (total - log_p[1, -100]) / 3,
            f"{NOT_AN_INDEX}. It counts, divided by 2 or not": (total - log_p[1, -100]) / 2,
            "a target of -100 is counted as token 0": (total - log_p[1, 0]) / 3,
            "a target of -100 adds the loss of token 0": (total - log_p[1, 0]) / 2,
        },
        otherwise="with a target of -100 the loss is wrong",
    )


def _nothing_scored(loss_of: Callable[[Tensor, Tensor], Tensor], check: Check) -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0]], requires_grad=True)
    given = "2 rows of logits\ntargets = [-100, -100]"
    nan = "a mean over nothing is 0 / 0 = NaN: one such batch would spoil every weight"
    loss = loss_of(logits, torch.tensor([-100, -100]))
    check.equal(loss, torch.tensor(0.0), given=given, mistakes={nan: torch.nan})
    check.that(
        isinstance(loss, Tensor) and loss.requires_grad,
        given=given,
        came="a 0 that knows nothing of the logits",
        expected="a tensor that depends on the logits, with a gradient of 0",
        mistake="no gradient flows: `loss.backward()` would raise",
    )
    gradient = _reaching(logits, loss, given, check)
    check.equal(
        gradient,
        torch.zeros(2, 2),
        given=f"{given}; the gradient",
        mistakes={nan: torch.full((2, 2), torch.nan)},
        otherwise="nothing is scored, but there is a gradient",
    )


def _large(loss_of: Callable[[Tensor, Tensor], Tensor], check: Check) -> None:
    logits = torch.tensor([[300.0, 0.0, 100.0]])
    overflow = (
        "a probability of 0 has the logarithm -inf, and exp(300) is infinite in float32: "
        "compute ln p without p, with torch.logsumexp or after subtracting the largest logit"
    )
    for target, expected in ((1, 300.0), (0, 0.0)):
        check.equal(
            loss_of(logits, torch.tensor([target])),
            torch.tensor(expected),
            given=f"logits = {logits.tolist()}\ntargets = [{target}]",
            mistakes={
                overflow: torch.inf,
                f"{overflow} (inf - inf)": torch.nan,
                f"{overflow} (-inf)": -torch.inf,
            },
            otherwise="a large loss is cut off: is a small number added inside the logarithm, or "
            "the probability clamped? The gradient is lost there",
        )

    far = torch.tensor([[0.0, 1.0], [200.0, 201.0]])
    apart = (
        "rows that are far apart disturb each other: subtract the largest logit of each row, not "
        "that of all"
    )
    one = float(torch.log1p(torch.tensor(1.0).exp()))  # ln(1 + e)
    check.equal(
        loss_of(far, torch.tensor([0, 0])),
        torch.tensor(one),
        given=f"logits = {far.tolist()}\ntargets = [0, 0]",
        mistakes={apart: -torch.inf},
        otherwise=apart,
    )


def _gradient(loss_of: Callable[[Tensor, Tensor], Tensor], check: Check) -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 1.0]], requires_grad=True)
    given = f"logits = {logits.tolist()}\ntargets = [0, -100]; the gradient"
    expected = logits.detach().softmax(-1) - torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected[1] = 0.0
    loss = loss_of(logits, torch.tensor([0, -100]))
    check.that(
        isinstance(loss, Tensor) and loss.requires_grad,
        given=given,
        came="a number without a gradient",
        expected=expected,
        mistake="no gradient flows: is there an .item(), a .detach() or a no_grad?",
    )
    gradient = _reaching(logits, loss, given, check)
    onehot = expected - logits.detach().softmax(-1)
    onehot[1] = 0.0
    check.equal(
        gradient,
        expected,
        given=given,
        mistakes={"the gradient of the sum of exponentials is missing: it is detached": onehot},
        otherwise="the loss is right, its gradient (softmax - onehot) is not",
    )


def _reaching(logits: Tensor, loss: Tensor, given: str, check: Check) -> Tensor:
    """The gradient of the logits, if there is one."""
    (gradient,) = torch.autograd.grad(loss, logits, allow_unused=True)
    check.that(
        gradient is not None,
        given=given,
        came="a loss with a gradient that ends before the logits",
        expected="a loss that is computed from the logits",
        mistake="the loss has a gradient of its own, but none that reaches the logits",
    )
    return gradient


def at_random(yours: ModuleType, check: Check) -> None:
    """Shapes that are all different, position by position."""
    for N, V in [(1, 1), (1, 5), (4, 3), (7, 11), (30, 2)]:
        logits = 5 * torch.randn(V, N, dtype=torch.float64).T  # (N, V), not contiguous
        targets = torch.randint(V, (N,))
        targets[torch.rand(N) < 0.3] = -100
        check.equal(
            yours.cross_entropy(logits, targets),
            _with_loops(logits.tolist(), targets.tolist()),
            given=f"logits ({N}, {V}) in float64, targets = {targets.tolist()}",
            otherwise="the loss is wrong",
            tolerance=1e-9,
        )
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([2, -100, 0])
    check.that(
        torch.autograd.gradcheck(
            lambda x: yours.cross_entropy(x, targets), (logits,), raise_exception=False
        ),
        given="logits (3, 4), targets = [2, -100, 0]",
        came="another gradient than the differences of the losses say",
        expected="their gradient",
        mistake="the gradient is wrong: is something detached, or computed in NumPy?",
    )


def _with_loops(logits: list[list[float]], targets: list[int]) -> Tensor:
    losses = []
    for row, target in zip(logits, targets, strict=True):
        if target != -100:
            total = math.fsum(math.exp(logit - max(row)) for logit in row)
            losses.append(math.log(total) - (row[target] - max(row)))
    return torch.tensor(math.fsum(losses) / max(1, len(losses)), dtype=torch.float64)


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"cross_entropy": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.cross_entropy(torch.zeros(512, 1000), torch.zeros(512, dtype=torch.int64))
