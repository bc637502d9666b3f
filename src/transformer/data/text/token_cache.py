"""Token streams on disk: written once, then read through memory mapping.

A mapped file looks like an array, but only the pages that are touched are read, and the operating
system keeps them as long as memory is free. Nothing holds a whole stream in memory, and several
processes share one copy of its pages.

    FOLDER/train.bin  validation.bin     ids, 2 or 4 bytes each (see packing.token_dtype)
    FOLDER/info.json                     their type, lengths and SHA-256

A cache is complete or absent: it is built in a temporary folder, flushed to disk, and then renamed.
Of several processes that want it, one builds and the others wait (FileLock; on local disks).
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from transformer.data.packing import Tokens, token_dtype
from transformer.data.text.split import Side, cut
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.machine.files import explained_writing, hash_file, whole_folder

SIDES: tuple[Side, ...] = ("train", "validation")
VERSION = 1
PIECE = 1_000_000  # characters tokenised at a time, so that a huge document fits in memory
ADVICE = "make room, or choose another place with --cache-dir"

Documents = Callable[[], Iterable[tuple[Side, str]]]
Streams = dict[Side, Tokens]

log = logging.getLogger(__name__)


def token_streams(folder: Path, tokenizer: Tokenizer, documents: Documents) -> Streams:
    """The two token streams in `folder`, memory-mapped; built first if they are not there.

    A stream has end-of-text before its first and after every document. `documents()` is called
    only to build. A damaged cache is built again, with a warning.

    Raises:
        UserError: the folder cannot be written, or the disk is full; nothing half-written stays.
    """
    streams = _open(folder)
    if streams is None:
        with explained_writing(folder, advice=ADVICE):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(folder.name + ".lock")):
                streams = _open(folder)  # another process may have built it meanwhile
                if streams is None:
                    _build(folder, tokenizer, documents)
                    streams = _open(folder)
    if streams is None:
        raise UserError(
            f"the token cache {folder} reads back differently than it was written; "
            "check the disk, or choose another --cache-dir"
        )
    return streams


def _open(folder: Path) -> Streams | None:
    """The streams, or None if the cache is absent or damaged (which it then says)."""
    try:
        info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
        streams: Streams = {}
        for side in SIDES:
            path = folder / f"{side}.bin"
            streams[side] = np.memmap(path, dtype=np.dtype(info["dtype"]), mode="r")
            if hash_file(path) != info[side]["sha256"]:
                raise ValueError(f"{path} was changed")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("the token cache %s is damaged (%s); building it again", folder, error)
        return None
    return streams


def _build(folder: Path, tokenizer: Tokenizer, documents: Documents) -> None:
    log.info("tokenising the text with %s (once; kept in %s)", tokenizer.name, folder)
    with whole_folder(folder, advice=ADVICE) as partial:
        writers = {side: _StreamWriter(partial / f"{side}.bin", tokenizer) for side in SIDES}
        for side, document in documents():
            writers[side].write(document)
        info: dict[str, Any] = {side: writer.close() for side, writer in writers.items()}
        info |= {"version": VERSION, "dtype": np.dtype(token_dtype(tokenizer.vocab_size)).name}
        (partial / "info.json").write_text(json.dumps(info, indent=1), encoding="utf-8")


class _StreamWriter:
    """Appends documents to one file."""

    def __init__(self, path: Path, tokenizer: Tokenizer) -> None:
        self._file = path.open("wb")
        self._tokenizer = tokenizer
        self._dtype = token_dtype(tokenizer.vocab_size)
        self._sha256 = hashlib.sha256()
        self._tokens = 0
        self._end = np.array([tokenizer.end_of_text])
        self._append(self._end)

    def write(self, document: str) -> None:
        for piece in cut(document, PIECE):
            self._append(self._tokenizer.encode_array(piece))
        self._append(self._end)

    def close(self) -> dict[str, Any]:
        """Flush to disk; what info.json says about the stream."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {"tokens": self._tokens, "sha256": self._sha256.hexdigest()}

    def _append(self, ids: Tokens) -> None:
        data = ids.astype(self._dtype).tobytes()
        self._file.write(data)
        self._sha256.update(data)
        self._tokens += len(ids)
