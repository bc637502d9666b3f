"""One Parquet file on the hub, read by row group.

    ┌─────────────┬─────────────┬─ ─ ─┬─────────────┬────────┐
    │ row group 0 │ row group 1 │     │ row group G │ footer │      2 GB, G ≈ 1000
    └─────────────┴─────────────┴─ ─ ─┴─────────────┴────────┘
     text id url …                                   where each column of each group lies

The footer is read once and kept. One block costs one range request for the bytes of its text
column; a run of blocks is read in large pieces, all columns, because each request has a price
(a redirect, a round trip) and text is nine tenths of the bytes.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from transformer.data.fineweb.hub import Hub, HubFile, Listing
from transformer.data.fineweb.retry import UnreadableError
from transformer.data.text.files import is_text
from transformer.errors import UserError
from transformer.machine.files import read_checked, write_checked

TAIL = 64 * 1024  # bytes: the first read of a footer; the end of it says how long it is
PIECE = 32 * 1024 * 1024  # bytes: the most that one request of a run brings
_MAGIC = b"PAR1"


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

        Two threads may both fetch it. (`cached_property` would make one wait, but with a lock
        that Python 3.11 holds for all files at once, while the hub is waited for.)
        """
        if self._footer is None:
            data = read_checked(self.kept_at)
            if data is None:
                data = self.hub.retry(self._fetch_footer)
                write_checked(self.kept_at, data)
            self._footer = _parse_footer(data)
        return self._footer

    @property
    def _text_index(self) -> int:
        schema = self.footer.schema.to_arrow_schema()
        names = schema.names
        kind = schema.field(self.text_column).type if self.text_column in names else None
        if kind is None or not is_text(kind):
            raise UserError(
                f"{self.file.path} of {self.hub.repo} has no text column {self.text_column!r}; "
                f"its columns: {', '.join(f'{f.name} ({f.type})' for f in schema)}; "
                "name one with --text-column"
            )
        paths = [self.footer.schema.column(i).path for i in range(self.footer.num_columns)]
        return paths.index(self.text_column)

    @property
    def n_blocks(self) -> int:
        return self.footer.num_row_groups

    def read_block(self, block: int) -> list[str]:
        """The texts of one row group, for one range request."""
        column = self.footer.row_group(block).column(self._text_index)
        return self._fetch_texts(*_column_range(column), [block])[0]

    def read_run(self, blocks: range) -> Iterator[tuple[int, list[str]]]:
        """The texts of neighbouring row groups, fetched in pieces of at most 32 MiB."""
        for piece, start, end in self._pieces(blocks):
            yield from zip(piece, self._fetch_texts(start, end, piece), strict=True)

    def _pieces(self, blocks: range) -> Iterator[tuple[list[int], int, int]]:
        piece: list[int] = []
        piece_start = piece_end = 0
        for block in blocks:
            start, end = self._block_range(block)
            if piece and (end - piece_start > PIECE or start < piece_start):
                yield piece, piece_start, piece_end
                piece = []
            if not piece:
                piece_start = start
            piece.append(block)
            piece_end = end
        if piece:
            yield piece, piece_start, piece_end

    def _block_range(self, block: int) -> tuple[int, int]:
        group = self.footer.row_group(block)
        ranges = [_column_range(group.column(i)) for i in range(group.num_columns)]
        return min(start for start, _ in ranges), max(end for _, end in ranges)

    def _fetch_texts(self, start: int, end: int, blocks: Iterable[int]) -> list[list[str]]:
        """Fetch and decode in one go, so that bytes that do not decode are fetched again."""
        index = self._text_index  # a missing column is no reason to fetch again

        def fetch() -> list[list[str]]:
            data = self.hub.read(self.listing, self.file, start, end)
            window = _Window(data, start, self.file.size)
            try:
                file = pq.ParquetFile(window, metadata=self.footer, pre_buffer=False)
                tables = [file.reader.read_row_group(b, column_indices=[index]) for b in blocks]
            except (pa.ArrowException, OSError) as error:
                raise UnreadableError(f"{self.file.path} does not decode: {error}") from error
            return [_to_texts(table.column(0)) for table in tables]

        return self.hub.retry(fetch)

    def _fetch_footer(self) -> bytes:
        """The footer as a Parquet file without row groups."""
        size = self.file.size
        if size < 12:
            raise UserError(f"{self.file.path} of {self.hub.repo} is no Parquet file")
        tail = self.hub.read(self.listing, self.file, max(0, size - TAIL), size)
        if tail[-4:] != _MAGIC:
            raise UnreadableError(f"{self.file.path} does not end like a Parquet file")
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if length > size:
            raise UnreadableError(f"{self.file.path} says that its footer has {length} bytes")
        if length > len(tail):
            end = size - len(tail)
            tail = self.hub.read(self.listing, self.file, size - length, end) + tail
        data = _MAGIC + tail[len(tail) - length :]
        try:
            _parse_footer(data)
        except pa.ArrowException as error:
            raise UnreadableError(f"the footer of {self.file.path} does not decode") from error
        return data


def _to_texts(column: pa.ChunkedArray) -> list[str]:
    """Strings; nothing for null, U+FFFD for what is not UTF-8."""
    try:
        return [text or "" for text in column.to_pylist()]
    except UnicodeDecodeError:
        values = column.cast(pa.large_binary()).to_pylist()
        return [(value or b"").decode("utf-8", errors="replace") for value in values]


def _parse_footer(data: bytes) -> pq.FileMetaData:
    return pq.read_metadata(pa.BufferReader(data))


def _column_range(column: pq.ColumnChunkMetaData) -> tuple[int, int]:
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset is not None:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


class _Window(io.RawIOBase):
    """Some bytes of a file that can be read as if the whole file were here."""

    def __init__(self, data: bytes, start: int, size: int) -> None:
        self._data = data
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        first = self._position - self._start
        last = self._size - self._start if size < 0 else first + size
        if first < 0 or last > len(self._data):
            raise UnreadableError(f"bytes {self._position} … were not fetched")
        self._position += last - first
        return self._data[first:last]
