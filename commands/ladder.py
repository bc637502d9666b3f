"""The ladder from 2017 to 2026, measured on this machine: what is each change worth here?

uv run python commands/ladder.py --minutes 20                    toy stories, a first impression
uv run python commands/ladder.py --tokens 1400000 --seeds 5 --tune      overnight
uv run python commands/ladder.py --dataset text --text novels/ --tokens 2500000 --seeds 3

Every rung is trained on the same tokens in the same order. What has ended is kept in --output:
Ctrl-C and the same line again goes on. The runs in there are runs like any other.
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import json
import math
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from transformer.climbing.picture import draw_ladder
from transformer.climbing.rates import tuned
from transformer.climbing.speed import kept_speeds
from transformer.climbing.study import Dataset, Study, climbed_rungs, fitting_tokens
from transformer.climbing.summary import precisions, summarise, table, to_json
from transformer.climbing.trainings import Row, Trainings
from transformer.data.bpe import count_ids
from transformer.errors import UserError
from transformer.ladder.rungs import RUNGS
from transformer.machine.device import Switch
from transformer.machine.files import write_atomically
from transformer.terminal.command_line import plain_console, run


@dataclass(frozen=True)
class Arguments:
    dataset: Dataset = "toy"
    """toy: stories whose best possible loss is known; text: your own files."""
    text: tuple[Path, ...] = ()
    """Files or folders, with --dataset text."""
    tokenizer: str = "bpe:1024"
    """For text: bpe:N, p50k_base or a file."""
    tokens: int | None = None
    """Places that every rung is trained on (a fifth of those of the toy stories hold no token that
    counts)."""
    minutes: float | None = None
    """Or how long all of it may take: the tokens follow from the speed that is measured first."""
    seeds: int = 1
    """Trainings of each rung. One says little: the spread needs three or more."""
    rungs: tuple[str, ...] = ()
    """Which rungs; by default all that stand on each other."""
    in_order: bool = False
    """Climb --rungs in the order given, each on those before it, and leave all others out."""
    tune: bool = False
    """First look for each rung's learning rate: three trainings more for each."""
    compile: Switch = "auto"
    """Whether torch.compile is used: faster steps, after a start of up to a minute each."""
    jobs: int = 1
    """Trainings side by side; each gets its share of the cores. --tune has three at a time."""
    output: Path = Path("runs/ladder")
    """Where everything is kept."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> int:
    """Train the rungs in turn, and draw what each is worth."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C
    console = plain_console()
    study, seconds = planned(args)
    trainings = Trainings(study, args.output, args.jobs)

    def report(row: Row) -> None:
        floor = f", {row.loss / row.floor:.3f} times the floor" if row.floor else ""
        rates = "" if row.factor == 1.0 else f", rates × {row.factor:g}"
        console.print(f"{row.rung}, seed {row.seed}{rates}: {row.loss:.4f} nats per token{floor}")

    factors = tuned(trainings, report) if args.tune else {}
    rows = list(trainings.run(study.trainings(factors), report))
    rows.sort(key=lambda row: (study.rungs.index(row.rung), row.seed))
    found = summarise(study, rows, seconds)
    seeds = "one seed" if args.seeds == 1 else f"{args.seeds} seeds"
    title = f"{args.dataset}, {found[0].tokens:,} tokens, {seeds}, {precisions(rows)}"
    console.print(table(found, title))
    saved = json.dumps(to_json(study, found, rows), indent=1) + "\n"
    write_atomically(args.output / "ladder.json", saved.encode())
    draw_ladder(found, rows[0].floor, args.output / "ladder.png", title)
    console.print(f"Loss over time and the gains: {args.output / 'ladder.png'}")
    console.print(f"For Step 11 of the page: {args.output / 'ladder.json'}")
    return 0


def planned(args: Arguments) -> tuple[Study, dict[str, float]]:
    """What is measured, and the seconds of a step of each rung."""
    if (args.tokens is None) == (args.minutes is None):
        raise UserError("give either --tokens or --minutes")
    if args.minutes is not None and not 0 < args.minutes < math.inf:
        raise UserError(f"--minutes must be a finite number above 0, but is {args.minutes}")
    if args.jobs < 1:
        raise UserError(f"--jobs must be at least 1, but is {args.jobs}")
    if args.dataset == "toy" and args.tokenizer != Arguments.tokenizer:
        raise UserError(
            f"--tokenizer {args.tokenizer} says nothing about --dataset toy: leave it out"
        )
    size = count_ids(args.tokenizer)
    rungs = args.rungs or climbed_rungs("all", size)
    if not args.in_order:  # each after the one that it stands on
        rungs = tuple(sorted(set(rungs), key=lambda rung: [*RUNGS, rung].index(rung)))
    tokens = 10**9 if args.tokens is None else args.tokens
    study = Study(
        args.dataset, args.text, tokens, args.seeds, rungs, args.tokenizer, args.compile,
        args.in_order,
    )  # fmt: skip
    seconds = kept_speeds(study, args.output / "speeds.json", print)
    if args.minutes is not None:  # once measured, the speeds are kept, so it is the same again
        tokens = fitting_tokens(study, seconds, args.minutes, args.tune)
        print(f"{tokens:,} tokens for each training.", flush=True)
        study = replace(study, tokens=tokens)
    return study, seconds


if __name__ == "__main__":
    run(main)
