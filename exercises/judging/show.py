"""What the learner sees: the list, a verdict, a hint. 80 columns and no colour are enough."""

import re

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exercises.contents import LIST, Exercise
from exercises.judging.judge import STAGES, Verdict
from transformer.training.mine_folder import Notebook

SIGNS = {"open": "·", "begun": "…", "changed": "~", "done": "✓"}
COMMAND = "uv run python commands/exercise.py"


def show_list(console: Console, notebook: Notebook) -> None:
    """All exercises, what is done, and what comes next."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("", "exercise", "", "min", "page", "trains"):
        table.add_column(heading, justify="right" if heading == "min" else "left")
    states = {each.name: notebook.state(each.name) for each in LIST}
    for each in LIST:
        trains = "yes" if each.trains else ""
        step = each.step if each.step == "ladder" else f"step {each.step}"
        sign = Text(SIGNS[states[each.name]], style="green" if states[each.name] == "done" else "")
        table.add_row(sign, each.name, each.title, str(each.minutes), step, trains)
    console.print(table)
    done = sum(state == "done" for state in states.values())
    minutes = sum(each.minutes for each in LIST if states[each.name] != "done")
    console.print(f"\n✓ {done} of {len(LIST)} done; the rest takes about {minutes / 60:.0f} hours.")
    if "changed" in states.values():
        console.print("~ has passed and was changed since: judge it again.")
    following = next((each for each in LIST if states[each.name] != "done"), None)
    if following is None:
        console.print("All done. Train with them:")
        console.print("  uv run python commands/train.py --dataset toy --mine mine", style="bold")
        return
    verb = "start" if states[following.name] == "open" else "check"
    console.print(f"Next: {following.title}. Begin anywhere, what is missing is taken from ours.")
    console.print(f"  {COMMAND} {verb} {following.name}", style="bold")


def show_verdict(console: Console, exercise: Exercise, verdict: Verdict) -> None:
    """Passed, or the first thing that is wrong."""
    for remark in verdict.remarks:
        console.print(f"Note: {remark}.")
    if verdict.failure is None:
        console.print(Text(f"✓ {exercise.name}: passed", style="green"), end="")
        console.print(f" in {verdict.seconds:.1f} s.")
        return
    failure = verdict.failure
    number = STAGES.index(failure.stage) + 1 if failure.stage in STAGES else 0
    stage = f"{failure.stage} ({number} of {len(STAGES)})" if number else failure.stage
    console.print(Text(f"✗ {exercise.name}, {stage}", style="red"))
    for word, said in (
        ("given", failure.given),
        ("came", failure.came),
        ("should be", failure.expected),
    ):
        first, *rest = said.splitlines() or [""]
        if not failure.came and word != "given":
            continue
        console.print(f"  {word:10}{first}")
        for line in rest:
            console.print(f"  {'':10}{line}")
    console.print(f"\n{failure.mistake[:1].upper()}{failure.mistake[1:]}.", style="bold")
    console.print(f"Read on in {exercise.reads}, or ask for a hint:")
    console.print(f"  {COMMAND} hint {exercise.name}")


def hints(exercise: Exercise) -> list[str]:
    """The three hints of an exercise."""
    text = (exercise.folder / "hints.md").read_text(encoding="utf-8")
    return [part.strip() for part in re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:]]
