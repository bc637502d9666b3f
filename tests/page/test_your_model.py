"""Step 10: a dropped checkpoint is checked, shown or refused; nothing in it runs."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from dropped_files import choose, config_with, parts, small_tokenizer, write_raw

from transformer.config import ModelConfig
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file

TEXT = "Two frogs sang: la tum ri."
HOSTILE = [
    b"<img src=x onerror=window.hacked=1>",
    b"<script>window.hacked=1</script>",
    b"javascript:window.hacked=1",
    b"\xe2\x80\xaedesrever",
    b"</script><svg onload=window.hacked=1>",
]


def small_model(tokenizer: Tokenizer, **sizes: int) -> DecoderOnlyTransformer:
    given = {"d_model": 24, "n_heads": 3, "n_layers": 2, "d_ff": 40, "max_seq_len": 48, **sizes}
    torch.manual_seed(1)
    return DecoderOnlyTransformer(ModelConfig(tokenizer.vocab_size, dropout=0.0, **given)).eval()


def page_logits(page: OpenPage) -> Any:
    script = """(text) => {
      const { model, tokenizer } = Page.state;
      const ids = [tokenizer.endOfText, ...tokenizer.encode(text)];
      return [ids, Array.from(model.forward(ids, { logits: "last" }))];
    }"""
    ids, logits = page.run(script, TEXT)
    return ids, np.array(logits)


def assert_parity(page: OpenPage, model: DecoderOnlyTransformer, tokenizer: Tokenizer) -> None:
    ids, logits = page_logits(page)
    assert ids == [tokenizer.end_of_text, *tokenizer.encode(TEXT)]
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0, -1].float().numpy()
    assert np.abs(logits - expected).max() < 1e-4


@pytest.mark.slow
def test_the_picker_loads_models_of_another_shape(open_page: Any, tmp_path: Path) -> None:
    """In all three types that the page reads, and back to the model it came with."""
    tokenizer = small_tokenizer()
    page = open_page().load("#your_model")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        model = small_model(tokenizer).to(dtype)
        path = tmp_path / "model.safetensors"
        write_model_file(path, model, tokenizer, step=77)
        assert "is loaded" in choose(page, path)
        rounded = small_model(tokenizer)
        rounded.load_state_dict(model.float().state_dict())
        assert_parity(page, rounded, tokenizer)
    assert "77" in page.page.inner_text("#your_model table")
    page.page.get_by_role("button", name="Back to the model of this page").click()
    assert page.run("() => Page.state.name === Page.modelData.name")
    assert page.all_problems() == []


@pytest.mark.slow
def test_a_dropped_file_loads_as_well(open_page: Any, tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    model = small_model(tokenizer, n_heads=1, n_layers=1)
    path = tmp_path / "one.safetensors"
    write_model_file(path, model, tokenizer, step=0)
    page = open_page().load("#your_model")
    script = """(base64) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], "one.safetensors"));
      const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
      document.querySelector("#your_model .drop-zone").dispatchEvent(event);
    }"""
    page.run(script, base64.b64encode(path.read_bytes()).decode())
    page.page.wait_for_function("() => Page.state.name === 'one.safetensors'")
    assert_parity(page, model, tokenizer)
    assert page.all_problems() == []


@pytest.mark.slow
def test_the_default_model_with_p50k_base_loads(open_page: Any, tmp_path: Path) -> None:
    """17.6 million parameters, 70 MB; its tokenizer's table comes with the page."""
    tokenizer = load_tokenizer("p50k_base")
    torch.manual_seed(0)
    model = DecoderOnlyTransformer(ModelConfig(tokenizer.vocab_size)).eval()
    path = tmp_path / "model.safetensors"
    write_model_file(path, model, tokenizer, step=5)
    assert path.stat().st_size > 70_000_000
    page = open_page().load("#your_model")
    assert "is loaded" in choose(page, path)
    assert "17,611,008" in page.page.inner_text("#your_model table")
    assert_parity(page, model, tokenizer)
    page.type_prompt("The cat sat on the mat. Then the")
    assert page.all_problems() == []


def test_p50k_base_is_the_same_in_the_page(shared_page: OpenPage) -> None:
    tokenizer = load_tokenizer("p50k_base")
    texts = [TEXT, "naïve café\n\n  12345 don't 🙂", "    indented code():\treturn x", ""]
    script = """([fields, texts]) => {
      const tokenizer = Page.Tokenizer.fromMetadata(fields);
      return [tokenizer.vocabSize, tokenizer.endOfText, texts.map((text) => tokenizer.encode(text)),
        tokenizer.tokens.map((token) => (token === null ? null : btoa(token)))];
    }"""
    size, end, ids, tokens = shared_page.run(script, [tokenizer.to_metadata(), texts])
    assert (size, end) == (tokenizer.vocab_size, tokenizer.end_of_text)
    assert ids == [tokenizer.encode(text) for text in texts]
    ranks = {base64.b64decode(token): i for i, token in enumerate(tokens) if token is not None}
    assert ranks == tokenizer.ranks


def changed(header: dict[str, Any], name: str, **values: Any) -> dict[str, Any]:
    return {**header, name: {**header[name], **values}}


FINAL = "final_norm.bias"
Malform = Callable[[Path, dict[str, Any], bytes], Any]
MALFORMED: dict[str, tuple[Malform, str]] = {
    "empty": (lambda path, h, d: path.write_bytes(b""), "0 bytes"),
    "text": (lambda path, h, d: path.write_bytes(b"this is not a model at all"), "not a .safeten"),
    "huge header": (
        lambda path, h, d: path.write_bytes(struct.pack("<Q", 2**60) + d), "cut short",
    ),
    "broken json": (lambda path, h, d: write_raw(path, b'{"a": ', d), "not readable JSON"),
    "a list": (lambda path, h, d: write_raw(path, [1, 2], d), "not a JSON object"),
    "cut short": (lambda path, h, d: write_raw(path, h, d[:-50]), "cut short"),
    "overlap": (
        lambda path, h, d: write_raw(path, changed(h, FINAL, data_offsets=[0, 96]), d), "overlap",
    ),
    "another shape": (
        lambda path, h, d: write_raw(path, changed(h, FINAL, shape=[12, 2]), d), "shape",
    ),
    "wrong size": (
        lambda path, h, d: write_raw(path, changed(h, FINAL, shape=[2**40]), d), "needs",
    ),
    "strange type": (
        lambda path, h, d: write_raw(path, changed(h, FINAL, dtype="I64"), d), "type",
    ),
    "missing tensor": (
        lambda path, h, d: write_raw(path, config_with(h, n_layers=3), d), "lacks the tensor",
    ),
    "absurd width": (
        lambda path, h, d: write_raw(path, config_with(h, d_model=10**15), d), "cannot be",
    ),
    "absurd depth": (
        lambda path, h, d: write_raw(path, config_with(h, n_layers=10**7), d), "cannot make",
    ),
    "odd heads": (
        lambda path, h, d: write_raw(path, config_with(h, n_heads=5), d), "not divisible",
    ),
    "another vocabulary": (
        lambda path, h, d: write_raw(path, config_with(h, vocab_size=300), d), "300",
    ),
    "not a number": (
        lambda path, h, d: write_raw(path, h, d[:-4] + struct.pack("<f", float("nan"))), "finite",
    ),
    "no metadata": (
        lambda path, h, d: write_raw(path, {k: h[k] for k in h if k[0] != "_"}, d), "format",
    ),
    "no tokenizer": (
        lambda path, h, d: write_raw(
            path, {**h, "__metadata__": {**h["__metadata__"], "tokenizer": "null"}}, d
        ), "tokenizer",
    ),
    "trailing bytes": (lambda path, h, d: write_raw(path, h, d + b"more"), "belong to none"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    tokenizer = small_tokenizer()
    write_model_file(path, small_model(tokenizer), tokenizer, step=1)
    return parts(path)


@pytest.mark.slow
def test_malformed_files_are_refused_in_words_and_the_old_model_stays(
    open_page: Any, tmp_path: Path, good_file: tuple[dict[str, Any], bytes]
) -> None:
    page = open_page().load("#your_model")
    before = page_logits(page)[1]
    for name, (malform, expected) in MALFORMED.items():
        path = tmp_path / f"{name}.safetensors"
        malform(path, *good_file)
        message = choose(page, path)
        assert "was not loaded" in message, (name, message)
        assert "The previous model is kept" in message, name
        assert expected in message, (name, message)
        assert page.run("() => Page.state.name === Page.modelData.name"), name
    assert (page_logits(page)[1] == before).all()
    write_raw(tmp_path / "good.safetensors", *good_file)
    assert "is loaded" in choose(page, tmp_path / "good.safetensors")
    assert page.all_problems() == []


@pytest.mark.slow
def test_a_file_that_is_too_large_is_refused_unread(open_page: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.truncate(601 * 2**20)  # sparse: takes no room on the disk
    page = open_page().load("#your_model")
    assert "reads up to 600 MB" in choose(page, path)


@pytest.mark.slow
def test_hostile_tokens_and_names_are_shown_not_run(open_page: Any, tmp_path: Path) -> None:
    tokenizer = small_tokenizer(HOSTILE)
    model = small_model(tokenizer)
    path = tmp_path / "<img src=x onerror=window.hacked=1>.safetensors"
    write_model_file(tmp_path / "plain", model, tokenizer, step=1)
    header, data = parts(tmp_path / "plain")
    fields = json.loads(header["__metadata__"]["tokenizer"])
    fields["name"] = "<b onmouseover=window.hacked=1>name</b>"
    metadata = {**header["__metadata__"], "tokenizer": json.dumps(fields)}
    metadata["<svg onload=window.hacked=1>"] = "x"
    write_raw(path, {**header, "__metadata__": metadata}, data)
    page = open_page().load("#your_model")
    images = page.run(
        "() => document.querySelectorAll('img, script:not([src]), svg[onload]').length"
    )
    assert "is loaded" in choose(page, path)
    page.run(
        "(ids) => { Page.state.ids = ids; Page.state.trace.update(ids); Page.state.pin(0); }",
        [tokenizer.end_of_text, *range(256, 256 + len(HOSTILE))],
    )
    shown = page.page.inner_text("#prompt-chips")
    assert "<img src=x" in shown.replace("␣", " ")
    assert "<b onmouseover" in page.page.inner_text("#your_model table")
    assert page.run("() => window.hacked") is None
    after = page.run(
        "() => document.querySelectorAll('img, script:not([src]), svg[onload]').length"
    )
    assert images == after == 0
    assert page.all_problems() == []


@pytest.mark.slow
def test_metadata_cannot_reach_the_prototype(
    open_page: Any, tmp_path: Path, good_file: tuple[dict[str, Any], bytes]
) -> None:
    header, data = good_file
    text = json.dumps(header).encode().replace(b'{"', b'{"__proto__": {"hacked": 1}, "', 1)
    write_raw(tmp_path / "proto.safetensors", text, data)
    page = open_page().load("#your_model")
    assert "was not loaded" in choose(page, tmp_path / "proto.safetensors")
    assert page.run("() => ({}).hacked") is None


def test_sizes_are_those_of_the_configuration() -> None:
    """The small model really has another shape than the shipped one."""
    sizes = asdict(small_model(small_tokenizer()).config)
    assert (sizes["d_model"], sizes["n_heads"], sizes["n_layers"]) == (24, 3, 2)
