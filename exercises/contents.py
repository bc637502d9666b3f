"""The exercises in reading order: what each is about, how long it takes, where it belongs.

The table is the only list. Each has a folder of its name with three files:

    solution.py   the answer, annotated; without its bodies it is what the learner starts from
    judge.py      what finds out whether a file is right, and in words why it is not
    hints.md      three hints, from a nudge to nearly the line

A judge with many small cases keeps them in a file of their own.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Exercise:
    """One component to write."""

    name: str
    title: str
    minutes: int
    """What it takes somebody who has read the step."""
    step: str
    """Of the page, or where else it belongs."""
    reads: str
    """Where to read on."""
    trains: bool = False
    """Whether `commands/train.py --mine` can train with it."""

    @property
    def folder(self) -> Path:
        return ROOT / self.name


SRC = "src/transformer"
LIST = (
    Exercise("positions", "sinusoidal positions", 15, "1", f"{SRC}/positional_encoding.py", True),
    Exercise("mask", "the causal mask", 5, "3", f"{SRC}/attention.py", True),
    Exercise("attention", "scaled dot-product attention", 20, "2", f"{SRC}/attention.py", True),
    Exercise("heads", "multi-head attention", 40, "3", f"{SRC}/attention.py", True),
    Exercise("layer_norm", "LayerNorm", 15, "5", f"{SRC}/block.py", True),
    Exercise("feed_forward", "the feed-forward layer", 15, "4", f"{SRC}/feed_forward.py", True),
    Exercise("block", "the block", 20, "5", f"{SRC}/block.py", True),
    Exercise("model", "the whole model", 45, "6", f"{SRC}/model.py", True),
    Exercise("cross_entropy", "cross-entropy", 20, "6", f"{SRC}/loss.py", True),
    Exercise("accumulation", "gradient accumulation", 30, "7", f"{SRC}/training_utils.py", True),
    Exercise("adamw", "AdamW's update", 25, "7", f"{SRC}/training/optimizer.py", True),
    Exercise("schedule", "warm-up and cosine", 10, "7", f"{SRC}/training/scheduler.py", True),
    Exercise("perplexity", "perplexity of a text", 15, "7", f"{SRC}/evaluation/perplexity.py"),
    Exercise("bpe", "BPE merges", 45, "0", f"{SRC}/data/bpe.py"),
    Exercise("sampling", "temperature, top-k, top-p", 30, "8", f"{SRC}/sampling.py"),
    Exercise("generation", "generation with a KV cache", 40, "8", f"{SRC}/generation.py"),
    Exercise("rotary", "rotary positions", 30, "ladder", f"{SRC}/ladder/rotary.py"),
    Exercise("rms_norm", "RMS norm", 10, "ladder", f"{SRC}/ladder/rms_norm.py"),
    Exercise("qk_norm", "QK-norm", 15, "ladder", f"{SRC}/ladder/qk_norm.py"),
    Exercise("muon", "Muon's orthogonalisation", 25, "ladder", f"{SRC}/ladder/muon.py"),
)
EXERCISES = {each.name: each for each in LIST}
