"""A run that is stopped by something other than a signal saves what it has."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from training_tools import ROOT, TINY, assert_same_run, train, write_text

from transformer.data.batch import Batch
from transformer.data.text.files import TextFilesSource
from transformer.errors import UserError

FLAGS = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")
RUN = Path("runs/run")


@pytest.fixture(autouse=True)
def _in_a_folder_with_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "text.txt")


@pytest.mark.slow
def test_a_closed_pipe_is_a_request_to_save_and_stop() -> None:
    """As in `train.py | head`, closed after the first evaluation."""
    command = [sys.executable, str(ROOT / "commands/train.py"), *TINY, *FLAGS]
    command += ["--name", "run", "--steps", "3000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"Training runs/run")
    assert any(line.startswith(b"step 5, epoch") for line in process.stdout)
    process.stdout.close()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert b"error: Broken pipe" in errors
    assert b"Traceback" not in errors
    latest = (RUN / "latest").read_text().strip()
    assert f"The last checkpoint is {RUN / latest}. Continue with:" in errors.decode()


@pytest.mark.slow
def test_a_reader_that_is_gone_loses_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in this process, compared with a run whose lines were all read."""
    reading, writing = os.pipe()

    def read_some() -> None:
        with open(reading, "rb", buffering=0) as pipe:
            shown = b""
            while b"step 5, epoch" not in shown:  # said after the first evaluation
                shown += pipe.read(4096)

    reader = threading.Thread(target=read_some)
    reader.start()
    with monkeypatch.context() as patch, suppress(BrokenPipeError), open(writing, "w") as pipe:
        patch.setattr(sys, "stdout", pipe)
        with pytest.raises(BrokenPipeError):
            train(*FLAGS, "--steps", "60", "--name", "run")
    reader.join(timeout=60)
    steps = int((RUN / "latest").read_text().strip().removeprefix("checkpoint-"))
    assert 5 <= steps < 60
    assert train("--resume", "runs/run") == train(*FLAGS, "--steps", "60", "--name", "whole") == 0
    assert_same_run(Path("runs/whole"), RUN)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_where_nothing_can_be_printed_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, suppress(OSError), open("/dev/full", "w") as full:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left on device"):
            train(*FLAGS, "--steps", "3")
    assert not Path("runs").exists()


def test_data_that_does_not_come_costs_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that is gone, say, in step 5 (checkpoints are written after 3 and 6)."""
    original = TextFilesSource.train_batches

    def failing(self: TextFilesSource, **kwargs: object) -> Iterator[Batch]:
        for number, batch in enumerate(original(self, **kwargs)):  # type: ignore[arg-type]
            if number == 8:  # two per step
                raise UserError("the hub cannot be reached")
            yield batch

    train(*FLAGS, "--steps", "7", "--name", "whole")
    with monkeypatch.context() as patch:
        patch.setattr(TextFilesSource, "train_batches", failing)
        with pytest.raises(UserError, match="the hub cannot be reached"):
            train(*FLAGS, "--steps", "7", "--name", "run")
    assert (RUN / "latest").read_text() == "checkpoint-00000004\n"
    assert train("--resume", "runs/run") == 0
    assert_same_run(Path("runs/whole"), RUN)
