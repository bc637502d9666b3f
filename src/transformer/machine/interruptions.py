"""What ends training early: Ctrl-C, SIGTERM and a closed terminal (finish the step, save, then
exit), and the errors of a machine that is out of memory, out of disk or has lost a process.

Every command imports this file first, so nothing at its top may take long to import.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from transformer.errors import UserError

AGAIN = "; Ctrl-C again stops without saving"
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
LOST_PROCESS = ("connection closed by peer", "connection reset by peer", "gloo", "nccl")
HANG_UP = getattr(signal, "SIGHUP", None)  # the terminal is gone; Windows has no such signal


def leave_ctrl_c() -> None:
    """From here on Ctrl-C ends the process without a traceback: what a command wants while it
    imports, and again while it exits."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def take_ctrl_c() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class StopRequest:
    """While the block runs, the first signal only sets `requested` and says what will happen; a
    second Ctrl-C interrupts at once, for people who cannot wait for the end of a step."""

    def __init__(self, speaks: bool = True) -> None:
        self.requested = False
        self.signal = signal.SIGINT
        self._speaks = speaks
        self._terminals: list[int] = []
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        signals = [signal.SIGINT, signal.SIGTERM]
        if HANG_UP is not None and signal.getsignal(HANG_UP) is not signal.SIG_IGN:  # nohup
            signals.append(HANG_UP)
        for number in signals:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == HANG_UP:
            self._forget_terminals()
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            self._say(number)
        self.requested = True
        self.signal = signal.Signals(number)

    def _say(self, number: int) -> None:
        """Past Python's buffers: the signal may have come in the middle of a print."""
        if not self._speaks:
            return
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        line = f"\n{name}: finishing this step, then saving{AGAIN * (name == 'Ctrl-C')}\n"
        with suppress(OSError):  # perhaps nobody can read it; saving matters more
            os.write(2, line.encode())

    def _forget_terminals(self) -> None:
        """Printing to a terminal that is gone is an error, which would keep us from saving."""
        null = os.open(os.devnull, os.O_WRONLY)
        for number in self._terminals:
            os.dup2(null, number)
        os.close(null)


@contextmanager
def readable_errors() -> Iterator[None]:
    """What PyTorch and the system raise when the machine is the problem, in words that help.

    Raises:
        UserError: for a `RuntimeError` that means too little memory, or that another process
            of the same run is gone; for a full disk, which can stop metrics.jsonl as well as
            a checkpoint (files.py). All other errors pass unchanged.
    """
    import torch  # late: commands import this module before Ctrl-C is settled

    from transformer.machine.files import NO_ROOM

    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise UserError(
                "the disk is full: make room, then --resume continues from the last checkpoint"
            ) from error
        raise
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if known or any(sign in text for sign in OUT_OF_MEMORY):
            raise UserError(
                "out of memory: lower --batch-size and raise --accumulation-steps in turn (this "
                "trains in the same way), or lower --seq-length, --d-model or --n-layers"
            ) from error
        if any(sign in text for sign in LOST_PROCESS):
            raise UserError(
                f"lost contact with another process of this run ({error}); "
                "--resume continues from the last checkpoint"
            ) from error
        raise
