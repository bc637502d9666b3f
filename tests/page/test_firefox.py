"""The page in Firefox: it loads, nothing goes wrong, an edit updates it, the numbers agree."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from browser_page import INDEX
from marionette import Firefox, find_firefox
from processes import wait_until

from transformer.runs.model_file import LoadedModel


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    path = find_firefox()
    if path is None:
        message = "no Firefox on this machine: the page is not tested in it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with Firefox(path, tmp_path) as firefox:
        yield firefox


@pytest.mark.slow
def test_the_page_works_in_firefox(firefox: Firefox, shipped: LoadedModel) -> None:
    firefox.open(INDEX.as_uri())
    ready = "return document.documentElement.dataset.ready"
    wait_until(lambda: firefox.run(ready) == "true", 60)
    wait_until(lambda: firefox.run("return page.Page.state.engine.open.size") == 0, 60)
    slots = """return Object.fromEntries(Array.from(document.querySelectorAll('.readout'),
      (node) => [node.closest('[data-slot]').dataset.slot, node.textContent]))"""
    before = firefox.run(slots)
    assert len(before) > 15

    text = "Once there was a shy fox named Belmo."
    firefox.run("page.Page.setPrompt(page.Page.state, arguments[0])", text)

    def changed() -> int:
        now = firefox.run(slots)
        return sum(now[name] != text for name, text in before.items())

    wait_until(lambda: changed() >= 12, 60)  # they are drawn in turns

    ids = [shipped.tokenizer.end_of_text, *shipped.tokenizer.encode(text)]
    assert list(firefox.run("return Array.from(page.Page.state.ids)")) == ids
    script = "const { state } = page.Page; return Array.from(state.trace.logits(state.pinned))"
    with torch.no_grad():
        expected = shipped.model(torch.tensor([ids]))[0, -1].numpy()
    assert np.abs(np.array(firefox.run(script)) - expected).max() <= 1e-4
