"""Trying again: what is worth another try, how long to wait, and what to tell the user.

`huggingface_hub` repeats a request that the hub answers with 429 or 5xx five times, within half a
minute. A training run should also survive a router's restart or a hub under maintenance:

    again, up to 15 minutes     429, 408, 5xx, time-outs, resets, refused connections (once the
                                hub has answered before), short or undecodable bodies
    at once to the user         401, 403, 404: no waiting will change them
    at once to the user         a hub that has never answered this process: there is no network
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from pyarrow import ArrowException

from transformer.data.fineweb.fork_gate import fork_allowed
from transformer.errors import UserError

try:
    import httpx2 as httpx
except ImportError:  # huggingface_hub 1.x is built on httpx
    import httpx  # type: ignore[import-not-found,no-redef,unused-ignore]

Notify = Callable[[str], None]
"""Called with a few words on what a data set is waiting for or building, from any thread."""

RETRY_SECONDS = 15 * 60.0  # seconds after the first failure
LONGEST_WAIT = 60.0
SILENCE = 3.0  # seconds without a first answer before the user is told


@dataclass(frozen=True)
class Advice:
    """What to do when trying again has not helped, or would not."""

    gave_up: str = (
        "try again later with --resume, or fill the cache in advance with "
        "uv run python commands/download.py"
    )
    missing: str = "check --repo, --path and --revision"
    unreachable: str = (
        "what is needed is not in the cache; without a network, train with --dataset toy or "
        "--dataset text"
    )

    def permanent(self, status: int | None) -> str | None:
        """For an answer that no waiting will change."""
        return {
            401: "sign in with `hf auth login`, and check that the repository exists",
            403: "your account lacks access; accept the terms on the repository's page",
            404: self.missing,
        }.get(status or 0)


FINEWEB = Advice()
_Result = TypeVar("_Result")


class UnreadableError(OSError):
    """The hub answered, but with too few bytes. (Bytes that are not Parquet: ArrowException.)"""


def log_notice(message: str) -> None:
    """The default `Notify`: writes to the package's log."""
    logging.getLogger("transformer.data").info(message)


class Retry:
    """Repeats what failed for a passing reason.

    Attributes:
        reached: whether the hub has ever answered. Before that, a refused connection means
            "no network", which the user should hear at once and not after 15 minutes.
    """

    def __init__(
        self,
        where: str,
        notify: Notify = log_notice,
        advice: Advice = FINEWEB,
    ) -> None:
        self.where = where
        self.advice = advice
        self.notify = notify
        self.seconds = RETRY_SECONDS
        self.reached = False

    def __call__(self, action: Callable[[], _Result]) -> _Result:
        """The result of `action()`, tried until it succeeds or time is up.

        Raises:
            UserError: trying again would not help, or has not helped for `seconds`.
        """
        gives_up_at = time.monotonic() + self.seconds
        wait, failures = 1.0, 0
        while True:
            try:
                with self._silence_told():
                    result = action()
            except (httpx.HTTPError, OSError, ArrowException) as error:
                self._raise_if_permanent(error)
                failures += 1
                reason = describe(error)
                left = gives_up_at - time.monotonic()
                if left <= 0:
                    raise UserError(
                        f"{self.where} failed {failures} times ({reason}); {self.advice.gave_up}"
                    ) from error
                pause = min(left, wait * random.uniform(0.75, 1.25))
                self.notify(f"waiting for the hub: {reason}; next try in {pause:.0f} s")
                with fork_allowed():
                    time.sleep(pause)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                self.reached = True
                if failures:
                    self.notify("the hub answers again")
                return result

    @contextmanager
    def _silence_told(self) -> Iterator[None]:
        """A hub that accepts a connection and then says nothing becomes an error only after
        minutes, so tell the user earlier. Once it has answered, a long wait is a long download."""
        if self.reached:
            yield
            return
        timer = threading.Timer(SILENCE, self.notify, [f"waiting for {self.where} to answer"])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _raise_if_permanent(self, error: Exception) -> None:
        status = status_of(error)
        if status is None and isinstance(error, FileNotFoundError):
            status = 404
        answered = status is not None or isinstance(error, (UnreadableError, ArrowException))
        self.reached = self.reached or answered
        if said := self.advice.permanent(status):
            raise UserError(f"{self.where} answers {describe(error)}: {said}") from error
        unreachable = (httpx.ConnectError, httpx.ConnectTimeout, OfflineModeIsEnabled)
        if isinstance(error, unreachable) and not self.reached:
            raise UserError(
                f"cannot reach {self.where} ({describe(error)}): {self.advice.unreachable}"
            ) from error


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error of the hub's client, if there is one."""
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return error.response.status_code
    return status_of(error.__cause__) if error is not None else None


def describe(error: Exception) -> str:
    """An error in a few words, on one line."""
    status = status_of(error)
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    if status is not None:
        return f"HTTP {status}"
    return f"{type(error).__name__}: {text[:150]}" if text else type(error).__name__
