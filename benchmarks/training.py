"""Training speed and memory against Hugging Face's GPT-2 and nanoGPT, of the same shape.

    uv run python benchmarks/training.py                       speed and memory, taking turns
    uv run python benchmarks/training.py --measure overhead    what is not forward and backward
    uv run python benchmarks/training.py --measure length      attention's share up to T = 4096
    uv run python benchmarks/training.py --measure profile     where a step's time goes
    uv run python benchmarks/training.py --measure checkpoint  how long saving stops training
    ... --nanogpt PATH                                         a folder with nanoGPT's model.py

6 blocks, d_model 256, 4 heads, T 128, batch 8, 50,281 tokens. A call is one optimiser step of two
micro-batches: forward, backward, clipping, AdamW, on the same random tokens. Three differences are
in every ratio: the others' dropout (0.1) also acts on attention weights; our AdamW is the fused
one; our allocator is tuned, as it is for one contestant. "as it comes" is what each project's
documentation runs on a CPU: ours with what `--precision auto --compile auto` chooses, the others
in float32, not compiled (nanoGPT with dropout 0.1, its own CPU line has none).
"""

import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from side_by_side import Process, print_ratios, ratio, take_turns
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from transformer.attention import causal_mask, scaled_dot_product_attention
from transformer.config import ModelConfig
from transformer.data.tokenizer import load_tokenizer
from transformer.loss import LossModule
from transformer.machine.device import choose_bf16, keep_freed_memory
from transformer.machine.fast_paths import fused_attention
from transformer.machine.turns import interleave
from transformer.model import DecoderOnlyTransformer
from transformer.runs.checkpoint import Checkpoints, take_snapshot
from transformer.terminal.command_line import run
from transformer.training.config import TrainingConfig
from transformer.training.optimizer import adamw
from transformer.training_utils import GradientAccumulator

VOCAB, T, BATCH, MICRO_BATCHES = 50_281, 128, 8, 2
TOKENS = T * BATCH * MICRO_BATCHES
Step = Callable[[], object]
Measure = Literal["speed", "overhead", "length", "profile", "checkpoint"]
OURS, OURS_PLAIN = "ours, bf16 compiled (as it comes)", "ours, fp32 eager"
HF, HF_PLAIN = "Hugging Face, bf16 compiled", "Hugging Face (as it comes)"
NANO = "nanoGPT (as it comes)"
HF_HELPED = "Hugging Face, bf16 compiled, our allocator settings"  # those of `keep_freed_memory`
PRODUCT = "matrix product"
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


def random_batches(n: int = MICRO_BATCHES) -> list[tuple[Tensor, Tensor]]:
    ids = torch.randint(VOCAB, (n, BATCH, T + 1), generator=torch.Generator().manual_seed(0))
    return [(row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in ids]


def our_model(length: int = T) -> DecoderOnlyTransformer:
    return DecoderOnlyTransformer(ModelConfig(vocab_size=VOCAB, max_seq_len=length))


def ours(*, bf16: bool, compiled: bool, micro_batches: int = MICRO_BATCHES) -> Step:
    keep_freed_memory()
    model = our_model()
    loss_module = LossModule(model, bf16=bf16, compiled=compiled)
    accumulator = GradientAccumulator(loss_module, adamw(model, 3e-4, 0.1), micro_batches)
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


def load_nano_gpt(folder: Path, config: ModelConfig) -> nn.Module:
    """nanoGPT's model from its model.py, at the sizes of `config`."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)
    sizes = {"n_layer": config.n_layers, "n_head": config.n_heads, "n_embd": config.d_model}
    theirs = module.GPTConfig(
        config.max_seq_len, config.vocab_size, **sizes, dropout=config.dropout
    )
    model: nn.Module = module.GPT(theirs)
    return model


def nano_gpt(folder: Path) -> Step:
    model: Any = load_nano_gpt(folder, our_model().config).train()
    return theirs(model, lambda inputs, targets: model(inputs, targets)[1], bf16=False)


def names(nanogpt: Path | None) -> list[str]:
    return [OURS, HF, HF_HELPED, HF_PLAIN, OURS_PLAIN] + ([] if nanogpt is None else [NANO])


def make(name: str, nanogpt: Path | None) -> Step:
    """The contestant of this name."""
    if name in (OURS, OURS_PLAIN):
        return ours(bf16=name == OURS, compiled=name == OURS)
    if name in (HF, HF_HELPED, HF_PLAIN):
        return hugging_face(bf16=name != HF_PLAIN, compiled=name != HF_PLAIN)
    assert nanogpt is not None
    return nano_gpt(nanogpt)


def matrix_product() -> Step:
    """2048³ in bf16: what the machine reaches when it does nothing else."""
    a = torch.randn(2048, 2048).to(torch.bfloat16)
    return lambda: a @ a


def flops_per_step() -> float:
    """A multiply-add counts as two; backward is twice forward. Element-wise work is left out."""
    model = our_model()
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    attention = 6 * 2 * T * 256  # 6 blocks: scores and mixture, T keys of D numbers
    return 3 * 2.0 * TOKENS * (matrices + attention)


def speed(rounds: int, nanogpt: Path | None) -> None:
    """Time and peak memory, each in a process of its own."""
    folder = [] if nanogpt is None else ["--nanogpt", str(nanogpt)]
    processes = {
        name: Process(
            __file__, "--only", name, *folder, environment=ALLOCATOR if name == HF_HELPED else None
        )
        for name in names(nanogpt)
    }
    product = matrix_product()
    seconds = interleave({**processes, PRODUCT: product}, rounds=rounds, warmup=3)
    products = seconds.pop(PRODUCT)
    print_ratios(seconds, HF, title="One optimiser step", work=TOKENS, unit="tokens")
    print(f"ours against Hugging Face, both bf16 compiled: {ratio(seconds, HF, OURS):.2f} x")
    print(f"... with our settings of the allocator: {ratio(seconds, HF_HELPED, OURS):.2f} x")
    print(f"ours against Hugging Face, both as they come: {ratio(seconds, HF_PLAIN, OURS):.2f} x")
    if nanogpt is not None:
        print(f"ours against nanoGPT, both as they come: {ratio(seconds, NANO, OURS):.2f} x")
    shares = [
        flops_per_step() / ours_s / (2 * 2048**3 / product_s)
        for ours_s, product_s in zip(seconds[OURS], products, strict=True)
    ]
    print(f"share of the matrix-product peak: {statistics.median(shares):.0%}")
    for name, process in processes.items():
        process.end()
        share = process.peak_mb / processes[HF].peak_mb
        print(f"peak memory {name:36s} {process.peak_mb:6.0f} MB  {share:.2f} x {HF}")


def overhead(rounds: int) -> None:
    """A step of 16 micro-batches against 16 times forward and backward alone."""
    model = our_model()
    loss_module = LossModule(model, bf16=choose_bf16("cpu"), compiled=True)
    accumulator = GradientAccumulator(loss_module, adamw(model, 3e-4, 0.1), 16)
    batches = random_batches(16)

    def forward_and_backward() -> None:
        for inputs, targets in batches:
            loss_module(inputs, targets).backward()

    contest = {"step": lambda: accumulator.step(batches), "passes": forward_and_backward}
    seconds = interleave(contest, rounds=rounds, warmup=1)
    share = 1 - 1 / ratio(seconds, "step", "passes")
    print(f"clipping, AdamW, adding up: {share:.1%} of a step of 16 micro-batches")


def length(rounds: int) -> None:
    """Forward and backward of 4,096 tokens in fewer and fewer, longer and longer sequences."""
    x = torch.randn(4096, 256, requires_grad=True)
    rest = nn.Sequential(nn.Linear(256, 2048), nn.GELU(), nn.Linear(2048, 256))

    def one_layer_without() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            rest(x).sum().backward()

    for positions in (64, 128, 256, 512, 1024, 2048, 4096):
        q = torch.randn(4096 // positions, 4, positions, 64, dtype=torch.bfloat16)
        q.requires_grad_()
        mask = causal_mask(positions)
        contest: dict[str, Step] = {
            "fused": lambda q=q: fused_attention(q, q, q).sum().backward(),  # type: ignore[misc]
            "explicit": lambda q=q, mask=mask: (
                scaled_dot_product_attention(q, q, q, mask)[0]  # type: ignore[misc]
                .sum()
                .backward()
            ),
            "rest": one_layer_without,
        }
        seconds = interleave(contest, rounds=rounds, warmup=2)
        fused, explicit = (ratio(seconds, name, "rest") for name in ("fused", "explicit"))
        print(
            f"T={positions:5d}: fused {fused:5.2f}, explicit {explicit:5.2f} x the other products"
        )


def show_profile() -> None:
    step = ours(bf16=choose_bf16("cpu"), compiled=True)
    for _ in range(3):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        step()
    table = recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=15)
    print(table)


def checkpoint(rounds: int) -> None:
    """Copying and writing, both done by the thread that trains, against a step as it comes."""
    config = TrainingConfig()
    model, tokenizer = our_model(), load_tokenizer("p50k_base")
    loss_module = LossModule(model, bf16=choose_bf16("cpu"), compiled=True)
    optimizer = adamw(model, 3e-4, 0.1)
    accumulator = GradientAccumulator(loss_module, optimizer, config.accumulation_steps)
    batches = random_batches(config.accumulation_steps)
    accumulator.step(batches)  # compiles, and makes AdamW's means
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # where runs/ would be
        checkpoints, numbers, best = Checkpoints(Path(folder)), count(1), {"best_step": None}
        contest: dict[str, Step] = {
            "snapshot": lambda: take_snapshot(model, optimizer),
            "snapshot and writing": lambda: checkpoints.write(
                take_snapshot(model, optimizer), model, tokenizer, {"step": next(numbers), **best}
            ),
            "step": lambda: accumulator.step(batches),
        }
        seconds = interleave(contest, rounds=rounds, warmup=1)
        files = sum(file.stat().st_size for file in checkpoints.folder(rounds).iterdir())
    for name, times in seconds.items():
        print(f"{name:20s} {statistics.median(times):7.3f} s ({min(times):.3f} … {max(times):.3f})")
    steps = ratio(seconds, "snapshot and writing", "step")
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters / 1e6:.1f} M parameters, {files / 1e6:.0f} MB per checkpoint")
    print(
        f"saving takes as long as {steps:.2f} steps of {config.accumulation_steps} micro-batches: "
        f"{steps / (config.checkpoint_every + steps):.2%} of a run with a checkpoint every "
        f"{config.checkpoint_every} steps"
    )


def main(
    measure: Measure = "speed",
    rounds: int = 7,
    nanogpt: Path | None = None,
    only: str | None = None,
) -> None:
    """Measure training.

    Args:
        measure: what to measure.
        rounds: how often each contestant takes a turn.
        nanogpt: folder with nanoGPT's model.py, to include it.
        only: (used by the benchmark itself) be this contestant.
    """
    start = time.monotonic()
    if only is not None:
        import transformers  # noqa: F401  (so that all have imported the same)

        take_turns(lambda: make(only, nanogpt))
        return
    match measure:
        case "speed":
            speed(rounds, nanogpt)
        case "overhead":
            overhead(rounds)
        case "length":
            length(rounds)
        case "profile":
            show_profile()
        case "checkpoint":
            checkpoint(rounds)
    print(f"({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    run(main)
