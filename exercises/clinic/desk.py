"""What has been seen of whom: mine/clinic/N.json.

{"evidence": …, "found": false}
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from exercises.clinic.examination import Evidence
from exercises.judging.show import command
from transformer.errors import UserError
from transformer.machine.files import write_atomically


@dataclass(frozen=True)
class Record:
    """One patient's."""

    evidence: Evidence
    found: bool = False
    """Whether its bug has been found."""


class Desk:
    """The records in a learner's folder."""

    def __init__(self, mine: Path) -> None:
        self.mine, self.folder = mine, mine / "clinic"

    def command(self, words: object) -> str:
        """What the learner types to see more."""
        return command(f"clinic {words}", self.mine)

    def path(self, number: int, ending: str = "json") -> Path:
        return self.folder / f"{number}.{ending}"

    def record(self, number: int) -> Record | None:
        """None for a patient that has not been seen."""
        path = self.path(number)
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            return Record(Evidence(**saved.pop("evidence")), **saved)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UserError(f"{path} is damaged: delete it, and the patient is seen anew") from None

    def keep(self, number: int, record: Record) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(number), json.dumps(asdict(record)).encode(), sync=False)
