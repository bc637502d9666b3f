"""Step 7: the page's gradients, curves and diagrams against PyTorch and the real data code."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import ROOT, OpenPage
from torch.nn.functional import cross_entropy

from transformer.runs.model_file import LoadedModel
from transformer.sharing.page import fineweb_shards
from transformer.training_utils import EXPLANATIONS, training_status

PARTS = """
async ({ sequences, rows }) => {
  const { model } = Page.state, parts = [];
  for (const ids of sequences) {
    let hidden = null;
    const tap = (name, values) => { if (name === "final_norm") hidden = values; };
    model.forward(ids.slice(0, -1), { logits: "none", tap });
    parts.push(Page.finish(Page.headErrors(model, hidden, ids.slice(1), rows)));
  }
  return parts;
}
"""


def sequences(loaded: LoadedModel, lengths: list[int]) -> list[list[int]]:
    """Random ids: `length` inputs and the target after each."""
    generator = torch.Generator().manual_seed(0)
    vocab_size = loaded.model.config.vocab_size
    return [
        torch.randint(vocab_size, (length + 1,), generator=generator).tolist() for length in lengths
    ]


def head_gradient(loaded: LoadedModel, batch: list[list[int]]) -> np.ndarray[Any, Any]:
    """PyTorch's gradient of the mean loss with respect to the output projection alone."""
    hidden = [loaded.model.hidden_states(torch.tensor([ids[:-1]]))[0].detach() for ids in batch]
    weight = loaded.model.token_embedding.weight.detach().clone().requires_grad_()
    targets = torch.tensor([target for ids in batch for target in ids[1:]])
    cross_entropy(torch.cat(hidden) @ weight.T, targets).backward()
    assert weight.grad is not None
    return weight.grad.numpy()


def accumulated(page: OpenPage, batch: list[list[int]], micro: int, by_tokens: bool) -> Any:
    """The page's gradient in micro-batches of `micro` sequences, and that of one big batch."""
    script = f"""async (argument) => {{
      const {{ sequences, rows, micro, byTokens }} = argument;
      const parts = await ({PARTS})(argument), lengths = parts.map((part) => part.tokens);
      const groups = [];
      for (let s = 0; s < parts.length; s += micro) {{
        groups.push(Array.from({{ length: micro }}, (_, j) => s + j));
      }}
      const total = lengths.reduce((a, b) => a + b, 0);
      const tokens = groups.map((group) => group.reduce((n, s) => n + lengths[s], 0));
      const shares = tokens.map((n) => (byTokens ? n / total : 1 / groups.length));
      const text = (values) => {{
        const bytes = new Uint8Array(Float32Array.from(values).buffer), pieces = [];
        for (let i = 0; i < bytes.length; i += 8192) {{
          pieces.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
        }}
        return btoa(pieces.join(""));
      }};
      const sum = Page.finish(Page.accumulate(parts, groups, lengths, shares));
      return [text(sum), text(Page.headGradient(parts).map((value) => value / total))];
    }}"""
    rows = list(range(page.run("() => Page.state.model.config.vocab_size")))
    argument = {"sequences": batch, "rows": rows, "micro": micro, "byTokens": by_tokens}
    return [
        np.frombuffer(base64.b64decode(text), np.float32) for text in page.run(script, argument)
    ]


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_accumulated_gradients_are_the_big_batch_and_pytorchs(
    shared_page: OpenPage, shipped: LoadedModel, micro: int
) -> None:
    batch = sequences(shipped, [9, 2, 7, 5, 9, 1, 3, 8])
    in_parts, at_once = accumulated(shared_page, batch, micro, by_tokens=True)
    expected = head_gradient(shipped, batch).ravel()
    assert np.abs(in_parts - at_once).max() < 1e-6
    assert np.abs(in_parts - expected).max() < 1e-6
    assert np.abs(expected).max() > 1e-3


def test_a_mean_of_means_differs_only_when_micro_batches_are_unequal(
    shared_page: OpenPage, shipped: LoadedModel
) -> None:
    equal, at_once = accumulated(shared_page, sequences(shipped, [4] * 6), 2, by_tokens=False)
    assert np.abs(equal - at_once).max() < 1e-6
    unequal, at_once = accumulated(
        shared_page, sequences(shipped, [9, 9, 1, 1]), 2, by_tokens=False
    )
    assert np.abs(unequal - at_once).max() > 1e-3


def test_noise_of_a_mean_falls_with_the_root_of_its_size(shared_page: OpenPage) -> None:
    """Independent vectors: the measured error of N is that of 1 divided by √N."""
    script = """() => {
      const rng = Page.random(3), vectors = Array.from({ length: 24 }, () =>
        Float32Array.from({ length: 60 }, () => rng() - 0.3));
      const K = new Float64Array(24 ** 2);
      vectors.forEach((_, i) => Page.gramRow(K, vectors, i));
      const groups = vectors.map((_, i) => Float64Array.from(vectors, (_, j) => (i === j ? 1 : 0)));
      return [1, 4, 16, 64].map((N) => Page.measuredNoise(K, groups, N, 400, rng));
    }"""
    errors = shared_page.run(script)
    for error, expected in zip(errors, (1, 1 / 2, 1 / 4, 1 / 8), strict=True):
        assert error / errors[0] == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
def test_the_angle_closes_when_everything_was_added(open_page: Any) -> None:
    page = open_page().load("#training")
    box = '#training [data-slot="accumulation"]'
    page.page.wait_for_function(
        f"() => document.querySelector('{box}').dataset.difference !== undefined"
    )
    difference = page.run(f"() => Number(document.querySelector('{box}').dataset.difference)")
    assert difference < 1e-6
    text = page.page.inner_text(f"{box} .readout")
    assert "is 0.00°" in text
    slider = page.page.locator(f'{box} input[type="range"]')
    slider.focus()
    slider.press("ArrowLeft")
    assert "is 0.00°" not in page.page.inner_text(f"{box} .readout")
    page.page.get_by_label("Every second micro-batch is short").check()
    page.page.locator(box).get_by_label("of means").check()
    page.page.wait_for_function(
        f"() => Number(document.querySelector('{box}').dataset.difference) > 1e-4"
    )
    assert page.all_problems() == []


def test_curves_are_those_of_real_runs_with_their_commands(shared_page: OpenPage) -> None:
    curves = shared_page.run("() => Page.curves")
    expected = ["accumulation-1", "accumulation-16", "learning", "overfitting", "underfitting"]
    assert sorted(curves) == expected
    for curve in curves.values():
        assert curve["command"].startswith("uv run python commands/train.py")
        assert len(curve["validation"]) >= 3
    final = {name: curve["validation"][-1] for name, curve in curves.items()}
    lowest = {name: min(row[2] for row in curve["validation"]) for name, curve in curves.items()}
    scores = [row[4] for row in curves["learning"]["validation"]]
    assert max(scores) >= 0.8  # the copying head is born in this run
    assert scores[0] < 0.3
    assert final["overfitting"][2] > 1.05 * lowest["overfitting"]  # validation turned up
    assert final["underfitting"][2] > 1.2 * final["learning"][2]
    last = {n: curves[f"accumulation-{n}"]["train"][-1] for n in (1, 16)}
    per_step = {n: tokens / step for n, (step, tokens, *_) in last.items()}
    assert per_step[16] / per_step[1] == pytest.approx(16, rel=0.05)


def recorded_curves(page: OpenPage) -> list[tuple[list[float], list[float], float | None]]:
    """(training losses, validation losses, floor) of every run on the page and in the tests."""
    shown = page.run("() => Object.values(Page.curves)")
    curves = [
        ([row[1] for row in run["validation"]], [row[2] for row in run["validation"]], run["floor"])
        for run in shown
    ]
    for path in sorted((ROOT / "tests/runs/curves").glob("*.json")):
        recorded = json.loads(path.read_text())
        train, val = (
            [evaluation[key] for evaluation in recorded["evaluations"]]
            for key in ("train_loss", "val_loss")
        )
        curves.append((train, val, recorded["floor"]))
    return curves


def test_the_status_of_a_run_is_pythons_at_every_evaluation(shared_page: OpenPage) -> None:
    """On real runs, on the same with both curves reversed, and on each curve beside a flat one."""
    cases = []
    for train, val, floor in recorded_curves(shared_page):
        flat = [val[-1]] * len(val)
        for one, other in [(train, val), (train[::-1], val[::-1]), (train, flat), (flat, flat)]:
            cases += [(one[:n], other[:n], floor) for n in range(1, len(val) + 1)]
            cases.append((one, other, flat[0]))
    script = "(cases) => cases.map((losses) => Page.trainingStatus(...losses))"
    expected = [training_status(*losses) for losses in cases]
    assert shared_page.run(script, cases) == expected
    assert set(expected) == set(EXPLANATIONS)
    assert shared_page.run("() => Page.trainingExplanations") == EXPLANATIONS


def test_shards_split_and_order_are_those_of_the_training_code(shared_page: OpenPage) -> None:
    shown = shared_page.run("() => Page.samples.fineweb")
    assert shown == json.loads(json.dumps(fineweb_shards()))
    assert len(shown["shards"]) == 114
    assert len(shown["validation"]) == 12
    assert not set(shown["order"]) & set(shown["validation"])
    assert sorted(shown["order"] + shown["validation"]) == list(range(114))


def test_the_streams_cache_evicts_the_least_recently_used(shared_page: OpenPage) -> None:
    """The example of the docstring in src/transformer/data/fineweb/shard_cache.py."""
    script = """() => {
      const cache = new Page.ShardCache(5);
      for (const shard of [7, 31, 98, 4, 12]) cache.publish(shard);
      const first = cache.publish(55), order = [...cache.order];
      cache.open(31);
      return [first, order, cache.publish(60), cache.publish(61, [4]), cache.order];
    }"""
    expected = [[7], [31, 98, 4, 12, 55], [98], [12], [4, 55, 31, 60, 61]]
    assert shared_page.run(script) == expected


def test_the_stream_reads_every_block_once_and_asks_the_hub_at_first_only(
    shared_page: OpenPage,
) -> None:
    script = """() => {
      const stream = new Page.ShardStream(Page.samples.fineweb, 2), read = [], ways = [];
      const fetched = [], fetch = stream.fetch;
      stream.fetch = (shard, block) => {
        const requests = fetch.call(stream, shard, block);
        if (requests) fetched.push(`${shard} ${block}`);
        return requests;
      };
      while (!stream.isOver) {
        const { shard, block, way } = stream.read();
        read.push(`${shard} ${block}`);
        ways.push(way);
      }
      return { read, ways, held: stream.cache.order.length, requests: stream.requests, fetched };
    }"""
    result = shared_page.run(script)
    blocks = shared_page.run("() => Page.samples.fineweb.blocks")
    assert len(result["read"]) == len(set(result["read"])) == sum(map(len, blocks))
    assert result["ways"][0] == "hub"
    assert "hub" not in result["ways"][20:]
    assert result["held"] <= 2
    assert len(result["fetched"]) == len(set(result["fetched"])) == result["requests"]


SETTLED = """() => { // scrolled to each time: until fonts and figures are there, places move
  const box = document.querySelector("[data-slot=accumulation]");
  box.scrollIntoView({ behavior: "instant" });
  return /angle to the whole/.test(box.querySelector(".readout").textContent);
}"""
HOLD = """async () => {
  const breathe = Page.breathe, toggle = [...document.querySelectorAll("#training label")]
    .find((one) => /micro-batch is short/.test(one.textContent)).querySelector("input");
  let calls = 0;
  await new Promise((held) => {
    Page.breathe = () => { // step 7's second pause: the prompt's gradient is computed by then
      if (!new Error().stack.includes("training.js") || ++calls !== 2) return breathe();
      held();
      return new Promise((release) => { window.release = release; });
    };
    toggle.click();
  });
  Page.breathe = breathe;
}"""
TOLD = """() => document.querySelector("[data-slot=accumulation] .readout").textContent"""


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["Tambo sang", "Tambo and Kelmi sang a song. " * 3])
def test_a_prompt_that_changes_while_gradients_are_computed_counts(
    open_page: Any, prompt: str
) -> None:
    """As if it had been there before: too short for a sequence, or long enough."""
    other = open_page().load("#training")
    other.type_prompt(prompt)
    other.page.wait_for_function(SETTLED)
    other.page.get_by_label("Every second micro-batch is short").click()
    other.page.wait_for_function(f"() => /144 tokens.*Largest/.test(({TOLD})())")
    told = other.run(TOLD)
    assert ("your prompt" in told) == (len(prompt) > 20)
    page = open_page().load("#training")
    page.type_prompt("Once there was a clever lamb named Filsu. She lived under a tall tree. ")
    page.page.wait_for_function(SETTLED)
    page.run(HOLD)
    page.type_prompt(prompt)
    page.run("() => window.release()")
    page.page.wait_for_function(f"(told) => ({TOLD})() === told", arg=told)
