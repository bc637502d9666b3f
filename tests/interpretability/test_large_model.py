"""A model of GPT-2 small's size: what the commands take, and what they print on 80 columns."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.cells import cell_len

from transformer.config import ModelConfig, Variant
from transformer.data.tokenizer import load_tokenizer
from transformer.ladder import build_model
from transformer.runs.model_file import write_model_file

COMMAND = Path(__file__).parents[2] / "commands" / "interpret.py"
MOST = 3_000_000  # kB
PEAK = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:  # getrusage would count the memory of whoever started this process too
    print(re.findall(r"VmHWM:.*", open("/proc/self/status").read())[0], file=sys.stderr)
"""
TEXT = (
    "The road went down to the river, and there the old man stopped and looked at the water for "
    "a long time. Then he said that he would build a house here, and that nobody should ask him "
    "why, because he himself did not know it, and perhaps never would. So he sat down in the grass"
)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """124 million parameters at random, 498 MB; deleted afterwards."""
    tokenizer = load_tokenizer("p50k_base")
    variant = Variant(positions="learned", feed_forward="gelu_tanh", embedding_scale=1.0)
    config = ModelConfig(tokenizer.vocab_size, 768, 12, 12, 3072, 1024, 0.0, variant=variant)
    path = tmp_path_factory.mktemp("large") / "model.safetensors"
    torch.manual_seed(0)
    write_model_file(path, build_model(config), tokenizer, step=0)
    yield path
    path.unlink()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("question", ["lens", "induction", "patch"])
def test_a_question_stays_in_memory_and_on_the_screen(question: str, model_file: Path) -> None:
    tokenizer = load_tokenizer("p50k_base")
    ids = tokenizer.encode(TEXT)
    assert len(ids) == 63  # and end-of-text
    other = tokenizer.decode([*ids[:-1], ids[1]])  # late, so that little is to be patched
    flags = {
        "lens": ["--prompt", TEXT],
        "induction": [],
        "patch": ["--clean", TEXT, "--corrupted", other, "--answers", " a", " b"],
    }[question]
    command = [sys.executable, "-c", PEAK, str(COMMAND), question, str(model_file), *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "COLUMNS": "80"}
    )
    assert done.returncode == 0, done.stderr
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", done.stderr)
    assert 500_000 < int(peak) < MOST
    lines = done.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert "12 blocks of 12 heads, width 768" in " ".join(done.stdout.split())
    assert len(lines) < 150
