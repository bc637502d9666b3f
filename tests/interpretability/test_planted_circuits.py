"""Circuits that were written into the weights by hand are found, and nothing else is."""

import pytest
import torch
from interpretability import planted

from transformer.interpretability.ablation import replacements, token_losses
from transformer.interpretability.attention_patterns import chance_scores, pattern_scores
from transformer.interpretability.copying_heads import copying_scores
from transformer.interpretability.induction import (
    NOT_REPEATED,
    attention_weights,
    best_head,
    chance,
    duplicate_token_scores,
    induction_scores,
    repeated_random_tokens,
)
from transformer.model import DecoderOnlyTransformer

REPEATS = repeated_random_tokens(planted.V, end_of_text=0, length=11)
SUCCESSORS = torch.where(REPEATS.first != NOT_REPEATED, REPEATS.ids.roll(-1, dims=1), -100)


def test_the_induction_head_scores_1_and_no_other_head_more_than_chance() -> None:
    model = planted.induction_model()
    scores = induction_scores(attention_weights(model, REPEATS.ids), REPEATS)
    assert best_head(scores)[1:] == (1, 2)
    assert scores[1, 2] > 0.999
    scores[1, 2] = 0
    assert scores.max() <= chance(REPEATS) + 1e-6


def test_the_induction_head_copies_what_it_attends_to() -> None:
    model = planted.induction_model()
    scores = copying_scores(model, REPEATS)
    assert best_head(scores)[1:] == (1, 2)
    assert scores[1, 2] > 0.999
    assert (model(REPEATS.ids).argmax(-1) == SUCCESSORS)[SUCCESSORS != -100].all()


def test_a_duplicate_token_head_is_no_induction_head() -> None:
    model = planted.blank_model()
    planted.plant_duplicate_token_head(model, layer=0, head=2)
    weights = attention_weights(model, REPEATS.ids)
    assert induction_scores(weights, REPEATS)[0, 2] < 1e-6
    assert duplicate_token_scores(weights, REPEATS)[0, 2] > 0.999
    assert best_head(pattern_scores(weights, REPEATS.ids).same_token)[1:] == (0, 2)


@pytest.mark.parametrize(
    ("plant", "score"),
    [
        (planted.plant_previous_token_head, "previous_token"),
        (planted.plant_first_token_head, "first_token"),
    ],
)
def test_a_head_planted_anywhere_ranks_first_in_its_pattern(plant, score: str) -> None:
    for layer in range(2):
        for head in range(planted.HEADS):
            model = planted.blank_model()
            plant(model, layer, head)
            weights = attention_weights(model, REPEATS.ids)
            scores = getattr(pattern_scores(weights, REPEATS.ids), score)
            assert best_head(scores)[1:] == (layer, head)
            assert scores[layer, head] > 0.999


def test_the_first_token_head_makes_the_model_say_the_first_token() -> None:
    model = planted.blank_model()
    planted.plant_first_token_head(model, layer=0, head=0)
    ids = REPEATS.ids.flip(1)  # starts with a token other than end-of-text
    assert (model(ids).argmax(-1) == ids[:, :1]).all()
    assert best_head(copying_scores(model, REPEATS))[1:] == (0, 0)


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_only_ablating_the_circuit_destroys_the_behaviour(kind) -> None:
    model = planted.induction_model()
    copied = SUCCESSORS != -100
    whole = token_losses(model, REPEATS.ids, SUCCESSORS)[copied].mean()
    assert whole < 0.02
    needed = {
        "blocks.0.attention.heads.1",
        "blocks.0.attention.output",
        "blocks.1.attention.heads.2",
        "blocks.1.attention.output",
    }
    for component, value in replacements(model, REPEATS.ids, kind).items():
        losses = token_losses(model, REPEATS.ids, SUCCESSORS, component, value)
        rise = losses[copied].mean() - whole
        assert rise > 2 if str(component) in needed else abs(rise) < 1e-6


def test_heads_of_random_models_score_near_chance() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        model = DecoderOnlyTransformer(planted.CONFIG)
        weights = attention_weights(model, REPEATS.ids)
        torch.testing.assert_close(
            induction_scores(weights, REPEATS),
            torch.full((2, 3), chance(REPEATS)),
            atol=0.02,
            rtol=0,
        )
        found, expected = pattern_scores(weights, REPEATS.ids), chance_scores(REPEATS.ids)
        for name in ("previous_token", "first_token", "current_token", "same_token"):
            excess = getattr(found, name) - getattr(expected, name)
            assert excess.abs().max() < 0.05
        assert found.uniform.min() > 0.8
        assert copying_scores(model, REPEATS).max() < 0
