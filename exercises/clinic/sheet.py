"""What the learner sees of a patient. 80 columns and no colour are enough."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from exercises.clinic.cases import CASES, DIAGNOSES, WARD, Case
from exercises.clinic.desk import Desk, Record
from exercises.clinic.examination import EVALUATE, EVERY, Evidence
from exercises.clinic.findings import EXAMINATIONS, NUMBERS

SHADES = " ·░▒▓█"
LETTERS = 500  # of the sample

Healthy = list[dict[str, Any]]


def show_ward(console: Console, desk: Desk) -> None:
    """All patients, and what is known of each."""
    console.print("Each of these trainings has one bug. It raises no error.\n")
    records = [desk.record(number) for number in range(1, len(WARD) + 1)]
    found = [record is not None and record.found for record in records]
    for number, (case, record) in enumerate(zip(WARD, records, strict=True), start=1):
        sign = "✓" if found[number - 1] else "…" if record else "·"
        lines = textwrap.wrap(case.complaint, 72)
        console.print(f"{sign} {number:2}  {lines[0]}")
        for line in lines[1:]:
            console.print(f"      {line}")
    console.print(
        f"\n✓ {sum(found)} of {len(WARD)} found. See one (it trains half a minute or so):"
    )
    following = found.index(False) + 1 if False in found else 1
    _show_command(console, desk, str(following))


def show_sheet(console: Console, number: int, record: Record, healthy: Healthy, desk: Desk) -> None:
    """Everything that needs not to be asked for."""
    evidence = record.evidence
    console.print(f"\nPatient {number}. {WARD[number - 1].complaint}\n")
    console.print(_curves(evidence, healthy))
    console.print(f"The best possible validation loss is {evidence.floor:.3f}.\n")
    console.print("It writes:")
    for line in textwrap.wrap(evidence.sample[:LETTERS] or "(nothing)", 76):
        console.print(f"  {line}")
    console.print("\nWhere the heads look (rows: from; columns: at; story: ", end="")
    console.print("".join(evidence.tokens[1:7]).strip() + " …):")
    for block, heads in enumerate(evidence.attention):
        console.print("\n".join(_pictures(block, heads)))
    console.print(f"\nThe curves and the heads as a picture: {desk.path(number, 'png')}")
    _show_choices(console, number, desk)


def _show_choices(console: Console, number: int, desk: Desk) -> None:
    console.print("\nExaminations that you can ask for:")
    for name, each in EXAMINATIONS.items():
        console.print(_entry(name, each.question, 9))
    _show_command(console, desk, f"{number} --examine {next(iter(EXAMINATIONS))}")
    console.print("\nDiagnoses:")
    for name in DIAGNOSES:
        console.print(_entry(name, CASES[name].says, 24))
    _show_command(console, desk, f"{number} --answer {DIAGNOSES[0]}")
    console.print("Or a test of your own, that a healthy patient passes and this one fails:")
    _show_command(console, desk, f"{number} --prove my_test.py")


def _show_command(console: Console, desk: Desk, words: str) -> None:
    console.print(f"  {desk.command(words)}", style="bold", soft_wrap=True)


def _entry(name: str, text: str, column: int) -> str:
    indent = " " * (column + 2)
    return textwrap.fill(text, 78, initial_indent=f"  {name:{column}}", subsequent_indent=indent)


def _curves(evidence: Evidence, healthy: Healthy) -> Table:
    """A row for each validation."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("step", "train", "healthy", "validation", "healthy", "gradient", "healthy"):
        table.add_column(heading, justify="right")
    for index, loss in enumerate(evidence.validation):
        step = index * EVALUATE
        point = max(0, step // EVERY - 1)
        cells = []
        for name, own, place in (
            ("train", evidence.train, point),
            ("validation", [loss], index),
            ("gradient", evidence.gradient, point),
        ):
            values = [curves[name][place] for curves in healthy]
            shown = own[place] if len(own) > 1 else own[0]
            cells += [f"{shown:.2f}", f"{min(values):.2f}–{max(values):.2f}"]
        if step == 0:
            cells[0] = cells[1] = cells[4] = cells[5] = ""
        table.add_row(str(step), *cells)
    return table


def _pictures(block: int, heads: list[list[list[float]]]) -> list[str]:
    """The heads of a block side by side, as characters."""
    width = len(heads[0])
    lines = ["  ".join(f"block {block}, head {h}".ljust(width + 1) for h in range(len(heads)))]
    lines += ["   ".join("".join(map(shade, head[i])) for head in heads) for i in range(width)]
    return [line.rstrip() for line in lines]


def shade(weight: float) -> str:
    """
    >>> [shade(w) for w in (0.0, 0.01, 0.1, 0.3, 0.6, 1.0)]
    [' ', '·', '░', '▒', '▓', '█']
    """
    limits = (0.001, 0.05, 0.2, 0.5, 0.8)
    return SHADES[sum(weight > limit for limit in limits)]


def show_examination(console: Console, name: str, record: Record, healthy: Healthy) -> None:
    console.print(f"{EXAMINATIONS[name].question}")
    for number, text in EXAMINATIONS[name].numbers.items():
        values = [curves["numbers"][number] for curves in healthy]
        console.print(f"  {text}:")
        ours = f"{record.evidence.numbers[number]:.4g}"
        console.print(f"    {ours}; healthy: {min(values):.4g} to {max(values):.4g}")


def show_wrong(console: Console, answer: str, record: Record) -> None:
    """What speaks against a diagnosis."""
    number, expected = next(contradictions(CASES[answer], record.evidence.numbers), (None, ""))
    if number is None:  # with another version of PyTorch, perhaps; the record has no such patient
        console.print("✗ Not that, though the numbers do not speak against it.", style="red")
        return
    console.print(f"✗ Not that. With {answer} it would be {expected}", style="red")
    value = record.evidence.numbers[number]
    console.print(f"({NUMBERS[number]}); here it is {value:.4g}.")


def contradictions(case: Case, numbers: dict[str, float]) -> Iterator[tuple[str, str]]:
    """The signs of a bug that a patient does not show: the number, and what it would be."""
    for name, (low, high) in case.signs.items():
        if not low <= numbers[name] <= high:
            yield name, f"between {low:g} and {high:g}" if high < 1e9 else f"at least {low:g}"


def guilty(case: Case) -> str:
    """The function in which the marked line is, and below that line what it is in health."""
    source = re.sub(r"(def \w+)\((.|\n)*?\) -> .*:\n", r"\1(…):\n", inspect.getsource(case.patient))
    source = re.sub(r"^( *)(.*?)  # ◀ (.*)", r"\1\2\n\1▲ in health: \3", source, flags=re.MULTILINE)
    lines = source.splitlines()
    marked = next(i for i, line in enumerate(lines) if "▲" in line)
    begin = max(i for i in range(marked) if lines[i].lstrip().startswith("def "))
    end = next((i for i in range(marked, len(lines)) if not lines[i].strip()), len(lines))
    return textwrap.dedent("\n".join(lines[begin:end]))


def show_found(console: Console, case: Case) -> None:
    """The bug, and where it was."""
    console.print(f"✓ {case.name}: {case.says}\n", style="green")
    console.print(f"{guilty(case)}\n", soft_wrap=True)
    for line in textwrap.wrap(case.why, 78):
        console.print(line)
    console.print(f"Read on in {case.reads}.")
