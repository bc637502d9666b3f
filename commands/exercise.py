"""Write the transformer yourself: exercises, judged, and then trained.

uv run python commands/exercise.py                    what there is, what is done, what is next
uv run python commands/exercise.py start attention    writes mine/attention.py, to be completed
uv run python commands/exercise.py check attention    says what is wrong first, in words
uv run python commands/exercise.py check --watch      judges each file when it is saved
uv run python commands/exercise.py hint attention     one more hint each time, three in all
uv run python commands/exercise.py solution attention after passing, or with --give-up
uv run python commands/train.py --dataset toy --mine mine      trains what has passed
uv run python commands/exercise.py clinic             trainings with one bug each: find it
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))

from exercises.clinic.desk import Desk
from exercises.clinic.sheet import show_ward
from exercises.clinic.visit import Visit
from exercises.contents import EXERCISES, Exercise
from exercises.judging.process import judged
from exercises.judging.show import FOLDER, command, hints, show_list, show_verdict
from exercises.judging.skeleton import skeleton
from transformer.errors import UserError
from transformer.machine.files import hash_file
from transformer.terminal.command_line import plain_console, run
from transformer.training.mine_folder import Notebook

EVERY = 0.2  # seconds between two looks at the files
HINTS = 3


@dataclass(frozen=True)
class _Folder:
    mine: Path = FOLDER
    """The folder of your files."""

    @property
    def notebook(self) -> Notebook:
        return Notebook(self.mine)


@dataclass(frozen=True)
class List(_Folder):
    """What there is, what is done, and what is next."""

    def do(self) -> int:
        show_list(plain_console(), self.notebook)
        return 0


@dataclass(frozen=True)
class _Named(_Folder):
    name: tyro.conf.Positional[str] = ""
    """The exercise."""

    @property
    def exercise(self) -> Exercise:
        if self.name not in EXERCISES:
            raise UserError(f"there is no exercise {self.name!r}; there are {', '.join(EXERCISES)}")
        return EXERCISES[self.name]


@dataclass(frozen=True)
class Start(_Named):
    """Write the file to complete; it never overwrites one."""

    def do(self) -> int:
        exercise, path = self.exercise, self.notebook.file(self.name)
        if path.exists():
            raise UserError(f"{path} exists and is yours: go on with it, or move it elsewhere")
        solution = (exercise.folder / "solution.py").read_text(encoding="utf-8")
        self.mine.mkdir(parents=True, exist_ok=True)
        path.write_text(skeleton(solution), encoding="utf-8")
        print(f"{path}: about {exercise.minutes} minutes. Fill in what is not implemented; then")
        print(f"  {command(f'check {self.name}', self.mine)}")
        return 0


@dataclass(frozen=True)
class Check(_Folder):
    """Judge a file, or without a name all that are there, up to the first that is wrong."""

    name: tyro.conf.Positional[str | None] = None
    """The exercise."""
    watch: bool = False
    """Judge again each time a file is saved, until Ctrl-C."""

    def do(self) -> int:
        names = [self.name] if self.name else [n for n in EXERCISES if self.file(n).exists()]
        if not names:
            begin = command("list", self.mine)
            raise UserError(f"there is nothing to judge in {self.mine}; begin with {begin}")
        for name in names:
            _Named(self.mine, name).exercise  # noqa: B018  (it must exist)
            if not self.file(name).exists():
                start = command(f"start {name}", self.mine)
                raise UserError(f"there is no {self.file(name)}; {start} writes it")
        seen = self.states()  # before judging: what is saved meanwhile is judged next
        passed = all(map(self.judge, names))
        if self.watch:
            print("Waiting for the next change (Ctrl-C ends).", flush=True)
            self.judge_changes(seen)
        return 0 if passed else 1

    def file(self, name: str) -> Path:
        return self.notebook.file(name)

    def judge(self, name: str) -> bool:
        digest = hash_file(self.file(name))
        verdict = judged(name, self.file(name))
        self.notebook.note_verdict(name, verdict.passed, digest)
        show_verdict(plain_console(), EXERCISES[name], verdict, self.mine)
        return verdict.passed

    def judge_changes(self, seen: dict[str, tuple[int, int]]) -> None:
        while True:
            time.sleep(EVERY)
            now = self.states()
            for name in [n for n in now if now[n] != seen.get(n)]:
                print()
                self.judge(name)
            seen = now

    def states(self) -> dict[str, tuple[int, int]]:
        """When each file was last written, and its bytes (a file is emptied before it is
        written, and both can happen in one tick of the clock)."""
        names = [self.name] if self.name else list(EXERCISES)
        files = {name: self.file(name) for name in names}
        stats = {name: file.stat() for name, file in files.items() if file.exists()}
        return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}


@dataclass(frozen=True)
class Hint(_Named):
    """One more hint each time, three in all."""

    def do(self) -> int:
        texts, notebook = hints(self.exercise), self.notebook
        self.mine.mkdir(parents=True, exist_ok=True)
        number = min(notebook.hints_read(self.name) + 1, HINTS)
        notebook.note_hint(self.name, number)
        for i, text in enumerate(texts[:number], start=1):
            print(f"Hint {i} of {HINTS}\n{text}\n")
        return 0


@dataclass(frozen=True)
class Solution(_Named):
    """The annotated solution, once yours has passed."""

    give_up: bool = False
    """Show it before."""

    def do(self) -> int:
        exercise = self.exercise
        if not (self.give_up or self.notebook.has_passed(self.name)):
            raise UserError(
                f"{self.notebook.file(self.name)} has not passed yet; --give-up shows the solution"
            )
        print((exercise.folder / "solution.py").read_text(encoding="utf-8"))
        return 0


@dataclass(frozen=True)
class Clinic(_Folder):
    """Sick trainings: without a number all of them, with one what that patient shows."""

    number: tyro.conf.Positional[int | None] = None
    """The patient. The first look trains it, for half a minute or so."""
    examine: str | None = None
    """Show one examination more."""
    answer: str | None = None
    """Your diagnosis."""
    prove: Path | None = None
    """A file of yours with a function test(patient) that a healthy one passes and this one fails;
    exercises/clinic/patient.py says what a patient has."""

    def do(self) -> int:
        wishes = [wish for wish in (self.examine, self.answer, self.prove) if wish is not None]
        if len(wishes) > 1 or (wishes and self.number is None):
            raise UserError("one patient's number, and one of --examine, --answer, --prove at once")
        if self.number is None:
            show_ward(plain_console(), Desk(self.mine))
            return 0
        visit = Visit(plain_console(), self.mine, self.number)
        if self.answer is not None:
            return 0 if visit.answer(self.answer) else 1
        if self.prove is not None:
            return 0 if visit.prove(self.prove) else 1
        if self.examine is not None:
            visit.examine(self.examine)
        else:
            visit.look()
        return 0


Action = List | Start | Check | Hint | Solution | Clinic


@tyro.conf.configure(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
def main(action: Annotated[Action, tyro.conf.arg(name="")]) -> int:
    """Write the transformer yourself."""
    do: Callable[[], int] = action.do
    return do()


def with_default(flags: list[str]) -> list[str]:
    """Without anything else it is the list that is asked for. --mine may come first, too.

    >>> with_default(["--mine", "other"]), with_default(["--mine=other", "check", "mask"])
    (['list', '--mine', 'other'], ['check', 'mask', '--mine=other'])
    """
    count = 2 if flags[:1] == ["--mine"] else sum(f.startswith("--mine=") for f in flags[:1])
    return [*(flags[count:] or ["list"]), *flags[:count]]


if __name__ == "__main__":
    run(main, with_default(sys.argv[1:]))
