"""What the figures of steps 1 to 6 and 8 claim, measured in the page."""

from typing import Any

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from torch import Tensor

from transformer.positional_encoding import sinusoidal_encoding
from transformer.runs.model_file import LoadedModel
from transformer.sampling import next_token_distribution

TEXT = "Once there was a shy fox named Belmo. She lived by the sea."
IDS = f"[Page.state.tokenizer.endOfText, ...Page.state.tokenizer.encode({TEXT!r})]"


def test_with_the_mask_the_last_token_changes_nothing_before_it(shared_page: OpenPage) -> None:
    """Exactly 0 with the mask, more without."""
    script = f"""(mask) => {{
      const ids = {IDS}, other = [...ids.slice(0, -1), ids[1]];
      return Page.finish(Page.changeBeforeLast(Page.state.model, ids, other, {{ mask }}));
    }}"""
    masked, open_ = shared_page.run(script, True), shared_page.run(script, False)
    assert len(masked) > 10
    assert max(masked) == 0
    assert max(open_) > 1e-4


def test_without_positions_the_first_layer_cannot_tell_order(shared_page: OpenPage) -> None:
    script = f"""([positions, seed]) => {{
      const ids = {IDS}, other = Page.shuffled(ids, seed);
      const moved = ids.some((id, i) => id !== other[i]), same = ids.at(-1) === other.at(-1);
      const effect = Page.finish(Page.orderEffect(Page.state.model, ids, other, {{ positions }}));
      return [moved && same, effect.change];
    }}"""
    for seed in range(1, 4):
        moved, change = shared_page.run(script, [False, seed])
        assert moved
        assert change < 1e-5
        assert shared_page.run(script, [True, seed])[1] > 1e-3


def test_positions_equal_python_and_depend_on_distance_alone(shared_page: OpenPage) -> None:
    script = "([length, width]) => Array.from(Page.sinusoidalEncoding(length, width))"
    found = np.array(shared_page.run(script, [128, 64])).reshape(128, 64)
    expected = sinusoidal_encoding(128, 64).numpy()
    assert np.abs(found - expected).max() < 1e-6
    products = found @ found.T
    for distance in (0, 1, 5, 20):
        diagonal = np.diagonal(products, distance)
        assert diagonal.max() - diagonal.min() < 1e-4


def test_erf_is_as_close_as_its_source_says(shared_page: OpenPage) -> None:
    x = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    found = shared_page.run("(values) => values.map(Page.erf)", x.tolist())
    assert np.abs(np.array(found) - torch.erf(x).numpy()).max() < 1.5e-7


def test_an_even_head_gives_each_key_one_over_their_number(shared_page: OpenPage) -> None:
    """The claim of step 2: scores all equal at position t make weights 1 / (t + 1)."""
    script = f"""() => {{
      const found = [];
      const tap = (name, values, [H, T]) => {{
        if (name === "blocks.0.attention.scores") return new Float32Array(values.length);
        if (name === "blocks.0.attention.weights") {{
          for (let t = 0; t < T; t++) found.push(values[t * T], values[t * T + t]);
        }}
        return undefined;
      }};
      Page.state.model.forward({IDS}, {{ tap }});
      return found;
    }}"""
    found = np.array(shared_page.run(script)).reshape(-1, 2)
    expected = 1 / np.arange(1, len(found) + 1)
    assert np.abs(found - expected[:, None]).max() < 1e-7


def test_undivided_scores_are_sharper(shared_page: OpenPage) -> None:
    """Step 2: without the division by √K the entropy never rises."""
    script = f"""() => {{
      const {{ model }} = Page.state, K = model.config.d_model / model.config.n_heads;
      const pairs = [];
      const tap = (name, values, [H, T]) => {{
        if (!name.endsWith("scores")) return;
        for (let h = 0; h < H; h++) {{
          const row = values.subarray((h * T + T - 1) * T, (h + 1) * T * T);
          const sharp = row.map((score) => score * Math.sqrt(K));
          pairs.push([Page.entropy(Page.softmax(row)), Page.entropy(Page.softmax(sharp))]);
        }}
      }};
      model.forward({IDS}, {{ tap }});
      return pairs;
    }}"""
    pairs = shared_page.run(script)
    assert len(pairs) >= 4
    assert all(undivided <= divided + 1e-6 for divided, undivided in pairs)


def python_ablation(loaded: LoadedModel, ids: list[int], layer: int, neuron: int) -> Tensor:
    feed_forward = loaded.model.blocks[layer].feed_forward

    def silence(_: Any, __: Any, activations: Tensor) -> Tensor:
        changed = activations.clone()
        changed[..., neuron] = 0
        return changed

    handle = feed_forward.activations.register_forward_hook(silence)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([ids]))[0, -1]
    handle.remove()
    return logits


@pytest.mark.parametrize(("layer", "neuron"), [(0, 3), (1, 100)])
def test_silencing_a_neuron_equals_pytorch(
    shared_page: OpenPage, shipped: LoadedModel, layer: int, neuron: int
) -> None:
    ids = shared_page.run(f"() => {IDS}")
    script = """([ids, layer, neuron]) => Array.from(
      Page.finish(Page.silence(Page.state.model, ids, layer, neuron, ids.length - 1)))"""
    found = shared_page.run(script, [ids, layer, neuron])
    expected = python_ablation(shipped, ids, layer, neuron)
    assert np.abs(np.array(found) - expected.numpy()).max() <= 1e-4


def test_the_loss_equals_pytorch_and_every_part_can_be_dropped(
    shared_page: OpenPage, shipped: LoadedModel
) -> None:
    ids = shared_page.run(f"() => {IDS}")
    script = """([ids, part]) => {
      const { model } = Page.state;
      const logits = Page.finish(Page.forwardWithout(model, ids, part));
      return Page.lossOf(logits, ids, model.config.vocab_size);
    }"""
    whole = shared_page.run(script, [ids, "none"])
    row = torch.tensor([ids])
    with torch.no_grad():
        expected = shipped.model.loss(row[:, :-1], row[:, 1:]).item()
    assert whole == pytest.approx(expected, abs=1e-4)
    for part in ("blocks.0.attention.output", "blocks.1.feed_forward.output", "residual", "norm"):
        assert abs(shared_page.run(script, [ids, part]) - whole) > 1e-4, part


SETTINGS = [
    {},
    {"temperature": 0.5},
    {"temperature": 0},
    {"top_k": 7},
    {"top_p": 0.8},
    {"temperature": 1.7, "top_k": 50, "top_p": 0.9},
    {"min_p": 0.05},
    {"repetition_penalty": 1.5},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_distribution_equals_python(shared_page: OpenPage, settings: dict[str, Any]) -> None:
    logits = torch.randn(3, 200) * 3
    history = torch.tensor([[1, 5, 5, 9]]).expand(3, -1)
    extra = {"history": history} if "repetition_penalty" in settings else {}
    expected = next_token_distribution(logits, **settings, **extra)
    names = {"top_k": "topK", "top_p": "topP", "min_p": "minP"}
    names |= {"repetition_penalty": "repetitionPenalty"}
    options: dict[str, Any] = {names.get(key, key): value for key, value in settings.items()}
    options["history"] = [1, 5, 9] if extra else []
    script = """([rows, options]) => rows.map((row) =>
      Array.from(Page.nextTokenDistribution(Float32Array.from(row), options)))"""
    found = np.array(shared_page.run(script, [logits.tolist(), options]))
    assert np.abs(found - expected.numpy()).max() < 1e-6


def test_filters_keep_what_they_promise(shared_page: OpenPage) -> None:
    """Temperature to 0 is greedy; top-k leaves k; top-p is the smallest set that reaches p."""
    script = """(seed) => {
      const random = Page.random(seed);
      const logits = Float32Array.from({ length: 300 }, () => 8 * random() - 4);
      const at = (options) => Array.from(Page.nextTokenDistribution(logits, options));
      return { plain: at({}), cold: at({ temperature: 1e-5 }), greedy: at({ temperature: 0 }),
        k: at({ topK: 12 }), p: at({ topP: 0.7 }) };
    }"""
    for seed in range(5):
        found = {name: np.array(values) for name, values in shared_page.run(script, seed).items()}
        assert found["cold"].argmax() == found["greedy"].argmax() == found["plain"].argmax()
        assert found["cold"].max() > 0.99
        assert np.count_nonzero(found["greedy"]) == 1
        assert np.count_nonzero(found["k"]) == 12
        kept = found["plain"][found["p"] > 0]
        assert kept.sum() >= 0.7
        assert kept.sum() - kept.min() < 0.7  # one less would not reach it
        assert kept.min() >= np.sort(found["plain"])[-len(kept)]
