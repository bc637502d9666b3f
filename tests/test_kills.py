"""A run that is killed at any moment, any number of times, ends as if it had not been."""

import random
import time
from pathlib import Path

import pytest
from fineweb_tools import write_dataset
from local_hub import LocalHub
from training_tools import (
    assert_same_run,
    start_killable,
    start_or_resume,
    write_text,
)


def run_to_the_end(runs: Path, name: str, *args: str) -> float:
    """Seconds it took."""
    start_killable("--help").join()  # the server that processes are forked from is there now
    start = time.monotonic()
    process = start_killable("--runs-dir", str(runs), "--name", name, *args)
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start


def run_with_kills(runs: Path, name: str, kills: int, seconds: float, *args: str) -> int:
    """Kill `kills` times after a random time, then let it finish; how many kills hit."""
    rng, hits = random.Random(name), 0
    for _ in range(kills):
        process = start_or_resume(runs, name, *args)
        process.join(rng.uniform(0.0, 1.5 * seconds / kills))
        if process.exitcode is None:
            hits += 1
        process.kill()
        process.join()
    process = start_or_resume(runs, name, *args)
    process.join()
    assert process.exitcode == 0
    return hits


def check(tmp_path: Path, kills: int, *args: str) -> None:
    seconds = run_to_the_end(tmp_path, "whole", *args)
    hits = run_with_kills(tmp_path, "killed", kills, seconds, *args)
    assert hits >= kills // 2
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(".unfinished-*"))


def text_flags(tmp_path: Path) -> list[str]:
    text = write_text(tmp_path / "text.txt")
    return [
        *("--dataset", "text", "--text", str(text), "--tokenizer", "bpe:300"),
        *("--seq-length", "16", "--steps", "24"),
    ]


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
