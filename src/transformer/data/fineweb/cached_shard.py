"""A shard on disk: its texts and their tokens, one row group for each block.

    shard_00007.parquet
        row group 0     text: string       tokens: list<uint16>, end-of-text behind each document
        row group 1     …
        footer          transformer.shard: where it comes from; transformer.digest: of all tokens

Every page carries a checksum, so a flipped bit is found when its page is read. The footer has
none; the cache keeps a hash of the whole file, and the digests in the footer serve when that
hash is lost.
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transformer.data.packing import Tokens

PROVENANCE = b"transformer.shard"
DIGEST = b"transformer.digest"


class DamagedError(ValueError):
    """A cached file is not what was written."""


class ShardWriter:
    """Writes a shard block by block; `with` closes the file, complete or not.

    Args:
        provenance: what the shard was made of, JSON-able.
        dtype: of the tokens, uint16 or uint32.
    """

    def __init__(self, path: Path, provenance: dict[str, Any], dtype: type) -> None:
        self._element = pa.from_numpy_dtype(np.dtype(dtype))
        origin = json.dumps(provenance, sort_keys=True).encode()
        schema = pa.schema(
            [("text", pa.string()), ("tokens", pa.list_(self._element))],
            metadata={PROVENANCE: origin},
        )
        self._digest = hashlib.sha256(origin)
        self._origin_digest = self._digest.hexdigest()
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(
            self._file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            column_encoding={"tokens.list.element": "BYTE_STREAM_SPLIT"},
            write_page_checksum=True,
            write_statistics=False,
        )
        self.n_tokens = 0

    def write(self, texts: Sequence[str], block: Tokens, end_of_text: int) -> None:
        """Append one block; `block` as `packing.join_documents` makes it."""
        ends = np.flatnonzero(block == end_of_text).astype(np.int32)  # the first stands in front
        values = pa.array(block[1:], type=self._element)
        tokens = pa.ListArray.from_arrays(pa.array(ends), values)
        table = pa.table([pa.array(texts, pa.string()), tokens], schema=self._writer.schema)
        self._writer.write_table(table, row_group_size=max(1, len(texts)))
        self._digest.update(block.tobytes())
        self.n_tokens += len(block) - 1

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            summary = {
                "origin": self._origin_digest,
                "sha256": self._digest.hexdigest(),
                "tokens": self.n_tokens,
            }
            if kind is None:
                self._writer.add_key_value_metadata({DIGEST: json.dumps(summary)})
            self._writer.close()
        except OSError:
            if kind is None:
                raise
        finally:
            self._file.close()


class CachedShard:
    """An open shard. It stays readable when the file is deleted meanwhile.

    Raises:
        DamagedError: the file is not a shard (anymore).
    """

    def __init__(self, path: Path, end_of_text: int) -> None:
        self._end_of_text = end_of_text
        self._lock = threading.Lock()  # a Parquet reader has one position
        self._stream = path.open("rb")
        try:
            self._file = pq.ParquetFile(self._stream, page_checksum_verification=True)
            metadata = self._file.metadata.metadata or {}
            self._origin = metadata[PROVENANCE]
            self.provenance: dict[str, Any] = json.loads(self._origin)
            summary = json.loads(metadata[DIGEST])
            if summary["origin"] != hashlib.sha256(self._origin).hexdigest():
                raise ValueError("its origin is not what was written")
            self._digest, self.n_tokens = str(summary["sha256"]), int(summary["tokens"])
        except Exception as error:  # a damaged footer can raise anything
            self._stream.close()
            raise DamagedError(f"{path.name}: {error}") from error
        self.n_blocks: int = self._file.num_row_groups

    def read_tokens(self, place: int) -> Tokens:
        """Block `place` of the shard, with end-of-text in front."""
        column = self._read(place, "tokens")
        values = column.values.to_numpy(zero_copy_only=False)
        return np.concatenate([np.array([self._end_of_text], values.dtype), values])

    def read_texts(self, place: int) -> list[str]:
        texts: list[str] = self._read(place, "text").to_pylist()
        return texts

    def check(self) -> None:
        """Read everything; the page checksums guard the texts, and the tokens have a digest.

        Raises:
            DamagedError: it is not what was written.
        """
        digest = hashlib.sha256(self._origin)
        for place in range(self.n_blocks):
            digest.update(self.read_tokens(place).tobytes())
            self._read(place, "text")
        if digest.hexdigest() != self._digest:
            raise DamagedError("the tokens are not those that were written")

    def close(self) -> None:
        self._stream.close()

    def _read(self, place: int, name: str) -> Any:
        try:
            with self._lock:
                table = self._file.read_row_group(place, columns=[name], use_threads=False)
            return table.column(name).combine_chunks()
        except Exception as error:  # as above
            raise DamagedError(f"block {place}: {error}") from error


def hash_file(path: Path) -> str:
    """sha256 of a file, as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
