"""The choice of device, precision and compilation, and what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from variant_tools import model_of

from transformer.machine.device import Machine, choose_compile, for_inference
from transformer.machine.processes import SINGLE, Processes
from transformer.training.start import agreed

TRAIN = Path(__file__).parents[2] / "commands/train.py"


class AnotherSaysYes(Processes):
    """One of two, of which the other answers yes to whatever is asked."""

    def any(self, value: bool) -> bool:
        return True


def test_processes_agree_on_what_all_of_them_chose() -> None:
    """To "not bf16?" and "not compiled?" the other one says yes."""
    fast = Machine("cpu", bf16=True, compiled=True)
    assert agreed(fast, SINGLE) == fast
    assert agreed(fast, AnotherSaysYes()) == Machine("cpu", bf16=False, compiled=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_compilation_is_tried_on_the_device_that_is_used() -> None:
    assert not choose_compile("cuda")


def test_a_model_in_half_precision_computes_in_float32() -> None:
    """Where bf16 is not faster, and where fp32 was asked for; exact float64 stays without that."""
    half = model_of("rotary").to(torch.float16)
    assert for_inference(half, "fp32").token_embedding.weight.dtype == torch.float32
    double = model_of("rotary")
    assert for_inference(double, "fp32").token_embedding.weight.dtype == torch.float32
    for dtype, expected in ((torch.float16, torch.float32), (torch.float64, torch.float64)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("transformer.machine.device.choose_bf16", lambda *_: False)
            model = for_inference(model_of("rotary").to(dtype), "auto")
        assert model.token_embedding.weight.dtype == expected


@pytest.mark.slow
def test_compiled_steps_on_several_threads_repeat_exactly(tmp_path: Path) -> None:
    """Without deterministic algorithms the third to fifth step differs in the last digits."""
    losses = []
    for name in ("first", "second", "third"):
        words = [sys.executable, str(TRAIN), "--dataset", "toy", "--steps", "6", "--name", name]
        words += ["--compile", "on", "--precision", "bf16", "--eval-tokens", "2000"]
        threads = {**os.environ, "OMP_NUM_THREADS": "2"}
        subprocess.run(
            words, cwd=tmp_path, env=threads, check=True, capture_output=True, timeout=240
        )
        lines = (tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["train_loss"] for line in lines])
    assert losses[0] == losses[1] == losses[2]
