"""commands/ladder.py: real trainings, stopped and continued."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from processes import wait_until
from training_tools import ROOT, call, load_command, write_text

from transformer.climbing.study import NOVELS, Study, Training
from transformer.climbing.trainings import Trainings
from transformer.runs.run_folder import RunFolder

TINY_NOVELS = replace(
    NOVELS, d_model=16, n_layers=1, d_ff=32, seq_length=16, batch_size=16, eval_tokens=600
)
FLAGS = (
    *("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--tokens", "65536"),
    *("--rungs", "classic", "rotary", "--compile", "off"),
)


@pytest.mark.slow
def test_a_ladder_is_stopped_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_text(tmp_path / "text.txt")
    command = [sys.executable, str(ROOT / "commands/ladder.py"), *FLAGS, "--output", "kept"]
    process = subprocess.Popen(command)
    rows = tmp_path / "kept" / "rows"
    try:
        wait_until(lambda: (rows / "classic-16-seed0.json").is_file(), 400)
        wait_until(lambda: (tmp_path / "kept/runs/rotary-16-seed0/metrics.jsonl").is_file(), 400)
    finally:
        process.terminate()
        assert process.wait(120) in (2, 130)
    with RunFolder(tmp_path / "kept/runs/rotary-16-seed0").lock():
        pass  # its training has ended too
    before = (rows / "classic-16-seed0.json").stat().st_mtime_ns
    assert not (rows / "rotary-16-seed0.json").exists()
    assert call("ladder", *FLAGS, "--output", "kept") == 0
    said = capsys.readouterr().out
    assert "rotary, seed 0: " in said
    assert "classic, seed 0: " not in said
    assert (rows / "classic-16-seed0.json").stat().st_mtime_ns == before
    kept = {
        name: json.loads((rows / f"{name}-16-seed0.json").read_text())
        for name in ("classic", "rotary")
    }
    assert kept["rotary"]["curve"][-1][1] < kept["classic"]["curve"][-1][1]
    assert len(kept["rotary"]["curve"]) == 16
    assert (tmp_path / "kept" / "ladder.png").is_file()
    assert (
        call("generate", "kept/runs/rotary-16-seed0", "--max-new-tokens", "2", "--prompt", "A") == 0
    )


@pytest.mark.slow
def test_a_training_of_the_same_name_with_other_flags_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier study left in the folder is neither its row nor its beginning."""
    for name, words in (("one.txt", 4000), ("other.txt", 5000)):
        write_text(tmp_path / name, words)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("transformer.climbing.study.NOVELS", TINY_NOVELS)
    monkeypatch.chdir(tmp_path)
    rows = []
    for name in ("one.txt", "other.txt", "other.txt"):
        study = Study("text", (Path(name),), 4096, 1, ("classic",), "bpe:300", "off")
        training = Training(("classic",), steps=study.steps)
        rows += list(Trainings(study, Path("kept")).run([training], lambda row: None))
    assert rows[0].curve != rows[1].curve
    assert rows[1] == rows[2]
    assert rows[0].precision in ("fp32", "bf16")
    config = json.loads((tmp_path / f"kept/runs/{training.name}/config.json").read_text())
    assert config["training"]["text"] == ["other.txt"]


def test_a_budget_or_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, wrong in (
        ((), "give either --tokens or --minutes"),
        (("--tokens", 0), "--tokens must be at least 36,864, but is 0"),
        (("--minutes", "nan"), "--minutes must be a finite number above 0, but is nan"),
        (("--tokens", 40_000, "--tokenizer", "x"), "--tokenizer x says nothing about --dataset"),
        (("--tokens", 40_000, "--jobs", 0), "--jobs must be at least 1, but is 0"),
    ):
        assert call("ladder", "--output", tmp_path, *flags) == 2
        assert wrong in " ".join(capsys.readouterr().err.split())


def test_rungs_are_climbed_from_below_however_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = load_command("ladder")
    monkeypatch.setattr(command, "kept_speeds", lambda study, path, report: {})
    args = command.Arguments(tokens=40_000, rungs=("muon", "classic", "muon"), output=tmp_path)
    assert command.planned(args)[0].rungs == ("classic", "muon")
    args = replace(args, rungs=("classic", "muon", "rotary"), in_order=True)
    assert command.planned(args)[0].rungs == ("classic", "muon", "rotary")
