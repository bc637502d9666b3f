"""A shard on disk: its texts and their tokens, one row group for each block.

    shard_00007.parquet
        row group 0     text: string       tokens: list<uint16>, end-of-text after each document
        row group 1     …
        footer          transformer.shard: where it comes from; the SHA-256 of each block's tokens
                        transformer.sha256: the hash of the line above

There is one check: the tokens of a block must have the block's hash whenever it is read. That
covers the whole way from the disk to training. (The checksums that Parquet can give to its pages
do not: the header of a page has none, and one flipped bit in it can decode to other tokens without
any error.) The texts are there for people who look into the file; training never reads them.

A block that is read before its shard is complete has a file of its own: a shard of one block.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transformer.data.packing import Tokens

SHARD = b"transformer.shard"
SHA256 = b"transformer.sha256"


class DamagedError(OSError):
    """A cached file is not what was written."""


def make_table(texts: Sequence[str], block: Tokens, end_of_text: int) -> pa.Table:
    """A row group; `block` as `packing.join_documents` makes it of the texts."""
    ends = np.flatnonzero(block == end_of_text).astype(np.int32)  # the first is in front
    tokens = pa.ListArray.from_arrays(pa.array(ends), pa.array(block[1:]))
    return pa.table([pa.array(texts, pa.string()), tokens], schema=_schema(block.dtype))


def write_shard(
    path: Path, provenance: dict[str, Any], dtype: type, tables: Iterable[pa.Table]
) -> None:
    """Write a shard of these row groups.

    Args:
        provenance: what the shard was made of, JSON-able.
        dtype: of the tokens, uint16 or uint32.
    """
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": False,
        "column_encoding": {"tokens.list.element": "BYTE_STREAM_SPLIT"},
        "write_statistics": False,
    }
    hashes, n_tokens = [], 0
    with pq.ParquetWriter(path, _schema(np.dtype(dtype)), **options) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, len(table)))
            tokens = _tokens(table)
            hashes.append(_hash(tokens))
            n_tokens += len(tokens)
        whole = json.dumps({**provenance, "tokens": n_tokens, "blocks": hashes}).encode()
        digest = hashlib.sha256(whole).hexdigest()
        writer.add_key_value_metadata({SHARD: whole, SHA256: digest})


class CachedShard:
    """An open shard, for one thread.

    Attributes:
        groups: which row groups of its source are its blocks.

    Raises:
        DamagedError: the file is not a shard, or no longer one.
    """

    def __init__(self, path: Path, end_of_text: int) -> None:
        self._end_of_text = end_of_text
        try:
            self._file = pq.ParquetFile(path)
            metadata = self._file.metadata.metadata or {}
            whole = metadata.get(SHARD, b"")
            if metadata.get(SHA256) != hashlib.sha256(whole).hexdigest().encode():
                raise ValueError("its metadata is not what this version writes")
            self.provenance: dict[str, Any] = json.loads(whole)
            self._hashes: list[str] = self.provenance.pop("blocks")
            self.n_tokens: int = self.provenance.pop("tokens")
            self.groups = range(*self.provenance["groups"])
        except Exception as error:  # a damaged footer can raise anything
            if isinstance(error, OSError) and error.errno:
                raise  # the system's: it is not there, or may not be read
            raise DamagedError(f"{path.name}: {error}") from error

    def read_tokens(self, block: int) -> Tokens:
        """The tokens of a row group of the source, with end-of-text in front.

        Raises:
            DamagedError: they are not what was written.
        """
        values = _tokens(self.read_table(block, ["tokens"]))
        return np.concatenate([np.array([self._end_of_text], values.dtype), values])

    def read_table(self, block: int, columns: list[str] | None = None) -> pa.Table:
        """The row group as it is stored: all columns, or only some."""
        place = block - self.groups.start
        try:
            table = self._file.read_row_group(place, columns=columns, use_threads=False)
            found = _hash(_tokens(table))
        except Exception as error:  # as above
            raise DamagedError(f"block {block}: {error}") from error
        if found != self._hashes[place]:
            raise DamagedError(f"block {block} is not what was written")
        return table


def _schema(dtype: np.dtype[Any]) -> pa.Schema:
    return pa.schema([("text", pa.string()), ("tokens", pa.list_(pa.from_numpy_dtype(dtype)))])


def _tokens(table: pa.Table) -> Tokens:
    return table["tokens"].combine_chunks().values.to_numpy(zero_copy_only=False)


def _hash(tokens: Tokens) -> str:
    """SHA-256 of a block's tokens, their type included."""
    return hashlib.sha256(tokens.dtype.str.encode() + tokens.tobytes()).hexdigest()
