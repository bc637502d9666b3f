"""The same prompt under every sampling strategy, side by side, with figures and a picture.

uv run python commands/compare_sampling.py --prompt "Once there was a"
uv run python commands/compare_sampling.py runs/quick --samples 16 --output strategies.png
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.evaluation.diversity import Sampled, sample
from transformer.machine.bounds import check_seed
from transformer.machine.device import choose_device, for_inference
from transformer.runs.curves import check_picture, save_picture
from transformer.sampling import SamplingSettings
from transformer.terminal.command_line import RunArguments, plain_console, run
from transformer.terminal.text_stream import harmless

STRATEGIES = {
    "greedy": SamplingSettings(temperature=0.0),
    "model's own": SamplingSettings(),
    "temperature 0.5": SamplingSettings(temperature=0.5),
    "temperature 1.5": SamplingSettings(temperature=1.5),
    "top-k 10": SamplingSettings(top_k=10),
    "top-p 0.9": SamplingSettings(top_p=0.9),
    "min-p 0.1": SamplingSettings(min_p=0.1),
    "penalty 1.3": SamplingSettings(repetition_penalty=1.3),
}


@dataclass(frozen=True)
class Arguments(RunArguments):
    prompt: str = ""
    """Text to continue; an empty one starts a new text."""
    samples: int = 8
    """Texts per strategy; at least 2, to see how much they overlap."""
    max_new_tokens: int = 100
    """Tokens per text, at least 3."""
    seed: int | None = None
    """The same seed gives the same texts. Random if not given."""
    output: Path | None = Path("sampling.png")
    """Where the picture goes, .png or .svg; None for no picture."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Compare sampling strategies on one prompt."""
    if args.samples < 2:
        raise UserError(f"--samples must be at least 2, but is {args.samples}")
    if args.max_new_tokens < 3:
        raise UserError(f"--max-new-tokens must be at least 3, but is {args.max_new_tokens}")
    if args.seed is not None:
        check_seed(args.seed)
    if args.output is not None:
        check_picture(args.output)
    loaded = args.load()
    model = for_inference(loaded.model.to(choose_device("auto")))
    prompt = loaded.tokenizer.encode_prompt(args.prompt)
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    results = {
        name: sample(
            model,
            prompt,
            args.samples,
            args.max_new_tokens,
            settings,
            seed=seed,
            end_of_text=loaded.tokenizer.end_of_text,
        )
        for name, settings in STRATEGIES.items()
    }
    print_results(results, loaded.tokenizer, f"{loaded.path}, step {loaded.step}, seed {seed}")
    if args.output is not None:
        save_picture(draw(results), args.output, dpi=150)
        plain_console().print(f"picture: {args.output}")


def print_results(results: dict[str, Sampled], tokenizer: Tokenizer, title: str) -> None:
    table = Table("strategy", "ln p", "distinct-3", "overlap-3", "first text", title=title)
    for name, found in results.items():
        figures = [f"{x:.2f}" for x in (found.log_probability, found.distinct, found.overlap)]
        first = harmless(tokenizer.decode(found.texts[0])).strip()
        table.add_row(name, *figures, Text(first), end_section=True)
    plain_console().print(table)


def draw(results: dict[str, Sampled]) -> Figure:
    """Plausibility against diversity; good strategies are at the top right."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name, found in results.items():
        axes.scatter(found.log_probability, found.distinct, color="tab:orange")
        axes.annotate(
            name,
            (found.log_probability, found.distinct),
            textcoords="offset points",
            xytext=(6, 4),
        )
    axes.set_xlabel("mean ln p(token) in the model's own distribution (nats)")
    axes.set_ylabel("distinct-3: different 3-grams / all")
    axes.set_ylim(0, 1.05)
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    run(main)
