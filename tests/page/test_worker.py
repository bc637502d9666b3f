"""A model in a worker: the same answers as in the page, in turns, and nothing more allowed.

A small model is sent to the worker by hand here; test_page_large_model.py drops one that is large.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import INDEX, OpenPage
from dropped_files import choose, write_raw

from transformer.config import ModelConfig, Variant
from transformer.ladder import build_model
from transformer.runs.implied_tensors import tensor_shapes
from transformer.runs.model_file import LoadedModel, write_model_file

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types model-worker film; "
    "worker-src blob:"
)
BUTTONS = [
    "Compare the logits", "Silence the neuron", "Compute without it", "Read every layer",
    "Compute the gradients", "Measure the heads", "Read the song", "Ablate the selected head",
    "Patch every block and position", "Ablate every earlier head",
    "Compute the gradient and its rounds", "Send the error back", "Read stories with all heads",
    "Read stories with all neurons",
]  # fmt: skip
TEXTS = """() => Object.fromEntries([...document.querySelectorAll("main [data-slot]")]
  .filter((slot) => !["cache", "drop", "circuit"].includes(slot.dataset.slot)) // times, fewer songs
  .map((slot) => [slot.dataset.slot,
    [...slot.querySelectorAll(".readout, .bar-label, .bar-value")].filter((node) =>
      node.checkVisibility()).map((node) => node.textContent).join("|")]))"""
STILL = """() => !/…$|Computing|Press “|Measuring|% done|to patch\\./.test(
  [...document.querySelectorAll("main [data-slot] .readout")].map((n) => n.textContent).join("\\n")
    .replace(/Press the button: each token[^\\n]*/, ""))"""


def to_worker(page: OpenPage) -> None:
    page.run("() => { Page.LARGE = 0; }")


def model_of(vocab_size: int, **changes: Any) -> torch.nn.Module:
    """Learned positions and GPT-2's curve; weights large enough for heads that differ."""
    variant = Variant(positions="learned", feed_forward="gelu_tanh", embedding_scale=1.0)
    sizes = {"d_model": 24, "n_heads": 3, "n_layers": 2, "d_ff": 40, "max_seq_len": 200}
    torch.manual_seed(4)
    model = build_model(ModelConfig(vocab_size, dropout=0.0, variant=variant, **sizes | changes))
    for parameter in model.parameters():
        parameter.data *= 3 if parameter.dim() > 1 else 1
    return model.eval()


@pytest.fixture(scope="module")
def model_file(shipped: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In 16 bits, so that page and worker hold the same numbers."""
    path = tmp_path_factory.mktemp("worker") / "model.safetensors"
    model = model_of(shipped.tokenizer.vocab_size).to(torch.float16)
    write_model_file(path, model, shipped.tokenizer, step=3)  # type: ignore[arg-type]
    return path


def press_everything(page: OpenPage) -> None:
    """Each button that asks for something, where there is one; then wait until all is computed."""
    for label in BUTTONS:
        button = page.page.get_by_role("button", name=label, exact=True)
        if button.count() and button.is_visible():
            button.click()
        if label != "Ablate every earlier head":
            page.page.wait_for_timeout(400)
    page.page.wait_for_function(STILL)


@pytest.mark.slow
def test_every_figure_says_the_same_as_in_the_page(open_page: Any, model_file: Path) -> None:
    said = []
    for in_worker in (False, True):
        page = open_page().load("#your_model")
        if in_worker:
            to_worker(page)
        assert "is loaded" in choose(page, model_file)
        page.type_prompt("Belmo sang")  # shorter than a sequence of step 7
        assert page.run("() => Page.state.engine.isLocal") != in_worker
        page.tour()
        page.page.wait_for_timeout(1000)
        press_everything(page)
        said.append(page.run(TEXTS))
        assert page.all_problems() == []
    assert len(said[0]) > 20
    for name, text in said[0].items():
        assert said[1][name] == text, name


@pytest.mark.slow
def test_an_edit_is_answered_in_the_middle_of_long_work_which_can_be_cancelled(
    open_page: Any, model_file: Path
) -> None:
    page = open_page().load("#your_model")
    to_worker(page)
    assert "is loaded" in choose(page, model_file)
    script = """async () => {
      const { engine, tokenizer } = Page.state, heard = [];
      const songs = Page.samples.songs.map((song) => Page.tokenizeSong(song, tokenizer, 200));
      const repeats = Array.from({ length: 40 }, () => songs.filter(Boolean)).flat();
      let job;
      await new Promise((started) => {
        job = engine.ask("scores", { repeats }, { lasting: true, done: () => heard.push("scores"),
          progress: () => { heard.push("progress"); started(); } });
      });
      await new Promise((done) => engine.read([1, 2, 3], [2], (trace) => {
        heard.push(trace.logits(2).length); done(); }));
      job.cancel();
      const before = heard.filter((one) => one === "progress").length;
      await new Promise((done) => engine.ask("logits", { position: 1 }, { done }));
      await new Promise((done) => setTimeout(done, 300));
      return [heard.includes("scores"), before > 0,
        heard.filter((one) => one === "progress").length === before, heard.find(Number.isFinite)];
    }"""
    finished, began, silent, logits = page.run(script)
    assert not finished
    assert began
    assert silent
    assert logits == page.run("() => Page.state.model.config.vocab_size")


@pytest.mark.slow
def test_a_waiting_figure_says_so_and_cancel_brings_that_back(
    open_page: Any, model_file: Path
) -> None:
    page = open_page().load("#heads")
    to_worker(page)
    choose(page, model_file)
    page.type_prompt("Belmo sang")
    mask = page.page.locator('[data-slot="mask"]')
    assert "This model is large" in mask.locator(".readout").inner_text()
    assert not mask.locator(".bars").is_visible()
    mask.get_by_role("button", name="Compare the logits").click()
    mask.locator(".bars").wait_for()
    assert "exactly 0" in mask.locator(".readout").inner_text()
    page.type_prompt("Belmo sang:")
    assert "This model is large" in mask.locator(".readout").inner_text()
    assert not mask.locator(".bars").is_visible()


ROUND = """(values) => {
  const out = new Uint16Array(values.length), wrong = Page.roundToHalf(new Float32Array(values), out, 0);
  const table = Page.halfTable();
  return [wrong ?? null, Array.from(out), Array.from(out, (bits) => table[bits])];
}"""  # noqa: E501


def test_rounding_to_half_is_pytorchs(shared_page: OpenPage) -> None:
    """To nearest, ties to even, numbers below the smallest normal one included."""
    rng = np.random.default_rng(3)
    values = np.concatenate([
        rng.normal(0, 1, 2000), rng.normal(0, 1e-5, 2000), rng.normal(0, 1e-7, 1000),
        [0.0, -0.0, 65504, 65519, -65519, 1 + 2**-11, 1 + 3 * 2**-11, 2**-24, 2**-25, 3 * 2**-25,
         2**-14, 2**-14 - 2**-26, 6.1e-5, 1e-30],
    ]).astype(np.float32)  # fmt: skip
    wrong, bits, decoded = shared_page.run(ROUND, values.tolist())
    expected = torch.from_numpy(values).half()
    assert wrong is None
    assert bits == (expected.view(torch.int16).numpy().view(np.uint16)).tolist()
    assert decoded == expected.float().tolist()
    for bad in (65520.0, -1e30):
        assert shared_page.run(ROUND, [1.0, bad])[0] == np.float32(bad)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
)
def test_logits_are_pytorchs_with_matrices_in_half_precision(
    open_page: Any, shipped: LoadedModel, tmp_path: Path, dtype: torch.dtype
) -> None:
    """A product in the worker does the additions of one in the page, in the same order."""
    model = model_of(shipped.tokenizer.vocab_size, d_ff=42, d_model=30).to(dtype)
    path = tmp_path / "model.safetensors"
    write_model_file(path, model, shipped.tokenizer, step=1)  # type: ignore[arg-type]
    page = open_page().load("#your_model")
    to_worker(page)
    assert "is loaded" in choose(page, path)
    page.type_prompt("Belmo sang: tri la mi")
    ids, logits = page.run("""() => { const { ids, trace } = Page.state;
      return [ids, Array.from(trace.logits(ids.length - 1))]; }""")
    model = model.float()
    if dtype == torch.float32:
        for parameter in model.parameters():
            parameter.data = parameter.half().float() if parameter.dim() > 1 else parameter.data
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0, -1]
    torch.testing.assert_close(torch.tensor(logits), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_what_does_not_fit_is_refused_and_the_old_model_stays(
    open_page: Any, shipped: LoadedModel, tmp_path: Path
) -> None:
    page = open_page().load("#your_model")
    to_worker(page)
    nan = float("nan")
    cases = [(torch.float32, 7e4, "half precision"), (torch.float32, nan, "not finite numbers"),
             (torch.bfloat16, nan, "not finite numbers")]  # fmt: skip
    for dtype, value, expected in cases:
        model = model_of(shipped.tokenizer.vocab_size)
        model.get_parameter("blocks.1.feed_forward.expand.weight").data[3, 5] = value
        path = tmp_path / "model.safetensors"
        write_model_file(path, model.to(dtype), shipped.tokenizer, step=1)  # type: ignore[arg-type]
        message = choose(page, path)
        assert expected in message
        assert "blocks.1.feed_forward.expand.weight" in message
        assert "The previous model is kept" in message
    assert page.run("() => Page.state.name === Page.modelData.name && Page.state.engine.isLocal")
    assert page.all_problems() == []


@pytest.mark.slow
def test_a_model_of_too_many_parameters_is_refused_by_its_header(
    open_page: Any, tmp_path: Path
) -> None:
    config = ModelConfig(50_000, d_model=1024, n_heads=16, n_layers=16, d_ff=4096)
    header: dict[str, Any] = {"__metadata__": {
        "format": "transformer", "version": "1", "config": json.dumps(config.__dict__, default=vars)
    }}  # fmt: skip
    at = 0
    for name, shape in tensor_shapes(config).items():
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    path = tmp_path / "large.safetensors"
    write_raw(path, header)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + at)  # sparse: takes no room on the disk
    page = open_page().load("#your_model")
    message = choose(page, path)
    assert "The model has 253 million parameters; this page runs up to 200 million." in message


@pytest.mark.slow
def test_the_policy_allows_a_worker_and_nothing_else(open_page: Any, model_file: Path) -> None:
    """One worker from a blob, and one script (the film), each through its own Trusted Types policy,
    which makes no other."""
    html = INDEX.read_text()
    (found,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert found == POLICY
    page = open_page().load("#your_model")
    to_worker(page)
    assert "is loaded" in choose(page, model_file)
    assert page.all_problems() == []
    refused = page.run("""() => {
      const tries = [() => new Worker("blob:null/x"), () => new Worker("page/model.js"),
        () => trustedTypes.createPolicy("another", {}), () => trustedTypes.createPolicy("model-worker", {}),
        () => { document.createElement("div").innerHTML = "<b>x</b>"; }];
      return tries.map((one) => { try { one(); return "allowed"; } catch (error) { return error.name; } });
    }""")  # noqa: E501
    assert "allowed" not in refused


def test_the_limits_are_those_that_the_page_names(shared_page: OpenPage) -> None:
    html = " ".join(INDEX.read_text().split())
    assert "up to 600 MB and 200 million parameters" in html
    large, capacity = shared_page.run("""() => [Page.LARGE, Page.promptCapacity(
      { config: { max_seq_len: 1024 }, parameterCount: Page.LARGE + 1 })]""")
    assert f"more than {large / 1e6:.1f} million parameters" in html
    assert f"up to {capacity} tokens" in html
