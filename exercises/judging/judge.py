"""One learner's file against its judge, stage by stage, until something is wrong.

    1  in small        cases in which one thing alone can be wrong
    2  at random       many shapes, against the same computed with loops
    3  in the model    in the place of ours: logits, gradients, weights after training
    everywhere         no ready-made answer; inputs stay as they are

A judge.py has FORBIDDEN (what is the ready-made answer, and why), STAGES (functions of the
learner's module and a `Check`), and `typical(module)`, a call that is timed.
"""

import importlib.util
import io
import math
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from exercises.contents import Exercise
from exercises.judging.check import Check, Failure, WrongError
from exercises.judging.guard import ChangedInputError, Guard, ReadyMadeError

SLOW = 20  # times as long as the solution: a remark
LONG = 1.0  # seconds of a call
TURNS, MOST_TURNS = 3, 6  # of both; more only where it looks slow
STAGES = ("in small", "at random", "in the model")


@dataclass(frozen=True)
class Verdict:
    """What a judge says of a file."""

    passed: bool
    failure: Failure | None = None
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Verdict":
        failure = values["failure"]
        return cls(
            values["passed"],
            None if failure is None else Failure(**failure),
            tuple(values["remarks"]),
            values["seconds"],
        )


def judge(exercise: Exercise, path: Path) -> Verdict:
    """Judge the file. Call it in a process of its own: it changes PyTorch for the guard."""
    start = time.perf_counter()
    rules = load(exercise.folder / "judge.py", f"judge_of_{exercise.name}")
    solution = load(exercise.folder / "solution.py", f"solution_of_{exercise.name}")
    guard = Guard(rules.FORBIDDEN)
    guard.install()
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        failure = _first_failure(rules, solution, guard, path)
        if failure is None:
            failure = _time(rules.typical, path, solution, guard)
    if printed := said.getvalue():
        first = printed.strip().splitlines()[0] if printed.strip() else "an empty line"
        guard.remark(f"it printed {len(printed.splitlines())} lines, the first: {first[:60]}")
    return Verdict(failure is None, failure, tuple(guard.remarks), time.perf_counter() - start)


def load(path: Path, name: str) -> ModuleType:
    """A Python file as a module that nobody else sees."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first_failure(
    rules: ModuleType, solution: ModuleType, guard: Guard, path: Path
) -> Failure | None:
    stage = "reading the file"
    try:
        module = load(path, "mine")
        check = Check(stage)
        for name in public_names(solution):
            check.that(
                callable(getattr(module, name, None)),
                given=path.name,
                came=", ".join(public_names(module)) or "nothing",
                expected=name,
                mistake=f"there is no {name} in the file",
            )
        guard.watch_module(module)
        for stage, run in zip(STAGES, rules.STAGES, strict=True):
            torch.manual_seed(0)
            run(module, Check(stage))
    except WrongError as wrong:
        return wrong.failure
    except BaseException as error:
        return _explain(error, stage, path)
    return None


def public_names(module: ModuleType) -> list[str]:
    """The functions and classes that a file itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]


def _explain(error: BaseException, stage: str, path: Path) -> Failure:
    """An exception of the learner's code, in a sentence, with the line of their file."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    source = (frames[-1].line or "").strip() if frames else ""
    given = f"{path.name}, line {line}: {source}" if line else path.name
    if isinstance(error, NotImplementedError) and not str(error):  # PyTorch's own have a text
        mistake = "this is still to be written"
    elif isinstance(error, ReadyMadeError):
        mistake = str(error)
    elif isinstance(error, ChangedInputError):
        mistake = f"{error}: who called has lost it; compute a new tensor instead"
    elif isinstance(error, SystemExit | KeyboardInterrupt):
        mistake = "the code ended the program instead of returning a value"
    else:
        mistake = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    return Failure(stage, given, "", "", mistake)


def _time(
    typical: Callable[[ModuleType], object], path: Path, solution: ModuleType, guard: Guard
) -> Failure | None:
    """A remark if the learner's code is far slower than the solution."""
    fastest = [math.inf, math.inf]
    try:
        modules = load(path, "mine"), solution
        for turn in range(MOST_TURNS):  # a busy machine may hold up a few of them
            for i, module in enumerate(modules):
                start = time.perf_counter()
                typical(module)
                fastest[i] = min(fastest[i], time.perf_counter() - start)
            is_long = fastest[0] > LONG  # once is enough, or the judge's own time is up
            if is_long or (turn + 1 >= TURNS and fastest[0] <= SLOW * fastest[1]):
                break
    except BaseException as error:
        return _explain(error, "at a usual size", path)
    if fastest[0] > SLOW * fastest[1]:
        times = fastest[0] / fastest[1]
        guard.remark(f"right, but {times:.0f} times as slow as the solution: is there a loop?")
    return None
