"""Runs that were damaged, edited or copied: resumed as far as they can be, and never made worse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_tools import assert_same_run, load_command, train, write_text

from transformer.errors import UserError
from transformer.training.flags import parse

FLAGS = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")
RUN = Path("run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps, evaluated after every second one."""
    folder = tmp_path_factory.mktemp("trained")
    text = write_text(folder / "text.txt")
    flags = (*FLAGS, "--text", str(text), "--runs-dir", str(folder), "--eval-every", "2")
    assert train(*flags, "--name", "run", "--steps", "6") == 0
    return folder


@pytest.fixture(autouse=True)
def _in_a_copy(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def newest() -> Path:
    return RUN / (RUN / "latest").read_text().strip()


def resume(*flags: str) -> int:
    return train("--resume", "run", "--steps", "9", *flags)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("training"), "has no 'training'"),
        (lambda c: c.update(plan=None), "'plan' must be an object, but is null"),
        (lambda c: c.update(plan=[]), r"'plan' must be an object, but is \[\]"),
        (lambda c: c["plan"].pop("schedule_steps"), "'plan' has no 'schedule_steps'"),
        (lambda c: c["training"].update(seq_length=16.0), "'seq_length' must be a whole number"),
        (lambda c: c["training"].update(keep="2"), "'keep' must be a whole number"),
        (lambda c: c["training"].update(d_model=32), r"the shape \[16\] .*, \[32\] in"),
        (lambda c: c["training"].update(n_layers=2), r"blocks\.1\..* has the shape nothing"),
    ],
)
def test_a_configuration_that_is_not_the_runs(
    change: Callable[[Any], object], message: str
) -> None:
    edit(RUN / "config.json", change)
    before = (RUN / "config.json").read_bytes()
    with pytest.raises(UserError, match=message):  # without the flags that say something else
        load_command("train").main(["--resume", "run", "--steps", "9"])
    assert (RUN / "config.json").read_bytes() == before


def test_a_damaged_state_is_passed_over_by_resuming_before_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit(newest() / "training_state.json", lambda state: state.update(source_state=None))
    assert resume() == 0
    shown = capsys.readouterr().out
    assert "checkpoint-00000006/training_state.json: 'source_state' must be an object" in shown
    assert "falling back to the checkpoint before it" in shown
    assert newest().name == "checkpoint-00000009"


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ({}, "has no 'fingerprint'"),
        ({"fingerprint": "theirs", "sequences": 4}, "belongs to other data"),
        ({"fingerprint": None, "sequences": 4}, "'fingerprint' must be a text, but is null"),
        ({"sequences": -4}, "'sequences' must be a whole number of at least 0, but is -4"),
        ({"sequences": 1.5}, "'sequences' must be a whole number"),
        ({"sequences": None}, "'sequences' must be a whole number"),
    ],
)
def test_an_impossible_position_in_the_data_is_an_error(
    position: dict[str, Any], message: str
) -> None:
    def change(state: dict[str, Any]) -> None:
        state["source_state"] = {**state["source_state"], **position} if position else {}

    edit(newest() / "training_state.json", change)
    before = (RUN / "config.json").read_bytes(), (RUN / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match=message):
        resume()
    assert ((RUN / "config.json").read_bytes(), (RUN / "metrics.jsonl").read_bytes()) == before


def test_a_resumption_that_fails_changes_nothing() -> None:
    """It once wrote its flags to config.json, and after that plain --resume failed."""
    before = (RUN / "config.json").read_bytes()
    text = Path("text.txt").read_text()
    Path("other.txt").write_text(text + " And more.")
    with pytest.raises(UserError, match="the checkpoint belongs to other data"):
        resume("--text", "other.txt")
    with pytest.raises(UserError, match=r"no such file or folder: gone\.txt"):
        resume("--text", "gone.txt")
    assert (RUN / "config.json").read_bytes() == before
    assert resume() == 0


def test_what_a_user_keeps_in_the_folder_is_left_alone() -> None:
    """A copy under another name once broke --resume, and ended a run."""
    shutil.copytree(newest(), RUN / "checkpoint-best-copy")
    shutil.copytree(newest(), RUN / "checkpoint-00000006.bak")
    shutil.copytree(newest(), RUN / "checkpoint-6")
    (RUN / "checkpoint-00000006.zip").write_text("zip")
    (RUN / "checkpoint-00000099").write_text("a file")
    (RUN / ".unfinished-business").mkdir()
    assert resume("--keep", "1") == 0
    assert newest().name == "checkpoint-00000009"
    for name in ("best-copy", "00000006.bak", "6", "00000006.zip", "00000099"):
        assert (RUN / f"checkpoint-{name}").exists()
    assert (RUN / ".unfinished-business").exists()
    with pytest.raises(UserError, match="names like checkpoint-00000100; give the copy"):
        train("--resume", "run/checkpoint-best-copy")


@pytest.mark.parametrize("bad", ["", '{"step": 3, "val_loss": 1.0}'])
def test_a_damaged_line_of_metrics_costs_no_checkpoint(
    bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even where it was that of the best evaluation."""
    best = RUN / (RUN / "best").read_text().strip()
    step = json.loads((best / "training_state.json").read_text())["step"]
    lines = (RUN / "metrics.jsonl").read_text().splitlines()
    (place,) = [
        i for i, line in enumerate(lines) if f'"step": {step},' in line and "val_loss" in line
    ]
    for path in RUN.glob("checkpoint-*/training_state.json"):  # so good that none is better
        edit(path, lambda s: s.update(best_loss=0.5))
    kept = [line for line in lines if line != lines[place]]
    lines[place] = bad
    (RUN / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert resume("--keep", "1") == 0
    assert f"metrics.jsonl, line {place + 1}" in capsys.readouterr().out
    assert (best / "model.safetensors").exists()
    assert (RUN / "best").read_text().strip() == best.name
    assert (RUN / "metrics.jsonl").read_text().splitlines()[: len(kept)] == kept


def test_an_older_run_resumes_as_it_did() -> None:
    """Fields that came later are missing from its files; nothing else differs in the end."""
    shutil.copytree(RUN, "other")
    edit(Path("other/config.json"), lambda c: c["training"].pop("tensorboard"))
    for path in Path("other").glob("checkpoint-*/training_state.json"):
        edit(path, lambda s: s.pop("best_loss"))
    assert resume() == train("--resume", "other", "--steps", "9") == 0
    assert_same_run(RUN, Path("other"))


def test_a_run_at_its_end_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    before = (RUN / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"run is at step 6 already: of 3 steps .* with --steps$"):
        train("--resume", "run", "--steps", "3")
    assert (RUN / "config.json").read_bytes() == before
    capsys.readouterr()
    assert train("--resume", "run") == 0
    told = "run is at step 6 already: of 6 steps nothing is left to train"
    assert f"{told} (more: --steps)" in capsys.readouterr().out
    config = parse(["--resume", "run", "--mps"])[0].config
    assert (config.mps, config.device) == (True, "auto")  # it was begun with --device cpu
    with pytest.raises(UserError, match="--epochs 9 would change nothing: --steps 6 says how long"):
        train("--resume", "run", "--epochs", "9")
    epochs = {"steps": None, "epochs": 1, "tokens_per_epoch": 6 * 64}
    edit(RUN / "config.json", lambda c: c["training"].update(epochs))
    assert train("--resume", "run") == 0
    assert f"{told} (more: --steps or --epochs)" in capsys.readouterr().out


def test_going_back_to_a_checkpoint_is_told_and_needs_something_to_train(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *later = sorted(RUN.glob("checkpoint-*"))
    step = first.name[-1]
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=rf"of {step} steps nothing is left .* more with --steps$"):
        train("--resume", str(first), "--steps", step)
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    assert train("--resume", str(first), "--steps", "9") == 0
    gone = ", ".join(path.name for path in later)
    assert f"back to step {step}; later checkpoints are removed: {gone}\n" in (
        capsys.readouterr().out
    )
