"""Let a trained model write: continue a prompt, standard input, or what you type.

uv run python commands/generate.py --prompt "Once there was a"
uv run python commands/generate.py runs/quick --preset creative --samples 3
echo "Once there was a" | uv run python commands/generate.py --json
uv run python commands/generate.py --show-probabilities --prompt "The cat"
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import json
import secrets
import sys
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

import tyro

from transformer.errors import UserError
from transformer.ladder.describe import describe_model
from transformer.machine.bounds import check_seed
from transformer.machine.device import InferencePrecision, choose_device, for_inference
from transformer.runs.model_file import LoadedModel
from transformer.sampling import PRESETS, SamplingSettings
from transformer.terminal.command_line import RunArguments, plain_console, run
from transformer.terminal.text_stream import (
    TextBuilder,
    check_generation,
    harmless,
    stream_text,
)
from transformer.terminal.token_choices import explain, render


@dataclass(frozen=True)
class Arguments(RunArguments):
    prompt: str | None = None
    """Text to continue; without it, standard input, or a session if that is a terminal."""
    max_new_tokens: int = 200
    """Stop after this many tokens."""
    preset: Literal["greedy", "precise", "balanced", "creative"] = "balanced"
    """Where the settings below start: greedy (temperature 0), precise (temperature 0.5,
    top-k 40), balanced (temperature 0.8, top-p 0.95), creative (temperature 1.1, min-p 0.05)."""
    temperature: float | None = None
    """0 always takes the likeliest token, 1 is the model's own distribution."""
    top_k: int | None = None
    """Keep the k likeliest tokens."""
    top_p: float | None = None
    """Keep the smallest set of likeliest tokens that has this probability."""
    min_p: float | None = None
    """Keep tokens with at least this share of the likeliest one's probability."""
    repetition_penalty: float | None = None
    """Above 1, tokens of the text so far become less likely."""
    seed: int | None = None
    """The same seed writes the same text; sample i uses seed + i. Random if not given."""
    samples: int = 1
    """How many continuations to write, together in one batch."""
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """End before this string; give it again for another: the first to appear counts."""
    show_probabilities: bool = False
    """Show each token of the first sample, its rivals, and what each filter removed."""
    json: bool = False
    """Print one JSON object instead of text."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: InferencePrecision = "auto"
    """Type of the weights; auto takes the faster one of fp32 and bf16, int8 is half as large."""

    def settings(self) -> SamplingSettings:
        """The preset, changed by the flags that were given."""
        flags = {name: getattr(self, name) for name in asdict(PRESETS[self.preset])}
        given = {name: value for name, value in flags.items() if value is not None}
        return replace(PRESETS[self.preset], **given)


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Let a trained model write."""
    if args.samples < 1:
        raise UserError(f"--samples must be at least 1, but is {args.samples}")
    if args.max_new_tokens < 0:
        raise UserError(f"--max-new-tokens must be at least 0, but is {args.max_new_tokens}")
    settings = args.settings()
    if args.seed is not None:
        check_seed(args.seed)
    loaded = args.load()
    model = for_inference(loaded.model.to(choose_device(args.device)), args.precision)
    loaded = replace(loaded, model=model)
    check_generation(model, args.samples)
    if not args.json:
        note(f"{introduction(loaded, args, settings)}\n{describe_model(model)}")
    if args.prompt is None and sys.stdin.isatty():
        session(loaded, args, settings)
    else:
        prompt = sys.stdin.read().rstrip("\n") if args.prompt is None else args.prompt
        answer(loaded, prompt, args, settings)


def introduction(loaded: LoadedModel, args: Arguments, settings: SamplingSettings) -> str:
    """Which model, and the settings that change its distribution."""
    plain = asdict(SamplingSettings())
    changed = [f"{name} {x}" for name, x in asdict(settings).items() if x != plain[name]]
    return f"{loaded.path}, step {loaded.step}; {args.preset}: {', '.join(changed)}"


def session(loaded: LoadedModel, args: Arguments, settings: SamplingSettings) -> None:
    """Continue each line that is typed, until the end of input."""
    import readline  # noqa: F401  (gives input() a history and editing)

    note("Type the beginning of a text. Ctrl-C stops a text, Ctrl-D ends.")
    stopped = False
    while True:
        try:
            if stopped:
                print()
            stopped = False
            answer(loaded, input("> "), args, settings)
        except KeyboardInterrupt:
            stopped = True
        except EOFError:
            print()
            return


def answer(loaded: LoadedModel, prompt: str, args: Arguments, settings: SamplingSettings) -> None:
    """Continue one prompt, and print the text as it is written."""
    ids = loaded.tokenizer.encode_prompt(prompt)
    if len(ids) > loaded.model.config.max_seq_len:
        note(f"the prompt has {len(ids)} tokens; the model sees only its end", style="yellow")
    first_seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    builders = [TextBuilder(loaded.tokenizer, args.stop) for _ in range(args.samples)]
    seeds = [first_seed + sample for sample in range(args.samples)]
    streams = args.samples == 1 and not args.json and not args.show_probabilities
    show(prompt, streams)
    choices = []
    for step, new in stream_text(loaded.model, ids, builders, args.max_new_tokens, settings, seeds):
        show(new[0], streams)
        if args.show_probabilities:
            choices.append(explain(step, 0, loaded.tokenizer))
            if not args.json:
                plain_console().print(render(choices[-1]), soft_wrap=True)
    rest = [builder.finish() for builder in builders]
    show(rest[0] + "\n", streams)
    if args.json:
        record = {"model": str(loaded.path), "step": loaded.step, "prompt": prompt}
        record["settings"] = asdict(settings)
        record["samples"] = [
            {"seed": seed, "text": built.text, "ids": built.ids, "ended_by": built.ended_by}
            for seed, built in zip(seeds, builders, strict=True)
        ]
        print(json.dumps(record | {"choices": [asdict(choice) for choice in choices]}))
    elif not streams:
        for seed, built in zip(seeds, builders, strict=True):
            note(f"\nseed {seed}")
            show(prompt + built.text + "\n")


def note(text: str, style: str = "dim") -> None:
    """What is not part of the text goes to standard error."""
    plain_console(stderr=True).print(text, style=style, soft_wrap=True)


def show(text: str, streams: bool = True) -> None:
    if streams:
        print(harmless(text), end="", flush=True)


if __name__ == "__main__":
    run(main)
