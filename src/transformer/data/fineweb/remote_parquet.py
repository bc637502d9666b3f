"""One Parquet file on the hub, read by row group.

    ┌─────────────┬─────────────┬─ ─ ─┬─────────────┬────────┐
    │ row group 0 │ row group 1 │     │ row group G │ footer │      2 GB, G ≈ 1000
    └─────────────┴─────────────┴─ ─ ─┴─────────────┴────────┘
     text id url …                                   where each column of each group is

The footer is read once and kept. After that a block costs one range request, for the bytes of its
text column and no others.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractBufferedFile

from transformer.data.fineweb.hub import Hub, HubFile, Listing
from transformer.data.text.files import check_text_column
from transformer.machine.files import read_checked

TAIL = 64 * 1024  # bytes read first: their end says how long the footer is
MAGIC = b"PAR1"


class RemoteParquet:
    """A file of the hub and its text column.

    Args:
        kept_at: where the footer is kept.
    """

    def __init__(
        self, hub: Hub, listing: Listing, file: HubFile, text_column: str, kept_at: Path
    ) -> None:
        self.hub = hub
        self.listing = listing
        self.file = file
        self.text_column = text_column
        self.kept_at = kept_at
        self._footer: pq.FileMetaData | None = None

    @property
    def footer(self) -> pq.FileMetaData:
        """The file's metadata: from disk, else with one or two range requests.

        Two threads may both fetch it. (`cached_property` would make one wait, but in Python 3.11
        with one lock for all files, held as long as the hub takes to answer.)
        """
        if self._footer is None:
            data = read_checked(self.kept_at)
            if data is None:
                data = self.hub.retry(self._fetch_footer)
                self.hub.keep(self.kept_at, data)
            self._footer = pq.read_metadata(pa.BufferReader(data))
        return self._footer

    @property
    def n_blocks(self) -> int:
        return self.footer.num_row_groups

    def read_block(self, block: int) -> list[str]:
        """The texts of one row group: nothing for null, U+FFFD for what is not UTF-8."""
        schema = self.footer.schema.to_arrow_schema()
        check_text_column(schema, self.text_column, f"{self.file.path} of {self.hub.repo}")
        column = self.hub.retry(lambda: self._fetch_column(block))
        try:
            return [text or "" for text in column.to_pylist()]
        except UnicodeDecodeError:
            values = column.cast(pa.large_binary()).to_pylist()
            return [(value or b"").decode("utf-8", errors="replace") for value in values]

    def _fetch_column(self, block: int) -> pa.ChunkedArray:
        """Fetched first and then decoded: Arrow must not wait for the hub inside its own code,
        because a thread that does so while the program ends crashes the whole process."""
        group = self.footer.row_group(block)
        columns = map(group.column, range(group.num_columns))
        column = next(column for column in columns if column.path_in_schema == self.text_column)
        start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
        end = start + column.total_compressed_size
        data = {(start, end): self.hub.read(self.listing, self.file, start, end)}
        parts: dict[str, Any] = {"cache_type": "parts", "cache_options": {"data": data}}
        size = self.file.size
        window = AbstractBufferedFile(None, "", size=size, **parts)  # type: ignore[no-untyped-call]
        file = pq.ParquetFile(window, metadata=self.footer, pre_buffer=False)
        table = file.read_row_group(block, columns=[self.text_column], use_threads=False)
        return table.column(0)

    def _fetch_footer(self) -> bytes:
        """The footer as a Parquet file without row groups."""
        size = self.file.size
        tail = self.hub.read(self.listing, self.file, max(0, size - TAIL), size)
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if length > len(tail):
            tail = self.hub.read(self.listing, self.file, max(0, size - length), size)
        data = MAGIC + tail[-length:]
        pq.read_metadata(pa.BufferReader(data))  # it must decode
        return data
