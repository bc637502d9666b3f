"""Does a GPU compute what a CPU computes, and how fast? One command, in about eight minutes.

    uv run --group dev python benchmarks/gpu.py
    ... --nanogpt PATH        a folder with nanoGPT's model.py, to include it
    ... --texts FOLDER        Parquet files (with --group bench): does their stream keep up?
    ... --device cpu --small  the same lines at a toy's size, to see that they run

Four parts: the tests that compare a GPU with a CPU (tests/machine/test_gpu.py); training steps at
two sizes, in bfloat16 and compiled; generation with a cache; the toy preset from start to end. A
GPU is nobody else's meanwhile, so contestants come one after the other: models of 124 million
parameters, compiled three times, would not fit beside each other on every card.
"""

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from generation import SAMPLING, hugging_face, hugging_face_writes
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from training import load_nano_gpt

from transformer.config import ModelConfig
from transformer.generation import generate
from transformer.loss import LossModule
from transformer.machine.device import for_inference
from transformer.model import DecoderOnlyTransformer
from transformer.runs.metrics import is_evaluation, read_metrics
from transformer.terminal.command_line import run
from transformer.training.optimizer import adamw
from transformer.training_utils import GradientAccumulator

ROOT = Path(__file__).parents[1]
V = 50_304  # a multiple of 64, as nanoGPT has it
PROMPT, NEW = 16, 128
console = Console()
Pair = tuple[Tensor, Tensor]
Contestant = tuple[nn.Module, Callable[[], object]]


@dataclass(frozen=True)
class Size:
    """What is trained: the model, and sequences in a micro-batch."""

    name: str
    config: ModelConfig
    batch: int

    @property
    def tokens(self) -> int:
        return self.batch * self.config.max_seq_len

    def flops(self, model: nn.Module) -> float:
        """Of a step: a multiply-add is two, backward twice forward. No element-wise work."""
        c = self.config
        matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
        attention = c.n_layers * 2 * c.max_seq_len * c.d_model
        return 3 * 2.0 * self.tokens * (matrices + attention)


Make = Callable[[Size, str, Pair], Contestant]
SIZES = (
    Size("the default model, T 128", ModelConfig(V, 256, 4, 6, 1024, 128, 0.1), batch=128),
    Size("GPT-2 small, T 1,024", ModelConfig(V, 768, 12, 12, 3072, 1024, 0.0), batch=16),
)
SMALL = (Size("a small model, T 32", ModelConfig(512, 32, 2, 2, 64, 32, 0.1), batch=4),)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(action: Callable[[], object], device: str, rounds: int, warmup: int = 3) -> float:
    """The median time of a call, once nothing is compiled any more."""
    times = []
    for _ in range(warmup + rounds):
        wait(device)
        start = time.perf_counter()
        action()
        wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[warmup:])


def ours(size: Size, device: str, pair: Pair) -> Contestant:
    model = DecoderOnlyTransformer(size.config).to(device)
    loss_module = LossModule(model, bf16=True, compiled=True)
    accumulator = GradientAccumulator(loss_module, adamw(model, 3e-4, 0.1), accumulation_steps=1)
    return model, lambda: accumulator.step([pair])


def usual(
    model: nn.Module, loss_of: Callable[[Any, Tensor, Tensor], Tensor], device: str,
    pair: Pair,
) -> Contestant:  # fmt: skip
    """The usual loop around somebody's model: compiled, bfloat16 products, fused AdamW."""
    model = model.to(device).train()
    call = torch.compile(model, dynamic=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = loss_of(call, *pair)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return model, step


def hugging_face_trains(size: Size, device: str, pair: Pair) -> Contestant:
    def loss_of(model: Any, inputs: Tensor, targets: Tensor) -> Tensor:
        logits = model(inputs, use_cache=False).logits.flatten(0, 1)
        return nn.functional.cross_entropy(logits.float(), targets.flatten())

    return usual(hugging_face(DecoderOnlyTransformer(size.config)), loss_of, device, pair)


def nano_gpt_trains(folder: Path, size: Size, device: str, pair: Pair) -> Contestant:
    model = load_nano_gpt(folder, size.config)
    return usual(model, lambda call, x, y: call(x, y)[1], device, pair)


def training(sizes: tuple[Size, ...], device: str, nanogpt: Path | None, rounds: int) -> float:
    """Tokens a second, share of the peak and memory; returns our tokens a second at the first."""
    peak = matrix_product_flops(device)
    console.print(f"matrix products in bfloat16: {peak / 1e12:.1f} TFLOP/s")
    contestants: dict[str, Make] = {"ours": ours, "Hugging Face": hugging_face_trains}
    if nanogpt is not None:
        contestants["nanoGPT"] = partial(nano_gpt_trains, nanogpt)
    first = 0.0
    for size in sizes:
        table = Table("", "tokens/s", "ours × it", "of the peak", "peak MB", title=size.name)
        found = {name: trained(make, size, device, rounds) for name, make in contestants.items()}
        for name, (speed, flops, memory) in found.items():
            ratio = found["ours"][0] / speed
            row = (f"{speed:,.0f}", f"{ratio:.2f}", f"{flops / peak:.0%}", f"{memory:,.0f}")
            table.add_row(name, *row)
        console.print(table)
        first = first or found["ours"][0]
    return first


def trained(make: Make, size: Size, device: str, rounds: int) -> tuple[float, float, float]:
    """A contestant's tokens and FLOP a second, and the most memory it took, in MB."""
    ids = torch.randint(size.config.vocab_size, (size.batch, size.config.max_seq_len + 1))
    inputs, targets = (x.contiguous().to(device) for x in (ids[:, :-1], ids[:, 1:]))
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    model, step = make(size, device, (inputs, targets))
    seconds = seconds_of(step, device, rounds)
    memory = torch.cuda.max_memory_allocated() / 1e6 if cuda else float("nan")
    flops = size.flops(model)
    del model, step
    torch._dynamo.reset()
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    return size.tokens / seconds, flops / seconds, memory


def matrix_product_flops(device: str) -> float:
    n = 8192 if device == "cuda" else 512
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    return 2 * n**3 / seconds_of(lambda: a @ a, device, rounds=20)


def writing(size: Size, device: str, rounds: int) -> None:
    """Generation with a cache, sampled in the same way."""
    config = size.config
    new = min(NEW, config.max_seq_len - PROMPT)
    model = DecoderOnlyTransformer(config).eval()
    theirs = hugging_face(model).to(device).to(torch.bfloat16)
    fast = for_inference(model.to(device), "bf16")
    table = Table("rows", "ours, tokens/s", "Hugging Face", "×", title=f"writing, {size.name}")
    for rows in (1, 8):
        ids = torch.randint(config.vocab_size, (rows, PROMPT)).to(device)
        speeds = [
            rows * new / seconds_of(action, device, rounds, warmup=1)
            for action in (
                lambda ids=ids: generate(fast, ids, new, seed=0, **SAMPLING),
                hugging_face_writes(theirs, ids, new),
            )
        ]
        table.add_row(
            str(rows), *(f"{speed:,.0f}" for speed in speeds), f"{speeds[0] / speeds[1]:.2f}"
        )
    console.print(table)


def toy(device: str, small: bool) -> None:
    """The toy preset by the clock, and how near it comes to the best possible loss."""
    steps = ["--steps", "20"] if small else []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        flags = ["--dataset", "toy", "--device", device, "--name", "toy", "--runs-dir", folder]
        command = [sys.executable, str(ROOT / "commands/train.py"), *flags, *steps]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        records = read_metrics(Path(folder) / "toy" / "metrics.jsonl")
    last = [record for record in records if is_evaluation(record)][-1]
    console.print(
        f"the toy preset: {seconds:.0f} s with start and evaluations, "
        f"{last['val_loss'] / last['floor']:.3f} times the floor"
    )


def data(texts: Path, needed: float) -> None:
    """What a local hub delivers, against what the GPU eats."""
    console.print(f"the default model trains on {needed:,.0f} tokens/s; FineWeb's stream gives:")
    command = [sys.executable, "-m", "benchmarks.fineweb", str(texts), "--only", "stream"]
    subprocess.run([*command, "--rounds", "1", "--workers", "1", "4", "8"], cwd=ROOT, check=True)


def checks() -> bool:
    """The tests; their last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "slow or not slow"]
    done = subprocess.run(
        [*command, "--durations=0", "tests/machine/test_gpu.py"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    console.print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))))
    console.print(f"tests: {lines[-1] if lines else done.stderr[-500:]}")
    return done.returncode == 0


def main(
    device: str = "cuda",
    small: bool = False,
    nanogpt: Path | None = None,
    texts: Path | None = None,
    rounds: int = 10,
) -> int:
    """Check and measure.

    Args:
        device: cpu only shows that everything runs.
        small: a model of a toy's size, and few steps.
        nanogpt: folder with nanoGPT's model.py.
        texts: folder of Parquet files with a column "text".
        rounds: timed steps of each contestant.
    """
    start = time.perf_counter()
    if device == "cuda":
        console.print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
        torch.set_float32_matmul_precision("high")
    passed = checks()
    sizes = SMALL if small else SIZES
    speed = training(sizes, device, nanogpt, rounds)
    writing(sizes[0], device, rounds=3)
    toy(device, small)
    if texts is not None:
        data(texts, speed)
    verdict = "the GPU path holds" if passed else "the GPU path is NOT right: see the tests above"
    console.print(f"{verdict if device == 'cuda' else 'run on a CPU'}; "
                  f"{time.perf_counter() - start:.0f} s in all")  # fmt: skip
    return 0 if passed else 1


if __name__ == "__main__":
    run(main)
