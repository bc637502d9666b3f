"""The folder of a run, and what is in it.

    runs/NAME/
      config.json            everything needed to repeat or resume the run
      tokenizer.json         the tokenizer, so that a resumed run need not train it again
      metrics.jsonl          a line per step and per evaluation
      before_after.json      with --from: what was learned, and what was forgotten
      curves.png  samples.md
      film/ film.safetensors with --film: see film.py
      checkpoint-00001000/   see checkpoint.py
      latest  best           each names a checkpoint folder

Files are replaced whole: written under another name, flushed to the disk, renamed.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from transformer.errors import UserError
from transformer.machine.files import written_whole

IMPORTED = "imported.json"  # beside an imported model, which has no training: where it is from
LONGEST_NAME = 255  # bytes, on almost every file system


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def new_tokenizer(self) -> Path:
        """Where the tokenizer waits until everything that a new run needs is ready."""
        return self.path / ".tokenizer.json.new"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def before_after(self) -> Path:
        return self.path / "before_after.json"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def samples(self) -> Path:
        return self.path / "samples.md"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while training, so that two processes never train in one folder.

        The kernel releases it when the process ends, however it ends.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=5)
        except Timeout:
            raise UserError(f"another process is training in {self.path}") from None
        try:
            yield
        finally:
            lock.release()


def check_name(name: str) -> None:
    """
    Raises:
        UserError: no folder can have this name, or it would name a folder elsewhere.
    """
    separators = {os.sep, os.altsep} - {None}
    if not name or name.startswith(".") or separators.intersection(name):
        problem = "must be the name of a folder: not empty, without / and with no dot in front"
    elif any(ord(character) < 32 or ord(character) == 127 for character in name):
        problem = "must have no control characters"
    elif any(0xD800 <= ord(character) < 0xE000 for character in name):
        problem = "must be text, but some of it cannot be read in this terminal's encoding"
    elif len(name.encode()) > LONGEST_NAME:
        problem = f"must be at most {LONGEST_NAME} bytes long ({len(name.encode())} are too many)"
    else:
        return
    shown = repr(name) if len(name) <= 60 else repr(name[:57] + "...")
    raise UserError(f"--name {problem}; it is {shown}")


def write_whole(path: Path, content: str) -> None:
    """`path` holds either what it held or all of `content`, even after a power cut."""
    with written_whole(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, json.dumps(value, indent=2) + "\n")
