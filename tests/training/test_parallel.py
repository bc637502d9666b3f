"""Several processes train as one does: torchrun on this machine's CPU, gloo between them."""

import shutil
from pathlib import Path

import pytest
from parallel_tools import FLAGS, OBSERVED, torchrun
from training_tools import metrics, newest_weights, train, write_text


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


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_give_the_losses_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    one = one_process(tmp_path, monkeypatch, steps=50)
    done = torchrun(tmp_path, processes, "--name", "many", "--steps", "50")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Everything is in") == 1
    assert_close(one, tmp_path / "runs/many", 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2])  # with 4 it did not end in time on two busy cores
def test_all_processes_have_the_same_gradients_and_weights(tmp_path: Path, processes: int) -> None:
    """Bit for bit after every step, although each has seen data of its own."""
    write_text(tmp_path / "text.txt")
    done = torchrun(tmp_path, processes, "--name", "many", "--steps", "6", script=OBSERVED)
    assert done.returncode == 0, done.stderr[-2000:]
    files = [tmp_path / f"rank-{rank}.txt" for rank in range(processes)]
    notes = [[line.split() for line in file.read_text().splitlines()] for file in files]
    assert {len(steps) for steps in notes} == {6}
    for step in zip(*notes, strict=True):
        gradients, weights, inputs = (set(column) for column in zip(*step, strict=True))
        assert (len(gradients), len(weights), len(inputs)) == (1, 1, processes)
    assert len({gradients for gradients, _, _ in notes[0]}) == 6


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
def test_a_run_continues_with_another_number_of_processes(
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
