"""Ctrl-C while a command imports, runs and trains; SIGTERM, and a terminal that is closed;
errors of the machine, in words."""

import ast
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from transformer.errors import UserError
from transformer.machine.interruptions import StopRequest, readable_errors
from transformer.terminal.command_line import INTERRUPTED, run_guarded

COMMANDS = sorted((Path(__file__).parents[2] / "commands").glob("*.py"))
COMMANDS = [path for path in COMMANDS if path.name != "bare_loop.py"]  # it is bare


@pytest.mark.parametrize("command", COMMANDS, ids=lambda path: path.name)
def test_every_command_begins_by_leaving_ctrl_c_alone(command: Path) -> None:
    tree = ast.parse(command.read_text())
    first = ast.unparse(tree.body[1])
    assert first.startswith("if __name__ == '__main__':"), first
    assert "leave_ctrl_c()" in first
    assert ast.unparse(tree.body[-1]).splitlines()[1].strip().startswith("run")


@pytest.mark.parametrize(
    "seconds", [0.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.2, 1.0, 2.0))]
)
def test_ctrl_c_while_importing_has_no_traceback(seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, COMMANDS[0].with_name("generate.py"), "nowhere", "--prompt", "a"],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    assert process.returncode in (-signal.SIGINT, INTERRUPTED, 2)  # 2: it had imported everything


def test_ctrl_c_in_a_command_is_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # as it is while a command imports
    try:
        with pytest.raises(SystemExit) as ended:
            run_guarded(lambda: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == INTERRUPTED
    assert capsys.readouterr().err == ""


def test_the_first_signal_is_answered_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        assert capfd.readouterr().err == (
            "\nCtrl-C: finishing this step, then saving; Ctrl-C again stops without saving\n"
        )
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        assert capfd.readouterr().err == "\nSIGTERM: finishing this step, then saving\n"
    with StopRequest(speaks=False):
        signal.raise_signal(signal.SIGTERM)
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_closed_terminal_saves_and_nohup_continues(capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.requested
    assert "SIGHUP" in capfd.readouterr().err
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


HANGS = """
import os, sys, time
from pathlib import Path
from transformer.machine.interruptions import StopRequest
terminal = os.open(sys.argv[1], os.O_RDWR)  # becomes the terminal of this session
for number in (1, 2):
    os.dup2(terminal, number)
os.close(terminal)
with StopRequest() as stop:
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print("a line for nobody", flush=True)
    Path(sys.argv[2]).write_text("saved")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how a session gets its terminal differs")
def test_printing_to_a_terminal_that_is_gone_does_not_keep_from_saving(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    saved = tmp_path / "saved"
    command = [sys.executable, "-c", HANGS, os.ttyname(theirs), saved]
    process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        assert select.select([ours], [], [], 60)[0]  # ready
        os.close(theirs)
        os.close(ours)  # the window is closed
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    assert saved.read_text() == "saved"


def test_too_little_memory_names_the_flag_to_lower() -> None:
    with pytest.raises(UserError, match="lower --batch-size"), readable_errors():
        torch.empty(2**55)


def test_memory_that_python_lacks_is_explained_too() -> None:
    with pytest.raises(UserError, match="lower --batch-size"), readable_errors():
        np.empty(2**60, dtype=np.uint8)


def test_a_full_disk_is_named() -> None:
    with (
        pytest.raises(UserError, match="the disk is full: make room, then --resume"),
        readable_errors(),
        open("/dev/full", "w", buffering=1) as file,
    ):
        print("a line of metrics.jsonl", file=file)


def test_a_lost_process_is_named() -> None:
    with pytest.raises(UserError, match="lost contact"), readable_errors():
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer")


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), readable_errors():
        torch.ones(2, 2) @ torch.ones(3, 3)
