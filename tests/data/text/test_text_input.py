"""Text that cannot be used: each ends in a message that names the place."""

import hashlib
from codecs import BOM_UTF8
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from text_helpers import source

from transformer.data.text.files import TextCorpus, text_documents
from transformer.data.text.token_cache import VERSION
from transformer.errors import UserError


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", r"a.txt is not UTF-8: byte 0xe9 at 3"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', r"a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b'\n{"text": "\xff"}\n', r"a.jsonl, line 2 is not UTF-8"),
        ("a.jsonl", b'{"body": "x", "id": 1}\n', r"line 1 has no 'text' but the keys body, id"),
        ("a.jsonl", b"[1]\n", r"line 1 has no 'text' but \[1\]"),
        ("a.jsonl", b'{"text": 7}\n', r"line 1: 'text' is not text but 7"),
        ("a.jsonl", b"[" * 100_000, r"line 1 is not JSON"),
        ("a.parquet", b"PAR1 but not really", r"a.parquet cannot be read as Parquet"),
        ("a.jsonl", b'{"text": 7}\n'.replace(b"7", b"7" * 5000), r"'text' is not text but inf"),
        ("a.csv", b"text", r"cannot read .*a.csv: a text file ends in .txt, .md"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(text_documents(tmp_path / name))


def test_a_missing_column_is_shown_with_those_that_are_there(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"text column 'text'; .* body .*, n "):
        list(text_documents(tmp_path))
    with pytest.raises(UserError, match=r"one text column 'n'.*n \(int64\)"):
        list(text_documents(tmp_path, text_column="n"))
    assert list(text_documents(tmp_path, text_column="body")) == ["x"]


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    table = pa.table([["x"], ["y"]], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"have one text column 'text'.*text .*, text "):
        list(text_documents(tmp_path))


def test_a_string_view_is_text(tmp_path: Path) -> None:
    column = pa.array(["one", None, "three"], pa.string_view())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert list(text_documents(tmp_path)) == ["one", "three"]


def test_an_integer_of_thousands_of_digits_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"id": {"7" * 5000}, "text": "x"}}\n')
    assert list(text_documents(tmp_path)) == ["x"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.md"])
def test_a_byte_order_mark_is_not_text(tmp_path: Path, name: str) -> None:
    content = '{"text": "x"}\n' if name == "a.jsonl" else "x"
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    assert list(text_documents(tmp_path / name)) == ["x"]


@pytest.mark.parametrize("mark", [b"", BOM_UTF8])
def test_a_cache_that_has_the_mark_as_a_token_is_not_used(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(mark + b"x")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    earlier = hashlib.sha256(f"{VERSION}/text/.txt:{digest}".encode()).hexdigest()[:16]
    assert (TextCorpus(path).fingerprint == earlier) is (mark == b"")


def test_half_a_surrogate_pair_in_json_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}\n{"text": "\\ud83d\\ude00"}')
    assert list(text_documents(tmp_path)) == ["a\ufffdb", "😀"]


def test_paths_that_hold_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder: .*nowhere"):
        TextCorpus(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no text in the folder"):
        TextCorpus(tmp_path)
    with pytest.raises(UserError, match="no text given"):
        TextCorpus([])


@pytest.mark.parametrize("text", ["", "short", "a"])
def test_text_that_cannot_be_split(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match="cannot be split"):
        source(TextCorpus(tmp_path / "a.txt"), tmp_path)


def test_text_shorter_than_a_sequence(corpus: TextCorpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="less than one sequence of --seq-length 999999"):
        source(corpus, tmp_path, seq_length=999_999)
