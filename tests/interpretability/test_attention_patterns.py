"""Scores against sums written out position by position."""

import math

import pytest
import torch

from transformer.errors import UserError
from transformer.interpretability.attention_patterns import chance_scores, pattern_scores
from transformer.interpretability.induction import (
    NOT_REPEATED,
    Repeats,
    chance,
    duplicate_token_scores,
    induction_scores,
    repeated_random_tokens,
)

IDS = torch.tensor([[3, 1, 4, 1, 5], [2, 2, 2, 7, 1]])


def random_weights(ids: torch.Tensor) -> torch.Tensor:
    """(2 layers, B, 3 heads, T, T) of causal attention."""
    B, T = ids.shape
    scores = torch.randn(2, B, 3, T, T).masked_fill(~torch.ones(T, T).tril().bool(), -math.inf)
    return scores.softmax(dim=-1)


def by_hand(w: list[list[float]], x: list[int]) -> dict[str, list[float]]:
    """Every score of one head on one sequence, query by query."""
    T = range(1, len(x))
    return {
        "previous_token": [w[t][t - 1] for t in T],
        "first_token": [w[t][0] for t in T],
        "current_token": [w[t][t] for t in T],
        "same_token": [sum(w[t][s] for s in range(t) if x[s] == x[t]) for t in T if x[t] in x[:t]],
        "uniform": [1 - sum(abs(w[t][s] - 1 / (t + 1)) for s in range(t + 1)) / 2 for t in T],
        "entropy": [-sum(w[t][s] * math.log(w[t][s]) for s in range(t + 1)) for t in T],
    }


def test_patterns_equal_sums_by_hand() -> None:
    weights = random_weights(IDS)
    scores = pattern_scores(weights, IDS)
    for layer in range(2):
        for head in range(3):
            rows = [by_hand(weights[layer, b, head].tolist(), IDS[b].tolist()) for b in range(2)]
            for name in rows[0]:
                values = rows[0][name] + rows[1][name]
                expected = sum(values) / len(values)
                assert float(getattr(scores, name)[layer, head]) == pytest.approx(expected, 1e-5)


def test_chance_is_what_looking_everywhere_scores() -> None:
    ids = torch.tensor([[1, 2, 3, 1]])
    scores = chance_scores(ids)
    assert scores.previous_token.item() == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert scores.same_token.item() == pytest.approx(1 / 4)
    assert scores.uniform.item() == pytest.approx(1)
    assert scores.entropy.item() == pytest.approx((math.log(2) + math.log(3) + math.log(4)) / 3)


def test_same_token_is_nan_where_nothing_comes_twice() -> None:
    ids = torch.tensor([[1, 2, 3]])
    assert pattern_scores(random_weights(ids), ids).same_token.isnan().all()


def test_one_token_has_no_pattern() -> None:
    with pytest.raises(UserError, match="at least 2 tokens"):
        pattern_scores(torch.ones(1, 1, 1, 1, 1), torch.tensor([[5]]))


def test_the_induction_score_looks_one_past_the_first_occurrence() -> None:
    #             positions  0  1  2  3  4  5  6
    ids = torch.tensor([[9, 1, 2, 3, 1, 2, 3]])
    first = torch.tensor([[-1, -1, -1, -1, 1, 2, -1]])
    repeats = Repeats(ids, first)
    weights = random_weights(ids)
    w = weights[:, 0]
    torch.testing.assert_close(
        induction_scores(weights, repeats), (w[:, :, 4, 2] + w[:, :, 5, 3]) / 2
    )
    torch.testing.assert_close(
        duplicate_token_scores(weights, repeats), (w[:, :, 4, 1] + w[:, :, 5, 2]) / 2
    )
    assert chance(repeats) == pytest.approx((1 / 5 + 1 / 6) / 2)


def test_random_tokens_come_twice_and_their_first_occurrence_is_known() -> None:
    repeats = repeated_random_tokens(vocab_size=50, end_of_text=7, length=10, count=20)
    assert repeats.ids.shape == (20, 21)
    assert (repeats.ids[:, 0] == 7).all()
    assert not (repeats.ids[:, 1:] == 7).any()
    for ids, first in zip(repeats.ids.tolist(), repeats.first.tolist(), strict=True):
        assert len(set(ids[1:11])) == 10
        assert ids[1:11] == ids[11:]
        for position, earlier in enumerate(first):
            repeated = 11 <= position < 20  # the last token's successor is not copied
            assert earlier == (ids.index(ids[position]) if repeated else NOT_REPEATED)
    assert len({tuple(row) for row in repeats.ids.tolist()}) == 20
    assert torch.equal(repeats.ids, repeated_random_tokens(50, 7, 10, 20).ids)


def test_too_few_tokens_for_a_sequence_without_repeats() -> None:
    with pytest.raises(UserError, match="length must be from 2 to 9, but is 10"):
        repeated_random_tokens(vocab_size=10, end_of_text=0, length=10)
