"""The picture at the top: every station shows what the loaded model computes from the prompt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from dropped_files import choose, small_tokenizer
from test_film_page import GO, SEEK, film  # noqa: F401  (film is a fixture)
from variant_tools import model_of

from transformer.runs.film import Film
from transformer.runs.model_file import LoadedModel, write_model_file

PROMPT = "Belmo sang: tri la mi zum ta ki bom!"
READOUT = "() => document.querySelector('#flow .readout').textContent"
BARS = """() => [...document.querySelectorAll('#flow .bars li')].map(
  (item) => item.querySelector('.bar-label').textContent + ' '
    + item.querySelector('.bar-value').textContent)"""
WIDTHS = """() => [...document.querySelectorAll('#flow path.bus, #flow g.bus path')].map(
  (line) => Number(line.getAttribute('stroke-width')))"""
# A canvas as numbers from 0 to 1, -1 where it is empty; fillCanvas writes 10 + 245 · depth.
DEPTHS = """(selector) => {
  const canvas = document.querySelector(`#flow ${selector} canvas`), { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const depth = (i) => (data[4 * i + 3] === 0 ? -1 : (data[4 * i + 3] - 10) / 245);
  return { width, height, depths: Array.from({ length: width * height }, (_, i) => depth(i)) };
}"""
TAPS = """() => {
  const { trace, ids, pinned, model } = Page.state, { n_layers: L } = model.config;
  const names = ["embedding"];
  for (let i = 0; i < L; i++) {
    names.push(...["attention.weights", "attention.output", "feed_forward.activations",
      "feed_forward.output", "residual"].map((name) => `blocks.${i}.${name}`));
  }
  const tap = (name) => { const { data, shape } = trace.values.get(name); return [[...data], shape]; };
  return { ids, pinned, logits: [...trace.logits(pinned)],
    taps: Object.fromEntries(names.map((name) => [name, tap(name)])) };
}"""  # noqa: E501
OUTSIDE = """() => {
  const { left, right } = document.getElementById("flow").getBoundingClientRect();
  return [...document.querySelectorAll("#flow *")].filter((node) => node.checkVisibility())
    .filter((node) => { const box = node.getBoundingClientRect();
      return box.width && (box.left < left - 1 || box.right > right + 1); })
    .map((node) => node.outerHTML.slice(0, 80));
}"""
# Before the film rests, which draws everything.
SEEN_AT_ONCE = f"(frame) => {{ ({SEEK})(frame); return ({READOUT})(); }}"
DRAWN = """(before) => document.querySelector('#flow .readout').textContent !== before"""


def picture(page: OpenPage, selector: str) -> np.ndarray:
    found = page.run(DEPTHS, selector)
    return np.array(found["depths"]).reshape(found["height"], found["width"])


def taps_of(page: OpenPage) -> tuple[dict[str, np.ndarray], int, np.ndarray]:
    found = page.run(TAPS)
    taps = {name: np.array(data).reshape(shape) for name, (data, shape) in found["taps"].items()}
    return taps, found["pinned"], np.array(found["logits"])


def check_everything(page: OpenPage) -> None:
    """All pictures against the taps; the prompt has at most 32 tokens."""
    taps, t, logits = taps_of(page)
    layers = page.run("() => Page.state.model.config.n_layers")
    embedding = np.abs(taps["embedding"])
    close(picture(page, '[data-station="vectors"]'), embedding / embedding.max())
    check_heads(picture(page, '[data-station="attention"]'), taps["blocks.0.attention.weights"])
    check_neurons(
        picture(page, '[data-station="feed-forward"]'), taps["blocks.0.feed_forward.activations"][t]
    )
    for layer in range(1, layers):
        small = f'[data-layer="{layer}"]'
        mean = taps[f"blocks.{layer}.attention.weights"].mean(0)
        close(picture(page, f"{small} .mean"), np.minimum(1, mean / 0.6))
        neurons = taps[f"blocks.{layer}.feed_forward.activations"][t]
        check_neurons(picture(page, f"{small} .neurons"), neurons)
    check_stream(page.run(WIDTHS), taps, t, layers)
    check_output(page, logits)


def close(drawn: np.ndarray, expected: np.ndarray) -> None:
    assert drawn.shape == expected.shape
    assert expected.max() > 0.1
    assert np.abs(drawn - expected).max() <= 1.5 / 245


def check_heads(drawn: np.ndarray, weights: np.ndarray) -> None:
    """(H, T, T): side by side, with a pixel of nothing between them."""
    heads, size, _ = weights.shape
    columns = int(np.ceil(np.sqrt(heads)))
    for head in range(heads):
        top, left = (head // columns) * (size + 1), (head % columns) * (size + 1)
        tile = drawn[top : top + size, left : left + size]
        close(tile, np.minimum(1, weights[head] / 0.6))
    assert (drawn[size] == -1).all()


def check_neurons(drawn: np.ndarray, activations: np.ndarray) -> None:
    close(drawn.flatten()[: len(activations)], np.abs(activations) / np.abs(activations).max())
    assert (drawn.flatten()[len(activations) :] == -1).all()


def check_stream(widths: list[float], taps: dict[str, np.ndarray], t: int, layers: int) -> None:
    """From 2 to 15 pixels, by the length of the stream at the pinned token."""
    last = [taps[f"blocks.{i}.residual"][t] for i in range(layers)]
    middle = last[0] - taps["blocks.0.feed_forward.output"][t]
    lengths = np.linalg.norm([taps["embedding"][t], middle, *last], axis=1)
    np.testing.assert_allclose(widths, 2 + 13 * lengths / lengths.max(), atol=0.01)


def check_output(page: OpenPage, logits: np.ndarray) -> None:
    bars = page.run(BARS)
    assert len(bars) == 5
    best = np.argsort(-logits)[:5]
    p = np.exp(logits - logits.max())
    p /= p.sum()
    shown = page.run("(ids) => ids.map((id) => Page.state.tokenizer.show(id))", best.tolist())
    percent = page.run("(values) => values.map(Page.percent)", p[best].tolist())
    assert bars == [f"{token} {text}" for token, text in zip(shown, percent, strict=True)]
    assert f"likeliest next token is {shown[0]} ({percent[0]})" in page.run(READOUT)


def wait_for_another(page: OpenPage, before: str) -> None:
    page.page.wait_for_function(DRAWN, arg=before)


def test_every_picture_shows_the_pass(open_page: Any, shipped: LoadedModel) -> None:
    """And the five likeliest tokens are PyTorch's, and those of step 6."""
    page: OpenPage = open_page().load()
    page.type_prompt(PROMPT)
    check_everything(page)
    ids = [shipped.tokenizer.end_of_text, *shipped.tokenizer.encode(PROMPT)]
    with torch.no_grad():
        p = shipped.model(torch.tensor([ids]))[0, -1].softmax(-1).topk(5)
    texts = page.run("(values) => values.map(Page.percent)", p.values.tolist())
    assert [bar.split(" ", 1)[1] for bar in page.run(BARS)] == texts
    of_step_6 = page.run(BARS.replace("#flow", "[data-slot=output]"))
    assert page.run(BARS) == of_step_6[:5]
    assert page.all_problems() == []


def test_it_says_in_words_what_it_shows(open_page: Any) -> None:
    page: OpenPage = open_page().load()
    page.type_prompt(PROMPT)
    taps, t, _ = taps_of(page)
    weights = taps["blocks.0.attention.weights"][:, t]
    head, place = np.unravel_index(weights.argmax(), weights.shape)
    text = page.run(READOUT)
    assert text.startswith(f"{t + 1} tokens enter.")
    assert f"head {head} of block 0 looks most at" in text
    assert f"(position {place}, {100 * weights.max():.1f} %)" in text
    layers = page.run("() => Page.state.model.config.n_layers")
    first, last = taps["embedding"][t], taps[f"blocks.{layers - 1}.residual"][t]
    lengths = page.run("(v) => v.map((x) => Page.format(x))", [norm(first), norm(last)])
    assert f"is {lengths[0]} long before" in text
    assert f"and {lengths[1]} after all {layers}" in text


def norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values))


def test_it_follows_the_prompt_and_the_pinned_token(open_page: Any) -> None:
    page: OpenPage = open_page().load()
    before = page.run(READOUT)
    page.type_prompt("Two shy frogs")
    wait_for_another(page, before)
    check_everything(page)
    before = page.run(READOUT)
    page.run("() => Page.state.pin(1)")
    wait_for_another(page, before)
    check_everything(page)
    chips = "() => [...document.querySelectorAll('#flow .chip')].map((c) => c.textContent)"
    assert page.run(chips) == page.run("() => Page.state.shown().slice(0, 5)")
    pinned = "() => document.querySelector('#flow .chip.pinned').textContent"
    assert page.run(pinned) == page.run("() => Page.state.shown()[1]")


@pytest.mark.slow
def test_a_long_prompt_is_cut_around_the_pinned_token(open_page: Any) -> None:
    page: OpenPage = open_page().load()
    page.type_prompt("Once there was a fox. " * 8)
    count = page.run("() => Page.state.ids.length")
    assert count > 45
    for pinned in (count - 1, 40, 2):
        page.run("(t) => Page.state.pin(t)", pinned)
        end = max(pinned + 1, 32)
        taps, t, _ = taps_of(page)
        assert t == pinned
        embedding = np.abs(taps["embedding"][end - 32 : end])
        close(picture(page, '[data-station="vectors"]'), embedding / embedding.max())
        weights = taps["blocks.0.attention.weights"][:, end - 32 : end, end - 32 : end]
        check_heads(picture(page, '[data-station="attention"]'), weights)
        assert page.page.locator("#flow .chip.pinned").count() == 1
        assert "drawn for 32 of the tokens" in page.run(READOUT)


@pytest.mark.parametrize(
    ("variant", "where"),
    [
        ("all, and the sides", "page"),
        ("all, and the sides", "worker"),
        *(
            pytest.param(variant, where, marks=pytest.mark.slow)
            for variant in ("rms", "rotary")
            for where in ("page", "worker")
        ),
    ],
)
def test_another_model(open_page: Any, tmp_path: Path, variant: str, where: str) -> None:
    """Without biases, without rows for positions, with mixtures; and in a worker."""
    tokenizer = small_tokenizer()
    sizes = {"vocab_size": tokenizer.vocab_size, "max_seq_len": 64}
    model = model_of(variant, dtype=torch.float32, **sizes)
    path = tmp_path / "model.safetensors"
    write_model_file(path, model, tokenizer, step=1)
    page: OpenPage = open_page().load()
    if where == "worker":
        page.run("() => { Page.LARGE = 0; }")
    text = "Two la tu frogs."
    page.page.fill("#prompt", text)
    assert "is loaded" in choose(page, path)
    assert page.run("() => Page.state.engine.isLocal") == (where == "page")
    start = f"{1 + len(tokenizer.encode(text))} tokens enter."
    page.page.wait_for_function(f"(start) => ({READOUT})().startsWith(start)", arg=start)
    check_everything(page)
    assert page.all_problems() == []


@pytest.mark.slow
def test_many_blocks_stay_compact(open_page: Any, tmp_path: Path) -> None:
    """The first ones and the last; the stream goes on as it is where it was left out."""
    tokenizer = small_tokenizer()
    sizes = {"vocab_size": tokenizer.vocab_size, "max_seq_len": 64, "n_layers": 24}
    path = tmp_path / "deep.safetensors"
    write_model_file(path, model_of("rms", dtype=torch.float32, **sizes), tokenizer, step=1)
    page: OpenPage = open_page().load()
    assert "is loaded" in choose(page, path)
    page.page.wait_for_function(f"() => /after all 24/.test(({READOUT})())")
    shown = page.run(
        "() => [...document.querySelectorAll('[data-layer]')].map((n) => n.dataset.layer)"
    )
    assert 2 <= len(shown) <= 6
    assert shown[-1] == "23"
    assert shown[:-1] == [str(i) for i in range(1, len(shown))]
    taps, t, _ = taps_of(page)
    lengths = [norm(taps[f"blocks.{i}.residual"][t]) for i in range(24)]
    ends = 2 + 13 * np.array(lengths[-2:]) / max(norm(taps["embedding"][t]), *lengths)
    np.testing.assert_allclose(page.run(WIDTHS)[-2:], ends, atol=0.01)
    assert page.run(OUTSIDE) == []
    one = sizes | {"n_layers": 1}
    write_model_file(path, model_of("rms", dtype=torch.float32, **one), tokenizer, step=1)
    assert "is loaded" in choose(page, path)
    page.page.wait_for_function(
        "() => !document.querySelector('[data-station=blocks]').checkVisibility()"
    )
    assert len(page.run(WIDTHS)) == 3


def test_it_moves_with_a_film_also_after_it_was_out_of_sight(
    open_page: Any,
    film: Film,  # noqa: F811
) -> None:
    page: OpenPage = open_page().load()
    assert "It is a film" in choose(page, film.path)
    page.type_prompt("Once there was a fox")
    page.run(GO, "flow")
    before = page.run(READOUT)
    near = page.run(SEEN_AT_ONCE, 1)
    assert near != before
    _, _, logits = taps_of(page)
    check_output(page, logits)
    page.run(GO, "your_model")
    before = page.run(READOUT)
    assert page.run(SEEN_AT_ONCE, 3) == before
    page.run(GO, "flow")
    wait_for_another(page, before)
    _, _, logits = taps_of(page)
    check_output(page, logits)
    assert page.all_problems() == []
