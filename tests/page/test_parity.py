"""The page's model computes what PyTorch computes, from the same weights."""

import base64

import numpy as np
import pytest
from browser_page import OpenPage
from taps import RECORD, TRACE, record

from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.runs.model_file import LoadedModel

PROMPTS = [
    "",
    "a",
    "Once there was a shy fox named Belmo.",
    "Belmo sang: tri la mi zum ta ki bom! Kelda sang it back: tri la mi",
    "Größe \n\n 12345 🙂 <|endoftext|> x = f(y)",
]
STRINGS = """(texts) => texts.map((text) => Page.state.tokenizer.encode(text))"""


def with_end(tokenizer: Tokenizer, text: str) -> list[int]:
    return [tokenizer.end_of_text, *tokenizer.encode(text)]


@pytest.mark.parametrize("text", PROMPTS)
def test_every_activation_equals_pytorch(
    shared_page: OpenPage, shipped: LoadedModel, text: str
) -> None:
    """Logits, attention, residuals and everything between, in every layer."""
    ids = with_end(shipped.tokenizer, text)
    expected = record(shipped.model, ids)
    found = shared_page.run(RECORD, ids)
    assert found.keys() == expected.keys()
    assert len(found) == 3 + 11 * shipped.model.config.n_layers
    for name, values in expected.items():
        seen = np.frombuffer(base64.b64decode(found[name]), dtype=np.float32)
        difference = np.abs(seen - values.flatten().numpy()).max()
        assert difference <= 1e-4, f"{name} differs by {difference}"


def strings(count: int) -> list[str]:
    """Texts of every kind: words, white space, several scripts, emoji, control characters."""
    rng = np.random.default_rng(0)
    pieces = [
        "the", " The", "ing", " Belmo", "x", "'s", "'ll", "don't", " ", "  ", "\n", "\t", "\r\n",
        "123", " 4567", "é", "é", "ß", "漢字", "عربي", "हिन्दी", "🙂", "👩‍👩‍👧", "\u00a0", "\u2028",
        "\u200b", "\ufeff", "\x00", "\x85", "<|endoftext|>", "...", "!?", " (", "_", "²", "Ⅷ",
        "\x1c",
    ]  # fmt: skip
    out = ["", " ", "\n", "   x", "x   ", "a" * 300]
    while len(out) < count:
        out.append("".join(rng.choice(pieces, size=rng.integers(1, 12))))
    return out


def test_ids_equal_the_python_tokenizer(shared_page: OpenPage, shipped: LoadedModel) -> None:
    texts = strings(200)
    found = shared_page.run(STRINGS, texts)
    for text, ids in zip(texts, found, strict=True):
        assert ids == shipped.tokenizer.encode(text), repr(text)


def test_ids_equal_p50k_base_too(shared_page: OpenPage) -> None:
    tokenizer = load_tokenizer("p50k_base")
    metadata, texts = tokenizer.to_metadata(), strings(200)
    script = """([fields, texts]) => {
      const tokenizer = Page.Tokenizer.fromMetadata(fields);
      return { size: tokenizer.vocabSize, ids: texts.map((text) => tokenizer.encode(text)) };
    }"""
    found = shared_page.run(script, [metadata, texts])
    assert found["size"] == tokenizer.vocab_size
    for text, ids in zip(texts, found["ids"], strict=True):
        assert ids == tokenizer.encode(text), repr(text)


def test_decoding_undoes_encoding(shared_page: OpenPage) -> None:
    texts = strings(60)
    script = "(texts) => texts.map((text) => { const t = Page.state.tokenizer;"
    assert shared_page.run(script + " return t.decode(t.encode(text)); })", texts) == texts


def test_attention_rows_sum_to_one_and_the_future_is_exactly_zero(shared_page: OpenPage) -> None:
    script = """(text) => {
      const { model, tokenizer } = Page.state, ids = tokenizer.encode(text), T = ids.length;
      let worst = 0, future = 0, rows = 0;
      const tap = (name, values, shape) => {
        if (!name.endsWith(".weights")) return;
        for (let row = 0; row < shape[0] * T; row++) {
          let sum = 0;
          for (let s = 0; s < T; s++) {
            sum += values[row * T + s];
            if (s > row % T) future = Math.max(future, Math.abs(values[row * T + s]));
          }
          worst = Math.max(worst, Math.abs(sum - 1));
          rows++;
        }
      };
      model.forward(ids, { tap });
      return { worst, future, rows };
    }"""
    found = shared_page.run(script, PROMPTS[3])
    assert found["rows"] > 100
    assert found["worst"] < 1e-6
    assert found["future"] == 0


def test_cached_equals_full(shared_page: OpenPage) -> None:
    """Chunks of any size through the cache, and the trace that the figures read."""
    script = """([text, sizes]) => {
      const { model, tokenizer } = Page.state, ids = tokenizer.encode(text);
      const V = model.config.vocab_size, full = model.forward(ids);
      const cache = new Page.KVCache(model.config);
      let at = 0, worst = 0;
      for (const size of sizes) {
        const logits = model.forward(ids.slice(at, at + size), { cache });
        logits.forEach((v, i) => { worst = Math.max(worst, Math.abs(v - full[at * V + i])); });
        at += size;
      }
      return { worst, at, T: ids.length };
    }"""
    text = PROMPTS[3]
    for sizes in ([1] * 12, [5, 1, 4, 2], [12]):
        found = shared_page.run(script, [text, sizes])
        assert found["at"] == 12
        assert found["worst"] <= 1e-5


def test_the_trace_equals_a_fresh_pass_after_every_kind_of_edit(shared_page: OpenPage) -> None:
    """Recomputing from the first changed token gives what computing everything gives."""
    edits = ["One two three.", "One two three. Four", "One two", "One six three", "", "x", "x"]
    found = shared_page.run(TRACE, edits)
    assert found["names"] > 100
    assert found["worst"] <= 1e-5
    assert max(found["kept"]) > 1  # something was indeed kept


def test_the_lens_last_row_is_the_output(shared_page: OpenPage) -> None:
    script = """() => {
      const { model, trace, ids } = Page.state, L = model.config.n_layers, t = ids.length - 1;
      const D = model.config.d_model, row = trace.residual(L).subarray(t * D);
      const lens = model.lens(row), output = trace.logits(t);
      const table = Page.finish(Page.lensTable(Page.state, 0, ids.length));
      const last = Page.softmax(output), top = Page.largest(last, 1)[0];
      return { worst: Math.max(...lens.map((v, i) => Math.abs(v - output[i]))),
        shown: table.tokens.at(-1), p: table.probabilities.at(-1), top, expected: last[top] };
    }"""
    found = shared_page.run(script)
    assert found["worst"] <= 1e-5
    assert found["shown"] == found["top"]
    assert found["p"] == pytest.approx(found["expected"], abs=1e-6)


def test_the_writes_sum_to_the_final_stream(shared_page: OpenPage) -> None:
    script = """() => {
      const { model, trace, ids } = Page.state, L = model.config.n_layers;
      return ids.map((_, t) => {
        const final = trace.row(`blocks.${L - 1}.residual`, t);
        const sum = new Float64Array(final.length), writes = Page.writes(Page.state, t);
        for (const { values } of writes) values.forEach((v, i) => { sum[i] += v; });
        return Math.max(...sum.map((v, i) => Math.abs(v - final[i])));
      });
    }"""
    differences = shared_page.run(script)
    assert len(differences) > 5
    assert max(differences) <= 1e-4


def test_a_long_text_with_a_silenced_neuron_is_read_in_pieces(shared_page: OpenPage) -> None:
    script = """() => {
      const { model, tokenizer } = Page.state, t = 69, neuron = 5;
      const story = tokenizer.encode(Page.samples.stories[0]), place = "feed_forward.activations";
      const ids = [tokenizer.startOfText, ...story].slice(0, t + 1);
      const tap = (name, values, [T, F]) => (name !== `blocks.1.${place}` ? undefined
        : values.map((value, i) => (i % F === neuron ? 0 : value)));
      const whole = model.forward(ids, { tap, logits: "last" });
      const intact = model.forward(ids, { logits: "last" });
      const pieces = Page.finish(Page.silence(model, ids, 1, neuron, t));
      const most = (a, b) => Math.max(...a.map((value, i) => Math.abs(value - b[i])));
      return [ids.length, most(whole, pieces), most(intact, pieces)];
    }"""
    length, difference, effect = shared_page.run(script)
    assert length == 70
    assert difference < 1e-5 < 1e-3 < effect
