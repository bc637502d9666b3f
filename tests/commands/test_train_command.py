"""commands/train.py: what it writes, and what it says about mistakes."""

import json
import math
import os
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import LIMIT, wait
from training_tools import (
    assert_same_run,
    load_command,
    metrics,
    start_killable,
    train,
    write_text,
)

from transformer.errors import UserError
from transformer.machine.device import Machine
from transformer.runs.metrics import read_metrics
from transformer.runs.model_file import read_model_file
from transformer.runs.run_folder import RunFolder
from transformer.training.config import (
    TrainingConfig,
    config_to_json,
)
from transformer.training.flags import saved_config
from transformer.training.start import Run
from transformer.training_utils import GradientAccumulator, StepResult

FLAGS = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")


@pytest.fixture(autouse=True)
def _in_a_folder_with_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "text.txt")


def test_a_run_writes_what_the_contract_says() -> None:
    assert train(*FLAGS, "--steps", "10", "--name", "first") == 0
    run = Path("runs/first")
    records = read_metrics(run / "metrics.jsonl")
    steps = [r for r in records if "grad_norm" in r]
    assert [r["step"] for r in steps] == list(range(1, 11))
    assert set(steps[0]) == {
        *("step", "tokens", "epoch", "train_loss", "learning_rate"),
        *("grad_norm", "tokens_per_second"),
    }
    judged = [r for r in records if "val_loss" in r]
    assert [r["step"] for r in judged] == [5, 10]
    recent = [r["train_loss"] for r in steps[5:]]
    assert judged[1]["train_loss"] == pytest.approx(sum(recent) / 5, rel=1e-6)
    loaded = read_model_file(run / (run / "latest").read_text().strip() / "model.safetensors")
    assert loaded.step == 10
    assert (run / "samples.md").read_text().startswith("## step 5\n")
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    saved = json.loads((run / "config.json").read_text())["training"]
    assert (saved["precision"], saved["compile"], saved["device"]) == ("fp32", "off", "cpu")


@pytest.mark.slow
def test_a_run_that_is_stopped_and_resumed_is_the_same_run() -> None:
    """Stopped by SIGTERM at some step: when it is resumed, the learning rate continues."""
    train(*FLAGS, "--steps", "40", "--name", "whole")
    process = start_killable(*FLAGS, "--steps", "40", "--name", "stopped")
    end = time.monotonic() + LIMIT
    while not Path("runs/stopped/metrics.jsonl").exists() or not metrics(Path("runs/stopped")):
        assert process.exitcode is None
        assert time.monotonic() < end
        process.join(0.01)
    assert process.pid is not None
    process.terminate()
    assert wait(process) in (0, 128 + signal.SIGINT)  # 0: it was done before the signal came
    assert train("--resume", "--name", "stopped") == 0
    assert_same_run(Path("runs/whole"), Path("runs/stopped"))


def test_a_run_from_before_a_flag_existed_is_resumed() -> None:
    """All fields that have their default are taken out of config.json, as if added later."""
    train(*FLAGS, "--steps", "6", "--name", "whole")
    run = Path(shutil.copytree("runs/whole", "runs/older"))
    shutil.rmtree(run / "checkpoint-00000006")  # stopped after step 3
    (run / "latest").write_text("checkpoint-00000003")
    (run / "best").unlink()
    saved = json.loads((run / "config.json").read_text())
    defaults = config_to_json(TrainingConfig())
    kept = {name: v for name, v in saved["training"].items() if v != defaults[name]}
    assert len(kept) < len(saved["training"]) - 10
    (run / "config.json").write_text(json.dumps({**saved, "training": kept}))
    assert train("--resume", "runs/older") == 0
    assert_same_run(Path("runs/whole"), run)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are UTF-8 there")
def test_a_file_whose_name_is_not_utf8_is_trained_on_again() -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    os.rename("text.txt", name)
    assert train(*FLAGS[:3], name, *FLAGS[4:], "--steps", "3") == 0
    assert train("--resume", "--steps", "5") == 0
    assert len([r for r in metrics(Path("runs/text-1")) if "grad_norm" in r]) == 5


@pytest.mark.slow
def test_a_run_extended_after_its_end_stays_at_the_lowest_rate() -> None:
    train(*FLAGS, "--steps", "6", "--name", "short")
    assert train("--resume", "runs/short", "--steps", "8") == 0
    rates = [r["learning_rate"] for r in metrics(Path("runs/short")) if "grad_norm" in r]
    assert len(rates) == 8
    assert rates[5] == rates[6] == rates[7] == pytest.approx(3e-5)
    assert train("--resume", "runs/short", "--steps", "10", "--new-schedule") == 0
    rates = [r["learning_rate"] for r in metrics(Path("runs/short")) if "grad_norm" in r]
    assert rates[8] > rates[9] == pytest.approx(3e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--dataset", "text"), "--dataset text needs --text PATH"),
        ((*FLAGS, "--text", "nowhere.txt"), "no such file or folder: nowhere.txt"),
        ((*FLAGS, "--stories", "5"), "--stories limits the toy stories"),
        ((*FLAGS, "--name", "a/b"), "--name must be the name of a folder"),
        ((*FLAGS, "--seq-length", "100000"), "less than one sequence"),
        ((*FLAGS, "--window", "0"), "^window must be at least 1, but is 0; --help"),
        ((*FLAGS, "--positions", "rotary", "--n-heads", "16"), "head_size must be even, but is 1"),
        ((*FLAGS, "--n-kv-heads", "3"), "n_heads must be divisible by n_kv_heads"),
        ((*FLAGS, "--rung", "2027"), "invalid choice '2027' for argument '--rung'"),
        ((*FLAGS, "--rung", "all", "--qk-scale", "nan"), "--qk-scale must be a finite number"),
        (("--resume",), "there is no run in runs yet"),
        (("--resume", "nowhere"), "--resume nowhere: no run and no checkpoint there"),
    ],
)
def test_mistakes_end_in_one_clear_message(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(*flags)
    assert list(Path().glob("runs/*")) == []  # and leaves no empty run behind


def test_flags_are_judged_before_the_machine_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError, match="--text goes with --dataset text"):
        load_command("train").main(["--dataset", "toy", "--text", "text.txt"])
    assert capsys.readouterr().out == ""


def test_a_run_that_exists_is_not_overwritten_and_settings_are_kept() -> None:
    train(*FLAGS, "--steps", "3", "--name", "mine")
    before = Path("runs/mine/metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="runs/mine exists"):
        train(*FLAGS, "--steps", "3", "--name", "mine")
    with pytest.raises(UserError, match=r"--learning-rate 1.0 \(the run has 0.0003\)"):
        train("--resume", "--name", "mine", "--learning-rate", "1.0")
    assert Path("runs/mine/metrics.jsonl").read_bytes() == before
    Path("runs/other").mkdir()
    Path("runs/other/thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"does not have thesis\.txt"):
        train(*FLAGS, "--name", "other", "--overwrite")
    assert Path("runs/other/thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("eval_every", "message"),
    [
        ("100", "3 steps in a row were not finite, the last was step 6"),
        ("5", "the validation loss after step 5 is nan"),
    ],
)
def test_a_training_that_is_not_finite_stops_with_advice(
    eval_every: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def explode(self: GradientAccumulator, *args: object) -> StepResult:
        for weight in self.model.parameters():
            weight.data.fill_(math.nan)
        return StepResult(loss=math.nan, tokens=64, grad_norm=math.inf, applied=False)

    train(*FLAGS, "--steps", "3", "--name", "blown")
    monkeypatch.setattr(GradientAccumulator, "step", explode)
    with pytest.raises(UserError, match=f"{message}.*lower --learning-rate"):
        train("--resume", "--name", "blown", "--steps", "9", "--eval-every", eval_every)
    told = capsys.readouterr().err
    assert "The last checkpoint is runs/blown/checkpoint-00000003.\n" in told
    assert "Continue with" not in told  # it would end there again
    with pytest.raises(UserError, match=r"lower --learning-rate"):
        train(*FLAGS, "--steps", "3", "--name", "stillborn")
    assert "checkpoint" not in capsys.readouterr().err
    assert Path("runs/blown/latest").read_text() == "checkpoint-00000003\n"
    lines = Path("runs/blown/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["train_loss"] is None


def test_patience_ends_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--steps", "60", "--learning-rate", "5", "--patience", "2", "--eval-every", "2")
    assert train(*FLAGS, *flags, "--name", "hot") == 0
    judged = [r for r in metrics(Path("runs/hot")) if "val_loss" in r]
    losses = [r["val_loss"] for r in judged]
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 3
    told = f"Stopped at step {judged[-1]['step']}: 2 evaluations without a better validation loss"
    assert f"{told} (--patience).\n" in capsys.readouterr().out
    checkpoints = sorted(Path("runs/hot").glob("checkpoint-*"))
    assert train("--resume", "runs/hot") == 0  # nothing has changed
    assert f"{told} (--patience).\n" in capsys.readouterr().out
    assert sorted(Path("runs/hot").glob("checkpoint-*")) == checkpoints
    assert len(metrics(Path("runs/hot"))) == judged[-1]["step"] + len(judged)


def test_what_comes_next_can_be_pasted_into_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    """A path with a space in it, after the end, after a stop and after an error."""
    assert train(*FLAGS, "--steps", "3", "--runs-dir", "my runs", "--name", "a b") == 0
    finished = capsys.readouterr().out
    folder, machine = RunFolder(Path("my runs/a b")), Machine("cpu", bf16=False, compiled=False)
    command = load_command("train")
    trainer = command.build_trainer(Run(saved_config(folder), machine, folder, is_resumed=True))
    with pytest.raises(OSError, match="full"), command.told_how_to_continue(trainer):
        raise OSError("the disk is full")
    failed = capsys.readouterr().err
    for said in (finished, command.describe_end(trainer, "interrupted"), failed):
        assert str(folder.path) in shlex.split(said.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_closed_terminal_saves_the_run() -> None:
    process = start_killable(*FLAGS, "--steps", "100000", "--name", "hung")
    end = time.monotonic() + LIMIT
    while not Path("runs/hung/metrics.jsonl").exists() or not metrics(Path("runs/hung")):
        assert process.exitcode is None
        assert time.monotonic() < end
        process.join(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGHUP)
    assert wait(process) == 128 + signal.SIGINT
    last = metrics(Path("runs/hung"))[-1]["step"]
    assert Path("runs/hung/latest").read_text() == f"checkpoint-{last:08}\n"
