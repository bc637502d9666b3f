"""How fast the model writes: against Hugging Face, along the context, with and without cache.

    uv run python benchmarks/generation.py               speed at batch 1 and 8
    uv run python benchmarks/generation.py --part position | cache | compiled

17.6 million parameters, a context of 256, a prompt of 16 tokens, 128 new ones; contestants
take turns, each in a process of its own, and a ratio is taken in each round. "ours" is what
`for_inference` makes of the model. All sample in the same way (temperature 0.8, top-k 50), and
none stops early.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from side_by_side import Process, print_ratios, take_turns
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from transformer.config import ModelConfig
from transformer.generation import generate, stream
from transformer.kv_cache import KVCache
from transformer.machine.device import InferencePrecision, for_inference
from transformer.machine.turns import interleave
from transformer.model import DecoderOnlyTransformer
from transformer.sharing.families.gpt2 import GPT2
from transformer.terminal.command_line import run

CONFIG = ModelConfig(vocab_size=50_281, max_seq_len=256)
PROMPT, NEW = 16, 128
SAMPLING: dict[str, Any] = {"temperature": 0.8, "top_k": 50}


HF, OURS_FP32, OURS, COMPILED = "Hugging Face", "ours, fp32", "ours", "ours, compiled"
OURS_INT8 = "ours, int8"


@dataclass(frozen=True)
class Arguments:
    part: Literal["speed", "position", "cache", "compiled"] = "speed"
    """speed: against Hugging Face. position: time per token along the context and beyond.
    cache: with and without, and memory. compiled: torch.compile, its first run separately."""
    batch: tuple[int, ...] = (1, 8)
    """Batch sizes, for speed and compiled."""
    rounds: int = 7
    """Counted rounds."""
    only: str | None = None
    """(Used by the benchmark itself) be this contestant."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Measure generation."""
    if args.only is not None:
        take_turns(lambda: contestant(args.only or "", args.batch[0]))
        return
    print(f"{torch.get_num_threads()} threads, {args.rounds} rounds")
    match args.part:
        case "speed":
            speed(args.rounds, args.batch, (HF, OURS_FP32, OURS, OURS_INT8))
        case "compiled":
            speed(args.rounds, args.batch, (HF, OURS, COMPILED))
        case "position":
            position(args.rounds)
        case "cache":
            cache(args.rounds)


def our_model() -> DecoderOnlyTransformer:
    torch.manual_seed(0)
    return DecoderOnlyTransformer(CONFIG).eval()


def hugging_face(model: DecoderOnlyTransformer) -> GPT2LMHeadModel:
    """The same weights in transformers' GPT-2."""
    theirs = GPT2LMHeadModel(GPT2Config(**GPT2().write_config(model.config)))
    theirs.load_state_dict(GPT2().spread(model), strict=True)
    return theirs.eval()


def writes(model: DecoderOnlyTransformer, ids: Tensor, new: int = NEW) -> Callable[[], Tensor]:
    return lambda: generate(model, ids, new, seed=0, **SAMPLING)


def hugging_face_writes(
    model: GPT2LMHeadModel, ids: Tensor, new: int = NEW
) -> Callable[[], Tensor]:
    return lambda: model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new,
        min_new_tokens=new,
        do_sample=True,
        use_cache=True,
        pad_token_id=0,
        **SAMPLING,
    )


def prompt(batch: int) -> Tensor:
    return torch.randint(CONFIG.vocab_size, (batch, PROMPT))


def contestant(name: str, batch: int) -> Callable[[], Tensor]:
    """What the contestant of this name does at its turn."""
    ids = prompt(batch)
    if name == HF:
        return hugging_face_writes(hugging_face(our_model()), ids)
    precisions: dict[str, InferencePrecision] = {OURS_FP32: "fp32", OURS_INT8: "int8"}
    model = for_inference(our_model(), precisions.get(name, "auto"))
    if name == COMPILED:
        return writes(torch.compile(model), ids)  # type: ignore[arg-type]
    return writes(model, ids)


def speed(rounds: int, batches: tuple[int, ...], names: tuple[str, ...]) -> None:
    for batch in batches:
        flags = ("--batch", str(batch), "--only")
        contestants = {name: Process(__file__, *flags, name) for name in names}
        first = {
            name: turns[0] for name, turns in interleave(contestants, rounds=1, warmup=0).items()
        }
        seconds = interleave(contestants, rounds=rounds)
        title = f"batch {batch}: {PROMPT} + {NEW} tokens"
        print_ratios(seconds, HF, title=title, work=batch * NEW, unit="tokens")
        print(", ".join(f"{name}: first run {turn:.1f} s" for name, turn in first.items()))
        for process in contestants.values():
            process.end()
    fast = for_inference(our_model())
    times = interleave({"first": writes(fast, prompt(1), new=1)}, rounds=20)["first"]
    print(f"time to the first token of a {PROMPT}-token prompt: {median_ms(times):.1f} ms")
    print_bandwidth(fast)


def print_bandwidth(model: DecoderOnlyTransformer) -> None:
    """How long reading all weights takes: no token can be faster."""
    n_bytes = sum(p.nbytes for p in model.parameters())
    copies = cycle([torch.ones(n_bytes // 4) for _ in range(12)])  # too large for any cache
    seconds = interleave({"read": lambda: next(copies).sum()}, rounds=48)["read"]
    print(f"reading all {n_bytes / 1e6:.1f} MB of weights once: {median_ms(seconds):.2f} ms")


def median_ms(seconds: list[float]) -> float:
    return 1000 * statistics.median(seconds)


def token_times(model: DecoderOnlyTransformer, ids: Tensor, new: int) -> list[float]:
    """Seconds from each token to the next."""
    times, last = [], time.perf_counter()
    for _ in stream(model, ids, new, seed=0, **SAMPLING):
        now = time.perf_counter()
        times.append(now - last)
        last = now
    return times


def position(rounds: int) -> None:
    """Does a token at the end of the context take longer than one at its beginning?"""
    model = for_inference(our_model())
    inside, beyond = CONFIG.max_seq_len - PROMPT, 4 * CONFIG.max_seq_len
    runs = [token_times(model, prompt(1), inside + beyond) for _ in range(rounds + 1)][1:]
    milliseconds = 1000 * np.median(np.array(runs), axis=0)
    places = np.arange(PROMPT, PROMPT + inside)
    steady = milliseconds[1:inside]
    slope, start = np.polyfit(places[1:], steady, deg=1)
    print(
        f"time per token: {start:.3f} ms at the start, {1000 * slope:+.2f} µs per position: "
        f"{100 * slope * inside / start:+.1f} % at the end of the context"
    )
    step = CONFIG.max_seq_len + 1 - CONFIG.max_seq_len // 2
    periods = milliseconds[inside + 1 :][: (beyond - 1) // step * step].reshape(-1, step)
    means = ", ".join(f"{mean:.3f}" for mean in periods.mean(axis=1))
    print(f"beyond it, mean ms per token over each {step} (each reads one window again): {means}")


def cache(rounds: int) -> None:
    """Total time with and without a cache, and the memory that the cache takes."""
    model = for_inference(our_model())
    print("new tokens   with cache   without     ratio   (seconds, batch 1)")
    for new in (8, 16, 32, 64, 128, 240):
        ids = prompt(1)

        def without(ids: Tensor = ids, new: int = new) -> Tensor:
            return generate(model, ids, new, seed=0, use_cache=False, **SAMPLING)

        seconds = interleave({"with": writes(model, ids, new), "without": without}, rounds=rounds)
        a, b = statistics.median(seconds["with"]), statistics.median(seconds["without"])
        print(f"{new:>10} {a:>12.4f} {b:>9.4f} {b / a:>9.2f}")
    kept = KVCache(CONFIG, batch_size=1, dtype=torch.bfloat16)
    formula = 2 * CONFIG.n_layers * CONFIG.max_seq_len * CONFIG.d_model * 2
    found = kept.keys.nbytes + kept.values.nbytes
    print(f"memory of the cache, one row in bf16: {found:,} bytes; formula {formula:,}")


if __name__ == "__main__":
    run(main)
