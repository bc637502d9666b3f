"""The figures of step 11 that compute: what they say, and the models that they show."""

from pathlib import Path

import torch
from browser_page import OpenPage
from dropped_files import choose, small_tokenizer
from playwright.sync_api import Browser
from variant_tools import model_of

from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file

TOKENIZER = small_tokenizer()
SIZES = {"vocab_size": TOKENIZER.vocab_size, "max_seq_len": 32}
SLOTS = ["hands", "distance", "qk-scores", "qk-weights", "relu2", "muon"]
WORDS = """(slots) => Object.fromEntries(slots.map((name) =>
  [name, document.querySelector(`#ladder [data-slot="${name}"] .readout`).textContent]))"""
DRAWN = """(slots) => !/^(Measuring|Computing|This model is large)/m.test(slots.map((name) =>
  document.querySelector(`#ladder [data-slot="${name}"] .readout`).textContent).join("\\n"))"""


def open_step(browser: Browser) -> OpenPage:
    """A page at step 11 whose figures have all been drawn."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened = OpenPage(context.new_page()).load("#ladder")
    opened.page.wait_for_function(DRAWN, arg=SLOTS)
    return opened


def show(page: OpenPage, model: DecoderOnlyTransformer, folder: Path) -> None:
    path = folder / "model.safetensors"
    write_model_file(path, model, TOKENIZER, step=1)
    assert "is loaded" in choose(page, path)


def variant(name: str, **sizes: int) -> DecoderOnlyTransformer:
    return model_of(name, dtype=torch.float32, **SIZES | sizes)


def words(page: OpenPage, *slots: str) -> dict[str, str]:
    """What these figures say, or all of them, once they have something to say."""
    page.page.wait_for_function(DRAWN, arg=slots or SLOTS)
    return page.run(WORDS, slots or SLOTS)  # type: ignore[no-any-return]


def word(page: OpenPage, slot: str) -> str:
    return words(page, slot)[slot]


def back_to_shipped(page: OpenPage) -> None:
    page.page.get_by_role("button", name="Back to the model of this page").click()


def randoms(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))
