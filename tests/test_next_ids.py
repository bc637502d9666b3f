"""Drawing from the few tokens that can be drawn is drawing from all."""

import math

import pytest
import torch

from transformer.errors import UserError
from transformer.sampling import PRESETS, SamplingSettings, draw, filter_stages, next_ids


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(temperature=0.0),
        SamplingSettings(temperature=0.7, top_k=5),
        SamplingSettings(top_k=1),
        SamplingSettings(top_k=90, top_p=0.6),
        SamplingSettings(temperature=1.3, top_k=12, min_p=0.3),
        SamplingSettings(top_k=7, repetition_penalty=2.0),
        SamplingSettings(temperature=0.0, repetition_penalty=2.0),
        SamplingSettings(top_p=0.9),
    ],
)
def test_looking_at_few_tokens_draws_the_same(
    settings: SamplingSettings, dtype: torch.dtype
) -> None:
    """Many ties: the logits are multiples of a half, and rows have different numbers of ties."""
    logits = ((2 * torch.randn(40, 80)).round() / 2).to(dtype)
    logits[0] = 1.0
    history = torch.randint(80, (40, 6))
    for seed in range(5):
        generators = [
            [torch.Generator().manual_seed(seed + row) for row in range(40)] for _ in "ab"
        ]
        whole = filter_stages(logits, settings, history)[-1][1].softmax(-1)
        few = next_ids(logits, settings, generators[1], history)
        assert torch.equal(few, draw(whole, generators[0]))


@pytest.mark.parametrize("settings", [PRESETS["greedy"], SamplingSettings(top_k=2)])
def test_a_diverged_model_is_refused_where_few_tokens_are_looked_at(
    settings: SamplingSettings,
) -> None:
    for wrong in (math.nan, math.inf):
        logits = torch.randn(2, 9)
        logits[1, 4] = wrong
        with pytest.raises(UserError, match="not finite"):
            next_ids(logits, settings, [torch.Generator(), torch.Generator()])
