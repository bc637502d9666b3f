"""What the prose of the page says about the model it ships, measured on a held-out story."""

import math
import re
from statistics import median
from typing import Any

import pytest
from browser_page import INDEX, OpenPage

MEASURE = """() => {
  const { model, tokenizer } = Page.state, { n_layers: L, vocab_size: V } = model.config;
  const ids = [tokenizer.endOfText, ...tokenizer.encode(Page.samples.stories[0])].slice(0, 100);
  const seen = {}, row = (logits, t) => logits.subarray(t * V, (t + 1) * V);
  const whole = model.forward(ids, { tap: (name, values) => { seen[name] = values; } });
  const lossWithout = (text) => (part) =>
    Page.lossOf(Page.finish(Page.forwardWithout(model, text, part)), text, V);
  const without = lossWithout(ids), { prompt } = Page.modelData;
  const short = [tokenizer.endOfText, ...tokenizer.encode(prompt)];
  const kinds = ["attention", "feed_forward"], layers = Array.from({ length: L }, (_, i) => i);
  const sublayers = layers.flatMap((i) => kinds.map((kind) => `blocks.${i}.${kind}.output`));
  const streams = [seen.embedding, ...layers.map((i) => seen[`blocks.${i}.residual`])];
  const lenses = streams.map((stream) => model.lens(stream));
  const own = (logits) => ids.filter((id, t) => Page.largest(row(logits, t), 1)[0] === id).length;
  const fired = layers.map((i) => seen[`blocks.${i}.feed_forward.activations`]);
  return {
    loss: Page.lossOf(whole, ids, V), V,
    short: lossWithout(short)("none"), shortSublayers: sublayers.map(lossWithout(short)),
    sublayers: sublayers.map(without), residual: without("residual"), norm: without("norm"),
    lensLoss: lenses.map((logits) => Page.lossOf(logits, ids, V)),
    echo: lenses.map((logits) => own(logits) / ids.length),
    strong: fired.map((values) => values.filter((value) => value > 0.5).length / values.length),
  };
}"""


@pytest.fixture(scope="module")
def measured(shared_page: OpenPage) -> Any:
    return shared_page.run(MEASURE)


def test_one_sublayer_less_is_worse_but_far_better_than_guessing(measured: Any) -> None:
    guessing = math.log(measured["V"])
    assert measured["loss"] < 2
    for loss in measured["sublayers"]:
        assert measured["loss"] < loss < guessing / 2


def test_on_the_first_prompt_the_loss_falls_without_some_sublayer(measured: Any) -> None:
    assert min(measured["shortSublayers"]) < measured["short"] - 0.1


def test_without_the_residual_connections_it_is_worse_than_guessing(measured: Any) -> None:
    assert measured["residual"] > math.log(measured["V"])
    assert measured["norm"] > measured["loss"]


def test_the_first_row_of_the_lens_echoes_and_the_answer_forms(measured: Any) -> None:
    assert measured["echo"][0] > 0.5
    assert measured["echo"] == sorted(measured["echo"], reverse=True)
    assert measured["lensLoss"] == sorted(measured["lensLoss"], reverse=True)


def test_only_a_minority_of_neurons_fires_strongly(measured: Any) -> None:
    assert max(measured["strong"]) < 0.3


def test_a_single_neuron_usually_changes_little(shared_page: OpenPage) -> None:
    """Over the tokens of the page's prompt: the neurons that write most, and every 16th."""
    script = """() => {
      const { model, trace, ids } = Page.state, { n_layers: L, d_ff: F } = model.config;
      const effects = [];
      for (let t = 2; t < ids.length; t += 4) {
        const before = Page.softmax(trace.logits(t));
        for (let layer = 0; layer < L; layer++) {
          const row = trace.row(`blocks.${layer}.feed_forward.activations`, t);
          const most = Page.largest(row.map(Math.abs), 2);
          const chosen = [["top", most[0]], ["top", most[1]], ["any", 7 + 16 * layer]];
          for (const [kind, neuron] of chosen) {
            const after = Page.softmax(Page.finish(Page.silence(model, ids, layer, neuron, t)));
            const change = Math.max(...before.map((p, v) => Math.abs(p - after[v])));
            effects.push([kind, change]);
          }
        }
      }
      return effects;
    }"""
    effects = shared_page.run(script)
    plain = [change for kind, change in effects if kind == "any"]
    strong = [change for kind, change in effects if kind == "top"]
    assert len(strong) == 2 * len(plain) > 20
    assert median(plain) < 0.005
    assert median(plain) <= median(strong) < 0.05


def test_the_worked_numbers_of_the_prose_are_right() -> None:
    """Every "ln N = x" of the page; softmax's factor for one point of score; √ of the noise."""
    prose = INDEX.read_text()
    logarithms = re.findall(r"ln (\d+) = (\d+\.\d+) nats", prose)
    assert len(logarithms) >= 3
    for number, value in logarithms:
        assert float(value) == round(math.log(int(number)), 2)
    assert f"<var>e</var> ≈ {math.e:.2f}" in prose
    assert "sixteen times the work for a quarter" in " ".join(prose.split())
    assert 1 / math.sqrt(16) == 1 / 4


def test_the_shipped_model_does_not_repeat_itself_when_it_writes_greedily(
    shared_page: OpenPage,
) -> None:
    """From the first sentences of held-out stories it writes to the end of the text."""
    script = """() => Page.samples.stories.slice(0, 6).map((story) => {
      const { model, tokenizer } = Page.state;
      const start = story.slice(0, story.indexOf(".") + 1);
      const ids = [tokenizer.endOfText, ...tokenizer.encode(start)], host = Page.hostOf(model);
      return Array.from({ length: 140 }, (_, n) => Page.finish(
        Page.tasks.write(host, { ids, seed: 0, settings: { temperature: 0 }, begin: n === 0 })).id);
    }).map((ids) => ids.indexOf(Page.state.tokenizer.endOfText))"""
    ends = shared_page.run(script)
    assert len(ends) == 6
    assert min(ends) > 20
