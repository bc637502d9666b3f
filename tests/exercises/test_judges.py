"""The judges judged: stubs fail, solutions pass, planted bugs get the sentence meant for them."""

import importlib
from pathlib import Path

import pytest

from exercises.contents import EXERCISES
from exercises.judging.process import judged
from exercises.judging.skeleton import skeleton

WRITTEN = [name for name, exercise in EXERCISES.items() if exercise.folder.exists()]
CASES = {name: importlib.import_module(f"cases.{name}") for name in WRITTEN}
BUGS = [(name, *bug) for name, cases in CASES.items() for bug in cases.BUGS]
RIGHT = [(name, i) for name, cases in CASES.items() for i in range(len(cases.RIGHT))]


def solution(name: str) -> str:
    return (EXERCISES[name].folder / "solution.py").read_text(encoding="utf-8")


def verdict(folder: Path, name: str, text: str, limit: float = 60.0):
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return judged(name, path, limit)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_solution_passes_and_the_stub_is_still_to_be_written(tmp_path: Path, name: str) -> None:
    found = verdict(tmp_path, name, solution(name))
    assert found.failure is None
    assert found.passed
    assert found.remarks == ()
    stub = verdict(tmp_path, name, skeleton(solution(name)))
    assert not stub.passed
    assert stub.failure is not None
    assert stub.failure.mistake == "this is still to be written"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "old", "new", "message"), BUGS)
def test_a_planted_bug_is_named(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    whole = solution(name)
    assert whole.count(old) >= 1
    found = verdict(tmp_path, name, whole.replace(old, new))
    assert found.failure is not None
    assert message in found.failure.mistake, found.failure
    assert found.failure.given
    assert found.failure.came != found.failure.expected or not found.failure.came


@pytest.mark.slow
@pytest.mark.parametrize(("name", "index"), RIGHT)
def test_an_unusual_right_answer_passes(tmp_path: Path, name: str, index: int) -> None:
    found = verdict(tmp_path, name, CASES[name].RIGHT[index])
    assert found.failure is None


def test_each_exercise_has_enough_cases() -> None:
    for name, cases in CASES.items():
        assert len(cases.BUGS) >= 6, name
    assert len(RIGHT) >= 10


@pytest.mark.parametrize("name", WRITTEN)
def test_there_are_three_hints(name: str) -> None:
    text = (EXERCISES[name].folder / "hints.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## One",
        "## Two",
        "## Three",
    ]
