"""Whole variants against the models that have them, with the same weights."""

import pytest
import torch
from ladder.references import COMMON, FAMILIES, MODERN, D, H, T, V, build, copy_weights
from torch import nn

from transformer.model import DecoderOnlyTransformer


def assert_same_logits(model: DecoderOnlyTransformer, theirs: nn.Module) -> None:
    ids = torch.randint(V, (3, T), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.eval()(ids).logits
        found = model(ids)
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_same_logits(family: str) -> None:
    assert_same_logits(*FAMILIES[family]())


@pytest.mark.parametrize("window", [1, 3, T])
def test_a_window_is_mistrals(window: int) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    model = build(**MODERN, feed_forward="swiglu", n_kv_heads=2, window=window)
    theirs = MistralForCausalLM(
        MistralConfig(
            **COMMON, rms_norm_eps=1e-5, rope_theta=10_000.0, sliding_window=window,
            tie_word_embeddings=True, head_dim=D // H,
        )
    )  # fmt: skip
    copy_weights(model, theirs)
    assert_same_logits(model, theirs)
