"""The page's tokenizers of imported models: the ids of the library `tokenizers`, or a refusal."""

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
import torch
from browser_page import OpenPage
from dropped_files import choose, config_with, parts, write_raw
from test_parity import strings
from tokenizers import AddedToken, Regex, normalizers
from tokenizers import Tokenizer as Library
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Metaspace, PreTokenizer, Sequence, Split
from tokenizers.trainers import BpeTrainer

from transformer.config import ModelConfig
from transformer.data.hf_tokenizer import HfTokenizer
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
BYTES = ByteLevel(add_prefix_space=False, use_regex=False)
PIECES: dict[str, PreTokenizer] = {
    "gpt2": ByteLevel(add_prefix_space=False),
    "smollm": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
    "llama3": Sequence([Split(Regex(LLAMA3), "isolated"), BYTES]),
    "qwen": Sequence([Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"), BYTES]),
    "cl100k": Sequence([Split(Regex(CL100K), "isolated"), BYTES]),
    "nanochat": Sequence([Split(Regex(CL100K.replace("{1,3}", "{1,2}")), "isolated"), BYTES]),
}
TEXTS = [
    "The cat sat on the mat. The cat's mat isn't THE mat, I'LL say; we've 1234567 mats!\n\n",
    "Größe und Straße, naïve café, 漢字とかな 🙂🙂 don't  indent:\n    return x == 42\r\n",
    "tri la mi zum ta ki bom! tri la mi zum ta ki bom!\t\t12 345 6789 ... ???",
]
MORE = [
    "I'LL",
    "WE'Ve",
    "it'ſ",
    "'S",
    "'Re",
    "12345678",
    "½",
    "\r\n\n",
    "\n \n",
    " \r",
    "a\u0301",
    "e\u0323\u0302 \u212b \uac00\u11a8",
    "<x>",
    "<x>tu<x>la",
    "<a\u0301><\u00e1>",
    "<|endoftext|>",
]
IDS = """([fields, texts]) => {
  const tokenizer = Page.Tokenizer.fromMetadata(fields);
  return { size: tokenizer.vocabSize, ids: texts.map((text) => tokenizer.encode(text)),
    decoded: texts.map((text) => tokenizer.decode(tokenizer.encode(text))),
    pieces: texts.map((text) => tokenizer.split(text).join("")) };
}"""


def trained(pieces: PreTokenizer, nfc: bool = False, **options: Any) -> Library:
    """Byte pairs learned from a few sentences; its merges are not in the order of its ids."""
    library = Library(BPE(**options))
    library.normalizer = normalizers.NFC() if nfc else None
    library.pre_tokenizer, library.decoder = pieces, Decoder()
    trainer = BpeTrainer(
        vocab_size=420, initial_alphabet=ByteLevel.alphabet(), special_tokens=["<|endoftext|>"],
        show_progress=False,
    )  # fmt: skip
    library.train_from_iterator(TEXTS * 3, trainer)
    return library


def hf(library: Library) -> HfTokenizer:
    end = library.token_to_id("<|endoftext|>")
    return HfTokenizer("tiny", library.to_str(), end, end)


def many_texts() -> list[str]:
    made = strings(200)
    return made + [f"{a} {b}{a}" for a, b in zip(MORE * 3, made[-3 * len(MORE) :], strict=True)]


@pytest.mark.parametrize("name", PIECES)
def test_ids_are_the_librarys(shared_page: OpenPage, name: str) -> None:
    """On 200 texts and more: emoji, digits, newlines, apostrophes, what looks like added and
    special tokens, characters that NFC (Qwen's normalizer) joins."""
    nfc = name == "qwen"
    library = trained(PIECES[name], nfc, ignore_merges=name == "llama3")
    library.add_tokens(
        [AddedToken("<x>"), AddedToken("<a\u0301>"), AddedToken("<x>la", normalized=False)]
    )
    library.add_special_tokens(["<x>tu"])
    tokenizer, texts = hf(library), many_texts()
    found = shared_page.run(IDS, [tokenizer.to_metadata(), texts])
    assert found["size"] == tokenizer.vocab_size
    for text, ids in zip(texts, found["ids"], strict=True):
        assert ids == tokenizer.encode(text), repr(text)
    for key in ("decoded", "pieces"):
        for text, shown in zip(texts, found[key], strict=True):
            if nfc:  # an added token is shown as the file writes it
                text, shown = normalize("NFC", text), normalize("NFC", shown)
            assert shown == text


def test_merges_may_be_pairs_or_text(shared_page: OpenPage) -> None:
    tokenizer, texts = hf(trained(PIECES["gpt2"])), many_texts()
    file = json.loads(tokenizer.text)
    assert isinstance(file["model"]["merges"][0], list)
    file["model"]["merges"] = [" ".join(pair) for pair in file["model"]["merges"]]
    fields = {**tokenizer.to_metadata(), "tokenizer": json.dumps(file)}
    found = shared_page.run(IDS, [fields, texts])
    assert found["ids"] == [tokenizer.encode(text) for text in texts]


def changed(change: Any) -> str:
    file = json.loads(trained(PIECES["gpt2"]).to_str())
    change(file)
    return json.dumps(file)


def sentence_piece(file: dict[str, Any]) -> None:
    file["pre_tokenizer"] = json.loads(_with(Metaspace()))["pre_tokenizer"]


def _with(pieces: PreTokenizer) -> str:
    library = Library(BPE())
    library.pre_tokenizer = pieces
    text: str = library.to_str()
    return text


def normalized(file: dict[str, Any]) -> None:
    library = Library(BPE())
    library.normalizer = normalizers.Lowercase()
    file["normalizer"] = json.loads(library.to_str())["normalizer"]


REFUSED: dict[str, tuple[Any, str]] = {
    "Metaspace": (sentence_piece, '"Metaspace"'),
    "lower case": (normalized, 'normalizes text in a way this page does not know: "Lowercase"'),
    "word pieces": (lambda f: f["model"].update(type="WordPiece"), '"WordPiece"'),
    "byte fallback": (lambda f: f["model"].update(byte_fallback=True), "byte_fallback"),
    "another pattern": (
        lambda f: f.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}), "(a+)+$"),
    "a space in front": (lambda f: f["pre_tokenizer"].update(add_prefix_space=True), "a space"),
    "a missing byte": (lambda f: f["model"]["vocab"].pop("a"), "lacks the byte 97"),
    "a merge of nothing": (lambda f: f["model"]["merges"].append(["q", "q"]), "impossible merge"),
    "no list": (lambda f: f["model"].pop("merges"), "list of merges"),
    "a huge id": (lambda f: f["model"]["vocab"].update(a=2**40), "has the id"),
}  # fmt: skip


def test_other_tokenizers_are_refused_by_name(shared_page: OpenPage) -> None:
    script = """(fields) => {
      try { Page.Tokenizer.fromMetadata(fields); return "read"; }
      catch (error) { return error instanceof Page.FileError ? error.message : `${error}`; }
    }"""
    fields = hf(trained(PIECES["gpt2"])).to_metadata()
    assert shared_page.run(script, fields) == "read"
    for name, (change, expected) in REFUSED.items():
        message = shared_page.run(script, {**fields, "tokenizer": changed(change)})
        assert expected in message, (name, message)
    assert "not in its table" in shared_page.run(script, {**fields, "end_of_text": 10**6})
    assert "readable JSON" in shared_page.run(script, {**fields, "tokenizer": "{"})


@pytest.mark.slow
def test_a_model_with_such_a_tokenizer_drives_the_page(open_page: Any, tmp_path: Path) -> None:
    """Its figures show tokens by this tokenizer; one that is refused leaves it where it is."""
    library = trained(PIECES["smollm"])
    library.add_special_tokens(["<s>"])
    end, start = (library.token_to_id(token) for token in ("<|endoftext|>", "<s>"))
    tokenizer = HfTokenizer("tiny", library.to_str(), end, start)
    sizes = {"d_model": 16, "n_heads": 2, "n_layers": 2, "d_ff": 24, "max_seq_len": 64}
    torch.manual_seed(2)
    model = DecoderOnlyTransformer(ModelConfig(tokenizer.vocab_size, dropout=0.0, **sizes)).eval()
    path = tmp_path / "imported.safetensors"
    write_model_file(path, model, tokenizer, step=0)
    page = open_page().load("#your_model")
    assert "is loaded" in choose(page, path)
    page.type_prompt("The cat's 42 mats")
    ids = page.run("() => Page.state.ids")
    assert ids == [start, *tokenizer.encode("The cat's 42 mats")]
    assert page.page.inner_text("#prompt-chips").startswith("⟨start⟩")
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0, -1]
    logits = page.run("() => Array.from(Page.state.trace.logits(Page.state.ids.length - 1))")
    torch.testing.assert_close(torch.tensor(logits), expected, atol=1e-4, rtol=0)
    page.settle()
    page.page.locator('[data-slot="merges"] input[type="range"]').focus()
    page.page.keyboard.press("ArrowLeft")
    assert "Merge" in page.page.inner_text('[data-slot="merges"] .readout')
    header, data = parts(path)
    fields = {**tokenizer.to_metadata(), "tokenizer": changed(normalized)}
    header = config_with(header)
    header["__metadata__"]["tokenizer"] = json.dumps(fields)
    write_raw(tmp_path / "other.safetensors", header, data)
    message = choose(page, tmp_path / "other.safetensors")
    assert "Lowercase" in message
    assert "previous model is kept" in message
    assert page.run("() => Page.state.name") == "imported.safetensors"
    assert page.all_problems() == []
