"""Text files to documents and their two sides: nothing lost, nothing on both."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_helpers import (
    DOCUMENTS,
    TOKENIZER,
    source,
    story,
    write_jsonl,
)

from transformer.data.packing import Tokens
from transformer.data.text.files import TextCorpus
from transformer.data.text.split import cut
from transformer.data.tokenizer import Tokenizer, load_tokenizer


def documents_of(stream: Tokens, tokenizer: Tokenizer) -> list[str]:
    """Cut a stream at end-of-text."""
    ends = np.flatnonzero(stream == tokenizer.end_of_text)
    assert ends[0] == 0
    assert ends[-1] == len(stream) - 1
    between = pairwise(ends)
    return [tokenizer.decode(stream[start + 1 : end]) for start, end in between]


def test_all_kinds_of_files_are_read(corpus: TextCorpus) -> None:
    expected = [*DOCUMENTS[:1], DOCUMENTS[1] + "\r\n", *DOCUMENTS[2:]]
    assert sorted(corpus.documents()) == sorted(expected)


def test_the_streams_give_back_every_document(corpus: TextCorpus, tmp_path: Path) -> None:
    for tokenizer, dtype in ((TOKENIZER, np.uint16), (load_tokenizer("p50k_base"), np.uint16)):
        made = source(corpus, tmp_path, tokenizer)
        assert made.train_tokens.dtype == dtype
        train = documents_of(made.train_tokens, tokenizer)
        validation = documents_of(made.validation_tokens, tokenizer)
        assert train == list(corpus.documents("train"))
        assert validation == list(corpus.documents("validation"))
        assert sorted(train + validation) == sorted(corpus.documents())


def test_a_tenth_validates(tmp_path: Path) -> None:
    documents = [story(number, words=5 + number % 90) for number in range(800)]
    corpus = TextCorpus(write_jsonl(tmp_path / "a.jsonl", documents))
    share = sum(map(len, corpus.documents("validation"))) / sum(map(len, documents))
    assert 0.10 <= share < 0.11


def test_identical_documents_are_on_the_same_side(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", DOCUMENTS + DOCUMENTS[::-1])
    write_jsonl(tmp_path / "b.jsonl", DOCUMENTS[50:])
    corpus = TextCorpus(tmp_path)
    train, validation = (list(corpus.documents(side)) for side in ("train", "validation"))
    assert len(train) + len(validation) == 310
    assert not set(train) & set(validation)
    assert min(len(train), len(validation)) > 0


def test_one_long_document_is_cut(tmp_path: Path) -> None:
    book = "\n\n".join(story(number) for number in range(300))
    (tmp_path / "book.txt").write_text(book)
    corpus = TextCorpus(tmp_path / "book.txt")
    parts = list(corpus.parts())
    assert "".join(text for _, text in parts) == book
    assert all(a[0] != b[0] for a, b in pairwise(parts))  # joined where both are on one side
    assert all(text.endswith("\n\n") for _, text in parts[:-1])
    share = sum(map(len, corpus.documents("validation"))) / len(book)
    assert 0.08 < share < 0.15
    made = source(corpus, tmp_path)
    assert documents_of(made.train_tokens, TOKENIZER) == list(corpus.documents("train"))


@pytest.mark.parametrize(
    "documents",
    [
        ["first " * 5, "second " * 5],
        [story(n) for n in range(5)],
        ["x" * 900],
        ["x y" * 7000],
        ["the sea \n" * 5000, "tiny"],
        [story(1, 20_000), *DOCUMENTS[:9]],
        ["", "a", "", "b"],
    ],
)
def test_small_and_repetitive_collections_have_both_sides(
    documents: list[str], tmp_path: Path
) -> None:
    corpus = TextCorpus(write_jsonl(tmp_path / "a.jsonl", documents))
    train, validation = ("".join(corpus.documents(side)) for side in ("train", "validation"))
    assert validation
    assert len(train) >= len(validation)
    assert len(train) + len(validation) == sum(map(len, documents))


@given(st.text("ab \n", max_size=300), st.integers(1, 40))
def test_pieces_are_cut_at_the_best_seam(document: str, length: int) -> None:
    pieces = list(cut(document, length))
    assert "".join(pieces) == document
    for piece in pieces[:-1]:
        assert length <= len(piece) <= 2 * length
        for seam in ("\n\n", "\n", " "):
            if piece.endswith(seam):
                break
            assert seam not in piece[length:]
        else:
            assert len(piece) == length
    assert len(pieces[-1]) <= 2 * length
