"""Patching patches: against one run at a time, and on circuits whose path is known."""

import pytest
import torch
from interpretability import planted

from transformer.errors import UserError
from transformer.interpretability.ablation import Component, components, replacements, token_losses
from transformer.interpretability.hooks import record, tap_names
from transformer.interpretability.patching import (
    Patch,
    PromptPair,
    run_patches,
    sweep,
    sweep_heads,
)
from transformer.model import DecoderOnlyTransformer

T = 9


@pytest.fixture
def lively_model(tiny_model: DecoderOnlyTransformer) -> DecoderOnlyTransformer:
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return tiny_model


def mean_loss(model, ids, targets, component, kind="zero") -> float:
    value = replacements(model, ids, kind)[component] if component else None
    return float(token_losses(model, ids, targets, component, value).mean())


@pytest.fixture
def pair() -> PromptPair:
    clean = torch.arange(10, 10 + T)
    corrupted = clean.clone()
    corrupted[3] = 50
    return PromptPair(clean, corrupted, clean_answer=1, corrupted_answer=2)


def recovered_one_at_a_time(model, pair: PromptPair, tap: str, where) -> float:
    """One corrupted run, one hook that writes the clean values into `where`, no batching."""
    seen = {}
    module = model.get_submodule(tap)
    handle = module.register_forward_hook(lambda m, i, out: seen.update(clean=out.clone()))
    clean = model(pair.clean[None])[0, -1]
    handle.remove()

    def overwrite(module, inputs, output):
        output[where] = seen["clean"][where]
        return output

    handle = module.register_forward_hook(overwrite)
    patched = model(pair.corrupted[None])[0, -1]
    handle.remove()
    corrupted = model(pair.corrupted[None])[0, -1]
    a, b = pair.clean_answer, pair.corrupted_answer
    differences = [float(x[a] - x[b]) for x in (clean, corrupted, patched)]
    return (differences[2] - differences[1]) / (differences[0] - differences[1])


@torch.no_grad()
@pytest.mark.parametrize(
    "site", ["residual", "residual_middle", "attention.output", "feed_forward.output"]
)
def test_the_batched_sweep_equals_one_run_at_a_time(site, lively_model, pair: PromptPair) -> None:
    found = sweep(lively_model, pair, site, batch_size=10)
    assert found.shape == (3, T)
    for layer in range(3):
        for position in range(T):
            tap, where = f"blocks.{layer}.{site}", (slice(None), position)
            expected = recovered_one_at_a_time(lively_model, pair, tap, where)
            assert float(found[layer, position]) == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_heads_equal_one_run_at_a_time(lively_model, pair: PromptPair) -> None:
    found = sweep_heads(lively_model, pair)
    for layer in range(3):
        for head in range(4):
            tap, where = f"blocks.{layer}.attention.heads", (slice(None), head)
            expected = recovered_one_at_a_time(lively_model, pair, tap, where)
            assert float(found[layer, head]) == pytest.approx(expected, abs=1e-4)


def test_one_head_at_one_position(lively_model, pair: PromptPair) -> None:
    patches = [Patch("blocks.0.attention.heads", position=4, head=2)]
    with torch.no_grad():
        where = (slice(None), 2, 4)
        expected = recovered_one_at_a_time(lively_model, pair, patches[0].tap, where)
    found = run_patches(lively_model, pair, [patches]).recovered
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_everything_recovers_1_and_nothing_0(lively_model, pair: PromptPair) -> None:
    everything = [Patch(tap) for tap in tap_names(lively_model) if tap != "logits"]
    last = [Patch("blocks.2.residual", position=T - 1)]
    elsewhere = [Patch("blocks.2.residual", position=p) for p in range(T - 1)]
    unchanged = [Patch("embedding", position=2)]  # the prompts share this token
    experiments = [everything, last, [Patch("embedding")], [], elsewhere, unchanged]
    recovered = run_patches(lively_model, pair, experiments).recovered
    torch.testing.assert_close(
        recovered, torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), atol=1e-4, rtol=0
    )


def test_the_path_of_a_planted_circuit_is_found() -> None:
    """A B C … A: the previous-token head moves A onto B's place, the matching head reads B."""
    model = planted.induction_model()
    clean, corrupted = torch.tensor([[0, 1, 2, 3, 1], [0, 1, 4, 3, 1]])
    pair = PromptPair(clean, corrupted, clean_answer=2, corrupted_answer=4)
    heads = sweep_heads(model, pair)
    expected = torch.zeros(2, 3)
    expected[1, 2] = 1
    torch.testing.assert_close(heads, expected, atol=0.02, rtol=0)
    residual = sweep(model, pair, "residual")
    expected = torch.zeros(2, 5)
    expected[0, 2] = expected[1, 4] = 1  # first at the token that differs, then at the end
    torch.testing.assert_close(residual, expected, atol=0.02, rtol=0)


def test_a_sufficient_part_need_not_be_necessary() -> None:
    """Two heads copy the first token; either alone restores the answer, neither is needed."""
    model = planted.blank_model()
    planted.plant_first_token_head(model, layer=0, head=0)
    planted.plant_first_token_head(model, layer=0, head=1)
    ids = torch.tensor([[3, 5, 6, 7]])
    targets = torch.full((1, 4), 3)
    whole = mean_loss(model, ids, targets, None)
    for head in (0, 1):
        component = Component("blocks.0.attention.heads", head)
        assert mean_loss(model, ids, targets, component, "zero") - whole < 0.1
    both = Component("blocks.0.attention.output")
    assert mean_loss(model, ids, targets, both, "zero") - whole > 2
    pair = PromptPair(ids[0], torch.tensor([4, 5, 6, 7]), clean_answer=3, corrupted_answer=4)
    assert (sweep_heads(model, pair)[0, :2] > 0.4).all()


def test_impossible_questions_are_refused(lively_model, pair: PromptPair) -> None:
    with pytest.raises(UserError, match="clean prompt has 9 tokens, the corrupted one 5"):
        PromptPair(pair.clean, pair.corrupted[:5], 1, 2)
    with pytest.raises(UserError, match="same answer, token 1"):
        PromptPair(pair.clean, pair.corrupted, 1, 1)
    with pytest.raises(UserError, match="choose prompts between which the model distinguishes"):
        run_patches(lively_model, PromptPair(pair.clean, pair.clean, 1, 2), [[]])
    with pytest.raises(UserError, match=r"no activation 'blocks\.7\.residual'"):
        run_patches(lively_model, pair, [[Patch("blocks.7.residual")]])
    with pytest.raises(UserError, match="they are the answer itself"):
        run_patches(lively_model, pair, [[Patch("logits")]])
    with pytest.raises(UserError, match="site must be one of residual, "):
        sweep(lively_model, pair, "logits")  # type: ignore[arg-type]


@torch.no_grad()
def test_ablating_by_zero_equals_taking_the_weights_away(lively_model) -> None:
    ids, targets = torch.randint(61, (2, 2, 10))
    for component in components(lively_model):
        found = mean_loss(lively_model, ids, targets, component, "zero")
        layer, part = component.tap.split(".")[1:3]
        block = lively_model.blocks[int(layer)]
        saved = {k: v.clone() for k, v in block.state_dict().items()}
        if component.head is not None:
            block.attention.output_projection.weight[:, 8 * component.head :][:, :8] = 0
        else:
            last = getattr(block, part)
            last = last.output_projection if part == "attention" else last.contract
            last.weight.zero_()
            last.bias.zero_()
        expected = float(lively_model.loss(ids, targets))
        block.load_state_dict(saved)
        assert found == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_the_mean_is_taken_over_sequences_and_positions(lively_model) -> None:
    ids, targets = torch.randint(61, (2, 2, 10))
    component = Component("blocks.1.feed_forward.output")
    found = mean_loss(lively_model, ids, targets, component, "mean")
    outputs = record(lively_model, ids)[component.tap].reshape(20, 32)
    contract = lively_model.blocks[1].feed_forward.contract
    contract.weight.zero_()
    contract.bias.copy_(sum(outputs) / 20)
    assert found == pytest.approx(float(lively_model.loss(ids, targets)), abs=1e-5)


def test_padding_counts_neither_in_the_mean_nor_in_the_loss(lively_model) -> None:
    ids, targets = torch.randint(61, (2, 2, 8))
    padded_ids = torch.cat([ids, torch.zeros(2, 5, dtype=torch.int64)], dim=1)
    padded_targets = torch.cat([targets, torch.full((2, 5), -100)], dim=1)
    is_text = torch.arange(13).expand(2, -1) < 8
    values = replacements(lively_model, ids)
    for component, value in replacements(lively_model, padded_ids, is_text=is_text).items():
        torch.testing.assert_close(value, values[component], atol=1e-4, rtol=1e-4)
    losses = token_losses(lively_model, padded_ids, padded_targets)
    assert (losses[:, 8:] == 0).all()
    expected = token_losses(lively_model, ids, targets)
    torch.testing.assert_close(losses[:, :8], expected, atol=1e-4, rtol=1e-4)
