"""A film on the page: every frame is PyTorch's, and what was chosen stays while time moves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import ROOT, OpenPage
from dropped_files import choose, parts, write_raw
from playwright.sync_api import Browser

from transformer.config import ModelConfig, Variant
from transformer.data.toy.kinds import KINDS, kinds_of
from transformer.ladder import build_model
from transformer.runs.film import Film, FilmRecorder, read_film
from transformer.runs.model_file import LoadedModel

PROMPT = "Once there was a fox named Tambo. Tam"
STEPS, TOLD = [0, 3, 12, 28, 50], "#transport .film-told"
LOGITS = "() => [...Page.state.trace.logits(Page.state.pinned)]"
READOUT = '(name) => document.querySelector(`[data-slot="${name}"] .readout`).textContent'
ABLATED = "() => Page.inside.changed[0].p"  # of the first copied token
PLACES = {"row": "embeddings", "dot": "attention", "high y": "feed_forward"}
GO = """async (id) => { // and until the page has noticed: that happens while a frame is drawn
  document.getElementById(id).scrollIntoView({ behavior: "instant" });
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  for (let i = 0; i < 3; i++) await drawn();
}"""
SEEK = """(frame) => {
  const slider = document.querySelector("#transport input");
  slider.value = frame;
  slider.dispatchEvent(new Event("input"));
}"""


@pytest.fixture(scope="module")
def film(shipped: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Film:
    """From one random model to another."""
    run = tmp_path_factory.mktemp("run")
    variant = Variant(positions="rotary")
    vocab_size = shipped.tokenizer.vocab_size
    config = ModelConfig(vocab_size, 32, 4, 2, 64, max_seq_len=144, dropout=0.0, variant=variant)
    torch.manual_seed(0)
    first, last = (dict(build_model(config).named_parameters()) for _ in range(2))
    recorder = FilmRecorder(run, STEPS[-1], len(STEPS))
    for step in recorder.steps:
        share = step / STEPS[-1]
        recorder.take(step, {n: 2 * torch.lerp(w, last[n], share) for n, w in first.items()})
    records: list[dict[str, Any]] = [
        {"step": s, "train_loss": 7 - s / 10, "learning_rate": 0.1, "grad_norm": 1.0}
        for s in range(1, STEPS[-1] + 1)
    ]
    records += [{"step": s, "val_loss": 7 - s / 10, "val_perplexity": 9.0} for s in (10, 50)]
    recorder.finish(config, shipped.tokenizer, records)
    return read_film(recorder.path)


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[OpenPage]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = OpenPage(context.new_page()).load("#your_model")
    assert opened.page.is_hidden("#transport")
    yield opened
    context.close()


@pytest.fixture
def page(opened: OpenPage, film: Film) -> OpenPage:
    """With the film as a reader meets it, chosen anew for each test."""
    opened.run(GO, "your_model")
    assert "It is a film" in choose(opened, film.path)
    if opened.page.input_value("#prompt") != PROMPT:
        opened.type_prompt(PROMPT)
    return opened


def seek(page: OpenPage, frame: int) -> None:
    page.run(SEEK, frame)
    assert page.run("() => Page.state.frame") == frame


@pytest.mark.slow
def test_frames_are_pytorchs_and_the_bar_tells_the_time(page: OpenPage, film: Film) -> None:
    assert film.steps == STEPS
    told = "step 50 of 50, validation loss 2.00 nats per token"
    assert page.page.inner_text(TOLD) == told
    tokenizer = film.tokenizer
    ids = torch.tensor([[tokenizer.end_of_text, *tokenizer.encode(PROMPT)]])
    model = build_model(film.config).eval()
    found = []
    for frame in (4, 0, 2):
        seek(page, frame)
        model.load_state_dict(film.weights(frame))
        with torch.no_grad():
            expected = model(ids)[0, -1].numpy()
        found.append(np.array(page.run(LOGITS)))
        np.testing.assert_allclose(found[-1], expected, atol=2e-4)
    assert np.abs(found[0] - found[1]).max() > 0.1
    assert page.page.inner_text(TOLD) == "step 12 of 50, validation loss 6.00 nats per token"
    seek(page, 1)
    assert page.page.inner_text(TOLD) == "step 3 of 50"
    slider = page.page.locator("#transport input")
    assert slider.get_attribute("aria-valuetext") == "step 3 of 50"
    assert page.all_problems() == []


def test_on_a_phone_the_bar_tells_its_step_in_two_lines_at_most(page: OpenPage) -> None:
    page.page.set_viewport_size({"width": 360, "height": 800})
    height = """(place) => {
      const told = document.querySelector(place), style = getComputedStyle(told);
      return told.clientHeight / parseFloat(style.lineHeight);
    }"""
    assert page.page.inner_text(TOLD) == "step 50 of 50, validation loss 2.00 nats per token"
    assert page.run(height, TOLD) <= 2.1
    page.page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.slow
def test_what_was_chosen_stays_while_time_moves(page: OpenPage) -> None:
    """The pinned token, the prompt, a head, a neuron and an ablation."""
    page.settle()
    page.page.wait_for_function("() => Page.inside.measured && Page.inside.weights")
    page.page.get_by_role("button", name="Block 1, head 2", exact=True).click()
    page.page.get_by_role("button", name="Ablate the selected head").click()
    page.run("() => Page.state.pin(3)")
    song = page.run("() => [Page.inside.head, Page.inside.query, ...Page.inside.ablated]")
    assert len(song) == 3
    before = {name: page.run(READOUT, name) for name in ("head", "song", "ablation", "output")}
    assert "without block" in before["ablation"]
    assert before["head"].startswith("Block 1, head 2: the pinned")
    lost = page.run(ABLATED)
    seek(page, 1)
    page.tour()
    page.page.wait_for_function(f"(old) => ({ABLATED})() !== old", arg=lost)
    after = {name: page.run(READOUT, name) for name in before}
    assert "without block" in after["ablation"]
    assert after["head"].startswith("Block 1, head 2: the pinned")
    assert all(after[name] != before[name] for name in ("head", "song", "output"))
    assert page.run("() => [Page.inside.head, Page.inside.query, ...Page.inside.ablated]") == song
    assert page.run("() => Page.state.pinned") == 3
    assert page.page.input_value("#prompt") == PROMPT
    assert page.all_problems() == []


@pytest.mark.slow
def test_slow_figures_follow_when_the_film_rests(page: OpenPage) -> None:
    page.settle()
    told = f"() => ({READOUT})('accumulation')"
    page.page.wait_for_function(f"() => /points/.test(({told})())")
    before = page.run(told)
    seek(page, 0)
    page.page.wait_for_function(
        f"(before) => /points/.test(({told})()) && ({told})() !== before", arg=before
    )


@pytest.mark.slow
def test_it_plays_to_its_end_and_keys_move_it(page: OpenPage) -> None:
    play = page.page.locator("#transport").get_by_role("button", name="Play")
    play.press("Enter")
    assert page.page.locator("#transport button").first.inner_text() == "Pause"
    page.page.wait_for_function("() => Page.state.frame < 4")
    page.page.wait_for_function(
        "() => Page.state.frame === 4 "
        "&& document.querySelector('#transport button').textContent === 'Play'"
    )
    page.page.locator("#transport input").press("ArrowLeft")
    assert page.run("() => Page.state.frame") == 3
    page.page.get_by_role("button", name="Speed 1×").click()
    assert page.page.get_by_role("button", name="Speed 2×").is_visible()
    page.page.get_by_role("button", name="Back to the model of this page").click()
    page.page.wait_for_function("() => Page.state.film === null")
    assert page.page.is_hidden("#transport")


@pytest.mark.slow
def test_one_scale_while_time_moves(page: OpenPage) -> None:
    """It ends at the largest value of all moments that were seen, in whatever order."""
    page.tour()
    frames = (0, 2, 4)

    def seen(*moments: int) -> dict[str, float]:
        page.run("() => Page.state.scales.clear()")
        for frame in moments:
            seek(page, frame)
        scales: dict[str, float] = page.run("() => Object.fromEntries(Page.state.scales)")
        return scales

    alone = []
    for frame in frames:
        seen(frame)
        page.run("() => Page.state.announce('rest')")  # also what is not near the window
        alone.append(page.run("() => Object.fromEntries(Page.state.scales)"))
    assert {"row", "dot", "high y", "shares", "activations"} <= alone[0].keys()
    largest = {name: max(scales[name] for scales in alone) for name in alone[0]}
    assert largest != alone[0]
    assert largest != alone[-1]
    for name in ("row", "dot", "high y"):
        for order in (frames, frames[::-1]):
            page.run(GO, PLACES[name])
            assert seen(*order)[name] == pytest.approx(largest[name])


def test_losses_by_kind_are_pytorchs(page: OpenPage, film: Film) -> None:
    """Eight stories with their places from Python, and the tokens that end inside them."""
    script = """([frame]) => {
      const { film, tokenizer } = Page.state, songs = Page.samples.songs.slice(0, 8);
      const stories = songs.map((one) => Page.storyOfKinds(one, tokenizer, 144));
      return Page.finish(Page.learned(film.model(frame), stories)).losses;
    }"""
    texts = page.run("() => Page.samples.songs.slice(0, 8).map(({ text }) => text)")
    model = build_model(film.config).eval()
    for frame in (0, 4):
        model.load_state_dict(film.weights(frame))
        losses: dict[str, list[float]] = {kind: [] for kind in (*KINDS, "everything else")}
        for text in texts:
            ids = [film.tokenizer.end_of_text, *film.tokenizer.encode(text)]
            assert len(ids) <= 144
            with torch.no_grad():
                log_p = model(torch.tensor([ids]))[0].log_softmax(-1)
            end, places = 0, kinds_of(text)
            for t, token in enumerate(ids[1:]):
                end += len(film.tokenizer.decode_bytes([token]))
                inside = [k for k in KINDS for p in places[k] if p.start < end <= p.stop]
                losses[(inside or ["everything else"])[0]].append(-float(log_p[t, token]))
        expected = [float(np.mean(values)) for values in losses.values()]
        np.testing.assert_allclose(page.run(script, [frame]), expected, atol=2e-4)


def test_the_film_is_measured_while_it_is_watched(page: OpenPage) -> None:
    page.page.locator('[data-slot="learned"]').scroll_into_view_if_needed()
    page.page.wait_for_function(
        f"() => {{ const told = ({READOUT})('learned'); "
        "return /nine tenths/.test(told) && !/are measured/.test(told); }"
    )
    heads = page.page.locator('[data-slot="learned"] [aria-label^="Induction score of every head"]')
    assert heads.count() >= 1
    seek(page, 2)
    page.page.wait_for_function(f"() => /At step 12: names/.test(({READOUT})('learned'))")


@pytest.mark.slow
def test_the_pages_own_film_comes_when_it_is_asked_for(open_page: Any) -> None:
    """And in it a head is born that copies."""
    page = open_page().load("#training")
    assert not any("film.data.js" in request for request in page.requests)
    button = page.page.locator('[data-slot="learned"]').get_by_role("button", name="Play the film")
    button.click()
    page.page.wait_for_function("() => Page.state.film && Page.state.name === 'a small training'")
    assert (ROOT / "page/film.data.js").stat().st_size <= 3_000_000
    assert page.run("() => Page.state.model.parameterCount") <= 150_000
    assert page.run("() => Page.state.film.last") >= 11
    scores = """() => [0, Page.state.film.last].map((frame) => {
      const { film, tokenizer } = Page.state, songs = Page.samples.songs.slice(0, 8);
      const length = film.config.max_seq_len;
      const stories = songs.map((one) => Page.storyOfKinds(one, tokenizer, length));
      return Math.max(...Page.finish(Page.learned(film.model(frame), stories)).scores);
    })"""
    first, last = page.run(scores)
    assert first < 0.1
    assert last > 0.8
    assert page.all_problems() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"film": json.dumps({"steps": [0, 0, 1, 2, 3]})}, "must be growing whole numbers"),
        ({"film": json.dumps({"steps": [0, 1]})}, "is not 2 frames in half precision"),
        ({"film": json.dumps({"steps": STEPS, "train": 7})}, "not lists of numbers"),
        ({"version": "2"}, 'this page reads "1"'),
        ({}, "not finite numbers"),
    ],
)
def test_what_is_no_film_is_refused_in_words(
    shared_page: OpenPage, film: Film, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    header, data = parts(film.path)
    header["__metadata__"].update(change)
    path = tmp_path / "film.safetensors"
    write_raw(path, header, data if change else b"\x00\x7c" + data[2:])
    message = choose(shared_page, path)
    assert said in message
    assert "The previous model is kept." in message
    assert shared_page.page.is_hidden("#transport")


def test_the_plan_shows_the_films_own_log_and_follows_the_frame(page: OpenPage) -> None:
    page.run(GO, "training")
    for frame in (4, 2):
        seek(page, frame)
        page.page.wait_for_function(
            f"(start) => ({READOUT})('plan').startsWith(start)",
            arg=f"Step {STEPS[frame]}: learning rate 0.100",
        )
    said = page.run(READOUT, "plan")
    assert f"nearest step kept here, {STEPS[2]}: 1.00. From the film's own log." in said
