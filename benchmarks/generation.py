"""How fast the model writes: against Hugging Face, along the context, with and without cache.

    uv run benchmarks/generation.py               speed at batch 1 and 8
    uv run benchmarks/generation.py --part position | cache | compiled

17.6 million parameters, a context of 256, a prompt of 16 tokens, 128 new ones; contestants
take turns, and a ratio is taken round by round. Every contestant draws from the same kind of
distribution (temperature 0.8, top-k 50), and none stops early.
"""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from side_by_side import Seconds, interleave, print_ratios
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from transformer.command_line import run
from transformer.config import ModelConfig
from transformer.device import for_inference
from transformer.generation import generate, stream
from transformer.hf_export import gpt2_config, gpt2_weights
from transformer.kv_cache import KVCache
from transformer.model import DecoderOnlyTransformer

CONFIG = ModelConfig(vocab_size=50_281, max_seq_len=256)
PROMPT, NEW = 16, 128
SAMPLING: dict[str, Any] = {"temperature": 0.8, "top_k": 50}


@dataclass(frozen=True)
class Arguments:
    part: Literal["speed", "position", "cache", "compiled"] = "speed"
    """speed: against Hugging Face. position: time per token along the context and beyond.
    cache: with and without, and memory. compiled: torch.compile, its start-up apart."""
    batch: tuple[int, ...] = (1, 8)
    """Batch sizes, for speed and compiled."""
    rounds: int = 5
    """Counted rounds."""
    threads: int | None = None
    """CPU threads; PyTorch's choice if not given. One is steadier on a busy machine."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Measure generation."""
    torch.manual_seed(0)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    print(f"{torch.get_num_threads()} threads, {args.rounds} rounds")
    match args.part:
        case "speed":
            speed(args.rounds, args.batch)
        case "compiled":
            compiled(args.rounds, args.batch)
        case "position":
            position(args.rounds)
        case "cache":
            cache(args.rounds)


def models() -> tuple[DecoderOnlyTransformer, DecoderOnlyTransformer]:
    """One model in fp32, and what for_inference makes of it."""
    model = DecoderOnlyTransformer(CONFIG).eval()
    return model, for_inference(copy.deepcopy(model))


def hugging_face(model: DecoderOnlyTransformer) -> GPT2LMHeadModel:
    """The same weights in transformers' GPT-2."""
    theirs = GPT2LMHeadModel(GPT2Config(**gpt2_config(CONFIG, end_of_text=50_256)))
    theirs.load_state_dict(gpt2_weights(model), strict=True)
    return theirs.eval()


def writes(model: DecoderOnlyTransformer, ids: Tensor, new: int = NEW) -> Callable[[], Tensor]:
    return lambda: generate(model, ids, new, seed=0, **SAMPLING)


def hugging_face_writes(model: GPT2LMHeadModel, ids: Tensor) -> Callable[[], Tensor]:
    return lambda: model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        do_sample=True,
        use_cache=True,
        pad_token_id=0,
        **SAMPLING,
    )


def prompt(batch: int) -> Tensor:
    return torch.randint(CONFIG.vocab_size, (batch, PROMPT))


def speed(rounds: int, batches: tuple[int, ...]) -> None:
    plain, fast = models()
    theirs = hugging_face(plain)
    print(f"for_inference chose {fast.token_embedding.weight.dtype}")
    for batch in batches:
        ids = prompt(batch)
        contestants = {
            "Hugging Face, fp32": hugging_face_writes(theirs, ids),
            "ours, fp32": writes(plain, ids),
            "ours, for_inference": writes(fast, ids),
        }
        seconds = take_turns(contestants, rounds)
        title = f"batch {batch}: {PROMPT} + {NEW} tokens"
        print_ratios(seconds, "Hugging Face, fp32", title=title, work=batch * NEW, unit="tokens")
    first = interleave({"first": writes(fast, prompt(1), new=1)}, rounds=rounds)["first"]
    print(f"time to the first token of a {PROMPT}-token prompt: {median_ms(first):.1f} ms")
    print_bandwidth(fast)


def take_turns(contestants: dict[str, Callable[[], Tensor]], rounds: int) -> Seconds:
    """`interleave`, with a line after each round: a slow machine shows that it lives."""
    seconds: Seconds = {name: [] for name in contestants}
    for number in range(rounds):
        for name, times in interleave(contestants, rounds=1, warmup=int(number == 0)).items():
            seconds[name] += times
        print({name: round(times[-1], 3) for name, times in seconds.items()}, flush=True)
    return seconds


def print_bandwidth(model: DecoderOnlyTransformer) -> None:
    """How long reading all weights takes, which no token can undercut."""
    n_bytes = sum(p.nbytes for p in model.parameters())
    weights = torch.ones(n_bytes // 4)  # not zeros: those share one page, and fit any cache
    seconds = interleave({"read": weights.sum}, rounds=20)["read"]
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
    """Is a token at the end of the context dearer than one at its beginning?"""
    _, model = models()
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
    print(f"beyond it, mean ms per token of each {step} (one window read again in each): {means}")


def cache(rounds: int) -> None:
    """Total time with and without a cache, and the memory that the cache takes."""
    _, model = models()
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
    print(f"memory of the cache, a row in bf16: {found:,} bytes; formula {formula:,}")


def compiled(rounds: int, batches: tuple[int, ...]) -> None:
    """Decoding through torch.compile; its first run is the start-up."""
    plain, fast = models()
    theirs, program = hugging_face(plain), torch.compile(fast)
    for batch in batches:
        ids = prompt(batch)
        start = time.perf_counter()
        writes(program, ids)()  # type: ignore[arg-type]
        print(f"batch {batch}: first compiled run {time.perf_counter() - start:.1f} s")
        contestants = {
            "Hugging Face, fp32": hugging_face_writes(theirs, ids),
            "ours, for_inference": writes(fast, ids),
            "ours, compiled": writes(program, ids),  # type: ignore[arg-type]
        }
        seconds = take_turns(contestants, rounds)
        print_ratios(
            seconds, "Hugging Face, fp32", title=f"batch {batch}", work=batch * NEW, unit="tokens"
        )


if __name__ == "__main__":
    run(main)
