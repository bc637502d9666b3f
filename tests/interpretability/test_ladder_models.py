"""The tools look into models of the ladder as into the classic one."""

import pytest
import torch
from variant_tools import VARIANTS, model_of, some_ids

from transformer.interpretability.attribution import logit_contributions, residual_writes
from transformer.interpretability.copying_heads import copying_scores
from transformer.interpretability.hooks import record, tap_names
from transformer.interpretability.induction import attention_weights, repeated_random_tokens
from transformer.interpretability.logit_lens import logit_lens

V = 40


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@torch.no_grad()
def test_contributions_sum_to_the_logit(name: str) -> None:
    model, ids = model_of(name), some_ids()
    tokens = torch.randint(V, ids.shape, generator=torch.Generator().manual_seed(2))
    contributions = logit_contributions(model, ids, tokens)
    total = torch.stack(list(contributions.values())).sum(dim=0)
    if cap := model.config.variant.logit_softcap:
        total = cap * torch.tanh(total / cap)
    logits = model(ids).gather(-1, tokens[..., None])[..., 0]
    torch.testing.assert_close(total, logits.to(total.dtype), atol=1e-6, rtol=1e-5)
    assert logits.std() > 0.5


@torch.no_grad()
def test_writes_sum_to_the_stream(name: str) -> None:
    model, ids = model_of(name), some_ids()
    last = f"blocks.{model.config.n_layers - 1}.residual"
    writes = residual_writes(model, ids)
    torch.testing.assert_close(sum(writes.values()), record(model, ids, [last])[last])


def test_the_lens_ends_at_the_output(name: str) -> None:
    lens = logit_lens(model_of(name), some_ids(1), k=2)
    assert lens.kl[-1].abs().max() < 1e-6
    assert lens.kl[0].max() > 0.01


def test_taps_have_the_shapes_of_the_legend(name: str) -> None:
    model, ids = model_of(name), some_ids()
    c, (B, T) = model.config, ids.shape
    H, G, K = c.n_heads, c.n_kv_heads, c.head_size
    recorded = record(model, ids)
    assert list(recorded) == tap_names(model)
    shapes = {
        "queries": (B, H, T, K), "keys": (B, G, T, K), "values": (B, G, T, K),
        "scores": (B, H, T, T), "weights": (B, H, T, T), "heads": (B, H, T, K),
        "output": (B, T, c.d_model),
    }  # fmt: skip
    for tap, shape in shapes.items():
        assert recorded[f"blocks.1.attention.{tap}"].shape == shape
    assert recorded["blocks.0.feed_forward.activations"].shape == (B, T, c.d_ff)
    assert recorded["logits"].shape == (B, T, V)


def test_weights_outside_the_window_are_zero() -> None:
    model, ids = model_of("window"), some_ids()
    weights = record(model, ids)["blocks.0.attention.weights"]
    places = torch.arange(ids.size(1))
    hidden = (places[:, None] - places >= 3) | (places[:, None] < places)
    assert not weights[:, :, hidden].any()
    assert weights[:, :, ~hidden].all()


def test_scores_and_ablation_run(name: str) -> None:
    model = model_of(name)
    repeats = repeated_random_tokens(V, end_of_text=0, length=5, count=2)
    scores = copying_scores(model, repeats)
    assert scores.shape == (2, 4)
    assert scores.abs().max() <= 1
    assert attention_weights(model, repeats.ids).shape[:3] == (2, 2, 4)
