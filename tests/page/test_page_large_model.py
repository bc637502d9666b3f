"""A model as large as GPT-2 small, dropped as a file of 498 MB: it computes in a worker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from dropped_files import choose
from taps import record

from transformer.config import ModelConfig, Variant
from transformer.data.tokenizer import load_tokenizer
from transformer.ladder import build_model
from transformer.runs.model_file import write_model_file

pytestmark = pytest.mark.slow
PROMPT = "Long ago, by the sea, lived a shy frog."


def gpt2_small(vocab_size: int) -> Any:
    variant = Variant(positions="learned", feed_forward="gelu_tanh", embedding_scale=1.0)
    torch.manual_seed(0)
    model = build_model(ModelConfig(
        vocab_size, d_model=768, n_heads=12, n_layers=12, d_ff=3072, max_seq_len=1024, dropout=0.0,
        variant=variant,
    ))  # fmt: skip
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.06 if "qkv" in name else 0.02)
    return model.eval()


def test_a_model_as_large_as_gpt2_small_drives_the_page(open_page: Any, tmp_path: Path) -> None:
    """Logits and attention are PyTorch's with rounded matrices; edits, lens, patching, cancel."""
    tokenizer = load_tokenizer("p50k_base")
    model = gpt2_small(tokenizer.vocab_size)
    path = tmp_path / "gpt2.safetensors"
    write_model_file(path, model, tokenizer, step=0)
    assert path.stat().st_size > 490_000_000
    page: OpenPage = open_page()
    page.load("#your_model")
    page.tour()
    page.page.wait_for_function(
        "() => document.querySelector('[data-slot=circuit]').dataset.leansOn"
    )
    message = choose(page, path)
    assert "is loaded" in message
    assert "half precision" in message
    assert not page.run("() => Page.state.engine.isLocal")
    type_and_wait(page, PROMPT)
    for parameter in model.parameters():
        parameter.data = parameter.half().float() if parameter.dim() > 1 else parameter.data
    compare(page, model)
    type_and_wait(page, PROMPT + " Kelmi")
    compare(page, model)
    look_inside(page)
    assert page.all_problems() == []


def type_and_wait(page: OpenPage, text: str) -> None:
    """Until the model has read this text; an earlier one may still have been drawn."""
    page.type_prompt(text)
    page.page.wait_for_function(
        "(text) => Page.state.tokenizer.decode(Page.state.ids.slice(1)) === text", arg=text
    )


def compare(page: OpenPage, model: Any) -> None:
    ids, logits = page.run("""() => { const { ids, trace } = Page.state;
      return [ids, Array.from(trace.logits(ids.length - 1))]; }""")
    names = [f"blocks.{i}.attention.weights" for i in range(12)]
    found = page.run(
        "(names) => names.map((name) => Array.from(Page.state.trace.get(name)))", names
    )
    expected = record(model, ids)
    with torch.no_grad():
        last = model(torch.tensor([ids]))[0, -1].numpy()
    assert np.abs(last).max() > 1
    assert np.abs(np.array(logits) - last).max() <= 1e-4
    for name, weights in zip(names, found, strict=True):
        assert np.abs(np.array(weights) - expected[name].flatten().numpy()).max() <= 1e-4, name


def look_inside(page: OpenPage) -> None:
    """The lens begins at the last position; patching shows how far it is, and is cancelled."""
    lens = page.page.locator('[data-slot="lens"]')
    lens.get_by_role("button", name="Read every layer").click()
    page.page.wait_for_function("""() => {
      const texts = [...document.querySelectorAll("[data-slot=lens] .cell-text")];
      return texts[0]?.textContent === "" && texts[texts.length / 13 - 1]?.textContent !== "";
    }""")
    patching = page.page.locator('[data-slot="patching"]')
    patching.get_by_role("button", name="Patch every block and position").click()
    page.page.wait_for_function(
        "() => /% done/.test(document.querySelector('[data-slot=patching] .readout').textContent)"
    )
    patching.get_by_role("button", name="Cancel").click()
    assert "Cancelled." in patching.locator(".readout").inner_text()
    mask = page.page.locator('[data-slot="mask"]')
    mask.get_by_role("button", name="Compare the logits").click()
    mask.locator(".bars").wait_for()
    assert "exactly 0" in mask.locator(".readout").inner_text()
    lens.locator(".readout", has_text="embedding").wait_for()
