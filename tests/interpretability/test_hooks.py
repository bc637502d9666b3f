"""Recording and replacing happen on the model's own modules."""

import pytest
import torch

from transformer.attention import causal_mask, scaled_dot_product_attention
from transformer.errors import UserError
from transformer.interpretability.hooks import (
    from_block_of,
    measure,
    record,
    replacing,
    streams,
    tap_names,
)
from transformer.model import DecoderOnlyTransformer

IDS = torch.arange(10).view(2, 5)


def test_every_tap_is_recorded_in_the_order_of_the_forward_pass(
    tiny_model: DecoderOnlyTransformer,
) -> None:
    recorded = record(tiny_model, IDS)
    assert list(recorded) == tap_names(tiny_model)
    assert len(recorded) == 1 + 3 * 11 + 2


def test_recorded_values_are_those_of_a_forward_pass_written_out(
    tiny_model: DecoderOnlyTransformer,
) -> None:
    recorded = record(tiny_model, IDS)
    block = tiny_model.blocks[0]
    x = tiny_model.token_embedding.weight[IDS] * 32**0.5 + tiny_model.positions.table[:5]
    torch.testing.assert_close(recorded["embedding"], x)
    q, k, v = block.attention.qkv_projection(block.attention_norm(x)).chunk(3, dim=-1)
    q, k, v = (part.view(2, 5, 4, 8).transpose(1, 2) for part in (q, k, v))
    heads, weights = scaled_dot_product_attention(q, k, v, causal_mask(5))
    torch.testing.assert_close(recorded["blocks.0.attention.weights"], weights)
    torch.testing.assert_close(recorded["blocks.0.attention.heads"], heads)
    for i in range(3):
        before = recorded["embedding" if i == 0 else f"blocks.{i - 1}.residual"]
        middle = before + recorded[f"blocks.{i}.attention.output"]
        after = middle + recorded[f"blocks.{i}.feed_forward.output"]
        torch.testing.assert_close(recorded[f"blocks.{i}.residual_middle"], middle)
        torch.testing.assert_close(recorded[f"blocks.{i}.residual"], after)
    torch.testing.assert_close(recorded["logits"], tiny_model(IDS))


def test_what_replaces_an_activation_is_what_the_model_computes_with(
    tiny_model: DecoderOnlyTransformer,
) -> None:
    other = record(tiny_model, IDS.flip(0))
    name = "blocks.1.residual"
    with replacing(tiny_model, {name: lambda _: other[name]}):
        logits = tiny_model(IDS)
    torch.testing.assert_close(logits, other["logits"])
    torch.testing.assert_close(logits[0], tiny_model(IDS)[1])


def test_attention_weights_can_be_replaced(tiny_model: DecoderOnlyTransformer) -> None:
    to_itself = torch.eye(5).expand(2, 4, 5, 5)
    with replacing(tiny_model, {"blocks.0.attention.weights": lambda _: to_itself}):
        recorded = record(tiny_model, IDS, ["blocks.0.attention.*"])
    torch.testing.assert_close(
        recorded["blocks.0.attention.heads"], recorded["blocks.0.attention.values"]
    )


def test_nothing_stays_behind(tiny_model: DecoderOnlyTransformer) -> None:
    before = tiny_model(IDS)
    record(tiny_model, IDS)
    with (
        pytest.raises(RuntimeError, match="boom"),
        replacing(tiny_model, {"blocks.*.residual": torch.zeros_like}),
    ):
        raise RuntimeError("boom")
    assert not any(module._forward_hooks for module in tiny_model.modules())
    assert torch.equal(tiny_model(IDS), before)


def test_recording_switches_dropout_off_and_the_mode_back(
    tiny_config, tiny_model: DecoderOnlyTransformer
) -> None:
    model = DecoderOnlyTransformer(type(tiny_config)(vocab_size=61, d_model=32, dropout=0.5))
    model.train()
    first, second = record(model, IDS)["logits"], record(model, IDS)["logits"]
    assert torch.equal(first, second)
    assert model.training
    assert model.blocks[0].dropout.training


def test_unknown_names_and_wrong_shapes_are_refused(tiny_model: DecoderOnlyTransformer) -> None:
    with pytest.raises(UserError, match=r"no activation 'blocks.9.residual'"):
        record(tiny_model, IDS, ["blocks.9.residual"])
    with (
        replacing(tiny_model, {"embedding": lambda x: x[:, :1]}),
        pytest.raises(UserError, match=r"shape \(2, 1, 32\)"),
    ):
        tiny_model(IDS)


def test_measures_keep_what_is_made_of_activations(tiny_model: DecoderOnlyTransformer) -> None:
    recorded = record(tiny_model, IDS)
    found = measure(tiny_model, IDS, {"blocks.*.residual": torch.Tensor.sum, "logits": len})
    assert list(found) == [*(f"blocks.{i}.residual" for i in range(3)), "logits"]
    torch.testing.assert_close(found["blocks.2.residual"], recorded["blocks.2.residual"].sum())
    assert found["logits"] == len(IDS)


@torch.no_grad()
@pytest.mark.parametrize("tap", [*(f"blocks.{i}.attention.heads" for i in range(3)), "embedding"])
def test_what_comes_before_a_change_is_not_computed_again(
    tap: str, tiny_model: DecoderOnlyTransformer
) -> None:
    changes = {tap: lambda activation: activation * 2}
    with replacing(tiny_model, changes):
        expected = tiny_model(IDS)
    known, blocks, ran = streams(tiny_model, IDS), tiny_model.blocks, []
    handles = [b.register_forward_hook(lambda block, *_: ran.append(block)) for b in blocks]
    with from_block_of(tiny_model, tap, known), replacing(tiny_model, changes):
        found = tiny_model(IDS)
    assert torch.equal(found, expected)
    assert not torch.equal(found, tiny_model(IDS))
    assert tiny_model.blocks is blocks
    first = 0 if tap == "embedding" else int(tap.split(".")[1])
    assert ran == [*blocks[first:], *blocks]
    for handle in handles:
        handle.remove()
    rows = IDS[:1].expand(3, -1)  # a batch of equal rows needs the stream of one
    known = streams(tiny_model, IDS[:1])
    with from_block_of(tiny_model, tap, known), replacing(tiny_model, changes):
        torch.testing.assert_close(tiny_model(rows), expected[:1].expand(3, -1, -1))
