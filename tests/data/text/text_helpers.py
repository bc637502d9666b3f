"""What the tests of text files share: documents, and small readers of what comes out."""

import json
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from transformer.data.batch import Batch
from transformer.data.bpe import train_bpe
from transformer.data.text.files import TextCorpus, TextFilesSource
from transformer.data.tokenizer import Tokenizer

WORDS = ["sea", "ship", "storm", "île", "日本", "port", "anchor", "<|endoftext|>", "😀", "tide\n"]


def story(number: int, words: int = 60) -> str:
    chosen = random.Random(number).choices(WORDS, k=words)
    return f"Story {number}: " + " ".join(chosen)


DOCUMENTS = [story(number) for number in range(120)]
TOKENIZER = train_bpe(DOCUMENTS, 300)


def write_jsonl(path: Path, documents: Sequence[str | None], column: str = "text") -> Path:
    path.write_text("".join(json.dumps({"id": 1, column: text}) + "\n" for text in documents))
    return path


def write_all_kinds(folder: Path) -> TextCorpus:
    """The documents, shared out over one file of each kind."""
    (folder / "below").mkdir(parents=True)
    (folder / "one.txt").write_text(DOCUMENTS[0])
    (folder / "below" / "two.MD").write_bytes((DOCUMENTS[1] + "\r\n").encode())
    write_jsonl(folder / "some.jsonl", [*DOCUMENTS[2:60], None])
    table = pa.table({"id": range(60), "text": DOCUMENTS[60:]})
    pq.write_table(table, folder / "rest.parquet", row_group_size=7)
    (folder / "picture.png").write_bytes(b"\xff")
    (folder / ".hidden.txt").write_text("not to be read")
    return TextCorpus(folder)


def source(
    corpus: TextCorpus, tmp_path: Path, tokenizer: Tokenizer = TOKENIZER, **settings: int
) -> TextFilesSource:
    return TextFilesSource(
        corpus, tokenizer, **{"seq_length": 16, **settings}, cache_dir=tmp_path / "cache"
    )


def take(batches: Iterator[Batch], number: int) -> list[Batch]:
    return list(islice(batches, number))


def same(one: Sequence[Batch], other: Sequence[Batch]) -> bool:
    return all(
        torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and a.state == b.state
        for a, b in zip(one, other, strict=True)
    )
