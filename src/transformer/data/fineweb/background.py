"""Work in other threads: it never keeps a program from ending, and lets the urgent go first."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

_Result = TypeVar("_Result")


def spawn(action: Callable[[], _Result]) -> Future[_Result]:
    """Run `action` in a daemon thread. (Python waits at exit for an executor's threads, and one
    that waits for a hub may take a quarter of an hour.)"""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class Precedence:
    """Counts what is urgent, so that what is not can wait until nothing is.

    >>> precedence = Precedence()
    >>> with precedence.urgent():
    ...     precedence.wait(seconds=0.0)
    False
    >>> precedence.wait(seconds=0.0)
    True
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._urgent = 0

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Inside, something urgent is going on."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def wait(self, seconds: float) -> bool:
        """Whether nothing urgent is going on, now or after waiting this long for it to end."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._urgent, timeout=seconds)

    def _count(self, change: int) -> None:
        with self._changed:
            self._urgent += change
            self._changed.notify_all()
