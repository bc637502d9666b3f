"""What does a full block × position patching sweep cost, against plain forward passes?

    uv run python benchmarks/patching.py

The sweep runs the corrupted prompt once per block and position, in batches of 64, each row
patched at its own place, from the first block that is patched on. The plain passes run the same
prompt as often, whole, in one batch, with nothing replaced.
"""

import torch
from side_by_side import print_ratios

from transformer.config import ModelConfig
from transformer.interpretability.patching import PromptPair, sweep
from transformer.machine.turns import interleave
from transformer.model import DecoderOnlyTransformer

T = 32
CONFIG = ModelConfig(vocab_size=1024, d_model=128, n_heads=4, n_layers=4, d_ff=512)  # the toy
RUNS = CONFIG.n_layers * T
PLAIN = f"{RUNS} plain forwards"


def main() -> None:
    torch.manual_seed(0)
    model = DecoderOnlyTransformer(CONFIG).eval()
    clean = torch.randint(CONFIG.vocab_size, (T,))
    corrupted = clean.clone()
    corrupted[0] = (clean[0] + 1) % CONFIG.vocab_size  # so that no position is left out
    pair = PromptPair(clean, corrupted, int(clean[0]), int(corrupted[0]))

    @torch.no_grad()
    def plain() -> None:
        model(corrupted.expand(RUNS, -1))

    contestants = {
        PLAIN: plain,
        "sweep, residual": lambda: sweep(model, pair, "residual"),
        "sweep, attention.output": lambda: sweep(model, pair, "attention.output"),
    }
    seconds = interleave(contestants, rounds=9)
    title = f"{CONFIG.n_layers} blocks × {T} positions (× is the speed against plain forwards)"
    print_ratios(seconds, PLAIN, title=title, work=RUNS, unit="runs")


if __name__ == "__main__":
    main()
