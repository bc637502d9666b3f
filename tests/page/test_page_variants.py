"""Every variant in the page: dropped as a file, it computes what PyTorch computes."""

import base64
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from browser_page import OpenPage
from dropped_files import choose, config_with, parts, small_tokenizer, write_raw
from playwright.sync_api import Browser
from taps import RECORD, TRACE, record
from torch.nn.functional import cross_entropy
from variant_tools import VARIANTS, model_of

from transformer.config import Variant
from transformer.model import DecoderOnlyTransformer
from transformer.runs.implied_tensors import tensor_shapes
from transformer.runs.model_file import LoadedModel, write_model_file

TOKENIZER = small_tokenizer()
SIZES = {"vocab_size": TOKENIZER.vocab_size, "max_seq_len": 32}
IDS = [TOKENIZER.end_of_text, *TOKENIZER.encode("Two la tu frogs.")]
SHAPES = """(ids) => {
  const out = {};
  Page.state.model.forward(ids, { tap: (name, _, shape) => { out[name] = shape; } });
  return out;
}"""
SLOTS = """() => Object.fromEntries([...document.querySelectorAll("[data-slot]")].map((slot) =>
  [slot.dataset.slot, slot.textContent]))"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[OpenPage]:
    """One page for all variants; what waits until it is seen is not seen here."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = OpenPage(context.new_page()).load()
    opened.run(f"() => {{ window.ofTheShipped = ({SLOTS})(); }}")
    yield opened
    context.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variants")


def show(page: OpenPage, name: str, folder: Path) -> DecoderOnlyTransformer:
    """The variant in float32, written to a file that is given to the page if it shows another."""
    model = model_of(name, dtype=torch.float32, **SIZES)
    path = folder / f"{name}.safetensors"
    if page.run("() => Page.state.name") == path.name:
        return model
    write_model_file(path, model, TOKENIZER, step=1)
    message = choose(page, path)
    assert "is loaded" in message, message
    return model


@pytest.fixture(scope="module", params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    """For a whole module, so that all tests of one variant come together."""
    return str(request.param)


@pytest.fixture
def model(page: OpenPage, name: str, folder: Path) -> DecoderOnlyTransformer:
    return show(page, name, folder)


def test_every_activation_equals_pytorch(page: OpenPage, model: DecoderOnlyTransformer) -> None:
    expected, found = record(model, IDS), page.run(RECORD, IDS)
    assert found.keys() == expected.keys()
    assert page.run(SHAPES, IDS) == {name: list(values.shape) for name, values in expected.items()}
    for name, values in expected.items():
        seen = np.frombuffer(base64.b64decode(found[name]), dtype=np.float32)
        wanted = values.flatten().numpy()
        difference = (np.abs(seen - wanted) / np.maximum(1, np.abs(wanted))).max()
        assert difference <= 1e-4, f"{name} differs by {difference}"
    assert page.all_problems() == []


def test_cached_equals_full(page: OpenPage, model: DecoderOnlyTransformer) -> None:
    """Position by position, and in chunks."""
    script = """([ids, sizes]) => {
      const { model } = Page.state, V = model.config.vocab_size, full = model.forward(ids);
      const cache = new Page.KVCache(model.config);
      let at = 0, worst = 0;
      for (const size of sizes) {
        const logits = model.forward(ids.slice(at, at + size), { cache });
        logits.forEach((v, i) => { worst = Math.max(worst, Math.abs(v - full[at * V + i])); });
        at += size;
      }
      return { worst, at, largest: Math.max(...full.map(Math.abs)) };
    }"""
    for sizes in ([1] * len(IDS), [6, 1, 4, 3]):
        found = page.run(script, [IDS, sizes])
        assert found["at"] == len(IDS)
        assert found["largest"] > 0.1
        assert found["worst"] <= 1e-4


def test_figures_read_a_fresh_pass(page: OpenPage, model: DecoderOnlyTransformer) -> None:
    """The trace after edits, the last row of the lens, the sum of the writes."""
    trace = page.run(TRACE, ["One two three.", "One two three. Four", "One two", "One six", ""])
    assert trace["names"] > 100
    assert trace["worst"] <= 1e-4
    assert max(trace["kept"]) > 1
    script = """() => {
      const { model, trace, ids } = Page.state, { n_layers: L, d_model: D } = model.config;
      const t = ids.length - 1, lens = model.lens(trace.residual(L).subarray(t * D));
      const final = trace.row(`blocks.${L - 1}.residual`, t), sum = new Float64Array(D);
      for (const { values } of Page.writes(Page.state, t)) values.forEach((v, i) => { sum[i] += v; });
      const output = trace.logits(t), off = (a, b) => Math.max(...a.map((v, i) => Math.abs(v - b[i])));
      return { lens: off(lens, output), writes: off(sum, final) / Math.max(...final.map(Math.abs)) };
    }"""  # noqa: E501
    found = page.run(script)
    assert found["lens"] <= 1e-5
    assert found["writes"] <= 1e-5


def test_shapes_are_those_of_the_module(page: OpenPage, model: DecoderOnlyTransformer) -> None:
    script = "(config) => Object.fromEntries(Page.expectedShapes(Page.checkConfig(config)))"
    assert page.run(script, asdict(model.config)) == tensor_shapes(model.config)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_a_variant(page: OpenPage, tmp_path: Path, dtype: torch.dtype) -> None:
    """Single numbers, tables and gains in 16 bits; the computation is in 32."""
    half = model_of("all, and the sides", dtype=dtype, **SIZES)
    path = tmp_path / f"{dtype}.safetensors"
    write_model_file(path, half, TOKENIZER, step=1)
    assert "is loaded" in choose(page, path)
    rounded = model_of("all, and the sides", dtype=torch.float32, **SIZES)
    rounded.load_state_dict(half.float().state_dict())
    with torch.no_grad():
        expected = rounded(torch.tensor([IDS]))[0, -1].numpy()
    script = "(ids) => Array.from(Page.state.model.forward(ids, { logits: 'last' }))"
    assert np.abs(np.array(page.run(script, IDS)) - expected).max() <= 1e-4


def test_gradients_of_capped_logits_equal_pytorch(page: OpenPage, folder: Path) -> None:
    """The cap's slope belongs to the gradient of the output's table."""
    model = show(page, "all", folder)
    script = """async ([ids, rows]) => {
      const { model } = Page.state;
      let hidden = null;
      const tap = (name, values) => { if (name === "final_norm") hidden = values; };
      model.forward(ids.slice(0, -1), { logits: "none", tap });
      const part = Page.finish(Page.headErrors(model, hidden, ids.slice(1), rows));
      return Array.from(Page.headGradient([part]));
    }"""
    found = page.run(script, [IDS, list(range(TOKENIZER.vocab_size))])
    loss = cross_entropy(model(torch.tensor([IDS[:-1]]))[0], torch.tensor(IDS[1:]), reduction="sum")
    (expected,) = torch.autograd.grad(loss, [model.get_parameter("output.weight")])
    assert expected.abs().max() > 0.1
    assert np.abs(np.array(found) - expected.flatten().numpy()).max() <= 1e-4


def test_ablation_and_patching_work_in_every_kind_of_attention(
    page: OpenPage, folder: Path
) -> None:
    """A silent head gives PyTorch's logits; everything patched recovers 1, nothing 0."""
    model = show(page, "all, and the sides", folder)

    def silence(_: Any, __: Any, heads: torch.Tensor) -> torch.Tensor:
        return heads * (torch.arange(4) != 2)[:, None, None]

    handle = model.blocks[1].attention.heads.register_forward_hook(silence)
    with torch.no_grad():
        expected = model(torch.tensor([IDS]))[0, -1].numpy()
    handle.remove()
    script = """([ids, other]) => {
      const { model } = Page.state, tap = Page.ablating(model.config, new Set([4 + 2]));
      const pair = { clean: ids, corrupted: other, cleanAnswer: 5, corruptedAnswer: 9 };
      const patching = Page.finish(Page.Patching.prepare(model, pair));
      const logits = Array.from(model.forward(ids, { tap, logits: "last" }));
      return [logits, ...[patching.patchAll([]),
        patching.patchAll(["blocks.0.residual", "blocks.1.residual"]), patching.patchOne("blocks.1.residual", ids.length - 1)].map(Page.finish)];
    }"""  # noqa: E501
    logits, nothing, everything, last = page.run(script, [IDS, [*IDS[:-3], 65, *IDS[-2:]]])
    assert np.abs(np.array(logits) - expected).max() <= 1e-4
    assert (nothing, everything, last) == pytest.approx((0, 1, 1), abs=1e-4)


SENTENCES = [
    ("learned", "positions", "This model learned its"),
    ("rotary", "positions", "adds no vector for the position"),
    ("scaled", "positions", "multiplies its sinusoids by 0.25"),
    ("rotary", "dot", "turned by the angles of their positions"),
    ("qk plain", "dot", "brought to a fixed size (QK-norm) and turned"),
    ("grouped", "dot", "Each key is shared by 2 heads"),
    ("window", "dot", "sees the last 3 positions only"),
    ("window", "row-weights", "of at most 1.58 bits"),  # log₂ 3
    ("window", "head", "equal attention to all would give each 33.3 %"),
    ("window", "head", "itself and the 2 before it"),
    ("swiglu", "curve", "This model has SwiGLU"),
    ("relu2", "curve", "This model's curve is ReLU², not GELU"),
    ("skip", "shares", "learned mixture of the stream and the embedding"),
    ("untied", "lens", "a table of its own"),
    ("all", "drop", "positions = rotary"),
]


@pytest.mark.parametrize(("name", "slot", "said"), SENTENCES)
def test_a_figure_says_where_the_model_is_another(
    page: OpenPage, folder: Path, name: str, slot: str, said: str
) -> None:
    show(page, name, folder)
    assert said in page.run(SLOTS)[slot]
    assert said not in page.run("() => window.ofTheShipped")[slot]
    map_is_shown = page.page.is_visible('[data-slot="positions"] .heat-map')
    assert map_is_shown == (model_of(name).config.variant.positions != "rotary")


@pytest.mark.slow
def test_every_figure_runs_a_model_of_another_kind(
    open_page: Any, shipped: LoadedModel, tmp_path: Path
) -> None:
    """A tour with the whole stack, the cache and patching: nothing is empty, nothing goes wrong."""
    page, path = open_page(), tmp_path / "all.safetensors"
    model = model_of("all", dtype=torch.float32, vocab_size=1024, max_seq_len=144)
    write_model_file(path, model, shipped.tokenizer, step=1)
    assert "is loaded" in choose(page.load("#your_model"), path)
    page.settle()
    page.page.get_by_role("button", name="Write 24 tokens both ways").click()
    page.page.get_by_role("button", name="Patch every block and position").click()
    page.page.wait_for_function(
        """() => /Patching everything recovers 1.000, patching nothing -?0.000/.test(
            document.querySelector('#inside [data-slot="patching"]').textContent)"""
    )
    cache = '#generation [data-slot="cache"]'
    page.page.wait_for_function(f"() => document.querySelectorAll('{cache} .chip').length >= 4")
    assert float(page.page.get_attribute(cache, "data-difference")) < 1e-4
    assert page.all_problems() == []


def test_without_positions_no_kind_of_them_is_left(page: OpenPage, folder: Path) -> None:
    script = """([ids, positions]) => {
      const other = Page.shuffled(ids, 3), moved = ids.some((id, i) => id !== other[i]);
      const effect = Page.orderEffect(Page.state.model, ids, other, { positions });
      return [moved, Page.finish(effect).change];
    }"""
    for name in ("learned", "rotary"):
        show(page, name, folder)
        moved, change = page.run(script, [IDS, False])
        assert moved
        assert change < 1e-5
        assert page.run(script, [IDS, True])[1] > 1e-2


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"variant": {"positions": "round"}}, "positions"),
    ({"variant": {"positions": "rotary", "head_size": 7}}, "head_size = 7 is odd"),
    ({"variant": {"n_kv_heads": 3}}, "not divisible by n_kv_heads = 3"),
    ({"variant": {"window": 0}}, "window = 0"),
    ({"variant": {"window": 2.5}}, "window = 2.5"),
    ({"variant": {"logit_softcap": 0}}, "logit_softcap = 0"),
    ({"variant": {"norm_eps": None}}, "norm_eps = null"),
    ({"variant": {"bias": "no"}}, 'bias = "no"'),
    ({"variant": {"rotery": True}}, '"rotery"'),
    ({"variant": [1]}, "variant is not a JSON object"),
    ({"depth": 3}, '"depth"'),
    ({"d_model": 33, "variant": {"head_size": 8}}, "d_model = 33 is odd"),
    ({"variant": {"tied_embeddings": False}}, "lacks the tensor output.weight"),
    ({"variant": {"norm": "rms"}}, "a tensor the model does not"),
]


def test_impossible_variants_are_refused_by_the_name_of_the_field(
    page: OpenPage, folder: Path
) -> None:
    show(page, "scaled", folder)
    header, data = parts(folder / "scaled.safetensors")
    path = folder / "impossible.safetensors"
    for fields, said in IMPOSSIBLE:
        write_raw(path, config_with(header, **fields), data)
        message = choose(page, path)
        assert "was not loaded" in message, fields
        assert said in message, (fields, message)
    assert page.run("() => Page.state.name") == "scaled.safetensors"
    older = config_with(header, variant={"position_scale": 0.25})  # what is not there is classic
    write_raw(path, older, data)
    assert "is loaded" in choose(page, path)
    assert page.run("() => Page.state.model.config.variant") == {
        **vars(Variant()),
        "position_scale": 0.25,
    }


def test_the_choices_of_each_field_are_pythons(page: OpenPage) -> None:
    hints = get_type_hints(Variant)
    expected = {
        name: list(get_args(kind)) for name, kind in hints.items() if get_origin(kind) is Literal
    }
    assert page.run("() => Page.variantFields.CHOICES") == expected
