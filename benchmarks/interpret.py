"""What does looking into a model of GPT-2 small's size take? Peak memory and time of each question.

    uv run python benchmarks/interpret.py

A file with 124 million random weights is written into a temporary folder, and each question of
commands/interpret.py is asked in a process of its own, about 64 tokens (end-of-text and 63).
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from transformer.config import ModelConfig, Variant
from transformer.data.tokenizer import load_tokenizer
from transformer.ladder import build_model
from transformer.runs.model_file import write_model_file

COMMAND = Path(__file__).parents[1] / "commands" / "interpret.py"
TEXT = (
    "The road went down to the river, and there the old man stopped and looked at the water for "
    "a long time. Then he said that he would build a house here, and that nobody should ask him "
    "why, because he himself did not know it, and perhaps never would. So he sat down in the grass"
)
# Differs early, so that nearly all is to be patched, and at the end, so that the answers differ.
OTHER = TEXT.replace(" down to", " up to").replace(" grass", " house")
QUESTIONS = {
    "lens": ["lens", "--prompt", TEXT],
    "attention": ["attention", "--prompt", TEXT, "--head", "11.11"],
    "induction": ["induction"],
    "ablate": ["ablate", "--prompt", TEXT],
    "patch, one site": [
        *("patch", "--clean", TEXT, "--corrupted", OTHER, "--answers", " a", " b"),
        *("--sites", "residual"),
    ],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        # The memory of this process would count for those that it starts: another one writes.
        subprocess.run([sys.executable, __file__, str(path)], check=True)
        for name, flags in QUESTIONS.items():
            peak, seconds, processor = ask(path, flags)
            print(
                f"{name:<16} {peak:>6,.0f} MiB {seconds:>5.0f} s ({processor:.0f} s of processor)"
            )


def write(path: Path) -> None:
    tokenizer = load_tokenizer("p50k_base")
    variant = Variant(positions="learned", feed_forward="gelu_tanh", embedding_scale=1.0)
    config = ModelConfig(tokenizer.vocab_size, 768, 12, 12, 3072, 1024, 0.0, variant=variant)
    torch.manual_seed(0)
    write_model_file(path, build_model(config), tokenizer, step=0)


def ask(path: Path, flags: list[str]) -> tuple[float, float, float]:
    """Peak memory in MiB, seconds, and seconds of processor of one question."""
    command = [sys.executable, str(COMMAND), flags[0], str(path), *flags[1:]]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    unit = 1024 if sys.platform == "linux" else 1024**2
    return used.ru_maxrss / unit, time.perf_counter() - start, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    write(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
