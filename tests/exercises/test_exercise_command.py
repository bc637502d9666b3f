"""commands/exercise.py and `train.py --mine`, as a learner uses them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from learner import write
from parallel_tools import torchrun
from processes import wait_until
from safetensors import safe_open
from training_tools import ROOT, assert_same_run, call, metrics, train, write_text

from exercises.contents import EXERCISES
from exercises.judging.process import judged
from exercises.judging.skeleton import skeleton
from transformer.errors import UserError
from transformer.runs.model_file import read_model_file
from transformer.training.mine import TRAINED

FLAGS = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")
SOLUTION = EXERCISES["attention"].folder / "solution.py"
pytestmark = pytest.mark.usefixtures("folder")


def test_from_the_list_to_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("exercise", "list") == 0
    listed = capsys.readouterr().out
    assert "0 of 20 done" in listed
    assert "exercise.py start positions" in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert call("exercise", "start", "attention") == 0
    written = Path("mine/attention.py").read_text()
    assert written == skeleton(SOLUTION.read_text("utf-8"))
    assert "raise NotImplementedError" in written
    assert "scores.masked_fill" not in written
    assert call("exercise", "check", "attention") == 1
    assert "This is still to be written." in capsys.readouterr().out
    write(text=SOLUTION.read_text("utf-8").replace("/ math.sqrt(K)", ""))
    assert call("exercise", "check") == 1
    said = capsys.readouterr().out
    for part in ("in small (1 of 3)", "[0.8808  0.1192]", "[0.7311  0.2689]", "not divided by √K"):
        assert part in said
    shown = said[: said.index("Read on")].strip()
    assert shown in (ROOT / "README.md").read_text("utf-8")
    write()
    assert call("exercise", "check", "attention") == 0
    assert "✓ attention: passed" in capsys.readouterr().out
    call("exercise", "list")
    assert "1 of 20 done" in capsys.readouterr().out
    with Path("mine/attention.py").open("a") as file:
        file.write("# changed\n")
    call("exercise", "list")
    said = capsys.readouterr().out
    assert "0 of 20 done" in said
    assert "has passed and was changed since" in said


def test_hints_come_one_by_one_and_the_solution_after_passing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for n in (1, 2, 3, 3):
        assert call("exercise", "hint", "attention") == 0
        assert capsys.readouterr().out.count("Hint ") == n
    assert call("exercise", "solution", "attention") == 2
    assert "has not passed yet; --give-up" in capsys.readouterr().err
    assert call("exercise", "solution", "attention", "--give-up") == 0
    assert capsys.readouterr().out.strip() == SOLUTION.read_text("utf-8").strip()
    write()
    call("exercise", "check")
    assert call("exercise", "solution", "attention") == 0


def test_work_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    path = write(text="mine = True\n")
    assert call("exercise", "start", "attention") == 2
    assert "exists and is yours" in capsys.readouterr().err
    assert path.read_text() == "mine = True\n"
    assert call("exercise", "check", "nothing") == 2
    assert "there is no exercise 'nothing'; there are positions" in capsys.readouterr().err
    assert call("exercise", "check", "mask") == 2
    assert "start mask writes it" in capsys.readouterr().err


@pytest.mark.slow
def test_watching_judges_each_save(folder: Path) -> None:
    """Also what is saved while an earlier save is being judged."""
    begun = folder / "begun"
    wrong = SOLUTION.read_text("utf-8").replace("/ math.sqrt(K)", "")
    path = write(text=f"open({str(begun)!r}, 'w').close()\nimport time; time.sleep(2)\n{wrong}")
    said = folder / "said.txt"
    command = [sys.executable, str(ROOT / "commands/exercise.py"), "check", "--watch"]
    with said.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
    try:
        wait_until(begun.exists, 120)
        write()
        wait_until(lambda: "✓ attention: passed" in said.read_text(), 120)
        assert "not divided by √K" in said.read_text()
        path.write_text("def broken(:\n")
        wait_until(lambda: "SyntaxError" in said.read_text(), 60)
    finally:
        process.terminate()
        process.wait(60)


def test_what_has_passed_is_trained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the learner's attention a run is the same as with ours, but for the file's note."""
    write_text(folder / "text.txt")
    write()
    flags = (*FLAGS, "--steps", "6", "--keep", "9", "--dropout", "0")
    with pytest.raises(UserError, match=r"has not passed its judge; .* check attention"):
        train(*flags, "--mine", "mine")
    call("exercise", "check", "attention")
    assert train(*flags, "--mine", "mine", "--name", "mine") == 0
    assert train(*flags, "--name", "ours") == 0
    for a, b in zip(metrics(Path("runs/mine")), metrics(Path("runs/ours")), strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-5)
    path = Path("runs/mine/checkpoint-00000006/model.safetensors")
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["yours"]).keys() == {"attention"}
    assert read_model_file(path).step == 6
    with safe_open(Path("runs/ours/checkpoint-00000006/model.safetensors"), "pt") as file:
        assert "yours" not in file.metadata()


@pytest.mark.slow
def test_a_run_keeps_its_parts(folder: Path) -> None:
    write_text(folder / "text.txt")
    path = write()
    call("exercise", "check", "attention")
    assert train(*FLAGS, "--steps", "6", "--keep", "9", "--mine", "mine", "--name", "mine") == 0
    os.rename("runs/mine", "runs/whole")
    train(*FLAGS, "--steps", "6", "--keep", "9", "--mine", "mine", "--name", "mine")
    assert train("--resume", "runs/mine/checkpoint-00000003") == 0
    assert_same_run(Path("runs/whole"), Path("runs/mine"))
    with path.open("a") as file:
        file.write("# another\n")
    call("exercise", "check", "attention")
    with pytest.raises(UserError, match=r"mine/attention\.py has changed since this run began"):
        train("--resume", "runs/mine", "--steps", "8")
    path.rename("elsewhere.py")
    write("mask") if EXERCISES["mask"].folder.exists() else None
    with pytest.raises(UserError, match=r"no part in it|is gone since this run began|not passed"):
        train("--resume", "runs/mine", "--steps", "8")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--mine", "nowhere"), "there is no part in it that can be trained"),
        (("--mine", "mine", "--rung", "rotary"), "your parts are those of the classic model"),
    ],
)
def test_what_has_no_place_is_refused(folder: Path, flags: tuple[str, ...], message: str) -> None:
    write_text(folder / "text.txt")
    write()
    with pytest.raises(UserError, match=message):
        train(*FLAGS, "--steps", "2", "--unjudged", *flags)


def test_what_trains_is_what_the_list_says() -> None:
    assert [each.name for each in EXERCISES.values() if each.trains] == list(TRAINED)


def test_code_that_fails_only_at_a_usual_size_gets_a_verdict() -> None:
    text = SOLUTION.read_text("utf-8").replace(
        "K = queries.size(-1)", "K = queries.size(-1); assert keys.size(-2) < 100, 'too long'"
    )
    verdict = judged("attention", write(text=text))
    assert verdict.failure is not None
    assert verdict.failure.mistake == "AssertionError: too long"


@pytest.mark.slow
def test_two_processes_train_with_a_learners_parts(folder: Path) -> None:
    """The same losses as one process; where that cannot be, it says why."""
    write_text(folder / "text.txt")
    for name in ("attention", "layer_norm", "feed_forward", "adamw"):
        write(name)
    flags = ("--mine", "mine", "--unjudged", "--steps", "20")
    for name, processes in (("one", 1), ("two", 2)):
        done = torchrun(folder, processes, *flags, "--name", name)
        assert done.returncode == 0, done.stderr[-2000:]
    for a, b in zip(metrics(Path("runs/one")), metrics(Path("runs/two")), strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-4)
    write("accumulation")
    done = torchrun(folder, 2, *flags, "--name", "refused")
    assert done.returncode != 0
    assert "mine/accumulation.py counts the tokens of one process" in done.stderr


@pytest.mark.slow
def test_all_parts_together_train_and_compile(folder: Path) -> None:
    write_text(folder / "text.txt")
    for name in TRAINED:
        write(name)
    flags = (*FLAGS, "--steps", "12", "--dropout", "0", "--precision", "fp32")
    for name, more in (("mine", ("--mine", "mine", "--unjudged")), ("ours", ())):
        assert train(*flags, *more, "--name", name) == 0
    assert train(*flags, "--mine", "mine", "--unjudged", "--compile", "on", "--name", "fast") == 0
    ours = metrics(Path("runs/ours"))
    for other in ("mine", "fast"):
        for a, b in zip(metrics(Path(f"runs/{other}")), ours, strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], abs=2e-4), other
