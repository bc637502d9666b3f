"""The judge of scaled dot-product attention."""

import itertools
import math
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from transformer.training.mine import Mine

FORBIDDEN = {
    "torch.nn.functional.scaled_dot_product_attention": "the exercise is what it does inside",
    "transformer.attention.scaled_dot_product_attention": "it is our solution",
    "torch.nn.MultiheadAttention": "the exercise is what it does inside",
}


def in_small(yours: ModuleType, check: Check) -> None:
    """One query first: only where it looks matters. Then the mask. Then both outputs."""
    attend = yours.scaled_dot_product_attention
    q = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    k = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    v = torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, 4.0]])
    given = f"Q = {q.tolist()}\nK = {k.tolist()}\nV = {v.tolist()}\nno mask"
    result = attend(q, k, v)
    check.that(
        isinstance(result, tuple | list) and len(result) == 2,
        given=given,
        came=type(result).__name__,
        expected="a pair: output and weights",
        mistake="two things are to be returned, the output and the weights",
    )
    scores = q @ k.T
    weights = torch.softmax(scores / 2, dim=-1)  # √4
    check.equal(
        result[1],
        weights,
        given=given,
        mistakes={
            "the scores are not divided by √K": torch.softmax(scores, -1),
            "the scores are divided by K, not by its root": torch.softmax(scores / 4, -1),
            "the scores are multiplied by √K": torch.softmax(scores * 2, -1),
            "softmax runs over the queries, not over the keys": torch.softmax(scores / 2, -2),
            "there is no softmax": scores / 2,
            "the scores are made positive and divided by their sum, without exp": scores
            / scores.sum(),
        },
        otherwise="the weights are others",
    )
    check.equal(
        result[0],
        weights @ v,
        given=given,
        mistakes={"the output mixes the keys, not the values": weights @ k},
        otherwise="the weights are right, the output is not",
    )
    _mask(attend, check)


def _mask(attend: Callable[..., tuple[Tensor, Tensor]], check: Check) -> None:
    q = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    k = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    mask = torch.tensor([[True, False, True], [True, True, False]])
    scores = q @ k.T / math.sqrt(2)
    after = torch.softmax(scores, -1) * mask
    check.equal(
        attend(q, k, k, mask)[1],
        torch.softmax(scores.masked_fill(~mask, -torch.inf), -1),
        given=f"Q = {q.tolist()}\nK = {k.tolist()}\nmask = {mask.tolist()}",
        mistakes={
            "the mask is ignored": torch.softmax(scores, -1),
            "the mask is the wrong way round: True is where a query may look": torch.softmax(
                scores.masked_fill(mask, -1e9), -1
            ),
            "the mask is applied after softmax: the rows no longer sum to 1": after,
            "the scores are multiplied by the mask: a score of 0 is not a weight of 0": (
                torch.softmax(scores * mask, -1)
            ),
        },
        otherwise="with a mask the weights are others",
    )
    far = torch.tensor([[300.0, -300.0]])
    hidden = attend(far, far, torch.ones(1, 2), torch.tensor([[True]]))[0]
    check.equal(hidden, torch.ones(1, 2), given="scores as large as 127,000")
    low = attend(-1e17 * q[:1], 1e17 * q, q, mask[:1, :2])[1]
    check.that(
        bool((low[0, 1] == 0) & (low[0, 0] == 1)),
        given="a query whose only allowed score is -7e33, and a masked one",
        came=low,
        expected=torch.tensor([[1.0, 0.0]]),
        mistake="masked scores are a large negative number, not -inf: a smaller score than that "
        "lets the query look where it may not",
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Shapes that are all different, against loops over every pair.

    The tolerance allows for a root of K in float32, though all else is float64.
    """
    attend = yours.scaled_dot_product_attention
    for lead, (T, S, K) in itertools.product(
        [(), (2,), (2, 3)], [(1, 1, 1), (4, 4, 6), (3, 5, 2), (5, 7, 3)]
    ):
        q, k, v = (
            torch.randn(*lead, K, n, dtype=torch.float64).transpose(-2, -1) for n in (T, S, S)
        )  # (..., n, K), not contiguous
        mask = torch.rand(T, S) < 0.6
        mask[:, 0] = True
        for allowed in (None, mask):
            given = f"Q {tuple(q.shape)}, K and V {tuple(k.shape)}, float64, " + (
                "no mask" if allowed is None else "a mask"
            )
            output, weights = attend(q, k, v, allowed)
            expected = _with_loops(q, k, allowed)
            check.equal(weights, expected, given=given, tolerance=1e-6)
            check.equal(output, expected @ v, given=given, tolerance=1e-6)
    q, k, v = (torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(3))
    check.that(
        torch.autograd.gradcheck(lambda *x: attend(*x)[0], (q, k, v), raise_exception=False),
        given="Q, K, V (1, 3, 2) that need gradients",
        came="other gradients than the differences of the outputs say",
        expected="their gradients",
        mistake="the gradient is wrong: is something detached, or computed in NumPy?",
    )


def _with_loops(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """The weights, pair by pair."""
    T, S, K = q.size(-2), k.size(-2), q.size(-1)
    weights = torch.zeros(*q.shape[:-2], T, S, dtype=q.dtype)
    for t in range(T):
        allowed = [s for s in range(S) if mask is None or mask[t, s]]
        exps = {s: ((q[..., t, :] * k[..., s, :]).sum(-1) / math.sqrt(K)).exp() for s in allowed}
        for s in allowed:
            weights[..., t, s] = exps[s] / sum(exps.values())
    return weights


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"attention": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    q = torch.zeros(4, 4, 128, 32)
    return module.scaled_dot_product_attention(q, q, q)
