"""What a learner has done: which files were judged, and how many hints were read.

    mine/attention.py         the learner's
    mine/.judged.json         {"attention": {"sha256": …, "passed": true, "hints": 1}}

A verdict is of one content: when the file changes, it has to be judged again.
"""

import json
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.machine.files import hash_file, write_atomically

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
