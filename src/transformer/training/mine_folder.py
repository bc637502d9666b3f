"""A learner's folder: what has been judged, and which of it trains.

    mine/attention.py         the learner's
    mine/.judged.json         {"attention": {"sha256": …, "passed": true, "hints": 1}}

A verdict is of one content: when the file changes, it has to be judged again. Training takes the
very files that were judged, and a resumed run only those that it began with.
"""

import importlib.util
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from transformer.config import Variant
from transformer.errors import UserError
from transformer.machine.files import hash_file, write_atomically
from transformer.parts import CLASSIC
from transformer.training.config import TrainingConfig
from transformer.training.mine import NOTHING, TRAINED, Mine

NAME = ".judged.json"


class Notebook:
    """The notes of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.py"

    def has_passed(self, name: str) -> bool:
        """Whether the file as it is now has passed."""
        note = self._read().get(name, {})
        file = self.file(name)
        return bool(note.get("passed")) and file.exists() and note["sha256"] == hash_file(file)

    def state(self, name: str) -> str:
        """ "open", "begun" or "done"; "changed" if it passed once and was changed since."""
        if not self.file(name).exists():
            return "open"
        if self.has_passed(name):
            return "done"
        return "changed" if self._read().get(name, {}).get("passed") else "begun"

    def note_verdict(self, name: str, passed: bool, digest: str) -> None:
        """Write down the verdict on the content with this SHA-256."""
        self._change(name, passed=passed, sha256=digest)

    def hints_read(self, name: str) -> int:
        return int(self._read().get(name, {}).get("hints", 0))

    def note_hint(self, name: str, count: int) -> None:
        self._change(name, hints=count)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            notes = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UserError(
                f"{self.path} is damaged ({error}): delete it and judge again"
            ) from None
        if not isinstance(notes, dict) or not all(isinstance(n, dict) for n in notes.values()):
            raise UserError(f"{self.path} is damaged: delete it and judge again")
        return notes

    def _change(self, name: str, **values: Any) -> None:
        notes = self._read()
        notes[name] = {**notes.get(name, {}), **values}
        write_atomically(self.path, json.dumps(notes, indent=1).encode(), sync=False)


def load_mine(config: TrainingConfig, processes: int = 1) -> Mine:
    """The parts in the folder of --mine that training can use; none without it.

    Raises:
        UserError: there are none, one has not passed its judge, or one cannot be used here.
    """
    if config.mine is None:
        return NOTHING
    notebook = Notebook(config.mine)
    files = {name: notebook.file(name) for name in TRAINED if notebook.file(name).exists()}
    if not files:
        raise UserError(
            f"--mine {config.mine}: there is no part in it that can be trained; "
            f"`{_command('list', config.mine)}` says how to write one"
        )
    for name, path in files.items():
        if not (config.unjudged or notebook.has_passed(name)):
            raise UserError(
                f"{path} as it is now has not passed its judge; "
                f"`{_command(f'check {name}', config.mine)}`, or --unjudged"
            )
    mine = Mine(
        {name: load_part(path) for name, path in files.items()},
        {name: hash_file(path) for name, path in files.items()},
    )
    _check_use(mine, config, processes)
    return mine


def _command(words: str, folder: Path) -> str:
    """
    >>> _command("check mask", Path("mine"))
    'uv run python commands/exercise.py check mask --mine mine'
    """
    return f"uv run python commands/exercise.py {words} --mine {shlex.quote(str(folder))}"


def load_part(path: Path) -> ModuleType:
    """A learner's file as a module.

    Raises:
        UserError: it raises an error itself.
    """
    spec = importlib.util.spec_from_file_location(f"mine.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _check_use(mine: Mine, config: TrainingConfig, processes: int) -> None:
    """
    Raises:
        UserError: a part has no place in this training.
    """
    folder = config.mine
    if (mine.parts != CLASSIC or mine.has("model")) and not config.group(Variant).is_classic:
        raise UserError(
            f"--mine {folder}: your parts are those of the classic model, and this one is another; "
            "leave out --rung, --from and the flags of the ladder, or these files"
        )
    if mine.has("adamw") and config.optimizer != "adamw":
        raise UserError(f"--optimizer {config.optimizer} and {folder}/adamw.py: leave out one")
    if mine.has("schedule") and config.schedule != "cosine":
        raise UserError(f"--schedule {config.schedule} and {folder}/schedule.py: leave out one")
    if mine.has("accumulation") and processes > 1:
        raise UserError(
            f"{folder}/accumulation.py counts the tokens of one process, and there are "
            f"{processes}: train in one, or move the file elsewhere"
        )


def check_same_files(mine: Mine, saved: Mapping[str, str], folder: Path | None) -> None:
    """
    Raises:
        UserError: a resumed run began with other files; names the first.
    """
    for name in sorted({*mine.hashes, *saved}):
        if mine.hashes.get(name) == saved.get(name):
            continue
        changed = "has changed" if name in mine.hashes else "is gone"
        raise UserError(
            f"{folder or 'mine'}/{name}.py {changed if name in saved else 'is new'} since this run "
            "began, and a resumed run keeps its parts: put it back as it was, or start a new run"
        )
