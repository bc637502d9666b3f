"""The judge of temperature, top-k, top-p and the draw."""

import itertools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from exercises.judging.check import Check
from exercises.judging.inside import CONFIG, reference
from exercises.sampling.small_cases import (
    LOGITS,
    SHOWN,
    P,
    normal,
    only,
    temperature_cases,
    top_k_cases,
    top_p_cases,
)
from transformer.generation import generate
from transformer.sampling import next_token_distribution as our_distribution

FORBIDDEN = {
    "torch.multinomial": "the exercise is the draw itself",
    "torch.Tensor.multinomial": "the exercise is the draw itself",
    "torch.distributions.Categorical": "the exercise is the draw itself",
    "transformer.sampling.next_token_distribution": "it is our solution",
    "transformer.sampling.filter_stages": "it is our solution",
    "transformer.sampling.apply_temperature": "it is our solution",
    "transformer.sampling.keep_greedy": "it is our solution",
    "transformer.sampling.keep_top_k": "it is our solution",
    "transformer.sampling.keep_top_p": "it is our solution",
    "transformer.sampling.draw": "it is our solution",
}


def in_small(yours: ModuleType, check: Check) -> None:
    """Each function by itself, then the order, then the draw."""
    temperature_cases(yours.apply_temperature, check)
    top_k_cases(yours.keep_top_k, check)
    top_p_cases(yours.keep_top_p, check)
    _together(yours.next_token_distribution, check)
    _draw(yours.draw, check)


def _settings() -> list[tuple[dict[str, Any], Tensor, dict[str, Tensor]]]:
    """Settings, the distribution, and what mistakes give."""
    hot = normal(P**0.5)
    return [
        ({}, P, {"softmax is missing: probabilities are wanted": LOGITS}),
        (
            {"top_k": 3, "top_p": 0.71},
            only(1, 3),
            {
                "top-p comes before top-k, or does not see that the rest sums to 1 again": (
                    only(0, 1, 3)
                ),
                "it does not sum to 1 again": torch.where(only(1, 3) > 0, P, 0.0),
                "top-k is ignored": only(0, 1, 3),
            },
        ),
        (
            {"temperature": 2.0, "top_p": 0.7},
            normal(torch.where(only(0, 1, 3, 4) > 0, hot, 0.0)),
            {
                "top-p comes before the temperature": normal(
                    torch.where(only(0, 1, 3) > 0, hot, 0.0)
                ),
                "the temperature is ignored": only(0, 1, 3),
                "top-p is ignored": hot,
            },
        ),
        (
            {"temperature": 0.0, "top_k": 3},
            only(1),
            {"at temperature 0 the distribution has NaN": torch.full((1, 5), torch.nan)},
        ),
    ]


def _together(distribution: Callable[..., Tensor], check: Check) -> None:
    for settings, expected, mistakes in _settings():
        given = f"{SHOWN}\n" + (
            ", ".join(f"{name} = {value:g}" for name, value in settings.items()) or "no filter"
        )
        check.equal(
            distribution(LOGITS, **settings),
            expected,
            given=given,
            mistakes=mistakes,
            otherwise="each filter is right, together they are not: temperature, top-k, top-p, "
            "softmax, in this order",
        )


def _draw(draw: Callable[[Tensor, Tensor], Tensor], check: Check) -> None:
    for row, u, expected, mistakes in DRAWS:
        given = f"probabilities = {row}\nu = {u}"
        came = draw(torch.tensor([row]), torch.tensor([u]))
        check.equal(
            came,
            torch.tensor([expected]),
            given=given,
            mistakes={text: torch.tensor([wrong]) for text, wrong in mistakes.items()},
            otherwise="the number falls into another token's stretch",
        )
    both = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    check.equal(
        draw(both, torch.tensor([0.1, 0.9])),
        torch.tensor([0, 1]),
        given="two rows, probabilities [0.5, 0.5] each\nu = [0.1, 0.9]",
        mistakes={"both rows use the first number: each has its own": torch.tensor([0, 0])},
        otherwise="one row is right, two are not",
    )


DRAWS: list[tuple[list[float], float, int, dict[str, int]]] = [
    (
        [0.05, 0.1, 0.2, 0.35, 0.3],
        0.3,
        2,
        {
            "this is the most likely token, always: u decides": 3,
            "this is the token before: the first one whose sum is larger than u": 1,
            "the tokens were sorted: add up in the order of their ids": 0,
        },
    ),
    (
        [0.0, 0.5, 0.0, 0.5],
        0.0,
        1,
        {"a token of probability 0 was drawn: the sum must be larger than u, not equal to it": 0},
    ),
    (
        [0.0, 0.5, 0.0, 0.5],
        0.5,
        3,
        {
            "a token of probability 0 was drawn: the sum must be larger than u, not equal to it": 2,
            "the sum must be larger than u, not equal to it": 1,
        },
    ),
    (
        [0.3, 0.3, 0.3995, 0.0],
        0.9999,
        2,
        {
            "token V does not exist: rounding may end the sum below 1, below u": 4,
            "a token of probability 0 was drawn: rounding ended the sum below u": 3,
        },
    ),
]


def at_random(yours: ModuleType, check: Check) -> None:
    """All settings, against sorting by hand."""
    for (B, V), temperature, k, p in itertools.product(
        [(1, 1), (2, 5), (3, 11)], [0.0, 0.6, 1.7], [None, 1, 4], [None, 0.35, 0.9]
    ):
        logits = 3 * torch.randn(V, B, dtype=torch.float64).T  # not contiguous
        given = f"logits ({B}, {V}) in float64, temperature = {temperature}, k = {k}, p = {p}"
        found = yours.next_token_distribution(logits, temperature=temperature, top_k=k, top_p=p)
        expected = torch.tensor(
            [_by_hand(row, temperature, k, p) for row in logits.tolist()], dtype=torch.float64
        )
        check.equal(found, expected, given=given, otherwise="the distribution is wrong")
        uniform = torch.rand(B, dtype=torch.float64)
        drawn = [
            next(i for i in range(V) if math.fsum(row[: i + 1]) > u or i == V - 1)
            for row, u in zip(expected.tolist(), uniform.tolist(), strict=True)
        ]
        check.equal(
            yours.draw(expected, uniform),
            torch.tensor(drawn),
            given=f"probabilities ({B}, {V}), u = {[round(u, 4) for u in uniform.tolist()]}",
            otherwise="another token was drawn",
        )


def _by_hand(row: list[float], temperature: float, k: int | None, p: float | None) -> list[float]:
    order = sorted(range(len(row)), key=lambda i: -row[i])
    order = order[: 1 if temperature == 0 else k]
    weights = {i: math.exp((row[i] - max(row)) / (temperature or 1.0)) for i in order}
    total, kept, mass = sum(weights.values()), [], 0.0
    for i in order:
        if p is None or mass < p:
            kept.append(i)
        mass += weights[i] / total
    return [
        weights[i] / sum(weights[j] for j in kept) if i in kept else 0.0 for i in range(len(row))
    ]


def in_the_model(yours: ModuleType, check: Check) -> None:
    """A text of the model, drawn with the same random numbers."""
    model = reference().eval()
    settings = {"temperature": 0.8, "top_k": 9, "top_p": 0.9}
    prompt = torch.tensor([[3, 1]])
    expected = generate(model, prompt, CONFIG.max_seq_len - 2, seed=5, **settings)
    generator, ids = torch.Generator().manual_seed(5), prompt
    while ids.size(1) < CONFIG.max_seq_len:
        with torch.no_grad():
            logits = model(ids)[:, -1]  # (1, V)
        found = yours.next_token_distribution(logits, **settings)
        given = f"the logits of a model after {ids[0].tolist()}, {settings}"
        check.equal(
            found,
            our_distribution(logits, **settings),
            given=given,
            otherwise="the distribution is another than ours",
        )
        token = yours.draw(found, torch.rand(1, generator=generator, dtype=torch.float64))
        ids = torch.cat([ids, token[:, None]], dim=1)
    check.equal(ids, expected, given="a text of 7 tokens, drawn with the same random numbers")


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    logits = (torch.arange(4 * 2000) % 977).reshape(4, 2000) / 100
    found = module.next_token_distribution(logits, temperature=0.9, top_k=50, top_p=0.9)
    return module.draw(found, torch.tensor([0.1, 0.4, 0.7, 0.9]))
