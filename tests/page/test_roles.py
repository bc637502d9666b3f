"""What a head or a neuron is for: what the page finds in its stories is what PyTorch finds."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from playwright.sync_api import Browser
from role_tools import READOUT, TEXTS, answer, ask, show, shown
from taps import record

from transformer.config import ModelConfig, Variant
from transformer.ladder import build_model
from transformer.runs.model_file import LoadedModel

DECIMALS = 2e-4  # page and PyTorch differ in the order of additions


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[OpenPage]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield OpenPage(context.new_page()).load()
    context.close()


@pytest.fixture(scope="module")
def stories(page: OpenPage, shipped: LoadedModel) -> list[list[int]]:
    """As Python's tokenizer reads them."""
    texts = page.run("() => Page.samples.stories")
    length, tokenizer = shipped.model.config.max_seq_len, shipped.tokenizer
    return [[tokenizer.end_of_text, *tokenizer.encode(text)][:length] for text in texts]


@pytest.fixture(scope="module")
def taps(stories: list[list[int]], shipped: LoadedModel) -> list[dict[str, torch.Tensor]]:
    return [record(shipped.model, ids) for ids in stories]


@pytest.fixture(scope="module")
def neurons(page: OpenPage) -> Any:
    return ask(page, "neuronRoles")


@pytest.fixture(scope="module")
def heads(page: OpenPage) -> Any:
    return ask(page, "headRoles")


def test_heads_and_neurons_read_the_stories_once(page: OpenPage) -> None:
    """Also where both ask at the same time and one of them gives up; after an error anew."""
    script = f"""() => {{
      const {{ engine: {{ host }}, model }} = Page.state, texts = {TEXTS.replace("LENGTH", "20")};
      const ask = (task) => Page.tasks[task](host, {{ texts: texts.slice(0, 4) }});
      const {{ steps }} = model, seen = [];
      let passes = 0, broken = true;
      model.steps = function* (...question) {{
        passes++;
        for (const pause of steps.apply(model, question)) {{
          if (broken) throw new Error("broken");
          yield pause;
        }}
      }};
      try {{
        Page.finish(ask("headRoles"));
      }} catch (error) {{
        seen.push(error.message);
      }}
      [passes, broken] = [0, false];
      const [heads, neurons] = [ask("headRoles"), ask("neuronRoles")];
      for (let i = 0; i < 3; i++) for (const one of [heads, neurons]) one.next();
      const found = [Page.finish(neurons), Page.finish(ask("headRoles"))];
      delete model.steps;
      return [...seen, passes, ...found.map((blocks) => blocks.length)];
    }}"""
    layers = page.run("() => Page.state.model.config.n_layers")
    assert page.run(script) == ["broken", 4, layers, layers]


def strongest(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Ten largest of values (N, columns) with at most one for each pair: (10, columns)."""
    _, number = np.unique(pairs, return_inverse=True)
    best = np.full((number.max() + 1, values.shape[1]), -np.inf)
    np.maximum.at(best, number, values)
    return -np.sort(-best, axis=0)[:10]


@pytest.mark.slow
def test_the_ten_places_of_every_neuron_are_pytorchs(
    neurons: Any, stories: list[list[int]], taps: list[dict[str, torch.Tensor]]
) -> None:
    """Its largest activations, a token with the same one before it once; and on which token, or
    next to which, most of the activation above 0 falls."""
    flat = np.array([token for ids in stories for token in ids])
    before = np.array([token for ids in stories for token in (-1, *ids[:-1])])
    after = np.array([token for ids in stories for token in (*ids[1:], -1)])
    pairs = 5000 * (before + 1) + flat
    assert len(flat) > 3000
    for layer, found in enumerate(neurons):
        name = f"blocks.{layer}.feed_forward.activations"
        values = torch.cat([tap[name] for tap in taps]).numpy()  # (P, F)
        places = np.array(found["places"]).reshape(-1, 10).T
        ten = np.array(found["values"]).reshape(-1, 10).T
        there = places >= 0  # some fire in fewer than ten
        assert there.mean() > 0.99
        np.testing.assert_allclose(ten, strongest(values, pairs).clip(0), atol=DECIMALS)
        own = np.where(there, np.take_along_axis(values, places, 0), 0)
        np.testing.assert_allclose(ten, own, atol=DECIMALS)
        assert all(len(set(pairs[column[column >= 0]])) == sum(column >= 0) for column in places.T)
        fired = values.clip(0)
        np.testing.assert_allclose(found["firing"], (values > 0).mean(0), atol=2e-3)
        for which, tokens in enumerate((before, flat, after)):
            shares = np.array(found["shares"])[which::3]
            sums = np.stack([fired[tokens == one].sum(0) for one in np.unique(tokens[tokens >= 0])])
            np.testing.assert_allclose(shares, (sums / fired.sum(0)).max(0), atol=1e-3)
            chosen = np.array(found["tokens"])[which::3]
            own = [fired[tokens == one, n].sum() for n, one in enumerate(chosen)]
            np.testing.assert_allclose(shares, own / fired.sum(0), atol=1e-3)


def relation(ids: list[int], t: int, s: int) -> int:
    if s == t:
        return 0
    if s == 0:
        return 1
    if s == t - 1:
        return 2
    if ids[s - 1] == ids[t]:
        return 3
    return 4 if ids[s] == ids[t] else 5


def test_where_the_attention_of_every_head_goes_is_pytorchs(
    heads: Any, stories: list[list[int]], taps: list[dict[str, torch.Tensor]]
) -> None:
    """Its share for each relation and the token that gets most; and its ten largest weights on
    keys other than the token itself and the first, each pair of tokens once."""
    cells = [
        (text, t, s, relation(ids, t, s), ids[t], ids[s])
        for text, ids in enumerate(stories)
        for t in range(1, len(ids))
        for s in range(t + 1)
    ]
    text, query, key, kinds, query_token, key_token = np.array(cells).T
    starts = np.cumsum([0, *map(len, stories)])
    positions, free = sum(map(len, stories)) - len(stories), kinds > 1
    pairs = (5000 * query_token + key_token)[free]
    equal = np.bincount(kinds, 1 / (query + 1)) / positions
    for layer, block in enumerate(heads):
        np.testing.assert_allclose(block["equal"], equal, atol=1e-6)
        name, cut = f"blocks.{layer}.attention.weights", [text == i for i in range(len(taps))]
        weights = np.concatenate(
            [
                tap[name].numpy()[:, query[here], key[here]]
                for here, tap in zip(cut, taps, strict=True)
            ],
            axis=1,
        )
        for found, row in zip(block["heads"], weights, strict=True):
            shares = np.bincount(kinds, row, 6) / positions
            np.testing.assert_allclose(found["shares"], shares, atol=DECIMALS)
            by_token = np.bincount(key_token, row) / positions
            assert found["tokenShare"] == pytest.approx(by_token.max(), abs=DECIMALS)
            assert by_token[found["token"]] == pytest.approx(by_token.max(), abs=DECIMALS)
            even = np.bincount(key_token, 1 / (query + 1)) / positions
            assert found["tokenEqual"] == pytest.approx(even[found["token"]], abs=1e-6)
            ten = [place["value"] for place in found["places"]]
            expected = strongest(row[free, None], pairs)[:, 0]
            np.testing.assert_allclose(ten, expected, atol=DECIMALS)
            for place in found["places"]:
                i = int(np.searchsorted(starts, place["query"], side="right")) - 1
                t, s = place["query"] - starts[i], place["key"] - starts[i]
                assert place["relation"] == relation(stories[i], t, s) > 1
                here = row[(text == i) & (query == t) & (key == s)]
                assert place["value"] == pytest.approx(float(here[0]), abs=DECIMALS)


def rest_of_story(stories: list[list[int]], shown: list[str], position: int) -> str:
    """What a row has behind its last mark: a token, … where more follows, nothing at the end."""
    end = next(end for end in accumulate(map(len, stories)) if end > position)
    return "".join(shown[position + 1 : min(position + 2, end)]) + "…" * (position + 2 < end)


def test_the_figure_of_a_head_shows_what_was_found(
    page: OpenPage, heads: Any, stories: list[list[int]], shipped: LoadedModel
) -> None:
    said, rows = [], []
    flat = [shipped.tokenizer.decode([token]).replace(" ", "␣") for ids in stories for token in ids]
    texts = page.page.locator('[data-slot="head-role"] tbody td:last-child')
    ends = []
    for layer, head in ((0, 0), (1, 0), (2, 0)):
        page.page.get_by_role("button", name=f"Block {layer}, head {head}", exact=True).click()
        said.append(answer(page, "head-role"))
        rows.append(shown(page, "head-role"))
        assert f"Block {layer}, head {head}, over 3,657 positions of 32 stories" in said[-1]
        for row, place in zip(rows[-1], heads[layer]["heads"][head]["places"], strict=True):
            assert float(row[0].removesuffix(" %")) == pytest.approx(100 * place["value"], abs=0.1)
            assert row[1:] == (flat[place["key"]], flat[place["query"]])
        for text, place in zip(
            texts.all_inner_texts(), heads[layer]["heads"][head]["places"], strict=True
        ):
            ends.append(rest_of_story(stories, flat, place["query"]))
            assert text.endswith(flat[place["query"]] + ends[-1])
        bars = page.page.locator('[data-slot="head-role"] .bar-value').all_inner_texts()
        assert len(bars) == 6
        shares = heads[layer]["heads"][head]["shares"]
        assert [float(bar.split(" ")[0]) for bar in bars] == pytest.approx(
            [100 * share for share in shares], abs=0.06
        )
    assert rows[0] != rows[1]
    assert "in 10 of the 10 rows the key is the token after an earlier copy (induction)" in said[1]
    relations = [place["relation"] for place in heads[2]["heads"][0]["places"]]
    assert relations.count(2) == 7  # one too few: nothing that rows have in common is said
    assert "of the 10 rows" not in said[2]
    assert "" in ends  # one row is at the end of its story
    assert "the toy grammar" not in said[0]  # that is for models from elsewhere


def test_another_neuron_has_another_answer_at_once(
    page: OpenPage, neurons: Any, stories: list[list[int]], shipped: LoadedModel
) -> None:
    answer(page, "neuron-role")
    said = []
    flat = [shipped.tokenizer.decode([token]).replace(" ", "␣") for ids in stories for token in ids]
    chips = page.page.locator('[data-slot="neuron-role"] .chip').all()
    assert len(chips) == 6
    for chip in chips[:3]:
        chip.click()
        neuron = int(chip.locator(".chip-text").inner_text().removeprefix("#"))
        said.append(page.run(READOUT, "neuron-role"))  # no waiting: it is there already
        assert said[-1].startswith(f"Neuron {neuron} of block 0, over 3,689 positions")
        assert f"Neuron {neuron} of block 0 " in page.run(READOUT, "silenced")
        assert "and of all that it fires" in said[-1]
        assert chip.locator(".chip-note").inner_text().split("␣")[-1] in said[-1]
        assert chip.get_attribute("aria-pressed") == "true"
        ten = slice(10 * neuron, 10 * neuron + 10)
        values, places = neurons[0]["values"][ten], neurons[0]["places"][ten]
        for row, value, place in zip(shown(page, "neuron-role"), values, places, strict=True):
            assert float(row[0]) == pytest.approx(value, rel=0.006)
            assert row[1:] == (flat[place],)
    assert len(set(said)) == 3
    counts = [
        sum(max(found["shares"][3 * n : 3 * n + 3]) >= 0.5 for n in range(512)) for found in neurons
    ]
    assert 0 < int(said[0].split("In this block ")[1].split()[0]) <= counts[0] < 512


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"feed_forward": "swiglu", "positions": "rotary", "window": 6, "n_kv_heads": 1},
        {"feed_forward": "relu2", "value_embeddings": True, "input_skip": True, "qk_norm": "gain"},
    ],
)
def test_every_variant_is_read(
    open_page: Any, shipped: LoadedModel, tmp_path: Path, changes: dict[str, Any]
) -> None:
    sizes = {"d_model": 24, "n_heads": 2, "n_layers": 2, "d_ff": 20, "max_seq_len": 40}
    torch.manual_seed(1)
    config = ModelConfig(
        shipped.tokenizer.vocab_size, dropout=0.0, variant=Variant(**changes), **sizes
    )
    model = build_model(config).eval()
    for parameter in model.parameters():
        parameter.data *= 3 if parameter.dim() > 1 else 1
    page = open_page().load("#your_model")
    show(page, model, shipped, tmp_path)
    said = answer(page, "neuron-role")
    assert ("SwiGLU" in said) == (changes["feed_forward"] == "swiglu")
    answer(page, "head-role")
    stories = page.run("() => Page.samples.stories")
    texts = [[shipped.tokenizer.end_of_text, *shipped.tokenizer.encode(s)][:40] for s in stories]
    taps = [record(model, ids) for ids in texts]
    window = changes.get("window", 40)
    keys = [min(t + 1, window) for t in range(1, 40)]
    for layer, (fire, look) in enumerate(
        zip(ask(page, "neuronRoles", 40), ask(page, "headRoles", 40), strict=True)
    ):
        values = torch.cat([tap[f"blocks.{layer}.feed_forward.activations"] for tap in taps])
        top = np.array(fire["values"]).reshape(-1, 10)[:, 0]
        np.testing.assert_allclose(top, values.max(0).values.clamp(min=0), atol=1e-4)
        assert look["equal"][0] == pytest.approx(np.mean([1 / n for n in keys]), abs=1e-6)
        own = torch.stack([tap[f"blocks.{layer}.attention.weights"].diagonal(0, 1, 2)[:, 1:].mean(1)
                           for tap in taps]).mean(0)  # fmt: skip
        found = [head["shares"][0] for head in look["heads"]]
        np.testing.assert_allclose(found, own, atol=1e-4)
    assert page.all_problems() == []
