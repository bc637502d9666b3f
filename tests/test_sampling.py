"""Every filter against brute force and Hugging Face; draws against their distribution."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from transformers.generation import logits_process as hugging_face

from transformer.errors import UserError
from transformer.sampling import (
    FIRST_LOOK,
    PENALTIES,
    PRESETS,
    SamplingSettings,
    draw,
    filter_stages,
    next_token_distribution,
)

# Few distinct values make many ties; halves and quarters are exact in floating point.
tied_logits = st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=1, max_size=30)
free_logits = st.lists(st.floats(-20, 20), min_size=1, max_size=30)
any_logits = st.one_of(tied_logits, free_logits)


def ranked(logits: list[float]) -> list[int]:
    """Ids from the most likely down, ties by id."""
    return sorted(range(len(logits)), key=lambda i: (-logits[i], i))


def softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    return [power / math.fsum(powers) for power in powers]


def renormalised(probabilities: list[float], kept: set[int]) -> list[float]:
    total = math.fsum(probabilities[i] for i in kept)
    return [p / total if i in kept else 0.0 for i, p in enumerate(probabilities)]


def distribution(logits: list[float], **arguments: Any) -> list[float]:
    row = torch.tensor([logits], dtype=torch.float64)
    return next_token_distribution(row, **arguments)[0].tolist()


@given(any_logits, st.integers(1, 40))
def test_top_k_keeps_exactly_the_k_best(logits: list[float], k: int) -> None:
    kept = set(ranked(logits)[:k])
    expected = renormalised(softmax(logits), kept)
    found = distribution(logits, top_k=k)
    assert {i for i, p in enumerate(found) if p > 0} == kept
    np.testing.assert_allclose(found, expected, atol=1e-12)


def brute_nucleus(probabilities: list[float], order: list[int], p: float) -> set[int]:
    """Try 1, 2, 3 … of the most likely tokens until they have p together."""
    for size in range(1, len(order) + 1):
        if math.fsum(probabilities[i] for i in order[:size]) >= p - 1e-14:
            return set(order[:size])
    return set(order)


@given(any_logits, st.floats(0.001, 0.999))
def test_top_p_keeps_the_smallest_set_with_mass_p(logits: list[float], p: float) -> None:
    probabilities = softmax(logits)
    kept = brute_nucleus(probabilities, ranked(logits), p)
    found = distribution(logits, top_p=p)
    assert {i for i, q in enumerate(found) if q > 0} == kept
    np.testing.assert_allclose(found, renormalised(probabilities, kept), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("p", "kept"), [(0.5, 1), (0.8, 2), (0.81, 3), (1.0, 3), (1e-9, 1)])
def test_top_p_at_the_boundary_keeps_no_token_too_many(
    dtype: torch.dtype, p: float, kept: int
) -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3]], dtype=dtype).log()
    assert (next_token_distribution(logits, top_p=p) > 0).sum() == kept


def test_top_p_over_a_large_flat_vocabulary() -> None:
    """Beyond the first look: rows that need few and rows that need nearly all tokens."""
    V = 4 * FIRST_LOOK
    logits = torch.stack((torch.zeros(V), torch.arange(V) * -1.0)).double()
    kept = (next_token_distribution(logits, top_p=0.75) > 0).sum(dim=-1)
    assert kept.tolist() == [3 * FIRST_LOOK, 2]  # 1 - 1/e = 0.63, 1 - 1/e² = 0.86


@given(any_logits, st.floats(0.01, 1.0))
def test_min_p_keeps_what_is_near_the_best(logits: list[float], min_p: float) -> None:
    bound = max(logits) + math.log(min_p)
    kept = {i for i, value in enumerate(logits) if value >= bound}
    expected = renormalised(softmax(logits), kept)
    np.testing.assert_allclose(distribution(logits, min_p=min_p), expected, atol=1e-12)


@given(any_logits, st.floats(0.05, 20.0))
def test_temperature_raises_probabilities_to_a_power(
    logits: list[float], temperature: float
) -> None:
    expected = softmax([value / temperature for value in logits])
    found = distribution(logits, temperature=temperature)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@given(any_logits)
def test_temperature_0_is_the_limit_and_takes_the_first_of_the_best(logits: list[float]) -> None:
    best = ranked(logits)[0]
    assert distribution(logits, temperature=0.0) == [float(i == best) for i in range(len(logits))]
    if sorted(logits)[-2:-1] != [max(logits)]:  # no tie: a tiny temperature does the same
        gap = max(logits) - max([x for x in logits if x < max(logits)], default=-math.inf)
        tiny = max(min(gap / 100, 1e-3), 1e-300)
        assert distribution(logits, temperature=tiny)[best] > 1 - 1e-12


@given(any_logits, st.sets(st.integers(0, 29)), st.floats(0.5, 3.0))
def test_the_repetition_penalty_moves_only_tokens_of_the_text(
    logits: list[float], said: set[int], penalty: float
) -> None:
    said = {i for i in said if i < len(logits)}
    history = torch.tensor([[*said, *said, -1]])  # twice and padded: neither counts
    expected = [
        (x / penalty if x > 0 else x * penalty) if i in said else x for i, x in enumerate(logits)
    ]
    found = distribution(logits, repetition_penalty=penalty, history=history)
    np.testing.assert_allclose(found, softmax(expected), atol=1e-12)


extreme_logits = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2)


@given(
    extreme_logits,
    st.one_of(st.sampled_from([1e-320, 1e-45, 1e300]), st.floats(0, allow_infinity=False)),
    st.one_of(st.none(), st.floats(5e-324, 1.0)),
    st.one_of(st.none(), st.floats(0.0, 1.0)),
    st.floats(*PENALTIES),
)
def test_every_setting_gives_a_distribution(
    logits: list[float],
    temperature: float,
    top_p: float | None,
    min_p: float | None,
    penalty: float,
) -> None:
    found = next_token_distribution(
        torch.tensor([logits]),
        temperature=temperature,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
        history=torch.tensor([[0, 1]]),
    )
    assert bool((found >= 0).all())  # false for NaN
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    assert int(draw(found, [torch.Generator()])) in range(len(logits))


SETTINGS = {
    "temperature": {"temperature": 0.7},
    "top-k": {"top_k": 13},
    "top-p": {"top_p": 0.8},
    "min-p": {"min_p": 0.1},
    "penalty": {"repetition_penalty": 1.3},
    "all": {
        "temperature": 1.4,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.02,
        "repetition_penalty": 1.2,
    },
}


def processors(**chosen: Any) -> list[Any]:
    """Hugging Face's implementations, in the order of our pipeline."""
    table = {
        "repetition_penalty": hugging_face.RepetitionPenaltyLogitsProcessor,
        "temperature": hugging_face.TemperatureLogitsWarper,
        "top_k": hugging_face.TopKLogitsWarper,
        "top_p": hugging_face.TopPLogitsWarper,
        "min_p": hugging_face.MinPLogitsWarper,
    }
    return [table[name](chosen[name]) for name in table if name in chosen]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_hugging_face_agrees(name: str, spread: float) -> None:
    logits = spread * torch.randn(50, 500, dtype=torch.float64)  # without ties
    history = torch.randint(500, (50, 20))
    expected = logits
    for process in processors(**SETTINGS[name]):
        expected = process(history, expected)
    found = next_token_distribution(logits, history=history, **SETTINGS[name])
    torch.testing.assert_close(found, expected.softmax(dim=-1), rtol=1e-12, atol=1e-15)


@given(any_logits, st.integers(1, 5), st.floats(0.1, 1.0), st.floats(0.0, 1.0))
def test_something_always_stays(logits: list[float], k: int, p: float, min_p: float) -> None:
    found = distribution(logits, temperature=0.3, top_k=k, top_p=p, min_p=min_p)
    assert math.isclose(sum(found), 1.0, rel_tol=1e-9)
    assert found[ranked(logits)[0]] > 0


def test_the_stages_tell_what_each_filter_removed() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    chosen = SamplingSettings(temperature=0.5, top_k=3, top_p=0.8, min_p=0.9)
    stages = filter_stages(logits, chosen)
    assert [name for name, _ in stages] == ["model", "temperature", "top-k", "top-p", "min-p"]
    assert [int(values.isfinite().sum()) for _, values in stages] == [4, 4, 3, 2, 1]


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in range(count)]


@pytest.mark.parametrize("name", ["temperature", "top-k", "top-p", "min-p", "all"])
def test_draws_follow_the_distribution(name: str) -> None:
    """100,000 draws, chi-squared; what was filtered out never appears."""
    draws = 100_000
    logits = torch.randn(1, 50)
    probabilities = next_token_distribution(
        logits, history=torch.tensor([[1, 2, 3]]), **SETTINGS[name]
    )
    generator = torch.Generator().manual_seed(1)
    ids = draw(probabilities.expand(draws, -1), [generator] * draws)
    counts = torch.bincount(ids, minlength=50).numpy()
    kept = probabilities[0].numpy() > 0
    assert counts[~kept].sum() == 0
    expected = probabilities[0].double().numpy()[kept]
    result = stats.chisquare(counts[kept], expected / expected.sum() * draws)
    assert result.pvalue > 1e-3


def test_a_row_draws_the_same_in_any_batch() -> None:
    probabilities = torch.randn(6, 1000, dtype=torch.float64).softmax(dim=-1)
    together = draw(probabilities, generators(6))
    for row in range(6):
        alone = draw(probabilities[row : row + 1], generators(1, seed=row))
        assert alone.item() == together[row].item()


class AlmostOne:
    """Stands for the largest uniform number there is, 1 - 2⁻⁵³."""

    def __call__(self, *shape: int, **_: Any) -> Tensor:
        return torch.full(shape, 1 - 2**-53, dtype=torch.float64)


def test_impossible_tokens_are_never_drawn_at_the_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    monkeypatch.setattr(torch, "rand", AlmostOne())
    assert draw(probabilities, generators(1)).tolist() == [3]
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.zeros(shape, dtype=torch.float64))
    assert draw(probabilities, generators(1)).tolist() == [1]


BAD = [
    {"temperature": -0.1},
    {"temperature": math.nan},
    {"temperature": math.inf},
    {"top_k": 0},
    {"top_p": 0.0},
    {"top_p": 1.01},
    {"top_p": math.nan},
    {"min_p": -0.1},
    {"min_p": 1.5},
    {"repetition_penalty": 0.0},
    {"repetition_penalty": math.nan},
    {"repetition_penalty": 1e-40},
    {"repetition_penalty": 1e40},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_impossible_settings_are_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        next_token_distribution(torch.zeros(1, 4), **bad)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_of_a_diverged_model_are_refused(value: float) -> None:
    with pytest.raises(UserError, match="diverged"):
        next_token_distribution(torch.tensor([[0.0, value], [0.0, 1.0]]))


def test_half_precision_logits_are_widened_and_presets_are_valid() -> None:
    for preset in PRESETS.values():
        logits = torch.randn(2, 300, dtype=torch.bfloat16)
        probabilities = filter_stages(logits, preset)[-1][1].softmax(dim=-1)
        assert probabilities.dtype == torch.float32
        torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(2))
