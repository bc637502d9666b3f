"""Token streams on disk: written once, then read through memory mapping.

A mapped file looks like an array, but only the pages that are used are read, and the operating
system keeps them as long as memory is free. Nothing holds a whole stream in memory, and several
processes share one copy of its pages.

    FOLDER/train.bin  validation.bin     ids, 2 or 4 bytes each (see packing.token_dtype)
    FOLDER/info.json                     their type, lengths and SHA-256

A cache is complete or absent: it is built in a temporary folder, flushed to disk, and then renamed.
Of several processes that want it, one builds and the others wait (FileLock; on local disks).
"""

import json
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
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
            f"the token cache {folder} does not read back as it was written; "
            "check the disk, or choose another --cache-dir"
        )
    return streams


def _open(folder: Path) -> Streams | None:
    """The streams, or None if the cache is absent or damaged (then with a warning)."""
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
    dtype = np.dtype(token_dtype(tokenizer.vocab_size))
    end = np.array([tokenizer.end_of_text], dtype).tobytes()
    with whole_folder(folder, advice=ADVICE) as partial:
        paths = {side: partial / f"{side}.bin" for side in SIDES}
        with ExitStack() as opened:
            files = {side: opened.enter_context(path.open("wb")) for side, path in paths.items()}
            for file in files.values():
                file.write(end)
            for side, document in documents():
                for piece in cut(document, PIECE):
                    files[side].write(tokenizer.encode_array(piece).astype(dtype).tobytes())
                files[side].write(end)
        info: dict[str, Any] = {"version": VERSION, "dtype": dtype.name}
        for side, path in paths.items():
            tokens = path.stat().st_size // dtype.itemsize
            info[side] = {"tokens": tokens, "sha256": hash_file(path)}
        (partial / "info.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
