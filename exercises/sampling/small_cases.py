"""The filters by themselves: cases in which one thing alone can be wrong."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from exercises.judging.check import Check

P = torch.tensor([[0.2, 0.28, 0.12, 0.24, 0.16]])  # not sorted
LOGITS = P.log() + 1.0  # softmax of these is P
SHOWN = "logits whose softmax is [0.2, 0.28, 0.12, 0.24, 0.16]"
ZERO = "at temperature 0 the logits are divided by 0: it is a case of its own, greedy"


def normal(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)


def only(*ids: int) -> Tensor:
    """P with only these tokens left."""
    kept = torch.zeros_like(P)
    kept[0, list(ids)] = P[0, list(ids)]
    return normal(kept)


def _soft(logits: object, check: Check, given: str, like: Tensor = LOGITS) -> Tensor:
    check.shape(logits, like, given=given)
    assert isinstance(logits, Tensor)
    return logits.softmax(-1)


def temperature_cases(apply: Callable[[Tensor, float], Tensor], check: Check) -> None:
    given = f"{SHOWN}\ntemperature = 0.5; softmax of the result"
    check.equal(
        _soft(apply(LOGITS, 0.5), check, given),
        normal(P**2),
        given=given,
        mistakes={
            "the logits are multiplied by τ; they should be divided": normal(P**0.5),
            "the probabilities are divided by τ; the logits should be": (P / 0.5).softmax(-1),
            "softmax was applied already: logits are expected back": P.softmax(-1),
            "softmax was applied already, after τ: logits are expected back": (
                normal(P**2).softmax(-1)
            ),
            "the temperature does nothing": P,
        },
        otherwise="at temperature 0.5 the distribution is wrong",
    )
    given = "logits = [1.0, 3.0, 3.0, -2.0]\ntemperature = 0; softmax of the result"
    try:
        greedy = apply(torch.tensor([[1.0, 3.0, 3.0, -2.0]]), 0.0)
    except ZeroDivisionError as error:
        check.fail(given=given, came=error, expected=[0, 1, 0, 0], mistake=ZERO)
    check.equal(
        _soft(greedy, check, given, torch.zeros(1, 4)),
        torch.tensor([[0.0, 1.0, 0.0, 0.0]]),
        given=given,
        mistakes={
            ZERO: torch.full((1, 4), torch.nan),
            "of equal logits only the first stays at temperature 0": torch.tensor(
                [[0, 0.5, 0.5, 0]]
            ),
            "of equal logits the first stays, not the last": torch.tensor([[0.0, 0, 1, 0]]),
            "the other logits become 0; they should become -inf": (
                torch.tensor([[0.0, 3.0, 0.0, 0.0]]).softmax(-1)
            ),
        },
        otherwise="at temperature 0 only the largest logit should stay",
    )


def top_k_cases(keep: Callable[[Tensor, int], Tensor], check: Check) -> None:
    given = f"{SHOWN}\nk = 2; softmax of the result"
    zeroed = torch.where(only(1, 3) > 0, LOGITS, 0.0)
    check.equal(
        _soft(keep(LOGITS, 2), check, given),
        only(1, 3),
        given=given,
        mistakes={
            "the first k tokens stay; the k most likely ones should": only(0, 1),
            "the k least likely tokens stay": only(2, 4),
            "the k most likely tokens are removed": only(0, 2, 4),
            "one token too many stays": only(0, 1, 3),
            "one token too few stays": only(1),
            "what is removed becomes 0; it should become -inf, exp(0) is 1": zeroed.softmax(-1),
            "all tokens stay": P,
            "what stays is in sorted order: put it back in the tokens' places": (
                only(1, 3)[:, [1, 3, 0, 4, 2]]
            ),
        },
        otherwise="top-k keeps the wrong tokens",
    )
    _equal_logits(keep, check)
    given = f"{SHOWN}\nk = 9; softmax of the result"
    try:
        all_of_them = keep(LOGITS, 9)
    except (RuntimeError, IndexError) as error:
        check.fail(
            given=given, came=error, expected=P, mistake="`k` may be larger than V: then all stay"
        )
    check.equal(_soft(all_of_them, check, given), P, given=given, otherwise="all should stay")


def _equal_logits(keep: Callable[[Tensor, int], Tensor], check: Check) -> None:
    given = "logits = [1.0, 2.0, 1.0, 1.0]\nk = 2; softmax of the result"
    e = math.e
    check.equal(
        _soft(keep(torch.tensor([[1.0, 2.0, 1.0, 1.0]]), 2), check, given, torch.zeros(1, 4)),
        normal(torch.tensor([[1.0, e, 0.0, 0.0]])),
        given=given,
        mistakes={
            "of equal logits all stay: exactly k should": normal(torch.tensor([[1.0, e, 1, 1]])),
            "of equal logits none stays: exactly k should": torch.tensor([[0.0, 1.0, 0.0, 0.0]]),
        },
        otherwise="of equal logits those with the lower ids should stay (sort with stable=True)",
    )


def top_p_cases(keep: Callable[[Tensor, float], Tensor], check: Check) -> None:
    given = f"{SHOWN}\np = 0.7; softmax of the result"
    kept = only(0, 1, 3)
    check.equal(
        _soft(keep(LOGITS, 0.7), check, given),
        kept,
        given=given,
        mistakes={
            "the token that crosses p is removed: what is left has less than p": only(1, 3),
            "one token too many stays": only(0, 1, 3, 4),
            "the first tokens stay, not the most likely: sort before adding up": only(0, 1, 2, 3),
            "the sorted mask meets unsorted logits: put it back in the tokens' places": (
                only(0, 1, 2)
            ),
            "the logits stay in sorted order: put them back in the tokens' places": (
                kept[:, [1, 3, 0, 4, 2]]
            ),
            "the least likely tokens stay: sort in descending order": only(0, 2, 3, 4),
            "what is removed becomes 0; it should become -inf, exp(0) is 1": (
                torch.where(kept > 0, LOGITS, 0.0).softmax(-1)
            ),
            "all tokens stay": P,
        },
        otherwise="top-p keeps the wrong tokens",
    )
    _first_and_rows(keep, check)
    _halves(keep, check)


def _halves(keep: Callable[[Tensor, float], Tensor], check: Check) -> None:
    """Four equal logits: two of them have exactly p = 0.5."""
    given = "logits = [0.0, 0.0, 0.0, 0.0]\np = 0.5; softmax of the result"
    check.equal(
        _soft(keep(torch.zeros(1, 4), 0.5), check, given, torch.zeros(1, 4)),
        torch.tensor([[0.5, 0.5, 0.0, 0.0]]),
        given=given,
        mistakes={
            "those before it have p already, and it stays": torch.tensor([[1.0, 1, 1, 0]]) / 3,
            "of equal logits those with the lower ids should stay (sort with stable=True)": (
                torch.tensor([[0.0, 0.0, 0.5, 0.5]])
            ),
        },
        otherwise="of four equal tokens the first two should stay",
    )


def _first_and_rows(keep: Callable[[Tensor, float], Tensor], check: Check) -> None:
    """Where one token has more than p; and two rows with different orders."""
    given = f"{SHOWN}\np = 0.25; softmax of the result"
    nothing = "nothing is left where the first token alone has more than p: it always stays"
    check.equal(
        _soft(keep(LOGITS, 0.25), check, given),
        only(1),
        given=given,
        mistakes={nothing: torch.full((1, 5), torch.nan)},
        otherwise="only the most likely token should stay",
    )
    rows = torch.cat([LOGITS, LOGITS.flip(-1)])
    check.equal(
        keep(rows, 0.7).softmax(-1),
        torch.cat([only(0, 1, 3), only(0, 1, 3).flip(-1)]),
        given=f"{SHOWN}, and a second row, the same from behind\np = 0.7; softmax",
        otherwise="one row is right, two are not: each row has its own order",
    )
