"""The BPE trainer against Hugging Face's and against recounting everything at each merge."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from transformer.data.bpe import (
    TRAINING_BYTES,
    Merge,
    count_pieces,
    first_bytes,
    learn_merges,
    make_tokenizer,
    train_bpe,
)
from transformer.errors import UserError

# Words of Zipf-like frequency, runs of one sign, numbers, other scripts.
PROSE = "".join(
    f"The {'very ' * (i % 4)}old {'fisher' if i % 3 else 'sailor'}man's boat no. {i * i} "
    f"{'-' * (i % 9)} couldn't sail{'ed' * (i % 2)}: été, 日本語 {'ha' * (i % 7)}!\n{' ' * (i % 5)}"
    for i in range(400)
)


def hugging_face_merges(pieces: Mapping[bytes, int], new_tokens: int) -> list[Merge]:
    """Byte b is handed over as the character U+00bb, so that ids, and with them ties, agree."""
    model = tokenizers.Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=256 + new_tokens,
        initial_alphabet=[chr(byte) for byte in range(256)],
        show_progress=False,
    )
    words = (piece.decode("latin-1") for piece, n in pieces.items() for _ in range(n))
    model.train_from_iterator(words, trainer)
    merges = json.loads(model.to_str())["model"]["merges"]
    return [(left.encode("latin-1"), right.encode("latin-1")) for left, right in merges]


def recounted_merges(pieces: Mapping[bytes, int], new_tokens: int) -> list[Merge]:
    """The definition: count all pairs, merge the most frequent (lowest ids first), repeat."""
    words = [([bytes([byte]) for byte in piece], n) for piece, n in pieces.items()]
    ids = {bytes([byte]): byte for byte in range(256)}
    merges: list[Merge] = []
    while len(ids) < 256 + new_tokens:
        counts: Counter[Merge] = Counter()
        for word, n in words:
            for pair in pairwise(word):
                counts[pair] += n
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))
        merges.append(best)
        ids.setdefault(best[0] + best[1], len(ids))
        for word, _ in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = [best[0] + best[1]]
                at += 1
    return merges


def test_merges_equal_hugging_face() -> None:
    pieces = count_pieces([PROSE])
    merges = learn_merges(pieces, 500)
    assert merges == hugging_face_merges(pieces, 500)
    assert len({left + right for left, right in merges}) == 500


def test_pieces_equal_hugging_face() -> None:
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    offsets = [span for _, span in split.pre_tokenize_str(PROSE)]
    expected = Counter(PROSE[start:end].encode() for start, end in offsets)
    assert count_pieces([PROSE]) == expected


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.text("ab=", min_size=1, max_size=14).map(str.encode),
        st.integers(1, 4),
        min_size=1,
        max_size=6,
    )
)
def test_merges_equal_recounting_with_ties_and_overlaps(pieces: dict[bytes, int]) -> None:
    merges = learn_merges(pieces, 40)
    assert merges == recounted_merges(pieces, 40)
    assert merges == hugging_face_merges(pieces, 40)
    assert len({left + right for left, right in merges}) == len(merges)


def test_ids_are_bytes_then_merges_then_end_of_text() -> None:
    tokenizer = train_bpe([PROSE], 400)
    merges = learn_merges(count_pieces([PROSE]), 400 - 257)
    tokens = [tokenizer.decode_bytes([i]) for i in range(400)]
    assert tokens[:256] == [bytes([byte]) for byte in range(256)]
    assert tokens[256:399] == [left + right for left, right in merges]
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (400, 399)
    assert tokenizer.fingerprint == train_bpe([PROSE], 400).fingerprint


def test_a_frequent_word_becomes_one_token() -> None:
    tokenizer = train_bpe([PROSE], 700)
    assert len(tokenizer.encode(" fisherman")) < len(tokenizer.encode(" mfishrena"))
    assert len(tokenizer.encode("The")) == 1


def test_one_long_piece_is_trained_on() -> None:
    tokenizer = train_bpe(["abc" * 100_000], 268)
    assert tokenizer.decode(tokenizer.encode("abc" * 1000)) == "abc" * 1000
    assert len(tokenizer.encode("abc" * 1000)) < 10


def test_training_reads_no_further_than_it_needs() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield PROSE

    assert sum(len(t.encode()) for t in first_bytes(endless(), TRAINING_BYTES)) == TRAINING_BYTES
    assert list(first_bytes(["aé", "é日本", "never"], 6)) == ["aé", "é"]
    assert list(first_bytes(["abc", "de"], 3)) == ["abc"]


def test_end_of_text_is_never_learned() -> None:
    tokenizer = train_bpe(["<|endoftext|> " * 500], 267)
    assert tokenizer.end_of_text not in tokenizer.encode("<|endoftext|>")


def test_a_spec_names_a_tokenizer() -> None:
    assert make_tokenizer("bpe:300", [PROSE]).name == "bpe:300"
    assert make_tokenizer("p50k_base", iter(["never read"])).vocab_size == 50_281


@pytest.mark.parametrize("spec", ["bpe:", "bpe:x", "bpe:-5", "bpe:1e3", "bpe:²", "bpe:256"])
def test_a_wrong_size_is_named(spec: str) -> None:
    with pytest.raises(UserError, match="bpe:"):
        make_tokenizer(spec, [PROSE])


def test_too_little_text_is_an_error() -> None:
    with pytest.raises(UserError, match="after 259 ids"):
        train_bpe(["aaa"], 1_024)
