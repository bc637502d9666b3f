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
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from transformer.config import TrainingConfig
from transformer.errors import UserError
from transformer.files import written_whole

EARLIEST = (".lock", "tokenizer.json")  # there before config.json, if a start was cut short


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
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def samples(self) -> Path:
        return self.path / "samples.md"

    @contextmanager
    def removed_unless_started(self) -> Iterator[None]:
        """A new folder goes again if what it was made for cannot start (a wrong path, say)."""
        try:
            yield
        except UserError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

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


def create(runs_dir: Path, name: str | None, dataset: str, overwrite: bool) -> RunFolder:
    """A new folder: `name`, or the first free of dataset-1, dataset-2, …

    Raises:
        UserError: it exists and may not be overwritten, or `name` is not a plain name.
    """
    if name is not None and (Path(name).name != name or name.startswith(".")):
        raise UserError(f"--name is the name of a folder in {runs_dir}, but is {name!r}")
    if name is None:
        taken = (path.name for path in runs_dir.glob(f"{dataset}-*"))
        numbers = [int(end) for end in (t.rpartition("-")[2] for t in taken) if end.isdecimal()]
        name = f"{dataset}-{max(numbers, default=0) + 1}"
    path = runs_dir / name
    if path.exists():
        if not overwrite:
            raise UserError(
                f"{path} exists: choose another --name, continue it with --resume {path}, "
                "or replace it with --overwrite"
            )
        ours = {"config.json", *EARLIEST}.intersection(p.name for p in path.iterdir())
        if not ours and any(path.iterdir()):
            raise UserError(f"{path} is not a run of this program; it is not overwritten")
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return RunFolder(path)


def find(runs_dir: Path, name: str | None, resume: Path | None) -> tuple[RunFolder, Path | None]:
    """The run to resume, and the checkpoint in it if one was named.

    Raises:
        UserError: there is none.
    """
    if resume is not None:
        for path in (resume, runs_dir / resume):
            if (path / "training_state.json").is_file():
                return RunFolder(path.parent), path
            if (path / "config.json").is_file():
                return RunFolder(path), None
        raise UserError(f"--resume {resume}: no run and no checkpoint there")
    if name is not None:
        if not (runs_dir / name / "config.json").is_file():
            raise UserError(f"there is no run {name} in {runs_dir} to resume")
        return RunFolder(runs_dir / name), None
    runs = sorted(runs_dir.glob("*/config.json"), key=_last_used)
    if not runs:
        raise UserError(f"--resume: there is no run in {runs_dir} yet")
    return RunFolder(runs[-1].parent), None


def find_group(runs_dir: Path, group: str) -> RunFolder | None:
    """The run that a group of processes was training when torchrun restarted it."""
    runs = [config for config in runs_dir.glob("*/config.json") if _group(config) == group]
    return RunFolder(max(runs, key=_last_used).parent) if runs else None


def _group(config: Path) -> str | None:
    try:
        return read_json(config).get("group")
    except UserError:
        return None  # a damaged run is not the one that was being trained


def _last_used(config: Path) -> float:
    files = (config, config.with_name("latest"), config.with_name("metrics.jsonl"))
    return max(file.stat().st_mtime for file in files if file.exists())


def write_whole(path: Path, content: str) -> None:
    """`path` holds either what it held or all of `content`, whenever the power fails."""
    with written_whole(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Raises: UserError: missing, or not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: not a JSON object")
    return value


def config_to_json(config: TrainingConfig) -> dict[str, Any]:
    """A dictionary of JSON values from which `config_from_json` makes the same again."""
    plain = {field.name: getattr(config, field.name) for field in fields(config)}
    plain["text"] = [str(path) for path in config.text]
    return {name: str(v) if isinstance(v, Path) else v for name, v in plain.items()}


def config_from_json(values: dict[str, Any]) -> TrainingConfig:
    """The inverse of `config_to_json`.

    Raises:
        UserError: fields are missing or unknown.
    """
    known = {field.name for field in fields(TrainingConfig)}
    if values.keys() != known:
        odd = ", ".join(sorted(values.keys() ^ known))
        raise UserError(f"the saved configuration has missing or unknown fields: {odd}")
    read = dict(values, text=tuple(map(Path, values["text"])))
    if values["cache_dir"] is not None:
        read["cache_dir"] = Path(values["cache_dir"])
    return TrainingConfig(**read)
