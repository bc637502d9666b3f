"""Your own text as training data: files and folders of .txt, .md, .jsonl and .parquet.

    files ──▶ documents ──▶ 90/10 by content ──▶ token streams on disk ──▶ shuffled windows

A .txt or .md file is one document, every line of a .jsonl and every row of a .parquet file another
(the text is under `text_column`). `split.py` decides which documents train and which validate,
`token_cache.py` how the tokens are kept, `packing.py` how they become sequences.

Text is recognised by its content: files that are moved or renamed give the same fingerprint, the
same cache and the same order of training.
"""

import hashlib
import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types
from pyarrow.lib import ArrowException

from transformer.data.batch import IGNORED, Batch, State, saved_position
from transformer.data.packing import count_windows, endless_order, permutation, to_batch, windows
from transformer.data.text.split import Side, TextSplit, split_documents
from transformer.data.text.token_cache import VERSION, token_streams
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.machine.files import hash_file

SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")
CACHE_DIR = Path("data/text_cache")


def text_documents(paths: Path | Sequence[Path], text_column: str = "text") -> Iterator[str]:
    """All documents of some files and folders, in the order of their content's hash.

    Raises:
        UserError: names the file (and line) that cannot be read, and why.
    """
    return TextCorpus(paths, text_column).documents()


class TextCorpus:
    """The documents of some files and folders, and their 90/10 split."""

    def __init__(self, paths: Path | Sequence[Path], text_column: str = "text") -> None:
        """Raises UserError if there is no such file, or a folder without text files."""
        self.text_column = text_column
        paths = [paths] if isinstance(paths, Path) else paths
        if not paths:
            raise UserError("no text given: name files or folders, as in --text book.txt notes/")
        files = {file.resolve() for path in paths for file in find_text_files(path)}
        hashed = sorted((_file_hash(file), file) for file in files)
        self._hashes, self._files = zip(*hashed, strict=True)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that depend on the contents of the files, not on their names."""
        whole = "/".join([str(VERSION), self.text_column, *self._hashes])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def documents(self, side: Side | None = None) -> Iterator[str]:
        """The documents, or only those that train or validate."""
        if side is None:
            for file in self._files:
                yield from read_documents(file, self.text_column)
        else:
            yield from (text for other, text in self.parts() if other == side)

    def parts(self) -> Iterator[tuple[Side, str]]:
        """Every document (cut where the split cuts it) with the side it is on.

        Raises:
            UserError: at the end, if a file is no longer what the fingerprint was made of.
        """
        for document in self.documents():
            yield from self._split.parts(document)
        for file, expected in zip(self._files, self._hashes, strict=True):
            if _file_hash(file) != expected:
                raise UserError(f"{file} was changed while it was read; start again")

    @cached_property
    def _split(self) -> TextSplit:
        return split_documents(self.documents(), sum(len(text) for text in self.documents()))


class TextFilesSource:
    """A `BatchSource` over a `TextCorpus`.

    Training takes the windows of the training stream in a new random order each pass. The
    position is one number, the count of sequences seen by all ranks together, so a run may
    continue with another number of processes. Validation is a fixed random choice of windows of
    the validation stream, `eval_tokens` long (or all of it).
    """

    floor: float | None = None  # nobody knows the entropy of prose

    def __init__(
        self,
        corpus: TextCorpus,
        tokenizer: Tokenizer,
        *,
        seq_length: int,
        seed: int = 0,
        eval_tokens: int = 262_144,
        cache_dir: Path = CACHE_DIR,
    ) -> None:
        """Tokenises the corpus, unless that was done before.

        Raises:
            UserError: a file cannot be read, the text is too short, the cache not writable.
        """
        self.tokenizer, self.seq_length, self.seed = tokenizer, seq_length, seed
        folder = cache_dir / f"{corpus.fingerprint}-{tokenizer.fingerprint}"
        streams = token_streams(folder, tokenizer, corpus.parts)
        self.train_tokens, self.validation_tokens = streams["train"], streams["validation"]
        self.tokens_per_epoch = len(self.train_tokens) - 1
        self.eval_sequences = -(-eval_tokens // seq_length)
        if self.tokens_per_epoch < seq_length:
            raise UserError(
                f"the training text has {self.tokens_per_epoch} tokens, less than one sequence of "
                f"--seq-length {seq_length}: give more text or a smaller --seq-length"
            )
        parts = ["text", corpus.fingerprint, tokenizer.fingerprint, seq_length, seed]
        self.fingerprint = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:16]

    def train_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1, state: State | None = None
    ) -> Iterator[Batch]:
        """Endless; see `BatchSource`."""
        position = [0] if state is None else saved_position(state, self.fingerprint, "sequences")
        return self._train_batches(position[0], batch_size, rank, world_size)

    def _train_batches(
        self, seen: int, batch_size: int, rank: int, world_size: int
    ) -> Iterator[Batch]:
        n_windows = count_windows(len(self.train_tokens), self.seq_length)
        order = endless_order(n_windows, seen, "text", self.seed)
        while True:
            everyone = list(islice(order, world_size * batch_size))
            own = everyone[rank * batch_size : (rank + 1) * batch_size]
            seen += len(everyone)
            state = {"fingerprint": self.fingerprint, "sequences": seen}
            rows = windows(self.train_tokens, own, self.seq_length)
            yield to_batch(zip(*rows, strict=True), state)

    def validation_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Finite and the same every time; see `BatchSource`. All ranks get equally many batches
        (under FSDP they exchange weights in each): a rank with no row left gets one in which
        nothing is scored."""
        tokens = self.validation_tokens
        n_windows = count_windows(len(tokens), self.seq_length)
        chosen = permutation(n_windows, "text validation")[: self.eval_sequences].tolist()
        for start in range(0, len(chosen), world_size * batch_size):
            first = start + rank * batch_size
            own = chosen[first : first + batch_size]
            inputs, targets = windows(tokens, own or chosen[:1], self.seq_length)
            targets = targets if own else np.full_like(targets, IGNORED)
            yield to_batch(zip(inputs, targets, strict=True), {"fingerprint": self.fingerprint})

    def close(self) -> None:
        """Nothing works in the background."""


def find_text_files(path: Path) -> list[Path]:
    """The file itself, or all text files in a folder and below (not the hidden ones).

    Raises:
        UserError: there is none.
    """
    kinds = ", ".join(SUFFIXES)
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES]
        files = [file for file in files if file.is_file() and not _hidden(file.relative_to(path))]
        if not files:
            raise UserError(f"no text in the folder {path}: it holds no {kinds} file")
        return files
    if not path.is_file():
        raise UserError(f"no such file or folder: {path}")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"cannot read {path}: a text file ends in {kinds}")
    return [path]


def read_documents(path: Path, text_column: str = "text") -> Iterator[str]:
    """The documents of one file; rows without text (null) are left out.

    Raises:
        UserError: names file and line that cannot be read, and why.
    """
    match path.suffix.lower():
        case ".jsonl":
            yield from _read_json_lines(path, text_column)
        case ".parquet":
            yield from _read_parquet(path, text_column)
        case _:
            with _readable(path):
                data = path.read_bytes()
            yield _decode(data, str(path))


def _read_json_lines(path: Path, text_column: str) -> Iterator[str]:
    with _readable(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(_decode(line, where), parse_int=_number)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(f"{where} is not JSON: {error}") from None
            if not isinstance(row, dict) or text_column not in row:
                found = (
                    f"the keys {', '.join(row)[:200]}" if isinstance(row, dict) else repr(row)[:60]
                )
                raise UserError(f"{where} has no {text_column!r} but {found}; see --text-column")
            text = row[text_column]
            if not isinstance(text, str | None):
                raise UserError(f"{where}: {text_column!r} is not text but {repr(text)[:60]}")
            if text is not None:  # JSON can spell half a surrogate pair, which no text holds
                yield text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_parquet(path: Path, text_column: str) -> Iterator[str]:
    try:
        with pq.ParquetFile(path) as file:
            check_text_column(file.schema_arrow, text_column, str(path))
            for rows in file.iter_batches(batch_size=1000, columns=[text_column]):
                yield from (text for text in rows.column(0).to_pylist() if text is not None)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}") from None


def check_text_column(schema: pa.Schema, column: str, where: str) -> None:
    """
    Raises:
        UserError: there is no such column, there are two, or it holds something other than text.
    """
    kinds = [schema.field(place).type for place in schema.get_all_field_indices(column)]
    kinds = [kind.value_type if types.is_dictionary(kind) else kind for kind in kinds]
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    if len(kinds) != 1 or not any(is_kind(kinds[0]) for is_kind in texts):
        raise UserError(
            f"{where} must have one text column {column!r}; its columns are "
            f"{', '.join(f'{field.name} ({field.type})' for field in schema)}; "
            "choose one with --text-column"
        )


def _number(digits: str) -> float:
    """An integer of JSON; Python's own refuses to read thousands of digits."""
    return int(digits) if len(digits) < 20 else float(digits)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _decode(data: bytes, where: str) -> str:
    """UTF-8 as text, without the mark that some programs put before it (a BOM)."""
    try:
        return data.removeprefix(BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8: byte {data[error.start]:#04x} at {error.start:,}; "
            "convert it first (iconv -f LATIN1 -t UTF-8)"
        ) from None


def _file_hash(path: Path) -> str:
    kind = path.suffix.lower()
    with _readable(path):
        with path.open("rb") as file:
            if kind in (".txt", ".md") and file.read(len(BOM_UTF8)) == BOM_UTF8:
                kind += " without its BOM"  # caches of earlier versions have the BOM as a token
        return f"{kind}:{hash_file(path)}"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
