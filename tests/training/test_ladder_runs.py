"""Runs on the ladder: their flags, resume bit for bit, several processes, generation."""

import json
import shutil
from pathlib import Path

import pytest
from parallel_tools import torchrun
from training_tools import assert_same_run, call, metrics, train, write_text

from transformer.errors import UserError
from transformer.ladder import rungs
from transformer.training.flags import parse

FLAGS = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "text.txt")
    return tmp_path


def config_of(*args: str) -> dict[str, object]:
    return vars(parse(list(args))[0].config)


def test_flags_win_over_the_rung_and_the_rung_over_the_preset() -> None:
    config = config_of("--dataset", "toy", "--rung", "rms_norm")
    assert (config["positions"], config["norm"], config["bias"]) == ("rotary", "rms", False)
    assert (config["learning_rate"], config["schedule"]) == (0.006, "linear")
    assert config["optimizer"] == "adamw"
    config = config_of("--dataset", "toy", "--rung", "all", "--learning-rate", "0.1", "--bias")
    assert (config["learning_rate"], config["bias"], config["optimizer"]) == (0.1, True, "muon")
    assert not config["tied_embeddings"]  # bpe:1024 is the toy preset's
    assert config_of("--rung", "all")["tied_embeddings"]  # p50k_base is FineWeb's
    assert not config_of("--rung", "all", "--no-tied-embeddings")["tied_embeddings"]


def test_large_tables_are_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rungs, "LARGEST_TABLE", 299)
    assert train(*FLAGS, "--rung", "all", "--steps", "1") == 0
    said = capsys.readouterr().out
    assert "--rung all leaves out untied and value_embeddings: 300 tokens need too large" in said


def test_the_full_stack_resumes_bit_for_bit(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*FLAGS, "--rung", "all", "--steps", "12", "--name", "whole", "--keep", "9") == 0
    assert "leaves out" not in capsys.readouterr().out
    saved = json.loads(Path("runs/whole/config.json").read_text())
    assert saved["training"]["rung"] == "all"
    assert saved["model"]["variant"]["positions"] == "rotary"
    shutil.copytree("runs/whole", "runs/again")
    assert train("--resume", "runs/again/checkpoint-00000006") == 0
    assert_same_run(Path("runs/whole"), Path("runs/again"))
    with pytest.raises(UserError, match=r"--rung rotary \(the run has all\)"):
        train("--resume", "runs/again", "--rung", "rotary")
    with pytest.raises(UserError, match=r"--optimizer adamw \(the run has muon\)"):
        train("--resume", "runs/again", "--optimizer", "adamw")


@pytest.mark.slow
@pytest.mark.parametrize("rung", ["all", "window"])
def test_a_model_of_the_ladder_can_be_used(rung: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*FLAGS, "--rung", rung, "--steps", "6", "--name", "it", "--d-model", "32",
                 "--n-heads", "4") == 0  # fmt: skip
    capsys.readouterr()
    for flags in ((), ("--samples", "2", "--json")):
        assert call("generate", "runs/it", "--prompt", "word1 2", "--seed", "0", *flags) == 0
        assert "word1 2" in capsys.readouterr().out
    assert call("evaluate", "runs/it", "--text", "text.txt") == 0
    assert "bits" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_climb_as_one(folder: Path, parallel: str) -> None:
    """Muon orthogonalises whole matrices, also those that FSDP has cut."""
    flags = ("--rung", "all", "--steps", "30", "--learning-rate", "0.002")
    for name, processes, way in (("one", 1, ()), ("two", 2, ("--parallel", parallel))):
        done = torchrun(folder, processes, *flags, "--name", name, *way)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = metrics(folder / "runs/one"), metrics(folder / "runs/two")
    assert [record["step"] for record in one] == [record["step"] for record in two]
    for a, b in zip(one, two, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-4), (a, b)
    assert one[-1]["train_loss"] < one[0]["train_loss"] - 0.5


def test_every_rung_is_explained_in_its_table() -> None:
    for name in rungs.RUNGS:
        assert f"| `{name}` |" in (rungs.__doc__ or "")
