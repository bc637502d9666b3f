"""Imported tokenizers: the ids of AutoTokenizer, the bytes of each id, and untrusted files."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_models import SPECIAL, byte_fallback, byte_level, write_tokenizer
from transformers import AutoTokenizer

from transformer.data.bpe import train_bpe
from transformer.data.hf_tokenizer import HfTokenizer
from transformer.data.tokenizer import load_tokenizer, tokenizer_from_metadata
from transformer.errors import UserError
from transformer.evaluation.perplexity import byte_lengths
from transformer.sharing.published_tokenizer import tokenizer_json

KINDS = {
    "gpt2": (lambda: byte_level("gpt2"), SPECIAL[0], SPECIAL[0]),
    "llama 3": (lambda: byte_level("llama 3"), *SPECIAL),
    "llama 2": (byte_fallback, "</s>", "<s>"),
}
WORDS = ("Once there was", " a shy frog named", " Kelmi", "'s", "'LL", "12345", "<0x41>", "日本")
SPACES = (" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u2003", "\0")
MARKS = ("0", "½", "é", "e\u0301", "☃", "👩\u200d👩\u200d👧", "\ufffd", "▁", "Ġ")
NAMES = (*SPECIAL, "</s>", "<s>", "<think>", "<unk>")
PIECES = st.one_of(st.sampled_from((*WORDS, *SPACES, *MARKS, *NAMES)), st.text(max_size=6))
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@pytest.fixture(scope="module", params=KINDS)
def both(request: Any, tmp_path_factory: Any) -> tuple[HfTokenizer, Any]:
    """Ours and theirs, of the same folder."""
    make, eos, bos = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder, make(), eos, bos)
    return HfTokenizer.from_file(folder / "tokenizer.json"), AutoTokenizer.from_pretrained(folder)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_ids_are_those_of_auto_tokenizer(both: tuple[HfTokenizer, Any], text: str) -> None:
    """Special tokens apart, which we never read out of a text."""
    ours, theirs = both
    expected = theirs(text, add_special_tokens=False, split_special_tokens=True).input_ids
    ids = ours.encode(text)
    assert ids == expected
    assert ours.encode_array(text).tolist() == ids
    assert not set(ids) & {ours.end_of_text, ours.start_of_text}
    assert ours.encode_prompt(text)[len(ours.prefix) :] == (
        ids or [ours.start_of_text][: not ours.prefix]
    )
    if not any(token in text for token in (*SPECIAL, "<s>", "</s>", "<unk>")):
        assert ours.encode_prompt(text) == (theirs(text).input_ids or [ours.start_of_text])


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_decoding_is_theirs(both: tuple[HfTokenizer, Any], text: str) -> None:
    ours, theirs = both
    ids = ours.encode(text)
    assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
    assert b"".join(map(ours.decode_bytes, ([i] for i in ids))) == ours.decode_bytes(ids)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_bytes_spell_the_text(text: str) -> None:
    """Byte-level without a normaliser: exactly; so the text that is streamed is the text."""
    assert (
        PLAIN.decode_bytes(PLAIN.encode(text)).decode() == text == PLAIN.decode(PLAIN.encode(text))
    )


def plain() -> HfTokenizer:
    tokenizer = byte_level("gpt2")
    table = tokenizer.get_vocab()
    return HfTokenizer("plain", tokenizer.to_str(), table[SPECIAL[0]], table[SPECIAL[0]])


PLAIN = plain()


def test_a_lone_surrogate_is_read_as_the_replacement_character() -> None:
    assert PLAIN.encode("a\ud800b") == PLAIN.encode("a\ufffdb")


def test_bytes_of_every_id() -> None:
    """Of text tokens, their text; of what begins and ends a text, nothing."""
    lengths = byte_lengths(PLAIN)
    assert len(lengths) == PLAIN.vocab_size
    assert lengths[PLAIN.end_of_text] == 0
    text = "Once there was a shy frog. ☃"
    assert lengths[PLAIN.encode(text)].sum() == len(text.encode())
    for i in (-1, PLAIN.vocab_size):
        with pytest.raises(UserError, match=f"token id {i} is not in 0"):
            PLAIN.decode_bytes([i])
        with pytest.raises(UserError, match=f"token id {i} is not in 0"):
            PLAIN.decode([i])


def test_it_travels_whole(tmp_path: Path) -> None:
    PLAIN.save(tmp_path / "saved.json")
    again = load_tokenizer(tmp_path / "saved.json")
    assert again.fingerprint == PLAIN.fingerprint
    assert again.to_metadata() == PLAIN.to_metadata()
    write_tokenizer(tmp_path / "published", byte_level("llama 3"), *SPECIAL)
    published = load_tokenizer(tmp_path / "published")
    assert published.prefix == [published.start_of_text]
    assert published.fingerprint != PLAIN.fingerprint


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("tokenizer", None, "tokenizer is None"),
        ("tokenizer", "{}", "not a tokenizer.json"),
        ("end_of_text", 10**6, "the id 1000000, which is not in"),
        ("start_of_text", "0", "start_of_text is '0'"),
        ("fingerprint", "0" * 16, "damaged"),
    ],
)
def test_untrusted_metadata_is_checked(field: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tokenizer_from_metadata({**PLAIN.to_metadata(), field: value})


def test_an_end_that_text_can_make_is_refused() -> None:
    fields = json.loads(byte_level().to_str())
    fields["added_tokens"] = [{**token, "special": False} for token in fields["added_tokens"]]
    end = PLAIN.end_of_text
    with pytest.raises(UserError, match=r"an added token that is not special"):
        HfTokenizer("odd", json.dumps(fields), end, end)


def test_what_stands_behind_a_text_is_no_prefix() -> None:
    fields = json.loads(byte_level("llama 3").to_str())
    begin, end = SPECIAL
    table = byte_level("llama 3").get_vocab()
    both = [{"SpecialToken": {"id": name, "type_id": 0}} for name in (begin, end)]
    text = {"Sequence": {"id": "A", "type_id": 0}}
    fields["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [both[0], text, both[1]],
        "pair": [text],
        "special_tokens": {n: {"id": n, "ids": [table[n]], "tokens": [n]} for n in SPECIAL},
    }
    tokenizer = HfTokenizer("odd", json.dumps(fields), table[end], table[begin])
    assert tokenizer.prefix == [table[begin]]


def test_a_token_that_is_not_byte_level_has_the_bytes_of_its_text() -> None:
    fields = json.loads(byte_level().to_str())
    fields["model"]["vocab"]["▁x"] = 9999
    tokenizer = HfTokenizer("odd", json.dumps(fields), PLAIN.end_of_text, PLAIN.end_of_text)
    assert tokenizer.decode_bytes([9999]) == "▁x".encode()


def test_tokens_whose_bytes_are_unknown_are_refused(tmp_path: Path) -> None:
    text = json.loads(byte_level().to_str())
    text["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(text))
    with pytest.raises(UserError, match=r"neither byte-level nor .*WordPiece"):
        HfTokenizer.from_file(tmp_path / "tokenizer.json")


OURS = {
    "p50k_base": load_tokenizer("p50k_base"),
    "bpe": train_bpe([str(KINDS) * 9 + __file__], 300),
}


@pytest.fixture(scope="module", params=OURS)
def translated(request: Any) -> tuple[Any, HfTokenizer]:
    ours = OURS[request.param]
    text = tokenizer_json(ours)  # type: ignore[arg-type]
    return ours, HfTokenizer("translated", text, ours.end_of_text, ours.end_of_text)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_our_tables_become_theirs(translated: tuple[Any, HfTokenizer], text: str) -> None:
    ours, theirs = translated
    ids = ours.encode(text)
    assert theirs.encode(text) == ids
    assert theirs.decode(ids) == ours.decode(ids)
    assert theirs.encode_prompt(text) == ours.encode_prompt(text)
    assert theirs.vocab_size == ours.vocab_size
