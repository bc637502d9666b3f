"""Training speed and memory against Hugging Face's GPT-2 and nanoGPT, of the same shape.

    uv run python benchmarks/training.py                       speed, in one interleaved run
    uv run python benchmarks/training.py --measure memory      peak memory, a process each
    uv run python benchmarks/training.py --measure overhead    what is not forward and backward
    uv run python benchmarks/training.py --measure length      attention's share up to T = 4096
    uv run python benchmarks/training.py --measure profile     where a step's time goes
    ... --nanogpt PATH                                         a folder with nanoGPT's model.py

6 layers, d_model 256, 4 heads, T 128, batch 8, 50,281 tokens. A call is one optimiser step of two
micro-batches: forward, backward, clipping, AdamW. Everybody has dropout 0.1, AdamW and the same
random tokens. "as it comes" is what each project's own documentation runs on a CPU: ours with
what `--precision auto --compile auto` chooses, the others in float32 without compilation. In the
interleaved run all share our setting of the memory allocator, which helps them too.
"""

import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from side_by_side import interleave, print_ratios, ratio
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from transformer.attention import fused_attention
from transformer.command_line import run
from transformer.config import ModelConfig
from transformer.device import keep_freed_memory
from transformer.model import DecoderOnlyTransformer
from transformer.objective import LossModule
from transformer.optimizer import adamw
from transformer.training_utils import GradientAccumulator

VOCAB, T, BATCH, MICRO_BATCHES = 50_281, 128, 8, 2
TOKENS = T * BATCH * MICRO_BATCHES
Step = Callable[[], object]
Measure = Literal["speed", "memory", "overhead", "length", "profile"]
OURS, OURS_PLAIN = "ours, bf16 compiled (as it comes)", "ours, fp32 eager"
HF, HF_PLAIN = "Hugging Face, bf16 compiled", "Hugging Face (as it comes)"
NANO = "nanoGPT (as it comes)"


def random_batches(n: int = MICRO_BATCHES) -> list[tuple[Tensor, Tensor]]:
    ids = torch.randint(VOCAB, (n, BATCH, T + 1), generator=torch.Generator().manual_seed(0))
    return [(row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in ids]


def our_model(length: int = T) -> DecoderOnlyTransformer:
    return DecoderOnlyTransformer(ModelConfig(vocab_size=VOCAB, max_seq_len=length))


def ours(*, bf16: bool, compiled: bool, micro_batches: int = MICRO_BATCHES) -> Step:
    keep_freed_memory()
    model = our_model()
    objective = LossModule(model, bf16=bf16, compiled=compiled)
    accumulator = GradientAccumulator(objective, adamw(model, 3e-4, 0.1), micro_batches)
    batches = random_batches(micro_batches)
    return lambda: accumulator.step(batches)


def theirs(model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], bf16: bool) -> Step:
    """The usual loop: mean of micro-batch losses, clip, step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
    batches = random_batches()

    def step() -> None:
        for inputs, targets in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = loss_of(inputs, targets)
            (loss / len(batches)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def hugging_face(*, bf16: bool, compiled: bool) -> Step:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=VOCAB, n_positions=T, n_embd=256, n_layer=6, n_head=4)
    model: Any = GPT2LMHeadModel(config).train()
    call = torch.compile(model, dynamic=False) if compiled else model

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = call(inputs, use_cache=False).logits.flatten(0, 1)
        return nn.functional.cross_entropy(logits.float(), targets.flatten())

    return theirs(model, loss_of, bf16)


def nano_gpt(folder: Path) -> Step:
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)
    config = module.GPTConfig(T, VOCAB, n_layer=6, n_head=4, n_embd=256, dropout=0.1)
    model = module.GPT(config).train()
    return theirs(model, lambda inputs, targets: model(inputs, targets)[1], bf16=False)


def contestants(nanogpt: Path | None) -> dict[str, Callable[[], Step]]:
    chosen: dict[str, Callable[[], Step]] = {
        OURS: lambda: ours(bf16=True, compiled=True),
        HF: lambda: hugging_face(bf16=True, compiled=True),
        HF_PLAIN: lambda: hugging_face(bf16=False, compiled=False),
        OURS_PLAIN: lambda: ours(bf16=False, compiled=False),
    }
    if nanogpt is not None:
        chosen[NANO] = lambda: nano_gpt(nanogpt)
    return chosen


def matrix_product() -> Step:
    """2048³ in bf16: what the machine reaches when it does nothing else."""
    a = torch.randn(2048, 2048).to(torch.bfloat16)
    return lambda: a @ a


def flops_per_step() -> float:
    """Multiply-adds count two; backward is twice forward. Element-wise work counts nothing."""
    model = our_model()
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    attention = 6 * 2 * T * 256  # 6 layers: scores and mixture, T keys of D numbers
    return 3 * 2.0 * TOKENS * (matrices + attention)


def speed(rounds: int, nanogpt: Path | None) -> None:
    steps = {name: make() for name, make in contestants(nanogpt).items()}
    seconds = interleave({**steps, "product": matrix_product()}, rounds=rounds, warmup=2)
    product = seconds.pop("product")
    print_ratios(seconds, HF, title="One optimiser step", work=TOKENS, unit="tokens")
    print(f"ours against Hugging Face, both bf16 compiled: {ratio(seconds, HF, OURS):.2f} x")
    print(f"ours against Hugging Face, both as they come: {ratio(seconds, HF_PLAIN, OURS):.2f} x")
    if nanogpt is not None:
        print(f"ours against nanoGPT, both as they come: {ratio(seconds, NANO, OURS):.2f} x")
    shares = [
        flops_per_step() / ours_s / (2 * 2048**3 / product_s)
        for ours_s, product_s in zip(seconds[OURS], product, strict=True)
    ]
    print(f"share of the matrix-product peak: {sorted(shares)[len(shares) // 2]:.0%}")


def memory(nanogpt: Path | None) -> None:
    """Each in a process of its own, after three steps."""
    peaks = {}
    for name in contestants(nanogpt):
        flags = [] if nanogpt is None else ["--nanogpt", str(nanogpt)]
        command = [sys.executable, __file__, "--measure", "memory", "--only", name, *flags]
        peaks[name] = float(subprocess.check_output(command).split()[-1])
    for name, peak in peaks.items():
        print(f"{name:40s} {peak:8.0f} MB   {peak / peaks[HF]:.2f} x Hugging Face compiled")
    print(f"both as they come: {peaks[OURS] / peaks[HF_PLAIN]:.2f} x")


def memory_of(name: str, nanogpt: Path | None) -> None:
    """Above what importing everything takes."""
    import transformers  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = contestants(nanogpt)[name]()
    for _ in range(3):
        step()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def overhead(rounds: int) -> None:
    """A step of 16 micro-batches against 16 times forward and backward alone."""
    model = our_model()
    objective = LossModule(model, bf16=True, compiled=True)
    accumulator = GradientAccumulator(objective, adamw(model, 3e-4, 0.1), 16)
    batches = random_batches(16)

    def forward_and_backward() -> None:
        for inputs, targets in batches:
            objective(inputs, targets).backward()

    contest = {"step": lambda: accumulator.step(batches), "passes": forward_and_backward}
    seconds = interleave(contest, rounds=rounds, warmup=1)
    share = 1 - 1 / ratio(seconds, "step", "passes")
    print(f"clipping, AdamW, adding up: {share:.1%} of a step of 16 micro-batches")


def length(rounds: int) -> None:
    """1,024 tokens in ever fewer and longer sequences: attention against the rest of a layer."""
    for positions in (128, 256, 512, 1024, 2048, 4096):
        sequences = 4096 // positions
        q = torch.randn(sequences, 4, positions, 64, requires_grad=True)
        x = torch.randn(4096, 256, requires_grad=True)
        layer = nn.Sequential(nn.Linear(256, 2048), nn.GELU(), nn.Linear(2048, 256))
        contest: dict[str, Step] = {
            "attention": lambda q=q: fused_attention(q, q, q).sum().backward(),  # type: ignore[misc]
            "rest": lambda x=x, layer=layer: layer(x).sum().backward(),  # type: ignore[misc]
        }
        seconds = interleave(contest, rounds=rounds)
        print(f"T={positions:5d}: attention / rest = {ratio(seconds, 'attention', 'rest'):.2f}")


def show_profile() -> None:
    step = ours(bf16=True, compiled=True)
    step()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        step()
    table = recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=15)
    print(table)


def main(
    measure: Measure = "speed",
    rounds: int = 7,
    nanogpt: Path | None = None,
    only: str | None = None,
) -> None:
    """Measure training.

    Args:
        measure: what to measure.
        rounds: how often everybody takes a turn.
        nanogpt: folder with nanoGPT's model.py, to include it.
        only: (used by the measurement of memory) one contestant.
    """
    start = time.monotonic()
    if only is not None:
        memory_of(only, nanogpt)
        return
    match measure:
        case "speed":
            speed(rounds, nanogpt)
        case "memory":
            memory(nanogpt)
        case "overhead":
            overhead(rounds)
        case "length":
            length(rounds)
        case "profile":
            show_profile()
    print(f"({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    run(main)
