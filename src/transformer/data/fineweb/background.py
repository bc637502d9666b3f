"""Work beside the main thread that never keeps a program from ending."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


POLITE = 10  # of 19: such a thread gets a tenth of the time of one it shares a core with


def spawn(action: Callable[[], _Result], *, politely: bool = False) -> Future[_Result]:
    """Run `action` in a daemon thread. (An executor's threads are waited for at exit, and one
    that waits for a hub may wait for a quarter of an hour.)

    Args:
        politely: take what time others leave (on Linux, where threads have a priority).
    """
    future: Future[_Result] = Future()

    def run() -> None:
        if politely and sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), POLITE)
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
