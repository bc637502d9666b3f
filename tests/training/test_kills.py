"""A run that is killed at any moment, any number of times, ends as if it had not been killed."""

import random
import signal
import time
from pathlib import Path

import pytest
from fineweb_tools import write_dataset
from local_hub import LocalHub
from processes import LIMIT, kill, wait
from training_tools import (
    SAID,
    assert_same_run,
    start_killable,
    start_or_resume,
    write_text,
)

from transformer.runs.metrics import read_metrics


def run_to_the_end(runs: Path, name: str, *args: str) -> float:
    """Seconds it took."""
    wait(start_killable("--help"))  # the server that processes are forked from is there now
    start = time.monotonic()
    process = start_or_resume(runs, name, *args)
    assert wait(process) == 0, SAID.read_text()
    return time.monotonic() - start


def reached(run: Path) -> int:
    """The last step that has a line."""
    return max((record["step"] for record in read_metrics(run / "metrics.jsonl")), default=0)


def killed_at(runs: Path, name: str, step: int, pause: float, *args: str) -> bool:
    """Start or resume, kill `pause` seconds after `step`; whether it was still alive then."""
    process = start_or_resume(runs, name, *args)
    end = time.monotonic() + LIMIT
    while process.exitcode is None and reached(runs / name) < step and time.monotonic() < end:
        process.join(0.005)
    process.join(pause)
    status = kill(process)
    assert status in (0, -signal.SIGKILL), SAID.read_text()
    return status == -signal.SIGKILL


def run_with_kills(runs: Path, name: str, kills: int, longest: float, *args: str) -> list[str]:
    """Kill up to `kills` times, spread over the steps of the run "whole", then let it finish.

    Returns:
        For each kill that hit a live process, the checkpoint that it left to resume from.
    """
    steps, rng, left = reached(runs / "whole"), random.Random(name), []
    for i in range(kills):
        if not killed_at(runs, name, i * steps // kills, rng.uniform(0.0, longest), *args):
            break  # too late: the run is done, and to kill it now would prove little
        latest = runs / name / "latest"
        left.append(latest.read_text() if latest.exists() else "")
    run_to_the_end(runs, name, *args)
    return left


def check(runs: Path, kills: int, *args: str) -> None:
    """Runs with `kills` kills altogether that hit, each compared with an undisturbed one."""
    longest = run_to_the_end(runs, "whole", *args) / kills
    left: list[str] = []
    for number in range(2 * kills):
        if len(left) >= kills:
            break
        name = f"killed-{number}"
        left += run_with_kills(runs, name, kills - len(left), longest, *args)
        assert_same_run(runs / "whole", runs / name)
        assert not list((runs / name).glob(".unfinished-*"))
        longest /= 2  # earlier, if that was too late
    assert len(left) == kills
    assert len(set(left)) > 1  # not all in the same place


def text_flags(tmp_path: Path) -> list[str]:
    text = write_text(tmp_path / "text.txt")
    return [
        *("--dataset", "text", "--text", str(text), "--tokenizer", "bpe:300"),
        *("--seq-length", "16", "--steps", "24", "--film", "9"),
    ]


@pytest.mark.slow
def test_killed_on_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(tmp_path, 3, *text_flags(tmp_path))


@pytest.mark.slow
def test_killed_often_on_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(tmp_path, 8, *text_flags(tmp_path))


@pytest.mark.slow
def test_killed_often_on_toy_stories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(tmp_path, 8, "--dataset", "toy", "--steps", "16", "--stories", "50")


@pytest.mark.slow
def test_killed_often_on_fineweb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_dataset(tmp_path / "hub")
    with LocalHub({"HuggingFaceFW/fineweb": data}) as hub:
        check(
            tmp_path,
            8,
            *("--dataset", "fineweb", "--hub-endpoint", hub.url, "--revision", "main"),
            *("--cache-dir", str(tmp_path / "cache"), "--seq-length", "16", "--steps", "16"),
            *("--tokens-per-epoch", "2000", "--workers", "0"),
        )
