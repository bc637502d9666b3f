"""One thread per test process, so that results repeat and processes do not fight for cores."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

sys.path.insert(0, str(Path(__file__).parents[1]))  # for exercises/

import hypothesis
import pytest
import torch

from transformer.config import ModelConfig
from transformer.model import DecoderOnlyTransformer

pytest_plugins = ["limits"]

for _signal in (signal.SIGINT, signal.SIGHUP):  # programs inherit "ignored" (nohup, a job of a
    if signal.getsignal(_signal) is signal.SIG_IGN:  # script), but not a handler: those that tests
        signal.signal(_signal, lambda number, frame: None)  # start must hear them

hypothesis.settings.register_profile("no deadline", deadline=None)  # machines may be busy
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def tmpfs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of its own, with 300 kB unless a test requests more."""
    folder = tmp_path / "small"
    folder.mkdir()
    size = getattr(request, "param", "300k")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def tiny_config() -> ModelConfig:
    return ModelConfig(
        vocab_size=61, d_model=32, n_heads=4, n_layers=3, d_ff=64, max_seq_len=16, dropout=0.0
    )


@pytest.fixture
def tiny_model(tiny_config: ModelConfig) -> DecoderOnlyTransformer:
    return DecoderOnlyTransformer(tiny_config).eval()
