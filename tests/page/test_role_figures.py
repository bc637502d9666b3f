"""Heads and neurons with a known job or none, and when their figures read, wait and stop."""

from pathlib import Path
from typing import Any

import pytest
import torch
from dropped_files import choose
from role_tools import MARKED, READOUT, answer, pick, planted, show, shown

from transformer.config import ModelConfig
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel, write_model_file


@pytest.mark.slow
def test_a_planted_job_is_named_and_where_there_is_none_the_page_says_so(
    open_page: Any, shipped: LoadedModel, tmp_path: Path
) -> None:
    (marked,) = shipped.tokenizer.encode(MARKED)
    page = open_page().load("#your_model")
    show(page, planted(shipped.tokenizer.vocab_size, marked), shipped, tmp_path)
    said = answer(page, "head-role")
    share = float(said.split("left out): ")[1].split("Over all positions, ")[-1].split(" %")[0])
    assert share > 75
    assert "% of its attention goes to the token before (3." in said
    assert "of the toy grammar, whatever this model was trained on" in said
    page.page.get_by_role("button", name="Block 1, head 0", exact=True).click()
    said = answer(page, "head-role")
    assert "nothing coherent shows." in said
    assert "that is usual" in said
    bars = page.page.locator('[data-slot="head-role"] .bar-value').all_inner_texts()
    for bar in bars:  # equal attention is what it has
        real, even = (float(one) for one in bar.replace("%", "").replace(")", "").split("("))
        assert real == pytest.approx(even, abs=0.11)
    said = pick(page, 5)
    assert "100 % is at the token “␣named”, which the stories have 64 times." in said
    assert "Nothing coherent" not in said
    assert {row[1] for row in shown(page, "neuron-role")} == {"␣named"}
    said = pick(page, 9)
    assert said.startswith("Neuron 9 of block 0")
    assert "Nothing coherent shows" in said
    assert "that is usual" in said
    assert page.all_problems() == []


@pytest.mark.slow
def test_a_weak_look_and_a_rare_token_are_not_named(
    open_page: Any, shipped: LoadedModel, tmp_path: Path
) -> None:
    """All rows agree, but with less than half of the attention; the token is there three times."""
    (marked,) = shipped.tokenizer.encode(" purple")
    page = open_page().load("#your_model")
    show(page, planted(shipped.tokenizer.vocab_size, marked, look=1), shipped, tmp_path)
    assert "nothing coherent shows." in answer(page, "head-role")
    weights = [float(row[0].removesuffix(" %")) for row in shown(page, "head-role")]
    assert len(weights) == 10
    assert 40 < min(weights) <= max(weights) < 50
    said = pick(page, 5)
    assert "Nothing coherent shows: of all that it fires, at most 100 % is at the token" in said
    assert "“␣purple”, which the stories have 3 times." in said
    assert page.all_problems() == []


@pytest.mark.slow
def test_an_untrained_model_has_no_jobs(
    open_page: Any, shipped: LoadedModel, tmp_path: Path
) -> None:
    """Its weights are the largest where there are few keys: that is no look at anything."""
    torch.manual_seed(0)
    sizes = {"d_model": 32, "n_heads": 2, "n_layers": 2, "d_ff": 64, "max_seq_len": 144}
    model = DecoderOnlyTransformer(ModelConfig(shipped.tokenizer.vocab_size, **sizes)).eval()
    page = open_page().load("#your_model")
    show(page, model, shipped, tmp_path)
    for layer in range(2):
        for head in range(2):
            page.page.get_by_role("button", name=f"Block {layer}, head {head}", exact=True).click()
            assert "nothing coherent shows." in answer(page, "head-role")
    assert "Nothing coherent shows" in answer(page, "neuron-role")
    assert "In this block 0 of 64 neurons" in answer(page, "neuron-role")


@pytest.mark.slow
def test_a_context_too_short_is_said(open_page: Any, shipped: LoadedModel, tmp_path: Path) -> None:
    sizes = {"d_model": 8, "n_heads": 1, "n_layers": 1, "d_ff": 8, "max_seq_len": 5}
    model = DecoderOnlyTransformer(ModelConfig(shipped.tokenizer.vocab_size, **sizes)).eval()
    page = open_page().load("#your_model")
    show(page, model, shipped, tmp_path)
    for slot in ("head-role", "neuron-role"):
        page.page.locator(f'[data-slot="{slot}"]').scroll_into_view_if_needed()
        page.page.wait_for_function(f"(slot) => /5 tokens is too short/.test(({READOUT})(slot))",
                                    arg=slot)  # fmt: skip
        assert not page.page.locator(f'[data-slot="{slot}"] table').is_visible()
    assert page.all_problems() == []


PLACES = """document.querySelector('[data-slot="head-role"] tbody')"""


@pytest.mark.slow
def test_typing_is_answered_while_a_figure_reads(open_page: Any) -> None:
    """What it reads does not begin anew, nor is what it found drawn again."""
    page = open_page().load("#heads")
    page.page.locator('[data-slot="head-role"]').scroll_into_view_if_needed()
    at = f"""() => Number(/^Measuring.* (\\d+) %/.exec(({READOUT})("head-role"))?.[1] ?? NaN)"""
    page.page.wait_for_function(f"() => ({at})() >= 5")
    before = page.run(at)
    page.type_prompt("Belmo sang: tri la")
    after = page.run(at)
    assert before <= after < 100
    assert "␣t" in page.page.inner_text('[data-slot="tokens"]')
    answer(page, "head-role")
    page.run(f"() => {{ {PLACES}.begun = true; }}")
    page.type_prompt("Mira sang: tri la")
    assert page.run(f"() => {PLACES}.begun"), "the same stories were drawn again"
    assert page.all_problems() == []


@pytest.mark.slow
def test_another_model_cancels_the_reading(
    open_page: Any, shipped: LoadedModel, tmp_path: Path
) -> None:
    """Nothing of the old one is shown, and it is read no further."""
    page = open_page().load()  # far from the step, so that nothing is read yet
    page.run("""() => {
      const roles = Page.tasks.headRoles;
      window.pauses = [];
      Page.tasks.headRoles = function* (host, question) {
        const mine = window.pauses.push(0) - 1, work = roles(host, question);
        for (;;) {
          const { done, value } = work.next();
          if (done) { window.pauses[mine] = "done"; return value; }
          window.pauses[mine]++;
          yield value;
        }
      };
    }""")
    page.page.locator('[data-slot="head-role"]').scroll_into_view_if_needed()
    page.page.wait_for_function("() => window.pauses[0] > 2")
    model = planted(shipped.tokenizer.vocab_size, 300)
    show(page, model, shipped, tmp_path)
    first = page.run("() => window.pauses[0]")
    assert "toy grammar, whatever" in answer(page, "head-role")
    assert page.run("() => window.pauses") == [first, "done"]


@pytest.mark.slow
def test_a_film_is_read_when_it_stands_still(open_page: Any) -> None:
    page = open_page().load("#training")
    page.page.locator('[data-slot="learned"]').get_by_role("button").first.click()
    page.page.wait_for_function("() => Page.state.film")
    page.page.wait_for_function("() => Page.state.name === 'a small training'")
    end = answer(page, "head-role")
    page.run("() => Page.state.showFrame(0)")
    assert page.run(READOUT, "head-role").startswith("The training moves on")
    assert not page.page.locator('[data-slot="head-role"] table').is_visible()
    page.page.wait_for_timeout(300)
    assert page.run(READOUT, "head-role").startswith("The training moves on")
    page.run("() => { Page.state.announce('rest'); }")
    page.page.wait_for_function(f"() => /^Measuring: /.test(({READOUT})('head-role'))")
    page.run("() => Page.state.showFrame(0)")  # it moves again: what was begun is not gone on with
    page.page.wait_for_timeout(2500)
    assert page.run(READOUT, "head-role").startswith("The training moves on")
    page.run("() => Page.state.announce('rest')")
    start = answer(page, "head-role")
    assert start != end
    assert "nothing coherent shows" in start
    assert page.page.locator('[data-slot="head-role"] table').is_visible()
    assert page.all_problems() == []


@pytest.mark.slow
def test_a_large_model_reads_when_it_is_asked_and_can_be_cancelled(
    open_page: Any, shipped: LoadedModel, tmp_path: Path
) -> None:
    (marked,) = shipped.tokenizer.encode(MARKED)
    model = planted(shipped.tokenizer.vocab_size, marked)
    page = open_page().load("#your_model")
    page.run("() => { Page.LARGE = 0; }")
    path = tmp_path / "model.safetensors"
    write_model_file(path, model.to(torch.float16), shipped.tokenizer, step=1)
    assert "is loaded" in choose(page, path)
    assert not page.run("() => Page.state.engine.isLocal")
    box = page.page.locator('[data-slot="neuron-role"]')
    box.scroll_into_view_if_needed()
    waits = f"() => /^This model is large/.test(({READOUT})('neuron-role'))"
    page.page.wait_for_function(waits)
    assert not box.locator("table").is_visible()
    read = box.get_by_role("button", name="Read stories with all neurons")
    read.click()
    page.page.wait_for_function(
        f"() => /^Measuring: the model reads 32 stories/.test(({READOUT})('neuron-role'))"
    )
    box.get_by_role("button", name="Cancel").click()
    page.page.wait_for_function(waits)
    page.page.wait_for_timeout(1500)
    assert page.run(READOUT, "neuron-role").startswith("This model is large")
    read.click()
    page.type_prompt("Belmo sang")  # does not cancel what is read
    said = answer(page, "neuron-role")
    assert "of the toy grammar, whatever" in said
    assert "is at the token “␣named”, which the stories have 64 times" in pick(page, 5)
    assert page.all_problems() == []
