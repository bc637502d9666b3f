"""Ctrl-C and SIGTERM: finish the step, save, then go."""

import signal
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """While the block runs, the first signal only sets `requested`; a second Ctrl-C interrupts
    at once, for those who cannot wait for the end of a step."""

    def __init__(self) -> None:
        self.requested = False
        self.signal = signal.SIGINT
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
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
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        self.signal = signal.Signals(number)
