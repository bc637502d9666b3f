"""Work in other threads that never keeps a program from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
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
