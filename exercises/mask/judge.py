"""The judge of the causal mask."""

import itertools
from types import ModuleType

import torch
from torch import Tensor

from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from transformer.training.mine import Mine

FORBIDDEN = {
    "transformer.attention.causal_mask": "it is our solution",
    "torch.nn.Transformer.generate_square_subsequent_mask": "the exercise is to write it",
    "torch.nn.attention.bias.causal_lower_right": "the exercise is to write it",
    "torch.nn.attention.bias.causal_upper_left": "the exercise is to write it",
}


def in_small(yours: ModuleType, check: Check) -> None:
    """As many keys as queries; then more, as in generation."""
    given = "queries = 3, no keys given"
    found = yours.causal_mask(3)
    _is_bool(found, given, check)
    all_places = _with_loops(3, 3)
    check.equal(
        found,
        all_places,
        given=given,
        mistakes={
            "the mask is the wrong way round: a query sees what comes after it": all_places.T,
            "True and False are swapped: True is where a query may look": ~all_places,
            "a query does not see itself: the first would see nothing at all": all_places.tril(-1),
            "a query sees the place after its own: there is the answer": all_places
            | torch.ones(3, 3).tril(1).bool(),
            "a query sees itself only": torch.eye(3).bool(),
            "every query sees every key": torch.ones(3, 3).bool(),
        },
        otherwise="the query at place t is to see the keys 0 … t",
    )
    _more_keys(yours, check)


def _more_keys(yours: ModuleType, check: Check) -> None:
    given = "queries = 2, keys = 5: the queries are the places 3 and 4"
    found = yours.causal_mask(2, 5)
    _is_bool(found, given, check)
    for shape, mistake in (
        ((5, 2), "rows and columns are swapped: a row belongs to a query"),
        ((2, 2), "`keys` is ignored: there is one column for each key"),
        ((5, 5), "there is a row for every key: only the last 2 places ask"),
    ):
        check.that(
            found.shape != shape,
            given=given,
            came=f"shape {shape}",
            expected="shape (2, 5)",
            mistake=mistake,
        )
    ones = torch.ones(2, 5)
    check.equal(
        found,
        _with_loops(2, 5),
        given=given,
        mistakes={
            "the queries are taken for the first places: they are the last ones, and the last "
            "query sees every key": ones.tril().bool(),
            "a query does not see itself, where there are more keys than queries": ones.tril(
                2
            ).bool(),
            "every query sees every key, where there are more keys than queries": ones.bool(),
            "the queries are counted from the wrong side: the first is at place keys - queries": (
                ones.tril(-3).bool()
            ),
        },
        otherwise="the last query is to see every key, the one before it all but the last",
    )


def _is_bool(found: object, given: str, check: Check) -> None:
    check.that(
        not isinstance(found, Tensor) or found.dtype == torch.bool,
        given=given,
        came=f"numbers of type {getattr(found, 'dtype', None)}",
        expected="True and False (torch.bool)",
        mistake="the mask is made of numbers, not of True and False",
    )


def _with_loops(T: int, S: int) -> Tensor:
    """Pair by pair."""
    mask = torch.zeros(T, S, dtype=torch.bool)
    for t, s in itertools.product(range(T), range(S)):
        mask[t, s] = s <= t + S - T
    return mask


def at_random(yours: ModuleType, check: Check) -> None:
    """Every number of queries and keys up to 9."""
    for S in range(1, 10):
        for T in range(1, S + 1):
            given = f"queries = {T}, keys = {S}"
            check.equal(yours.causal_mask(T, S), _with_loops(T, S), given=given)
            check.equal(yours.causal_mask(queries=T, keys=S), _with_loops(T, S), given=given)
        check.equal(yours.causal_mask(S, None), _with_loops(S, S), given=f"queries = {S}")


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"mask": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.causal_mask(256, 512)
