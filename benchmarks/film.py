"""What a film costs: taking its frames and making one file of them, against the training's steps.

    uv run python benchmarks/film.py                    the toy preset, 60 frames

One frame and one optimiser step take turns; the share is that of all frames and the file in
all steps of the preset (its validation and checkpoints left out).
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from transformer.climbing.speed import step_of
from transformer.data.bpe import make_tokenizer
from transformer.data.toy.source import tokenizer_stories
from transformer.machine.device import Switch, choose_machine
from transformer.machine.turns import interleave
from transformer.runs.film import FilmRecorder
from transformer.terminal.command_line import run
from transformer.training.config import TOY
from transformer.training.start import initial_model


def main(frames: int = 60, compile: Switch = "auto") -> None:
    """Take a film of random weights beside steps of a training.

    Args:
        frames: of the film.
        compile: whether torch.compile fuses operations.
    """
    tokenizer = make_tokenizer(TOY.tokenizer, tokenizer_stories())
    machine = choose_machine("cpu", "auto", compile)
    model = initial_model(TOY, tokenizer.vocab_size)
    assert TOY.tokens_per_epoch is not None
    total = TOY.epochs * TOY.tokens_per_epoch // TOY.tokens_per_step
    with tempfile.TemporaryDirectory() as folder:
        recorder = FilmRecorder(Path(folder), total, frames)
        left = iter(sorted(recorder.steps))
        contestants = {
            "a step": step_of(TOY, tokenizer.vocab_size, machine),
            "a frame": lambda: recorder.take(next(left), model.state_dict()),
        }
        rounds = len(recorder.steps) - 3
        seconds = interleave(contestants, rounds=rounds, warmup=3)
        step, frame = (statistics.median(each) for each in seconds.values())
        start = time.perf_counter()
        recorder.finish(model.config, tokenizer, [])
        whole = time.perf_counter() - start
        size = recorder.path.stat().st_size
    share = (frame * frames + whole) / (step * total)
    print(f"{machine}, {torch.get_num_threads()} threads; medians of {rounds} rounds")
    print(f"a step {1000 * step:.1f} ms, a frame {1000 * frame:.1f} ms: {frame / step:.2f} steps")
    print(f"one file of {frames} frames: {whole:.2f} s, {size / 1e6:.0f} MB")
    print(f"all of it: {100 * share:.2f} % of the {total:,} steps of the preset")


if __name__ == "__main__":
    run(main)
