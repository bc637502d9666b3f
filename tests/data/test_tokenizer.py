"""Tokenizers: published ids, a brute-force twin, round trips, and untrusted files."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from transformer.data import byte_pair_tokenizer as module
from transformer.data.bpe import train_bpe
from transformer.data.byte_pair_tokenizer import BytePairTokenizer, format_ranks, parse_ranks
from transformer.data.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_metadata
from transformer.errors import UserError

P50K = load_tokenizer("p50k_base")
SMALL = train_bpe([str(module.__doc__)], 300)

# What OpenAI publishes about p50k_base (tiktoken's README and the token-counting cookbook).
PUBLISHED = {
    "": [],
    "hello world": [31373, 995],
    "tiktoken is great!": [83, 1134, 30001, 318, 1049, 0],
    "antidisestablishmentarianism": [415, 29207, 44390, 3699, 1042],
    "2 + 2 = 4": [17, 1343, 362, 796, 604],
    "お誕生日おめでとう": [
        *[2515, 232, 45739, 243, 37955, 33768, 98],
        *[2515, 232, 1792, 223, 30640, 30201, 29557],
    ],
}
# GPT-2's pattern as it was first released; ours must cut at the same places.
RELEASED = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
# Characters of many kinds, mixed: letters, digits, marks, spaces, emoji …
# (not U+001C … U+001F, which Python's \s counts as space and Unicode does not).
EDGES = st.text(
    st.sampled_from("a b'stZé9٣½\n\t\r\0\x7f\u00a0\u3000\u200d😀ß字\u0301.,#_-"), max_size=40
)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def brute_force(ranks: dict[bytes, int], text: str) -> list[int]:
    """Merge the adjacent pair of lowest rank until none is left, scanning again each time."""
    return [ranks[part] for piece in RELEASED.findall(text) for part in merges(ranks, piece)[-1]]


def merges(ranks: dict[bytes, int], piece: str) -> list[list[bytes]]:
    """The parts of one piece, at first and after each merge."""
    parts = [bytes([byte]) for byte in piece.encode()]
    stages = [parts]
    while True:
        pairs = [ranks.get(a + b, 10**9) for a, b in pairwise(parts)]
        if not pairs or min(pairs) == 10**9:
            return stages
        at = pairs.index(min(pairs))
        parts = [*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]
        stages.append(parts)


@pytest.mark.parametrize("text", PUBLISHED)
def test_p50k_base_gives_the_published_ids(text: str) -> None:
    assert P50K.encode(text) == PUBLISHED[text]


def test_the_merges_of_unhappy_are_those_that_the_docstring_shows() -> None:
    stages = [b" ".join(parts).decode() for parts in merges(P50K.ranks, "unhappy")]
    assert " -> ".join(stages) in str(module.__doc__)


def test_p50k_base_has_the_published_size() -> None:
    assert (P50K.vocab_size, P50K.end_of_text) == (50_281, 50_256)
    assert P50K.decode([50_256]) == "<|endoftext|>"


@pytest.mark.parametrize("tokenizer", [P50K, SMALL], ids=["p50k", "bpe"])
@given(text=EDGES)
def test_ids_equal_a_brute_force_encoder(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text) == brute_force(tokenizer.ranks, text)


@pytest.mark.parametrize("tokenizer", [P50K, SMALL], ids=["p50k", "bpe"])
@settings(max_examples=300)
@given(text=st.one_of(ANY_TEXT, EDGES))
def test_every_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.encode_array(text).tolist() == ids
    assert tokenizer.end_of_text not in ids
    assert all(0 <= i < tokenizer.vocab_size for i in ids)


@pytest.mark.parametrize("unit", ["a", " ", "\n", " \n", "=", "字", "😀", "'s", "9"])
def test_a_hundred_thousand_repeats_round_trip(unit: str) -> None:
    text = unit * 100_000 + "x"
    assert P50K.decode(P50K.encode(text)) == text


@pytest.mark.parametrize("tokenizer", [P50K, SMALL], ids=["p50k", "bpe"])
def test_text_that_spells_end_of_text_stays_text(tokenizer: Tokenizer) -> None:
    text = "before<|endoftext|>after"
    ids = tokenizer.encode(text)
    assert tokenizer.end_of_text not in ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode_array(text).tolist() == ids


def test_ids_may_cut_a_character() -> None:
    ids = P50K.encode("☃")
    assert b"".join(P50K.decode_bytes([i]) for i in ids) == "☃".encode()
    assert P50K.decode(ids[:1]) == "\ufffd"


def test_a_lone_surrogate_is_the_replacement_character() -> None:
    assert P50K.encode("\ud800") == P50K.encode("\ufffd")
    assert P50K.encode_array("a\ud800").tolist() == P50K.encode("a\ufffd")


def test_a_tensor_decodes_like_a_list() -> None:
    assert P50K.decode(torch.tensor([31373, 995])) == "hello world"


@pytest.mark.parametrize("bad", [-1, 300, 2**40])
def test_an_id_outside_the_vocabulary_is_named(bad: int) -> None:
    with pytest.raises(UserError, match=rf"{bad} is not in 0 … 299"):
        SMALL.decode([5, bad])


def test_a_rank_file_that_is_written_is_read_back() -> None:
    assert parse_ranks(format_ranks(P50K.ranks)) == P50K.ranks


def test_a_changed_rank_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "p50k_base.tiktoken").write_text("IQ== 0\n")
    monkeypatch.setattr(module.resources, "files", lambda package: tmp_path)
    with pytest.raises(UserError, match="sha256"):
        load_tokenizer("p50k_base")


@pytest.mark.parametrize("tokenizer", [P50K, SMALL], ids=["p50k", "bpe"])
def test_a_saved_tokenizer_is_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    tokenizer.save(tmp_path / "run" / "tokenizer.json")
    metadata = {"tokenizer": json.dumps(tokenizer.to_metadata())}
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors", metadata)
    for spec in ("run", "run/tokenizer.json", "model.safetensors", "."):
        copy = load_tokenizer(tmp_path / spec)
        assert copy.fingerprint == tokenizer.fingerprint
        assert (copy.ranks, copy.end_of_text) == (tokenizer.ranks, tokenizer.end_of_text)
        assert (copy.kind, copy.name) == (tokenizer.kind, tokenizer.name)
    assert not list(tmp_path.rglob("*.part"))


def test_fingerprints_tell_tables_apart() -> None:
    other = dict(SMALL.ranks)
    a, b = sorted(other, key=other.get)[-2:]
    other[a], other[b] = other[b], other[a]
    swapped = BytePairTokenizer("bpe", SMALL.name, other, SMALL.end_of_text)
    renamed = BytePairTokenizer("bpe", "other", SMALL.ranks, SMALL.end_of_text)
    assert swapped.fingerprint != SMALL.fingerprint == renamed.fingerprint


GOOD = SMALL.to_metadata()
HOSTILE: list[Any] = [
    None,
    [],
    {},
    GOOD | {"pattern": "(a+)+$"},
    GOOD | {"kind": "pickle"},
    GOOD | {"kind": "p50k_base"},
    GOOD | {"name": 3},
    GOOD | {"special_tokens": {}},
    GOOD | {"special_tokens": {"<|endoftext|>": 7}},
    GOOD | {"special_tokens": {"<|endoftext|>": "299"}},
    GOOD | {"special_tokens": {"<|endoftext|>": 10**30}},
    GOOD | {"ranks": {}},
    GOOD | {"ranks": [1, 2]},
    GOOD | {"ranks": ["?"]},
    GOOD | {"ranks": ["é"]},
    GOOD | {"ranks": GOOD["ranks"][1:]},
    GOOD | {"ranks": GOOD["ranks"][:-1]},
    GOOD | {"ranks": ["enp6enp6", *GOOD["ranks"][1:]]},  # another token in place of a byte
    GOOD | {"ranks": [*GOOD["ranks"][:-1], GOOD["ranks"][0]]},
    GOOD | {"ranks": GOOD["ranks"][::-1]},
    GOOD | {"fingerprint": "0" * 16},
    {key: value for key, value in GOOD.items() if key != "fingerprint"},
]


@pytest.mark.parametrize("metadata", HOSTILE, ids=range(len(HOSTILE)))
def test_damaged_metadata_is_refused(metadata: Any) -> None:
    with pytest.raises(UserError, match="tokenizer:"):
        tokenizer_from_metadata(metadata)


def test_a_table_without_a_byte_is_refused() -> None:
    ranks = {token: rank for token, rank in SMALL.ranks.items() if token != b"A"}
    ranks[b"another token"] = SMALL.ranks[b"A"]
    with pytest.raises(UserError, match=r"lacks the bytes \[65\]"):
        BytePairTokenizer("bpe", "no A", ranks, SMALL.end_of_text)


def test_what_is_not_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("once upon a time")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "broken.safetensors").write_bytes(b"\x01")
    save_file({"weight": torch.zeros(1)}, tmp_path / "bare.safetensors")
    for name in ("text.json", "binary.json", "deep.json", "broken.safetensors", "bare.safetensors"):
        with pytest.raises(UserError, match=name):
            load_tokenizer(tmp_path / name)
    for spec in ("gpt5", "bpe:1024", str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(UserError, match="no tokenizer"):
            load_tokenizer(spec)
