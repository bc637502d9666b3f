"""A new run: one that cannot start leaves nothing behind and destroys nothing."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from training_tools import TINY, load_command, train, write_text

from transformer.errors import UserError
from transformer.machine.files import replaced
from transformer.runs.run_folder import RunFolder, check_name
from transformer.training.new_run import begin, new_folder

FLAGS = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")
DESCRIPTION = {"training": {}, "model": {}}


@pytest.fixture(autouse=True)
def _in_a_folder_with_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "text.txt")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What a run consists of, in small."""
    run = tmp_path / "runs/old"
    run.mkdir(parents=True)
    for name in ("tokenizer.json", "metrics.jsonl", "curves.png", "samples.md", "latest", "best"):
        (run / name).write_text(f"the old {name}")
    (run / "config.json").write_text(json.dumps({"training": {"seed": 1}, "model": {}}))
    for name in ("checkpoint-00000003", "checkpoint-00000006", ".unfinished-checkpoint-00000009"):
        (run / name).mkdir()
        (run / name / "model.safetensors").write_text("the old weights")
    (run / "tensorboard").mkdir()
    (run / "tensorboard/events.out.tfevents.1.host.2.0").write_text("the old board")
    (run / ".metrics.jsonl.tmp").write_text("torn")
    return run


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.mark.parametrize(
    "name", [".", "..", ".hidden", "a/b", "a/", "a\nb", "a\0b", "\x7f", "\udcff", "ü" * 128]
)
def test_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="--name must ") as caught:
        check_name(name)
    assert str(caught.value).encode()  # can be printed
    check_name("日本 $\\frac$ [bold] " + "ü" * 100)


@pytest.mark.parametrize("more", [(), ("--overwrite",), ("--resume",)])
def test_a_run_has_a_name(more: tuple[str, ...]) -> None:
    """--name "" once meant the folder of all runs, and --overwrite deleted them."""
    Path("runs/mine").mkdir(parents=True)
    Path("runs/config.json").write_text(json.dumps(DESCRIPTION))
    with pytest.raises(UserError, match="--name must be the name of a folder"):
        train(*FLAGS, "--name", "", *more)
    assert sorted(os.listdir("runs")) == ["config.json", "mine"]


@pytest.mark.parametrize(
    "flags",
    [
        ("--text", "gone.txt"),
        ("--tokenizer", "nope"),
        ("--d-model", "15"),
        ("--accumulation-steps", "1", "--seq-length", "100000"),
    ],
)
@pytest.mark.parametrize("runs", ["runs", "deep/er/runs"])
def test_a_start_that_fails_leaves_nothing(flags: tuple[str, ...], runs: str) -> None:
    with pytest.raises(UserError):
        train(*FLAGS, *flags, "--runs-dir", runs)
    assert not Path(runs.split("/")[0]).exists()


def start(
    name: str | None, then: Callable[[RunFolder], object], error: type[BaseException]
) -> None:
    """A start that gets as far as `begin`, and what happens then."""
    with new_folder(Path("runs"), name, "toy", False) as folder:
        folder.new_tokenizer.write_text("{}")
        begin(folder, DESCRIPTION)
        then(folder)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_whatever_the_reason_nothing_is_left(error: type[BaseException]) -> None:
    Path("runs/other").mkdir(parents=True)
    with pytest.raises(error):  # the log is open, but no step was done
        start(None, lambda folder: folder.metrics.write_text(""), error)
    assert os.listdir("runs") == ["other"]


def test_only_what_the_start_has_made_is_removed() -> None:
    with pytest.raises(MemoryError):
        start("mine", lambda folder: (folder.path / "notes.txt").write_text("!"), MemoryError)
    assert os.listdir("runs/mine") == ["notes.txt"]


def test_a_run_that_has_done_a_step_stays() -> None:
    with pytest.raises(MemoryError):
        start(None, lambda folder: folder.metrics.write_text('{"step": 1}\n'), MemoryError)
    assert {"config.json", "metrics.jsonl", "tokenizer.json"} <= set(os.listdir("runs/toy-1"))


def test_an_older_run_is_replaced_whole(old: Path) -> None:
    with new_folder(Path("runs"), "old", "text", True) as folder:
        folder.new_tokenizer.write_text("new")
        begin(folder, DESCRIPTION)
    assert content(old).keys() == {"config.json", "tokenizer.json"}
    assert (old / "tokenizer.json").read_text() == "new"
    assert json.loads((old / "config.json").read_text()) == DESCRIPTION


@pytest.mark.parametrize(
    "flags",
    [
        ("--n-heads", "3"),
        ("--text", "gone.txt"),
        ("--tokenizer", "gone.json"),
        ("--tensorboard",),  # without the package
    ],
)
def test_an_older_run_is_untouched_if_the_new_one_cannot_start(
    old: Path, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    before = content(old)
    with pytest.raises(UserError):
        train(*FLAGS, "--name", "old", "--overwrite", *flags)
    assert content(old) == before


@pytest.mark.slow
def test_a_run_that_is_training_is_not_overwritten(old: Path) -> None:
    before = content(old)
    with FileLock(old / ".lock"), pytest.raises(UserError, match="another process is training"):
        train(*FLAGS, "--name", "old", "--overwrite")
    assert content(old) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "thesis.txt").write_text("!"), "does not have thesis.txt; move"),
        (lambda run: (run / "checkpoint-00000003/a").write_text(""), "checkpoint-00000003/a"),
        (lambda run: (run / "checkpoint-best-copy").mkdir(), "checkpoint-best-copy"),
        (lambda run: (run / "model.safetensors").write_text(""), "model.safetensors"),
        (lambda run: (run / "config.json").write_text('{"d": 1}'), "has no 'training'"),
        (lambda run: (run / "config.json").write_text("{"), "is damaged"),
        (lambda run: (run / "config.json").unlink(), "there is no runs/old/config.json"),
    ],
)
def test_what_is_not_only_a_run_is_not_overwritten(
    old: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(old)
    before = content(old)
    with pytest.raises(UserError, match=f"runs/old is not overwritten.*{message}"):
        train(*FLAGS, "--name", "old", "--overwrite")
    assert content(old) == before


def test_a_link_and_a_file_are_no_place_for_a_run(old: Path) -> None:
    (old.parent / "link").symlink_to("old")
    (old.parent / "dangling").symlink_to("nowhere")
    (old.parent / "file").write_text("precious")
    before = content(old)
    for name, message in (("link", "link"), ("dangling", "link"), ("file", "not a folder")):
        with pytest.raises(UserError, match=f"runs/{name} is .*{message}"):
            train(*FLAGS, "--name", name, "--overwrite")
    assert content(old) == before
    assert (old.parent / "file").read_text() == "precious"


def test_what_a_killed_start_leaves_is_no_obstacle() -> None:
    run = Path("runs/mine")
    run.mkdir(parents=True)
    (run / ".lock").touch()
    for name in ("config.json", ".tokenizer.json.new"):
        with replaced(run / name) as temporary:
            unnamed = temporary.name
            temporary.write_text("{")
        (run / name).rename(run / unnamed)  # as if it was killed before the file had its name
    (run / ".tokenizer.json.new").write_text("of the start that was killed")
    with new_folder(Path("runs"), "mine", "text", False) as folder:
        assert not folder.new_tokenizer.exists()  # the new start makes its own
        folder.new_tokenizer.write_text("new")
        begin(folder, DESCRIPTION)
    assert content(run) == {
        "config.json": json.dumps(DESCRIPTION, indent=2) + "\n",
        "tokenizer.json": "new",
    }


def test_killed_at_any_moment_one_of_both_runs_can_be_started(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`begin` cut short after each of its operations on files."""
    backup = shutil.copytree(old, old.parent.parent / "backup")
    done = 0
    for killed_after in range(100):
        shutil.rmtree(old)
        shutil.copytree(backup, old)
        (old / ".tokenizer.json.new").write_text("new")
        left = killed_after

        def counted(operation: Callable[..., object]) -> Callable[..., object]:
            def run(*args: object, **kwargs: object) -> object:
                nonlocal left
                if not left:
                    raise KeyboardInterrupt
                left -= 1
                return operation(*args, **kwargs)

            return run

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "rmdir"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                begin(RunFolder(old), DESCRIPTION)
                done = killed_after
            except KeyboardInterrupt:
                pass
        is_new = json.loads((old / "config.json").read_text()) == DESCRIPTION
        if is_new:
            assert not list(old.glob("checkpoint-*"))
            assert content(old).get("tokenizer.json") in (None, "new")
        for checkpoint in old.glob("checkpoint-*"):
            assert (checkpoint / "model.safetensors").exists()  # whole or not there
        with new_folder(Path("runs"), "old", "text", True):
            pass  # it can be replaced again
        if done:
            break
    assert done > 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--resume", "runs/a", "runs/b"), "--resume takes one run or checkpoint, but got"),
        (("--resume", "runs/a", "--name", "b"), "--resume runs/a names the run"),
        (("--resume", "--overwrite"), "give one of them"),
        (("--new-schedule",), "--new-schedule goes with --resume"),
    ],
)
def test_flags_that_contradict_each_other(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_command("train").main([*TINY, *flags])
