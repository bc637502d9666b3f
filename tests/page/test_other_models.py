"""After another model, nothing of the one before is left: no figure, no number, no sentence."""

from pathlib import Path
from typing import Any

import pytest
from browser_page import OpenPage
from dropped_files import STATUS, choose
from ladder_tools import TOKENIZER, show, variant

from transformer.runs.model_file import write_model_file

READOUT = '(name) => document.querySelector(`[data-slot="${name}"] .readout`).textContent'
LEFT = """(name) => [...document.querySelectorAll(
  `[data-slot="${name}"] > :not(.controls, .readout)`)]
  .filter((node) => node.checkVisibility()).length"""
SHORT = "is too short for a song and its repetition"
SLOW_READER = """() => { // a large model reads its first prompt for seconds
  Page.LARGE = 0;
  const { read } = Page.WorkerEngine.prototype;
  Page.WorkerEngine.prototype.read = function later(...given) {
    setTimeout(() => read.apply(this, given), 800);
  };
}"""

pytestmark = pytest.mark.slow


def wait_for(page: OpenPage, name: str, text: str) -> None:
    page.page.wait_for_function(
        f"([name, text]) => ({READOUT})(name).includes(text)", arg=[name, text]
    )


def test_a_context_without_room_for_a_song(open_page: Any, tmp_path: Path) -> None:
    page = open_page().load("#inside")
    page.settle()
    show(page, variant("rotary", max_seq_len=8), tmp_path)
    page.run("() => document.getElementById('inside').scrollIntoView()")
    for name in ("induction", "song", "ablation", "patching"):
        wait_for(page, name, SHORT)
        assert page.run(LEFT, name) == 0, name
    page.page.get_by_label("random tokens, repeated").check()
    wait_for(page, "induction", "sequences of random tokens")
    page.page.wait_for_timeout(300)
    assert "random tokens" in page.run(READOUT, "induction")
    assert page.run(LEFT, "induction") > 0
    assert SHORT in page.run(READOUT, "song")
    page.page.get_by_role("button", name="Back to the model of this page").click()
    wait_for(page, "patching", "Logit of")
    assert page.run(LEFT, "song") > 0
    assert page.all_problems() == []


def test_a_context_of_one_token_has_no_gradient(open_page: Any, tmp_path: Path) -> None:
    page = open_page().load("#training")
    page.settle()
    show(page, variant("learned", max_seq_len=1), tmp_path)
    page.run("() => document.getElementById('training').scrollIntoView()")
    for name in ("accumulation", "noise", "adamw"):
        wait_for(page, name, "no gradient")
        assert page.run(LEFT, name) == 0, name
    assert page.all_problems() == []


def test_gradients_of_a_large_model_wait_for_the_button(open_page: Any, tmp_path: Path) -> None:
    page = open_page().load("#training")
    page.settle()
    assert page.run(LEFT, "adamw") > 0
    page.run("() => { Page.LARGE = 0; }")
    show(page, variant("learned"), tmp_path)
    for name in ("adamw", "noise"):
        assert "Press “Compute the gradients”" in page.run(READOUT, name)
        assert page.run(LEFT, name) == 0, name
    page.page.get_by_role("button", name="Compute the gradients").click()
    wait_for(page, "adamw", "On 32 pieces of stories")
    assert page.run(LEFT, "adamw") > 0
    assert page.run(LEFT, "noise") > 0
    assert page.all_problems() == []


def test_what_a_small_model_says_of_itself(open_page: Any, tmp_path: Path) -> None:
    page = open_page().load()
    show(page, variant("learned"), tmp_path)
    page.type_prompt("la tu")
    assert "learned its 32 position vectors" in page.run(READOUT, "positions")
    assert "this is the last place that has one)" in page.run(READOUT, "back-propagation")
    assert page.all_problems() == []


def test_a_model_that_still_reads_does_not_replace_a_later_one(
    open_page: Any, tmp_path: Path
) -> None:
    page = open_page().load("#your_model")
    name = page.run("() => Page.state.name")
    page.run(SLOW_READER)
    path = tmp_path / "model.safetensors"
    write_model_file(path, variant("rotary"), TOKENIZER, step=1)
    page.page.set_input_files('#your_model input[type="file"]', path)
    page.page.wait_for_function(
        f"() => document.querySelector('{STATUS}').textContent.includes('reads the prompt')"
    )
    page.page.get_by_role("button", name="Back to the model of this page").click()
    page.page.wait_for_timeout(1500)
    assert page.run("() => Page.state.name") == name
    assert page.page.inner_text(STATUS) == f"Back to {name}."
    assert page.page.inner_text("#message") == ""
    assert "is loaded" in choose(page, path)  # with nothing after it
    assert page.all_problems() == []
