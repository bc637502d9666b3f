"""How every command starts: streams that take any text, flags from dataclasses, errors."""

import functools
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from transformer.errors import UserError
from transformer.machine.interruptions import leave_ctrl_c, take_ctrl_c
from transformer.runs.find import find_model_file
from transformer.runs.model_file import LoadedModel, read_model_file
from transformer.terminal.help_texts import HELP

INTERRUPTED = 128 + signal.SIGINT  # what shells use for "ended by Ctrl-C"


@dataclass(frozen=True)
class RunsDir:
    """--runs-dir of every command that looks for runs."""

    runs_dir: Path = Path("runs")
    """Where runs are looked for."""

    def read(self, run: Path | None) -> LoadedModel:
        """The model that a person means by `run`; for None, that of the newest run.

        Raises:
            UserError: there is none, or it is damaged.
        """
        return read_model_file(find_model_file(run, self.runs_dir))


@dataclass(frozen=True)
class RunArguments(RunsDir):
    """RUN and --runs-dir of every command that uses one model."""

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]")] = None
    """A run folder, a checkpoint folder or a .safetensors file; without it, the newest run."""

    def load(self) -> LoadedModel:
        """The model of RUN; see `read`."""
        return self.read(self.run)


def run(main: Callable[..., int | None], args: list[str] | None = None) -> None:
    """Parse the command line into `main`'s arguments, call it, and exit with its status.

    `main`'s docstring and the docstrings of its arguments become `--help`. For errors see
    `run_guarded`.
    """

    @functools.wraps(main)
    def parsed(*values: Any, **named: Any) -> Callable[[], int | None]:
        return lambda: main(*values, **named)

    run_guarded(lambda: parse_flags(parsed, args)())


def run_guarded(action: Callable[[], int | None]) -> None:
    """Call `action` and exit with its status.

    A `UserError` ends in one line on standard error and status 2; a full disk or an
    unwritable folder likewise; Ctrl-C in status 130. Anything else is a bug and keeps its
    traceback.
    """
    prepare_streams()
    try:
        take_ctrl_c()
        status = action()
    except UserError as error:
        status = _complain(str(error))
    except OSError as error:
        status = _complain(_describe(error))
    except KeyboardInterrupt:
        leave_ctrl_c()  # once more, while Python ends its threads
        status = INTERRUPTED
    sys.exit(status)


def prepare_streams() -> None:
    """Make the standard streams safe for any text.

    A stream that was closed (`<&-`, `>&-`) becomes the null device. A character that the
    terminal's encoding lacks is written as an escape (`\\u2423`) and never ends a command; bytes
    of the input that are not text become "\N{REPLACEMENT CHARACTER}".
    """
    for name in ("stdin", "stdout", "stderr"):  # in this order: each takes the lowest number
        stream = getattr(sys, name)
        reads = name == "stdin"
        if stream is None:
            null = open(os.devnull, "r" if reads else "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, null)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if reads else "backslashreplace")


def plain_console(**options: Any) -> Console:
    """A console that prints text as it is: `[bold]` and `:cat:` in a name or in what a model
    writes are not styles and pictures."""
    return Console(highlight=False, markup=False, emoji=False, **options)


def parse_flags(
    target: Callable[..., Any],
    args: Sequence[str] | None = None,
    epilogue: str = "",
    **options: Any,
) -> Any:
    """`tyro.cli`, with mistakes in the flags as a `UserError` of one line instead of a box.

    Args:
        epilogue: what follows below all flags in `--help`.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(target, args=args, registry=HELP, **options)
    except SystemExit as ended:
        if ended.code:
            raise UserError(f"{_sentence(said.getvalue())}; --help explains the flags") from None
    except BrokenPipeError:  # --help | head
        pass
    try:
        print(epilogue, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush
    raise SystemExit(0)


REASONS = (
    (r"^Error parsing (\S+): (?:no type matching .* Got errors:.* - (?:[^:]*: ))?", r"\1: "),
    (r"invalid literal for int\(\) with base 10: (.*)", r"\1 is not a whole number"),
    (r"could not convert string to float: (.*)", r"\1 is not a number"),
    (
        r"input length (\d+) did not match expected argument count (\d+).*",
        r"takes \2 values, not \1",
    ),
    # a part of the configuration (flags.data): the message names the flag
    (r"^[\w.]+: (?=--)|^Flags: |\.$", ""),
)
"""How tyro and Python say it, and how it is said here."""


def _sentence(box: str) -> str:
    """The message in a box of tyro's, and what it suggests instead, on one line."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", box)
    lines = [line.strip("│ ") for line in plain.splitlines()[1:]]  # without the title
    parts = re.split(r"^[─╰╯-]{3,}\n", "\n".join([*lines, ""]).lstrip("-\n"), flags=re.MULTILINE)
    message = " ".join(parts[0].split())
    for pattern, words in REASONS:
        message = re.sub(pattern, words, message)
    for part in parts[1:]:
        if part.startswith("Available subcommands"):
            message += f"; {' '.join(part.split()).replace('Available subcommands', 'there are')}"
        elif part.startswith("Perhaps you meant"):
            names = dict.fromkeys(re.findall(r"^--[\w-]+", part, re.MULTILINE))
            message += f"; perhaps you meant {' or '.join(names)}"
    return message


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _describe(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"
