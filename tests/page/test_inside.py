"""Step 9: the page's scores, ablation and patching are those of interpretability/."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import OpenPage

from transformer.data.toy.stories import Story
from transformer.interpretability.circuit import find_circuit
from transformer.interpretability.hooks import replacing
from transformer.interpretability.induction import attention_weights, best_head, induction_scores
from transformer.interpretability.patching import PromptPair, sweep
from transformer.interpretability.songs import repeated_songs
from transformer.runs.model_file import LoadedModel

SITES = ["residual", "residual_middle", "attention.output", "feed_forward.output"]
TOKENS = """Page.samples.songs.map((song) =>
  Page.tokenizeSong(song, Page.state.tokenizer, Page.state.model.config.max_seq_len))"""


@pytest.fixture(scope="module")
def page_scores(shared_page: OpenPage) -> Any:
    return shared_page.run(f"""() => {{
      const {{ model }} = Page.state, scores = new Page.InductionScores(model.config);
      for (const tokens of {TOKENS}) Page.finish(scores.add(model, tokens));
      return {{ scores: Array.from(scores.scores), best: Page.bestHead(scores) }};
    }}""")


def songs_of(page: OpenPage) -> list[Story]:
    songs = page.run("() => Page.samples.songs")
    return [Story(s["text"], 0.0, slice(*s["song"]), slice(*s["repetition"])) for s in songs]


def test_induction_scores_equal_pythons(
    shared_page: OpenPage, shipped: LoadedModel, page_scores: Any
) -> None:
    config = shipped.model.config
    repeats = repeated_songs(songs_of(shared_page), shipped.tokenizer, config.max_seq_len)
    assert repeats is not None
    expected = induction_scores(attention_weights(shipped.model, repeats.ids), repeats)
    found = torch.tensor(page_scores["scores"]).reshape(config.n_layers, config.n_heads)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0, check_dtype=False)
    best = best_head(expected)
    assert [page_scores["best"]["layer"], page_scores["best"]["head"]] == [best.layer, best.head]


def test_a_head_of_the_shipped_model_copies_and_is_needed(
    shared_page: OpenPage, page_scores: Any
) -> None:
    """Score at least 0.8; without the head, syllables that were nearly certain are not."""
    best = page_scores["best"]
    assert best["score"] >= 0.8
    script = f"""(head) => {{
      const {{ model }} = Page.state;
      const tap = head === null ? null : Page.ablating(model.config, new Set([head]));
      const p = {TOKENS}.flatMap((tokens) =>
        Page.finish(Page.copiedProbabilities(model, tokens, tap)));
      return p.reduce((sum, one) => sum + one.p, 0) / p.length;
    }}"""
    n_heads = shared_page.run("() => Page.state.model.config.n_heads")
    intact = shared_page.run(script, None)
    without = shared_page.run(script, best["layer"] * n_heads + best["head"])
    assert without < 0.2 < 0.9 < intact


def test_ablation_equals_pythons(shared_page: OpenPage, shipped: LoadedModel) -> None:
    layer, head = shipped.model.config.n_layers - 1, 1
    script = f"""([layer, head]) => {{
      const {{ model }} = Page.state, [tokens] = {TOKENS};
      const tap = Page.ablating(model.config, new Set([layer * model.config.n_heads + head]));
      const found = Page.finish(Page.copiedProbabilities(model, tokens, tap));
      return {{ ids: tokens.ids, found }};
    }}"""
    result = shared_page.run(script, [layer, head])

    def without_head(heads: torch.Tensor) -> torch.Tensor:
        changed = heads.clone()
        changed[:, head] = 0
        return changed

    edits = {f"blocks.{layer}.attention.heads": without_head}
    with torch.no_grad(), replacing(shipped.model, edits):
        probabilities = shipped.model(torch.tensor([result["ids"]]))[0].softmax(-1)
    assert len(result["found"]) >= 2
    for copied in result["found"]:
        expected = float(probabilities[copied["t"] - 1, copied["id"]])
        assert copied["p"] == pytest.approx(expected, abs=1e-5)


PAIR = f"Page.songPair({TOKENS}[0], 2, 3)"


def python_pair(page: OpenPage) -> PromptPair:
    pair = page.run(f"() => {PAIR}")
    clean, corrupted = torch.tensor(pair["clean"]), torch.tensor(pair["corrupted"])
    assert int((clean != corrupted).sum()) == 1
    return PromptPair(clean, corrupted, pair["cleanAnswer"], pair["corruptedAnswer"])


@pytest.mark.parametrize("site", SITES)
def test_patching_equals_pythons(shared_page: OpenPage, shipped: LoadedModel, site: str) -> None:
    """To 1e-4 of a logit: what is recovered is a logit difference over its span."""
    script = f"""(site) => {{
      const patching = Page.finish(Page.Patching.prepare(Page.state.model, {PAIR}));
      const span = patching.cleanDifference - patching.corruptedDifference;
      return [Array.from(Page.finish(patching.sweep(site))), span];
    }}"""
    expected = sweep(shipped.model, python_pair(shared_page), site)  # type: ignore[arg-type]
    values, span = shared_page.run(script, site)
    error = np.abs(np.array(values).reshape(expected.shape) - expected.numpy()).max()
    assert error * abs(span) < 1e-4


def test_patching_everything_recovers_one_and_nothing_zero(shared_page: OpenPage) -> None:
    script = f"""() => {{
      const patching = Page.finish(Page.Patching.prepare(Page.state.model, {PAIR}));
      const L = Page.state.model.config.n_layers, last = patching.corrupted.length - 1;
      return [patching.patchAll(["embedding"]), patching.patchAll([]),
        patching.patchOne(`blocks.${{L - 1}}.residual`, last)].map(Page.finish);
    }}"""
    everything, nothing, last_residual = shared_page.run(script)
    assert everything == pytest.approx(1, abs=1e-5)
    assert nothing == pytest.approx(0, abs=1e-5)
    assert last_residual == pytest.approx(1, abs=1e-5)


def test_a_sweep_never_blocks_long_and_can_be_cancelled(shared_page: OpenPage) -> None:
    """Between two breaths at most a few model runs happen; a cancelled sweep returns null."""
    script = f"""async () => {{
      const patching = Page.finish(Page.Patching.prepare(Page.state.model, {PAIR}));
      let breaths = 0, calls = 0;
      const turns = (cancelled) => Page.inTurns(patching.sweep("residual"), {{ cancelled }});
      const whole = await turns(() => !++breaths);
      const cut = await turns(() => ++calls > 1);
      return [whole.every(Number.isFinite), breaths, cut, calls];
    }}"""
    whole, breaths, cut, calls = shared_page.run(script)
    assert whole
    assert breaths > 2
    assert cut is None
    assert calls == 2


@pytest.mark.slow
def test_the_figures_follow_the_reader(open_page: Any) -> None:
    page = open_page().load("#inside")
    ablation = page.page.locator('#inside [data-slot="ablation"]')
    ablation.locator(".bars").wait_for()
    intact = ablation.locator(".readout").inner_text()
    page.page.get_by_role("button", name="Ablate the selected head").click()
    assert "without block" in ablation.locator(".readout").inner_text()
    page.page.get_by_role("button", name="Put all back").click()
    assert ablation.locator(".readout").inner_text() == intact
    page.page.get_by_role("button", name="Patch every block and position").click()
    patching = page.page.locator('#inside [data-slot="patching"] .readout')
    page.page.wait_for_function(
        """() => /Patching everything recovers 1.000, patching nothing -?0.000/.test(
            document.querySelector('#inside [data-slot="patching"]').textContent)"""
    )
    assert "recovers most" in patching.inner_text()
    page.page.get_by_role("button", name="Make this story the prompt").click()
    prompt = page.run("() => Page.state.prompt")
    songs = songs_of(page)
    assert prompt in [song.text[: song.repetition.stop] for song in songs]
    assert page.all_problems() == []


CIRCUIT = '#inside [data-slot="circuit"]'


@pytest.mark.slow
def test_the_circuit_of_the_shipped_model_is_pythons(open_page: Any, shipped: LoadedModel) -> None:
    """The figure names the head that Python names, with the same numbers."""
    page = open_page().load("#inside")
    page.page.wait_for_function(
        f"() => document.querySelector('{CIRCUIT}').dataset.leansOn !== undefined"
    )
    found = page.run(f"() => Page.finish(Page.findCircuit(Page.state.model, {TOKENS}.slice(0, 4)))")
    repeats = repeated_songs(
        songs_of(page)[:4], shipped.tokenizer, shipped.model.config.max_seq_len
    )
    assert repeats is not None
    expected = find_circuit(shipped.model, repeats)
    assert [found["best"]["layer"], found["best"]["head"]] == [*expected.best[1:]]
    assert found["probability"] == pytest.approx(expected.probability, abs=1e-4)
    assert len(found["helpers"]) == len(expected.helpers) > 0
    of_python = {(helper.layer, helper.head): helper for helper in expected.helpers}
    for helper in found["helpers"]:
        other = of_python[helper["layer"], helper["head"]]
        numbers = (other.score, other.probability, other.previous_token, other.duplicate_token)
        names = ("score", "probability", "previous", "duplicate")
        assert [helper[name] for name in names] == pytest.approx(numbers, abs=1e-4)
    most = expected.leans_on
    assert most is not None
    shown = page.run(f"() => document.querySelector('{CIRCUIT}').dataset.leansOn")
    assert f"{shown} head" == f"{most.layer}.{most.head} {most.kind}"
    text = page.page.inner_text(f"{CIRCUIT} .readout")
    assert f"Most missed is block {most.layer}, head {most.head}: without it, the score is" in text
    assert f"{most.score:.3f}" in text
    assert re.search(r"\(it matches\) in (\d+) of \1 songs, and with .* \(it counts\) in 0\.", text)
    assert page.all_problems() == []


HELPERS = [
    {"layer": 0, "head": 1, "score": 0.2, "probability": 0.3, "previous": 0.1, "duplicate": 0}
]


@pytest.mark.parametrize(
    ("best", "changes", "words"),
    [
        (
            0.9,
            {"previous": 0.8},
            "A previous-token head: this model finds its place the first way.",
        ),
        (0.9, {"duplicate": 0.8}, "A duplicate-token head: this model finds its place the second"),
        (0.9, {}, "That is neither of the two kinds"),
        (0.9, {"score": 0.8}, "No earlier head stands out"),
        (0.9, None, "is in the first block: there is no earlier head"),
        (0.1, {"previous": 0.8}, "No head of this model has an induction score of 0.3"),
    ],
)
def test_every_finding_has_its_words(
    shared_page: OpenPage, best: float, changes: dict[str, float] | None, words: str
) -> None:
    helpers = [] if changes is None else [HELPERS[0] | changes]
    circuit = {"best": {"score": best, "layer": 1, "head": 2}, "probability": 0.9, "count": 5}
    found = shared_page.run("(all) => Page.describeCircuit(all)", circuit | {"helpers": helpers})
    assert words in found


def test_a_song_is_continued_by_match_as_python_says(
    shared_page: OpenPage, shipped: LoadedModel
) -> None:
    found = shared_page.run("""() => Page.samples.songs.map((song) =>
      Page.finish(Page.matchOrCount(Page.state.model, Page.matchOrCountPrompt(
        Page.state.tokenizer, Page.state.model.config.max_seq_len, song))))""")
    tokenizer = shipped.tokenizer
    for story, way in zip(songs_of(shared_page), found, strict=True):
        syllables = story.text[story.song].split()
        assert len(syllables) >= 4
        prompt = story.text[: story.repetition.start] + " ".join(syllables[1:3])
        ids = torch.tensor([[tokenizer.end_of_text, *tokenizer.encode(prompt)]])
        with torch.no_grad():
            written = tokenizer.decode([int(shipped.model(ids)[0, -1].argmax())])
        ways = {f" {syllables[3]}": "match", f" {syllables[2]}": "count"}
        assert way == ways.get(written, "other")
