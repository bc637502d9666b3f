"""What the learner sees: the list, a verdict, a hint. 80 columns and no colour are enough."""

import re
import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exercises.contents import LIST, Exercise
from exercises.judging.judge import STAGES, Verdict
from transformer.training.mine_folder import Notebook

SIGNS = {"open": "·", "begun": "…", "changed": "~", "done": "✓"}
COMMAND = "uv run python commands/exercise.py"
FOLDER = Path("mine")  # of the learner's files, where --mine names no other


def command(words: str, mine: Path) -> str:
    """A command for the learner to type."""
    return f"{COMMAND} {words}" + ("" if mine == FOLDER else f" --mine {shlex.quote(str(mine))}")


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
    rest = f"{minutes} minutes" if minutes < 90 else f"{minutes / 60:.0f} hours"
    console.print(f"\n✓ {done} of {len(LIST)} done" + (f"; the rest: {rest}." if minutes else "."))
    if "changed" in states.values():
        console.print("~ has passed and was changed since: judge it again.")
    following = next((each for each in LIST if states[each.name] != "done"), None)
    if following is None:
        console.print("All done. Train with them:")
        mine = shlex.quote(str(notebook.folder))
        train = f"uv run python commands/train.py --dataset toy --mine {mine}"
        console.print(f"  {train}", style="bold", soft_wrap=True)
        return
    verb = "start" if states[following.name] == "open" else "check"
    console.print(f"Next: {following.title}. Begin anywhere, what is missing is taken from ours.")
    typed = command(f"{verb} {following.name}", notebook.folder)
    console.print(f"  {typed}", style="bold", soft_wrap=True)


def show_verdict(console: Console, exercise: Exercise, verdict: Verdict, mine: Path) -> None:
    """Passed, or the first thing that is wrong."""
    for remark in verdict.remarks:
        console.print(sentence(f"note: {remark}"))
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
    console.print(f"\n{sentence(failure.mistake)}", style="bold")
    console.print(f"Read on in {exercise.reads}, or ask for a hint:")
    console.print(f"  {command(f'hint {exercise.name}', mine)}", soft_wrap=True)


def sentence(text: str) -> str:
    """With a capital and a full stop, where they are missing.

    >>> sentence("is there a loop?"), sentence("`weight` is a plain tensor")
    ('Is there a loop?', '`weight` is a plain tensor.')
    """
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def hints(exercise: Exercise) -> list[str]:
    """The three hints of an exercise."""
    text = (exercise.folder / "hints.md").read_text(encoding="utf-8")
    return [part.strip() for part in re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:]]
