"""How soon is the ladder where nanoGPT's own training ends, on this machine?

    uv run python benchmarks/nanogpt.py --nanogpt nanoGPT/ --text novels/

Theirs is nanoGPT's train.py with the flags that its README gives for a CPU: 4 layers, 4 heads,
D 128, 64 positions, 12 sequences a step, 2,000 steps, float32, not compiled. Nothing in it is
changed but the size of the vocabulary. Ours is commands/train.py with `--rung muon` at the same
size: the rungs above it save no time in so short a training. Both read the same
tokens (bpe:1024 of the same text), and both losses are taken over the same windows of 64 tokens of
the same held-out text.

Theirs takes the median step times the number of steps, so saving and evaluating count for neither.
Ours is counted to the place where the straight line between two evaluations meets their loss: once
without the time to start and compile, and once by the clock, with both and with the evaluations.
The two take turns, `rounds` times; ours gets another seed each time (nanoGPT's is fixed).
"""

import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from transformer.climbing.summary import tokens_until
from transformer.data.bpe import make_tokenizer
from transformer.data.text.files import TextCorpus, TextFilesSource
from transformer.runs.metrics import is_evaluation, read_metrics, validation_curve
from transformer.terminal.command_line import run

ROOT = Path(__file__).parents[1]
T, ITERATIONS, EVALUATE = 64, 2000, 10
RECIPE = (
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20",
    "--log_interval=1", f"--block_size={T}", "--batch_size=12", "--n_layer=4", "--n_head=4",
    "--n_embd=128", f"--max_iters={ITERATIONS}", f"--lr_decay_iters={ITERATIONS}", "--dropout=0.0",
    "--dataset=ours",
)  # fmt: skip
THEIRS = """
import runpy, sys
import numpy, torch
sys.argv = ["train.py", *sys.argv[1:]]
sys.path.insert(0, ".")
model = runpy.run_path("train.py", run_name="__main__")["model"].eval()
inputs, targets = torch.from_numpy(numpy.load("windows.npy"))
with torch.no_grad():
    pairs = zip(inputs.split(32), targets.split(32))
    total = sum(float(model(x, y)[1]) * y.numel() for x, y in pairs)
print("nanoGPT's loss", total / targets.numel())
"""


@dataclass(frozen=True)
class Race:
    """One round: losses in nats per token, times in seconds."""

    loss: float
    theirs: float
    ours: float
    wall: float
    tokens: float


@dataclass(frozen=True)
class Recipe:
    """How ours is trained.

    Attributes:
        steps: enough to reach their loss, and not many more: the rate ends at zero.
        learning_rate: as the next, what a search by hand found for novels (docs/experiments.md).
    """

    steps: int = 125
    batch_size: int = 32
    learning_rate: float = 0.016
    matrix_learning_rate: float = 0.07
    rung: str = "muon"


DEFAULT = Recipe()


def prepare(text: tuple[Path, ...], theirs: Path) -> None:
    """Our tokens and validation windows, as files that nanoGPT and `THEIRS` read."""
    corpus = TextCorpus(text, "text")
    tokenizer = make_tokenizer("bpe:1024", corpus.documents("train"))
    source = TextFilesSource(corpus, tokenizer, seq_length=T, eval_tokens=65_536)
    folder = theirs / "data" / "ours"
    folder.mkdir(parents=True)
    np.asarray(source.train_tokens).astype(np.uint16).tofile(folder / "train.bin")
    np.asarray(source.validation_tokens).astype(np.uint16).tofile(folder / "val.bin")
    batches = list(source.validation_batches(batch_size=32))
    pairs = ([b.inputs for b in batches], [b.targets for b in batches])
    np.save(theirs / "windows.npy", np.stack([np.concatenate(each) for each in pairs]))
    # nanoGPT reads the size from a pickle, if there is one, and else takes what this line says.
    train = theirs / "train.py"
    known = train.read_text("utf-8")
    assert known.count("meta_vocab_size = None") == 1
    size = f"meta_vocab_size = {tokenizer.vocab_size}"
    train.write_text(known.replace("meta_vocab_size = None", size), "utf-8")


def train_theirs(folder: Path) -> tuple[float, float]:
    """(loss, seconds) of nanoGPT's training."""
    command = [sys.executable, "-c", THEIRS, *RECIPE]
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    steps = [float(ms) / 1000 for ms in re.findall(r"^iter .* time ([0-9.]+)ms", said, re.M)]
    loss = re.search(r"nanoGPT's loss ([0-9.]+)", said)
    assert loss is not None
    return float(loss[1]), statistics.median(steps) * ITERATIONS


def train_ours(
    text: tuple[Path, ...], folder: Path, recipe: Recipe, seed: int, target: float
) -> tuple[float, float, float]:
    """(tokens, seconds of training, seconds by the clock) until `target`."""
    flags = {
        "rung": recipe.rung, "seq-length": T, "d-model": 128, "n-heads": 4, "n-layers": 4,
        "d-ff": 512, "dropout": 0.0, "batch-size": recipe.batch_size, "accumulation-steps": 1,
        "learning-rate": recipe.learning_rate,
        "matrix-learning-rate": recipe.matrix_learning_rate,
        "steps": recipe.steps, "eval-every": EVALUATE, "eval-tokens": 65_536,
        "tokenizer": "bpe:1024", "seed": seed, "checkpoint-every": recipe.steps,
        "name": f"ours-{seed}", "runs-dir": folder,
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "commands/train.py"), "--dataset", "text", "--text"]
    command += [str(path.resolve()) for path in text] + ["--overwrite"]
    command += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    start = time.perf_counter()
    metrics = folder / f"ours-{seed}" / "metrics.jsonl"
    wall = math.nan
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(0.5)  # reading more often would slow down what is timed
            if math.isnan(wall) and reached(metrics, target) is not None:
                wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"our training ended with {process.returncode}")
    tokens = reached(metrics, target)
    if tokens is None:
        raise SystemExit(f"{recipe.steps} steps do not come to {target:.3f}: give more --steps")
    speeds = [r["tokens_per_second"] for r in read_metrics(metrics) if not is_evaluation(r)]
    return tokens, tokens / statistics.median(speeds), wall


def reached(metrics: Path, target: float) -> float | None:
    """The tokens until our validation loss was `target`; None if it is still above."""
    curve = validation_curve(read_metrics(metrics))
    return tokens_until([(tokens, loss) for tokens, loss in curve if loss is not None], target)


def main(
    nanogpt: Path,
    text: tuple[Path, ...],
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = DEFAULT,
    rounds: int = 3,
) -> None:
    """Let both train in turn.

    Args:
        nanogpt: a folder with nanoGPT's train.py; it is copied.
        text: files or folders to train on.
        recipe: of ours.
        rounds: how often.
    """
    races = []
    with tempfile.TemporaryDirectory() as temporary:
        theirs = shutil.copytree(nanogpt, Path(temporary) / "nanogpt")
        prepare(text, theirs)
        for seed in range(rounds):
            loss, seconds = train_theirs(theirs)
            found = train_ours(text, Path(temporary), recipe, seed, loss)
            races.append(Race(loss, seconds, found[1], found[2], found[0]))
    table = Table("their loss", "their s", "our s", "×", "our tokens", "by the clock, s")
    for race in races:
        table.add_row(
            f"{race.loss:.3f}", f"{race.theirs:.1f}", f"{race.ours:.1f}",
            f"{race.theirs / race.ours:.1f}", f"{race.tokens:,.0f}", f"{race.wall:.1f}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    middle = statistics.median(race.theirs / race.ours for race in races)
    console.print(f"median: {middle:.1f} times sooner ({os.cpu_count()} cores)")


if __name__ == "__main__":
    run(main)
