"""Three changes that are alive in step 11: what the page computes is what Python computes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from ladder_tools import (
    DRAWN,
    SIZES,
    SLOTS,
    WORDS,
    back_to_shipped,
    open_step,
    randoms,
    show,
    variant,
    word,
    words,
)
from playwright.sync_api import Browser
from taps import record
from torch.nn import functional as F

from transformer.config import ModelConfig, Variant
from transformer.ladder import build_model
from transformer.ladder.qk_norm import QKNorm
from transformer.ladder.rms_norm import rms_normed
from transformer.ladder.rotary import Rotary
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[OpenPage]:
    opened = open_step(browser)
    yield opened
    opened.page.context.close()


@pytest.mark.slow
def test_queries_are_turned_as_in_python_and_only_distance_counts(page: OpenPage) -> None:
    config = ModelConfig(9, 64, 2, 1, max_seq_len=200, variant=Variant(rotary_base=500.0))
    q, k = randoms(2, 32)
    rotary = Rotary(config)
    script = """([q, k, base]) => [3, 120].map((start) => {
      const [a, b] = [[q, start + 7], [k, start]].map(([x, place]) =>
        Page.rotate(Float32Array.from(x), { T: 1, K: 32, start: place }, base));
      const shares = Page.pairShares(q, k, 7, base);
      return { a: [...a], b: [...b], score: Page.dot(a, 0, b, 0, 32) / Math.sqrt(32),
        shares: shares.reduce((sum, value) => sum + value, 0) };
    })"""
    for start, found in zip(
        (3, 120), page.run(script, [q.tolist(), k.tolist(), 500.0]), strict=True
    ):
        a = rotary(q.view(1, 1, 1, 32), slice(start + 7, start + 8)).flatten()
        b = rotary(k.view(1, 1, 1, 32), slice(start, start + 1)).flatten()
        assert np.abs(np.array(found["a"]) - a.numpy()).max() < 1e-5
        assert np.abs(np.array(found["b"]) - b.numpy()).max() < 1e-5
        score = float(a @ b) / 32**0.5
        assert found["score"] == pytest.approx(score, abs=1e-5)
        assert found["shares"] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize(
    "name", ["rotary", "qk plain", "qk gain", "numbers", "skip", "grouped", "all, and the sides"]
)
def test_a_heads_queries_and_keys_become_those_that_meet(
    page: OpenPage, name: str, tmp_path: Path
) -> None:
    """Raw, then the model's own norm, then turned: what PyTorch's attention compares."""
    model = variant(name)
    show(page, model, tmp_path)
    page.type_prompt("Two la tu frogs.")
    ids = page.run("() => Page.state.ids")
    expected = record(model, ids)
    K = model.config.head_size
    script = """() => {
      const { head_size: K, variant } = Page.state.model.config;
      const { raw, normed } = Page.headVectors(Page.state.engine.host, 1, 2), met = normed ?? raw;
      const { queries, keys } = variant.positions === "rotary"
        ? Page.turned(met, K, variant.rotary_base) : met;
      const scores = Page.scoreRows({ queries, keys }, K, Page.state.model.blocks[1].attention.firstKey);
      return { queries: [...queries], keys: [...keys], last: [...scores.at(-1)],
        raw: [...raw.queries, ...raw.keys], own: normed && [...normed.queries, ...normed.keys] };
    }"""  # noqa: E501
    found = page.run(script)
    shared = 2 // (model.config.n_heads // model.config.n_kv_heads)
    for kind, head in (("queries", 2), ("keys", shared)):
        wanted = expected[f"blocks.1.attention.{kind}"][head].flatten().numpy()
        assert np.abs(np.array(found[kind]) - wanted).max() < 1e-4, kind
    if name != "all, and the sides":  # whose window hides some, so there is no row of all scores
        wanted = expected["blocks.1.attention.queries"][2, -1] @ (
            expected["blocks.1.attention.keys"][shared].T / K**0.5
        )
        assert np.abs(np.array(found["last"]) - wanted.numpy()).max() < 1e-4
    norm = model.blocks[1].attention.qk_norm if "norm" in name or "qk" in name else None
    assert (found["own"] is not None) == (model.config.variant.qk_norm != "none")
    if isinstance(norm, QKNorm):
        raw = torch.tensor(found["raw"]).view(2, len(ids), K)
        with torch.no_grad():
            own = torch.stack(norm(raw[0], raw[1])).flatten().numpy()
        assert np.abs(np.array(found["own"]) - own).max() < 1e-4


def bound_and_largest(text: str) -> tuple[float, float]:
    largest = re.search(r"without the norm and (\S+) with it", text)
    bound = re.search(r"none can be larger than (\S+) \(", text)
    assert largest
    assert bound
    return float(bound[1]), float(largest[1])


@pytest.mark.slow
def test_no_normed_score_passes_the_bound_however_long_the_vectors(page: OpenPage) -> None:
    back_to_shipped(page)
    slider = page.page.locator('#ladder [data-slot="qk-scores"] input[type="range"]')
    said = []
    for key in ("Home", "End"):
        slider.press(key)
        said.append(word(page, "qk-scores"))
    bound, largest = bound_and_largest(said[0])
    assert bound == pytest.approx(1.44 * 32**0.5, rel=5e-3)
    assert largest <= bound
    assert bound_and_largest(said[1]) == (bound, largest)
    sizes = [float(re.findall(r"is (\S+) in size", text)[0]) for text in said]
    assert sizes[1] == pytest.approx(16 * sizes[0], rel=0.01)
    slider.press("Home")
    vectors = randoms(40, 32)
    found = page.run(
        "(x) => [...Page.rmsNormed(Float32Array.from(x), 40, 1e-5, 1.2)]",
        vectors.flatten().tolist(),
    )
    wanted = (rms_normed(vectors, 1e-5) * 1.2).flatten().numpy()
    assert np.abs(np.array(found) - wanted).max() < 1e-5


def test_a_learned_gain_bounds_the_scores_too(page: OpenPage, tmp_path: Path) -> None:
    """The largest gain of a query times that of a key, whatever the rotation does between them."""
    model = variant("qk gain")
    gains = model.blocks[0].attention.qk_norm.gains  # type: ignore[union-attr]
    with torch.no_grad():
        for gain in gains:
            gain.copy_(torch.linspace(0.5, -1.9, len(gain)))
    show(page, model, tmp_path)
    page.type_prompt("Two la tu frogs.")
    said = word(page, "qk-scores")
    bound, largest = bound_and_largest(said)
    product = float((gains[0].abs().max() * gains[1].abs().max()).detach())
    assert bound == pytest.approx(product * model.config.head_size**0.5, rel=5e-3)
    assert largest <= bound
    assert "This model has QK-norm, with a learned gain" in said
    assert "its own score" in word(page, "hands")


@pytest.mark.slow
def test_neurons_are_counted_as_pytorch_counts_them(page: OpenPage, shipped: LoadedModel) -> None:
    back_to_shipped(page)
    page.type_prompt("Long ago, by the sea, lived a shy frog.")
    ids = page.run("() => Page.state.ids")
    sums: list[torch.Tensor] = []
    expand = shipped.model.blocks[2].feed_forward.expand
    handle = expand.register_forward_hook(lambda _, __, output: sums.append(output))
    with torch.no_grad():
        shipped.model(torch.tensor([ids]))
    handle.remove()
    page.page.locator('#ladder [data-slot="relu2"] label', has_text="2").click()
    said = word(page, "relu2")
    zeros = int((F.relu(sums[0]).square() == 0).sum())
    assert f"{sums[0].numel():,} sums" in said
    assert "Exactly 0 after GELU: none" in said
    found = re.search(r"after ReLU²: ([\d,]+) ", said)
    assert found
    assert abs(int(found[1].replace(",", "")) - zeros) <= 2  # sums of nearly 0 may differ in sign
    fire = int((sums[0][0, -1] > 0).sum())
    assert f"{fire} of {sums[0].size(-1)} neurons fire" in said
    at = torch.linspace(-4, 4, 41, dtype=torch.float64)
    curve = page.run("(z) => z.map(Page.neuronCurves.relu2.at)", at.tolist())
    assert np.allclose(curve, F.relu(at).square().numpy(), atol=1e-12)


PROMPTS = ["", "x", "Two la tu frogs sang: tri la mi zum.", "word " * 300]


@pytest.mark.parametrize(
    "name",
    [
        "all",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in (None, "swiglu", "window", "head size", "multi-query")
        ),
    ],
)
def test_every_figure_follows_the_prompt_with_every_kind_of_model(
    page: OpenPage, name: str | None, tmp_path: Path
) -> None:
    """One token, two, and more than the context holds; a head of few channels, a window."""
    if name is None:
        back_to_shipped(page)
    else:
        show(page, variant(name), tmp_path)
    seen = []
    for prompt in PROMPTS:
        page.type_prompt(prompt)
        seen.append(words(page, *SLOTS[:-1]))
        assert not any("NaN" in text or "undefined" in text for text in seen[-1].values())
    for slot in ("hands", "qk-weights", "relu2"):
        assert len({said[slot] for said in seen}) == len(PROMPTS), slot
    assert "can only look at itself" in seen[0]["qk-weights"]
    assert words(page)["muon"].startswith("Gradient of")
    assert page.all_problems() == []


def test_an_odd_head_size_and_a_wide_matrix_are_told_in_words(
    page: OpenPage, tmp_path: Path
) -> None:
    sizes = {"d_model": 21, "n_heads": 3, "n_layers": 1, "d_ff": 24, **SIZES}
    odd = build_model(ModelConfig(**sizes, variant=Variant(positions="learned")))
    show(page, odd.eval(), tmp_path)
    said = words(page, "hands", "distance")
    for slot in said:
        assert "have 7 channels: rotary positions need an even number" in said[slot]
    assert page.page.locator('#ladder [data-slot="hands"] .dial').count() == 0
    wide = ModelConfig(**{**sizes, "d_model": 258, "d_ff": 260}, dropout=0.0)
    show(page, DecoderOnlyTransformer(wide).eval(), tmp_path)
    assert "of this model have 258 rows or more" in word(page, "muon")
    back_to_shipped(page)


@pytest.mark.slow
def test_a_model_in_a_worker_shows_the_same(open_page: Any, tmp_path: Path) -> None:
    """What is cheap is asked at once, the gradient when its button is pressed."""
    model, said = variant("all").to(torch.float16), {"": ""}
    for in_worker in (False, True):
        opened = open_page(reduced_motion="reduce").load("#ladder")
        opened.page.wait_for_function(DRAWN, arg=SLOTS)  # they have been seen
        if in_worker:
            opened.run("() => { Page.LARGE = 0; }")
        show(opened, model, tmp_path)
        assert opened.run("() => Page.state.engine.isLocal") != in_worker
        opened.type_prompt("Two la tu frogs.")
        if in_worker:
            button = opened.page.get_by_role("button", name="Compute the gradient and its rounds")
            button.click()
            same = (
                f"(said) => JSON.stringify(({WORDS})(Object.keys(said))) === JSON.stringify(said)"
            )
            opened.page.wait_for_function(same, arg=said)  # what is asked is answered later
        else:
            said = words(opened)
        assert opened.all_problems() == []
