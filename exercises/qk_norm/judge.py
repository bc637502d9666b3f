"""The judge of QK-norm."""

import math
from types import ModuleType

import torch
from torch import Tensor, nn

from exercises.judging.check import Check
from exercises.judging.ladder import same_in_ladder
from exercises.judging.modules import has_gradient, has_weights, with_random_weights
from transformer.config import Variant
from transformer.ladder.qk_norm import QKNorm

_WHY = "the exercise is what it does inside"
FORBIDDEN = {
    "torch.nn.RMSNorm": _WHY,
    "torch.nn.functional.rms_norm": _WHY,
    "torch.rms_norm": _WHY,
    "torch.nn.functional.normalize": _WHY,
    "transformer.ladder.rms_norm.rms_normed": "it is most of our solution",
    "transformer.ladder.rms_norm.RMSNorm": "it is most of our solution",
    "transformer.ladder.qk_norm.QKNorm": "it is our solution",
}
Q = torch.tensor([[1.0, 2.0, 4.0, 5.0], [0.0, 4.0, -4.0, 8.0]])
K = torch.tensor([[3.0, -1.0, 1.0, 0.0], [2.0, 2.0, -6.0, 1.0]])
GIVEN = f"one head, two positions\nqueries = {Q.tolist()}\nkeys = {K.tolist()}"


def in_small(yours: ModuleType, check: Check) -> None:
    """The gains; the size alone; ε, made large; the gains again; heads; numbers of 16 bits."""
    given = "QKNorm(4, scale=1.5)"
    norm = yours.QKNorm(4, scale=1.5)
    has_weights(norm, {"gains.0": (4,), "gains.1": (4,)}, check, given=given)
    check.that(
        norm.gains[0] is not norm.gains[1],
        given=given,
        came="the same parameter twice",
        expected="two parameters",
        mistake="queries and keys share one gain: each is to have its own",
    )
    for gain, whose in zip(norm.gains, ("queries", "keys"), strict=True):
        check.equal(
            gain,
            torch.full((4,), 1.5),
            given=f"{given}, the gain of the {whose} at the start",
            mistakes={
                "the gains start at 1; they are to start at `scale`": torch.ones(4),
                "the gains start at 0: nothing would come out": torch.zeros(4),
                "`scale` is ignored: the gains start at 1.2": torch.full((4,), 1.2),
            },
            otherwise="the gains are to start at `scale`",
        )
    _size(yours, check)
    _epsilon(yours, check)
    _gains(yours, check)
    _heads(yours, check)
    _sixteen_bits(yours, check)


def _pair(result: object, given: str, check: Check) -> tuple[Tensor, Tensor]:
    check.that(
        isinstance(result, tuple | list) and len(result) == 2,
        given=given,
        came=type(result).__name__,
        expected="a pair: queries and keys",
        mistake="two things are to be returned, the queries and the keys",
    )
    assert isinstance(result, tuple | list)
    return result[0], result[1]


def _normed(x: Tensor, eps: float = 0.0) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def _size(yours: ModuleType, check: Check) -> None:
    given = f"{GIVEN}\nthe gains are 1"
    found = _pair(yours.QKNorm(4, scale=1.0)(Q[None, None], K[None, None]), given, check)
    centred = Q - Q.mean(-1, keepdim=True)
    squares = Q.square()
    wrong = {
        "the queries come back as they were": Q,
        "the first of the two is the keys: queries come first": _normed(K),
        "each vector has length 1, the root of the *sum* of its squares; their *mean* is to be 1. "
        "(Attention divides by √K, not this.)": Q / squares.sum(-1, keepdim=True).sqrt(),
        "the mean is subtracted, as in LayerNorm": _normed(centred),
        "there is no root: it is divided by the mean of the squares": Q
        / squares.mean(-1, keepdim=True),
        "the mean runs over the positions, not over the channels of each": Q
        / squares.mean(0).sqrt(),
        "there is one mean for all positions together": Q / squares.mean().sqrt(),
    }
    check.equal(
        found[0][0, 0],
        _normed(Q),
        given=f"{given}; the queries",
        mistakes=wrong,
        otherwise="the queries are others",
        tolerance=1e-4,
    )
    _size_of_keys(yours, found[1], given, check)


def _size_of_keys(yours: ModuleType, keys: Tensor, given: str, check: Check) -> None:
    check.equal(
        keys[0, 0],
        _normed(K),
        given=f"{given}; the keys",
        mistakes={
            "the keys come back as they were: they are normed too": K,
            "the keys are divided by the size of the queries": K
            / Q.square().mean(-1, keepdim=True).sqrt(),
            "the second of the two is the queries again": _normed(Q),
        },
        otherwise="the queries are right, the keys are not",
        tolerance=1e-4,
    )
    zeros = torch.zeros(1, 1, 2, 4)
    check.equal(
        yours.QKNorm(4)(zeros, zeros)[0],
        zeros,
        given="queries and keys that are 0 everywhere",
        mistakes={"0 is divided by 0: where is ε?": torch.full((1, 1, 2, 4), torch.nan)},
        otherwise="where all channels are 0 the result is to be 0",
    )


def _epsilon(yours: ModuleType, check: Check) -> None:
    size = Q.square().mean(-1, keepdim=True).sqrt()
    check.equal(
        yours.QKNorm(4, scale=1.0, eps=4.0)(Q[None, None], K[None, None])[0][0, 0],
        _normed(Q, 4.0),
        given=f"eps = 4; {GIVEN}\nthe gains are 1; the queries",
        mistakes={
            "ε is added to the root; it belongs under the root": Q / (size + 4),
            "ε is ignored": Q / (size.square() + 1e-5).sqrt(),
            "ε is only a lower bound; it is to be added": Q / size.square().clamp(min=4).sqrt(),
        },
        otherwise="with a large ε the queries are others",
        tolerance=1e-4,
    )


def _gains(yours: ModuleType, check: Check) -> None:
    norm = yours.QKNorm(4, scale=1.5)
    gains = torch.tensor([1.0, 2.0, -1.0, 0.5]), torch.tensor([3.0, 0.0, 1.0, -2.0])
    with torch.no_grad():
        for own, value in zip(norm.gains, gains, strict=True):
            own.copy_(value)
    given = f"{GIVEN}\ngains = {gains[0].tolist()}, {gains[1].tolist()}"
    for i, (found, x) in enumerate(zip(norm(Q[None, None], K[None, None]), (Q, K), strict=True)):
        check.equal(
            found[0, 0],
            _normed(x) * gains[i],
            given=f"{given}; the {('queries', 'keys')[i]}",
            mistakes={
                "the gains are swapped: gains[0] is for the queries": _normed(x) * gains[1 - i],
                "the gains are ignored": _normed(x),
                "the gains are ignored: it is always multiplied by `scale`": _normed(x) * 1.5,
                "it is multiplied by `scale` too; the gains only start there": _normed(x)
                * gains[i]
                * 1.5,
                "the gain comes before the norm, which takes it away again": _normed(x * gains[i]),
                "both gains are applied": _normed(x) * gains[0] * gains[1],
            },
            otherwise="with other gains the values are others",
            tolerance=1e-4,
        )


def _heads(yours: ModuleType, check: Check) -> None:
    q, k = Q[None, :, None], K[None, :, None]  # the same vectors as two heads of one position
    given = f"two heads, one position\nqueries = {Q.tolist()}\nthe gains are 1"
    check.equal(
        yours.QKNorm(4, scale=1.0)(q, k)[0][0, :, 0],
        _normed(Q),
        given=given,
        mistakes={
            "there is one size for all heads together; each head has its own": Q
            / Q.square().mean().sqrt(),
        },
        otherwise="with two heads the queries are others",
        tolerance=1e-4,
    )


def _sixteen_bits(yours: ModuleType, check: Check) -> None:
    large = (100 * Q).half()[None, None]  # up to 800; the largest float16 is 65,504
    given = f"queries = keys = {large[0, 0].tolist()} in float16, the gains in float32"
    for found in _pair(yours.QKNorm(4, scale=1.0)(large, large), given, check):
        check.that(
            found.dtype == torch.float16,
            given=given,
            came=f"numbers of type {found.dtype}",
            expected="numbers of type torch.float16",
            mistake="the results have not the types of the inputs",
        )
        check.equal(
            found[0, 0],
            _normed(Q).half(),
            given=given,
            otherwise="the squares are infinite in float16, and x / ∞ is 0: compute in float32"
            if bool((found[0, 0, 1] == 0).all())
            else "in float16 the values are others",
            tolerance=2e-3,
        )


def at_random(yours: ModuleType, check: Check) -> None:
    """Shapes that are all different, vector by vector; no size of the inputs matters."""
    for B, H, T, S, width in ((1, 1, 1, 1, 2), (2, 3, 4, 7, 6), (3, 4, 2, 5, 1), (5, 2, 3, 3, 4)):
        norm = with_random_weights(yours.QKNorm(width, eps=0.1))
        q = torch.randn(B, T, H, width, dtype=torch.float64).transpose(1, 2)  # not contiguous
        k = torch.randn(B, S, 1, width, dtype=torch.float64).transpose(1, 2)  # one shared head
        for found, x, gain in zip(norm(q, k), (q, k), norm.gains, strict=True):
            check.equal(
                found,
                _with_loops(x, gain.tolist(), 0.1),
                given=f"queries {tuple(q.shape)}, keys {tuple(k.shape)}, float64, eps = 0.1",
                otherwise="the values are others: is float64 kept?",
                tolerance=1e-9,
            )
    norm = with_random_weights(yours.QKNorm(3, eps=0.1))
    inputs = (torch.randn(1, 1, 2, 3), torch.randn(1, 1, 2, 3))
    has_gradient(norm, inputs, check, given="queries and keys that need gradients")


def _with_loops(x: Tensor, gain: list[float], eps: float) -> Tensor:
    """Vector by vector, number by number."""
    rows = []
    for vector in x.reshape(-1, x.size(-1)).tolist():
        size = math.sqrt(sum(v * v for v in vector) / len(vector) + eps)
        rows.append([g * v / size for v, g in zip(vector, gain, strict=True)])
    return torch.tensor(rows, dtype=x.dtype).reshape(x.shape)


def in_the_model(yours: ModuleType, check: Check) -> None:
    def theirs_for(module: nn.Module) -> nn.Module | None:
        if not isinstance(module, QKNorm):
            return None
        theirs: nn.Module = yours.QKNorm(len(module.gains[0]), module.scale, module.eps)
        return theirs

    same_in_ladder(Variant(qk_norm="gain", positions="rotary", norm_eps=1e-3), theirs_for, check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    x = torch.zeros(8, 4, 128, 32)
    return module.QKNorm(32)(x, x)
