"""What a command line of train.py means: presets, what may change, what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from transformer.errors import UserError
from transformer.machine.device import Machine, choose_device
from transformer.machine.saved_values import Saved
from transformer.training.config import (
    POSITION_SCALE,
    TOY,
    TrainingConfig,
    config_from_json,
    config_to_json,
    preset,
)
from transformer.training.flags import check_resumable, parse
from transformer.training.start import settled


def test_configurations_survive_json() -> None:
    config = replace(TOY, text=(Path("a"), Path("b")), cache_dir=Path("c"))
    assert (
        config_from_json(Saved("a file", json.loads(json.dumps(config_to_json(config))))) == config
    )


def test_presets_yield_to_explicit_flags() -> None:
    flags, _, _ = parse(["--dataset", "toy", "--learning-rate", "0.5"])
    assert flags.config == replace(TOY, learning_rate=0.5)
    assert parse([])[0].config == TrainingConfig(position_scale=POSITION_SCALE)
    quick = parse(["--quick"])[0].config
    assert (quick.d_model, quick.n_layers, quick.d_ff, quick.epochs) == (128, 4, 512, 10)
    assert preset(TrainingConfig(dataset="text")).tokens_per_epoch is None


def test_help_shows_the_values_of_the_preset_and_ends_with_examples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for args, width in ((["--help"], 256), (["--dataset", "toy", "--help"], 128)):
        with pytest.raises(SystemExit):
            parse(args)
        out = capsys.readouterr().out
        assert re.search(rf"--d-model INT .*\(default: {width}\)", out)
        assert re.search(r"--d-model +256 +128 +256 +128\n", out)  # the presets side by side
        assert out.splitlines()[-1].startswith("  uv run python commands/train.py --resume")


def test_what_may_change_on_resume() -> None:
    check_resumable(TOY, replace(TOY, device="cuda", keep=7, epochs=99, workers=3))
    with pytest.raises(UserError, match=r"--seed 1 \(the run has 0\)"):
        check_resumable(TOY, replace(TOY, seed=1))


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--dataset", "toy", "--workers", "3"], "--workers 3 says nothing about --dataset toy"),
        (["--dataset", "toy", "--cache-dir", "c"], "--cache-dir c says nothing about"),
        (["--dataset", "text", "--text", "a.txt", "--repo", "a/b"], "--repo a/b says nothing"),
        (["--dataset", "toy", "--quick"], "--quick True says nothing about --dataset toy"),
        (["--unjudged"], "--unjudged says nothing without --mine"),
        (["--rotary-base", "9"], "--rotary-base says nothing without --positions rotary"),
        (["--qk-scale", "9"], "--qk-scale says nothing without --qk-norm plain or gain"),
        (["--rung", "rotary", "--position-scale", "2"], "without --positions sinusoidal"),
        (["--epochs", "3", "--steps", "9"], "--epochs 3 would change nothing: --steps 9 says"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(args: list[str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        parse(args)
    text = ["--dataset", "text", "--text", "a.txt", "--cache-dir", "c", "--text-column", "t"]
    assert parse(text)[0].config.text_column == "t"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "--batch-size must be at least 1, but is 0"),
        ({"learning_rate": float("nan")}, "--learning-rate must be a finite number, but is nan"),
        ({"warmup": 1.5}, "--warmup is a share from 0 to 1"),
        ({"mps": True, "device": "cuda"}, "--mps contradicts --device cuda"),
    ],
)
def test_impossible_configurations_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainingConfig(**change)  # type: ignore[arg-type]


def test_the_choice_of_the_machine_is_written_down() -> None:
    config = settled(TrainingConfig(), Machine("cpu", bf16=True, compiled=False))
    assert (config.device, config.precision, config.compile) == ("cpu", "bf16", "off")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_device_is_an_error() -> None:
    with pytest.raises(UserError, match="--device cuda: this machine has none"):
        choose_device("cuda")
