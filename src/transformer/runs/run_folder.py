"""The folder of a run, and what stands in it.

    runs/NAME/
      config.json            everything needed to repeat or resume the run
      tokenizer.json         the tokenizer, so that a resumed run need not train it again
      metrics.jsonl          a line per step and per evaluation
      curves.png  samples.md
      checkpoint-00001000/   see checkpoint.py
      latest  best           each names a checkpoint folder

Files are replaced whole: written under another name, flushed to the disk, renamed.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from filelock import FileLock, Timeout

from transformer.config import TrainingConfig
from transformer.errors import UserError
from transformer.machine.files import written_whole
from transformer.machine.saved_values import Saved

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
        """Where the tokenizer waits until all that a new run needs is there."""
        return self.path / ".tokenizer.json.new"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def samples(self) -> Path:
        return self.path / "samples.md"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while training, so that two trainings never write into one folder.

        The kernel lets go of it when the process ends, however it ends.
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
        UserError: no folder can have this name, or it would be another folder than a new one.
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
    """`path` holds either what it held or all of `content`, whenever the power fails."""
    with written_whole(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def config_to_json(config: TrainingConfig) -> dict[str, Any]:
    """A dictionary of JSON values from which `config_from_json` makes the same again."""
    plain = {field.name: getattr(config, field.name) for field in fields(config)}
    plain["text"] = [str(path) for path in config.text]
    return {name: str(v) if isinstance(v, Path) else v for name, v in plain.items()}


def config_from_json(saved: Saved) -> TrainingConfig:
    """The inverse of `config_to_json`. A field that a run did not have yet takes its default.

    Raises:
        UserError: a field is unknown or has an impossible value; names both.
    """
    kinds = get_type_hints(TrainingConfig)
    unknown = sorted(saved.values.keys() - kinds.keys())
    if unknown:
        raise UserError(
            f"{saved.where} has a field that this program does not know: {', '.join(unknown)}"
        )
    defaults = {field.name: field.default for field in fields(TrainingConfig)}
    read = {name: saved.take(name, kinds[name], default=defaults[name]) for name in defaults}
    try:
        return TrainingConfig(**read)
    except UserError as error:
        raise UserError(f"{saved.where}: {error}") from None
