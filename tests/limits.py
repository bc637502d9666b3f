"""Time limits that nothing can outlast: a pytest plugin.

Each test has `test_limit` seconds for set-up, body and tear-down together
(`@pytest.mark.limit(seconds)` changes it), and the whole run has `run_limit`. Whatever exceeds
one has its stacks printed, and its process is ended at once: pytest then reports the test as
crashed, or exits with an error.

The watch is a thread of Python's faulthandler that is written in C. It also ends a process that
waits for a lock, that is already ending, or that has caught the exception by which another kind
of time limit wanted to end it.
"""

import faulthandler
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

LATER = 15.0  # seconds that the main process waits longer, so that its workers end first


class Watch:
    """The one timer of this process: it is set to whichever limit comes first."""

    def __init__(self, run_limit: float) -> None:
        self.ends_at = time.monotonic() + run_limit
        self.test_ends_at = self.ends_at
        self.stderr = os.dup(sys.__stderr__.fileno())  # pytest closes its own before the very end
        self.set()

    def set(self) -> None:
        left = min(self.ends_at, self.test_ends_at) - time.monotonic()
        faulthandler.dump_traceback_later(max(left, 0.1), exit=True, file=self.stderr)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        mark = item.get_closest_marker("limit")
        limit = float(mark.args[0] if mark else item.config.getini("test_limit"))
        self.test_ends_at = time.monotonic() + limit
        self.set()
        try:
            return (yield)
        finally:
            self.test_ends_at = self.ends_at
            self.set()

    @pytest.hookimpl(wrapper=True)
    def pytest_exception_interact(self) -> Iterator[None]:
        """pytest switches the timer off when a test fails; its tear-down can hang all the same."""
        try:
            return (yield)
        finally:
            self.set()


def pytest_addoption(parser: Any) -> None:
    parser.addini("test_limit", "seconds for one test, with set-up and tear-down", default="300")
    parser.addini("run_limit", "seconds for the whole run", default="1500")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "limit(seconds): how long this test may take at most")
    limit = float(config.getini("run_limit"))
    config.pluginmanager.register(Watch(limit if hasattr(config, "workerinput") else limit + LATER))
