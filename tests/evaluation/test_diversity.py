"""Diversity figures: counted by hand, and log-probabilities against a forward pass."""

import pytest
import torch

from transformer.evaluation.diversity import distinct_n, sample, self_overlap
from transformer.model import DecoderOnlyTransformer
from transformer.sampling import SamplingSettings


def test_texts_too_short_for_an_n_gram_have_no_diversity() -> None:
    assert distinct_n([[1], []], n=2) == 0.0
    assert self_overlap([[1], [2]], n=2) == 0.0


def test_greedy_samples_are_all_the_same(tiny_model: DecoderOnlyTransformer) -> None:
    greedy = SamplingSettings(temperature=0.0)
    found = sample(tiny_model, [1, 2], 3, 10, greedy, seed=0, end_of_text=60)
    assert found.texts[0] == found.texts[1] == found.texts[2]
    assert found.overlap == 1.0


def test_log_probability_is_the_models_own(tiny_model: DecoderOnlyTransformer) -> None:
    """Under filters too: what was drawn is scored by the unfiltered distribution."""
    model = tiny_model.double()
    chosen = SamplingSettings(temperature=0.5, top_k=5)
    prompt = [1, 2, 3]
    found = sample(model, prompt, 4, 9, chosen, seed=3, end_of_text=60)
    scores = []
    for text in found.texts:
        ended = [*text, 60] if len(text) < 9 else text
        ids = torch.tensor([[*prompt, *ended]])
        with torch.no_grad():
            beliefs = model(ids[:, :-1])[0].log_softmax(dim=-1)
        scores += beliefs[2:].gather(1, ids[0, 3:, None])[:, 0].tolist()
    assert found.log_probability == pytest.approx(sum(scores) / len(scores), rel=1e-9)
