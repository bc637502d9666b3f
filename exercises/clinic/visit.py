"""A visit to the clinic: what `commands/exercise.py clinic` does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from exercises.clinic.cases import CASES, DIAGNOSES, HEALTHY, WARD, Case
from exercises.clinic.desk import Desk, Record
from exercises.clinic.examination import train
from exercises.clinic.findings import EXAMINATIONS
from exercises.clinic.patient import STEPS, Patient
from exercises.clinic.picture import draw
from exercises.clinic.record import recorded_curves
from exercises.clinic.sheet import show_examination, show_found, show_sheet, show_wrong
from transformer.errors import UserError
from transformer.training.mine_folder import load_part

Test = Callable[[Patient], object]


class Visit:
    """To one patient, whose number is checked."""

    def __init__(self, console: Console, mine: Path, number: int) -> None:
        if not 1 <= number <= len(WARD):
            raise UserError(f"there is no patient {number}; there are 1 to {len(WARD)}")
        self.console, self.desk, self.number = console, Desk(mine), number
        self.case: Case = WARD[number - 1]

    def look(self) -> None:
        """Train it, unless that has been done, and show everything."""
        record = self.desk.record(self.number) or self._train()
        show_sheet(self.console, self.number, record, recorded_curves()["healthy"], self.desk)

    def examine(self, name: str) -> None:
        if name not in EXAMINATIONS:
            raise UserError(
                f"there is no examination {name!r}; there are {', '.join(EXAMINATIONS)}"
            )
        show_examination(self.console, name, self._seen(), recorded_curves()["healthy"])

    def answer(self, name: str) -> bool:
        if name not in CASES:
            raise UserError(f"there is no diagnosis {name!r}; there are {', '.join(DIAGNOSES)}")
        record = self._seen()
        if name != self.case.name:
            show_wrong(self.console, name, record)
            return False
        self._found(record)
        return True

    def prove(self, path: Path) -> bool:
        """Whether a learner's test finds the bug: the healthy passes it, the patient does not."""
        record, test = self._seen(), load_test(path)
        mistake = failure(test, HEALTHY())
        if mistake:
            self.console.print(f"✗ A healthy patient fails it too: {mistake}", style="red")
            return False
        mistake = failure(test, self.case.patient())
        if mistake is None:
            self.console.print(f"✗ Patient {self.number} passes it.", style="red")
            return False
        self.console.print(f"Your test fails, as it should: {mistake}")
        self._found(record)
        return True

    def _found(self, record: Record) -> None:
        self.desk.keep(self.number, replace(record, found=True))
        show_found(self.console, self.case)

    def _seen(self) -> Record:
        record = self.desk.record(self.number)
        if record is None:
            raise UserError(f"see the patient first: {self.desk.command(self.number)}")
        return record

    def _train(self) -> Record:
        steps = iter(track(range(STEPS), f"Patient {self.number} trains", console=self.console))
        record = Record(train(self.case.patient(), lambda step: next(steps)))
        next(steps, None)  # the bar is full
        path, healthy = self.desk.path(self.number, "png"), recorded_curves()["healthy"]
        draw(record.evidence, healthy, f"Patient {self.number}", path)
        self.desk.keep(self.number, record)
        return record


def load_test(path: Path) -> Test:
    """The function `test` of a file."""
    if not path.is_file():
        raise UserError(f"--prove {path}: there is no such file")
    if path.suffix != ".py":
        raise UserError(f"--prove {path}: the name of a Python file ends in .py")
    test: Test | None = getattr(load_part(path), "test", None)
    if not callable(test):
        raise UserError(
            f"{path} has no function `test(patient)`; what a patient has is in "
            "exercises/clinic/patient.py"
        )
    return test


def failure(test: Test, patient: Patient) -> str | None:
    """How it fails, in a line; None if it passes."""
    try:
        test(patient)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None
