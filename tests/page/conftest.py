"""A browser for the tests of the page, and the same model in PyTorch.

The page is opened from disk, as a reader opens it. A machine without Chromium skips these
tests with a message; where CI=true that is a failure, since there they must run.
"""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from browser_page import ROOT, OpenPage
from playwright.sync_api import Browser, sync_playwright

from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel, read_model_file

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        message = "no Chromium on this machine: the page is not tested (apt install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Any]:
    """open_page(width=…, color_scheme=…, …) -> a page in a fresh context, not loaded yet."""
    contexts = []

    def make(width: int = 1280, height: int = 900, **options: Any) -> OpenPage:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        return OpenPage(context.new_page())

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def shared_page(browser: Browser) -> Iterator[OpenPage]:
    """One loaded page for tests that only compute in it and leave no trace."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield OpenPage(context.new_page()).load()
    context.close()


@pytest.fixture(scope="session")
def toured_page(browser: Browser) -> Iterator[OpenPage]:
    """One page in which every figure has something to show."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened = OpenPage(context.new_page()).load()
    opened.settle()
    yield opened
    context.close()


@pytest.fixture
def whole_page(toured_page: OpenPage, data_prompt: str) -> OpenPage:
    """That page with its first prompt: for tests that may change the prompt and nothing else."""
    if toured_page.page.input_value("#prompt") != data_prompt:
        toured_page.type_prompt(data_prompt)
    return toured_page


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The model embedded in the page, read by PyTorch from the same bytes, in float32."""
    text = (ROOT / "page/model.data.js").read_text()
    found = re.search(r'"base64":\s*"([^"]+)"', text)
    assert found, "page/model.data.js holds no base64 model"
    path = tmp_path_factory.mktemp("shipped") / "model.safetensors"
    path.write_bytes(base64.b64decode(found[1]))
    loaded = read_model_file(path)  # half precision, its table of positions too
    model = DecoderOnlyTransformer(loaded.model.config)
    model.load_state_dict(loaded.model.float().state_dict())
    return replace(loaded, model=model.eval())


@pytest.fixture(scope="session")
def data_prompt() -> str:
    """The prompt that the page starts with."""
    text = (ROOT / "page/model.data.js").read_text()
    found = re.search(r'"prompt":\s*("(?:[^"\\]|\\.)*")', text)
    assert found
    return str(json.loads(found[1]))
