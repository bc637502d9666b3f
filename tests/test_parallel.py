"""Several processes train as one does: torchrun on this machine's CPU, gloo between them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from training_tools import ROOT, metrics, newest_weights, train, write_text

FLAGS = (
    *("--d-model", "16", "--n-heads", "2", "--n-layers", "2", "--d-ff", "32", "--dropout", "0"),
    *("--batch-size", "2", "--accumulation-steps", "4", "--eval-every", "25"),
    *("--checkpoint-every", "25", "--eval-tokens", "600", "--compile", "off"),
    *("--precision", "fp32", "--device", "cpu", "--seq-length", "16", "--tokenizer", "bpe:300"),
    *("--dataset", "text", "--text", "text.txt"),
)


def torchrun(folder: Path, processes: int, *args: str) -> subprocess.CompletedProcess[str]:
    """torchrun of commands/train.py with `FLAGS` and `args` in `folder`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), str(ROOT / "commands/train.py"), *FLAGS, *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)


def one_process(folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> Path:
    monkeypatch.chdir(folder)
    write_text(folder / "text.txt")
    assert train(*FLAGS, "--name", "one", "--steps", str(steps)) == 0
    return folder / "runs/one"


def assert_close(one: Path, other: Path, atol: float) -> None:
    """The same losses at every step and evaluation."""
    ours, theirs = metrics(one), metrics(other)
    assert [r["step"] for r in ours] == [r["step"] for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for name in ("train_loss", "val_loss", "tokens"):
            assert a.get(name) == pytest.approx(b.get(name), abs=atol), (a, b)


def test_two_processes_give_the_losses_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = one_process(tmp_path, monkeypatch, steps=50)
    done = torchrun(tmp_path, 2, "--name", "two", "--steps", "50")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Everything lies in") == 1
    assert_close(one, tmp_path / "runs/two", 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_fsdp_gives_the_losses_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    one = one_process(tmp_path, monkeypatch, steps=50)
    flags = ("--name", "many", "--steps", "50", "--parallel", "fsdp")
    done = torchrun(tmp_path, processes, *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_close(one, tmp_path / "runs/many", 1e-5)
    weights = newest_weights(tmp_path / "runs/many")
    for name, tensor in newest_weights(one).items():
        assert weights[name].shape == tensor.shape


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = one_process(tmp_path, monkeypatch, steps=50)
    shutil.copytree(one, one.with_name("mixed"))
    done = torchrun(tmp_path, 2, "--resume", "runs/mixed/checkpoint-00000025")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "from step 25" in done.stdout
    assert_close(one, one.with_name("mixed"), 1e-5)


@pytest.mark.slow
def test_steps_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "text.txt")
    done = torchrun(tmp_path, 3, "--name", "three", "--steps", "2")
    assert done.returncode != 0
    assert "--accumulation-steps 4 counts the micro-batches of all processes" in done.stderr
