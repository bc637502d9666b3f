"""How every command starts: flags from dataclasses, errors for people."""

import sys
from collections.abc import Callable

import tyro

from transformer.errors import UserError

INTERRUPTED = 130  # what shells use for "ended by Ctrl-C"


def run(main: Callable[..., int | None], args: list[str] | None = None) -> None:
    """Parse the command line into `main`'s arguments, call it, and exit with its status.

    `main`'s docstring and the docstrings of its arguments become `--help`. For errors see
    `run_guarded`.
    """
    run_guarded(lambda: tyro.cli(main, args=args))


def run_guarded(action: Callable[[], int | None]) -> None:
    """Call `action` and exit with its status.

    A `UserError` ends in one line on standard error and status 2; a full disk or an
    unwritable folder likewise; Ctrl-C in status 130. Anything else is a bug and keeps its
    traceback.
    """
    try:
        status = action()
    except UserError as error:
        status = _complain(str(error))
    except OSError as error:
        status = _complain(_describe(error))
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _describe(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"
