"""List the runs of a folder, or compare some of them: a table and a picture.

uv run python commands/compare_runs.py                 what is there
uv run python commands/compare_runs.py toy-1 toy-2     compared; draws runs/comparison.png

A run that cannot be read is named on standard error, and the others are shown.
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import sys
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from transformer.runs.curves import RunSummary, check_picture, draw_comparison, summarise_all
from transformer.runs.find import find_runs
from transformer.terminal.command_line import run
from transformer.terminal.progress import duration


def main(
    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    runs_dir: Path = Path("runs"),
    output: Path | None = None,
) -> None:
    """List runs, or compare those that are named in one table and one picture.

    Args:
        runs: names in --runs-dir, or paths; without any, all runs are listed.
        runs_dir: where runs are kept.
        output: where to draw them (.png, .svg, .pdf or .jpg); comparison.png in --runs-dir.
    """
    if output is not None:
        check_picture(output)
    summaries = summarise_all(
        find_runs(runs_dir, runs), lambda warning: print(warning, file=sys.stderr)
    )
    # names are shown as they are: [bold] and :smile: too
    Console(highlight=False, markup=False, emoji=False).print(table(summaries))
    if runs or output is not None:
        output = output or runs_dir / "comparison.png"
        draw_comparison(summaries, output)
        print(f"Drawn in {output}")


def table(summaries: list[RunSummary]) -> Table:
    made = Table("run", "data", "parameters", "steps", "tokens", "time", "best loss", "status")
    for run_ in summaries:
        best = "-" if run_.best_loss is None else f"{run_.best_loss:.4f} at {run_.best_step}"
        made.add_row(
            run_.name,
            run_.dataset,
            f"{run_.parameters:,}",
            f"{run_.steps:,}",
            f"{run_.tokens:,}",
            duration(run_.seconds),
            best,
            run_.status,
        )
    return made


if __name__ == "__main__":
    run(main)
