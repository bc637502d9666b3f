"""A small data set in FineWeb's shape, and a straightforward reading of it to compare with."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transformer.data.batch import IGNORED
from transformer.data.fineweb.shard import Shard
from transformer.data.packing import permutation
from transformer.data.tokenizer import Tokenizer, load_tokenizer

REPO = "HuggingFaceFW/fineweb"
PATH = "sample/10BT"
HOSTILE = [
    "before <|endoftext|> after",
    "a NUL \0 inside",
    "emoji \U0001f469\u200d\U0001f469\u200d\U0001f467 and flags \U0001f1f3\U0001f1f1",
    "combining e\u0301\u0323 and a lone \u0301",
    "",
    "\r\n\t  \u00a0",
]
WORDS = ("river", "wide", "nobody", "winter", "old", "house", "crossed", "before", "came", "sun")


def make_text(rng: random.Random, words: int) -> str:
    return " ".join(f"{rng.choice(WORDS)}{rng.randrange(1000)}" for _ in range(words))


def write_file(path: Path, groups: list[list[str]], column: str = "text") -> None:
    """A Parquet file with these row groups and some of FineWeb's other columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [(column, pa.string()), ("id", pa.string()), ("language_score", pa.float64())]
    )
    with pq.ParquetWriter(path, schema, compression="snappy") as writer:
        for g, texts in enumerate(groups):
            ids = [f"<{path.stem}-{g}-{i}>" for i in range(len(texts))]
            scores = [0.9] * len(texts)
            writer.write_table(pa.table([texts, ids, scores], schema=schema))


def write_dataset(
    folder: Path, *, files: int = 3, groups: int = 8, rows: int = 6, words: int = 40, seed: int = 0
) -> Path:
    """`files` files of `groups` row groups of `rows` documents, some of them hostile."""
    rng = random.Random(seed)
    for f in range(files):
        content = [
            [make_text(rng, rng.randrange(1, 2 * words)) for _ in range(rows)]
            for _ in range(groups)
        ]
        content[f % groups][0:2] = HOSTILE
        write_file(folder / PATH / f"{f:03d}_00000.parquet", content)
    return folder


def read_texts(folder: Path, shard: Shard, block: int) -> list[str]:
    file = pq.ParquetFile(folder / shard.file.path)
    return file.read_row_group(block, columns=["text"])["text"].to_pylist()


def block_tokens(texts: list[str], tokenizer: Tokenizer) -> list[int]:
    tokens = [tokenizer.end_of_text]
    for text in texts:
        tokens += [*tokenizer.encode(text), tokenizer.end_of_text]
    return tokens


def naive_windows(tokens: list[int], length: int, fill: int) -> list[tuple[list[int], list[int]]]:
    """Every token but the first a target exactly once; the last window moved back."""
    result = []
    for scored_from in range(1, len(tokens), length):
        start = min(scored_from, max(1, len(tokens) - length)) - 1
        inputs = tokens[start : start + length][: len(tokens) - 1 - start]
        targets = [
            tokens[i + 1] if i + 1 >= scored_from else IGNORED
            for i in range(start, start + len(inputs))
        ]
        missing = length - len(inputs)
        result.append((inputs + [fill] * missing, targets + [IGNORED] * missing))
    return result


def reference(
    folder: Path, shards: tuple[Shard, ...], length: int, *key: str | int, passes: int = 1
) -> Iterator[tuple[list[int], list[int]]]:
    """The sequences in the order that `block_order` describes, read and cut the plain way."""
    tokenizer = load_tokenizer("p50k_base")
    for number in range(passes):
        for s in permutation(len(shards), *key, number, "shards"):
            shard = shards[s]
            n_blocks = pq.ParquetFile(folder / shard.file.path).num_row_groups
            blocks = shard.blocks(n_blocks)
            for b in permutation(len(blocks), *key, number, shard.number, "blocks"):
                texts = read_texts(folder, shard, blocks[b])
                windows = naive_windows(
                    block_tokens(texts, tokenizer), length, tokenizer.end_of_text
                )
                place = (*key, number, shard.number, "sequences", blocks[b])
                for w in permutation(len(windows), *place):
                    yield windows[w]


def stack(pairs: list[tuple[list[int], list[int]]]) -> np.ndarray:
    """(n, 2, T)"""
    return np.array(pairs)
