"""What can go wrong between a hub and its client, on demand from a `LocalHub`."""

import re
import threading
from dataclasses import dataclass
from typing import Literal

Kind = Literal["status", "reset", "stall", "truncate", "short", "ignore_range", "flip"]


@dataclass(frozen=True)
class Fault:
    """How one answer goes wrong.

    status        answer with `status` (and `Retry-After: retry_after`, and `X-Error-Code: code`)
    reset         close the connection without an answer
    stall         send half of the body, then nothing for `seconds`
    truncate      promise the whole body, send half of it, close
    short         a well-formed answer with half of the body
    ignore_range  answer a range request with the whole file and status 200
    flip          flip one bit in the middle of the body
    """

    kind: Kind
    status: int = 503
    retry_after: int | None = None
    code: str | None = None
    seconds: float = 5.0


class FaultPlan:
    """Faults that wait for the requests they will meet; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[tuple[re.Pattern[str], Fault, int]] = []

    def order(self, fault: Fault, *, kind: str, times: int) -> None:
        """`kind`: a pattern for the kind of request ("info", "tree", "resolve", "range", …)."""
        with self._lock:
            self._orders.append((re.compile(kind), fault, times))

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def next(self, kind: str) -> Fault | None:
        """The fault that a request of this kind meets now, if any is left."""
        with self._lock:
            for i, (pattern, fault, times) in enumerate(self._orders):
                if pattern.fullmatch(kind) and times > 0:
                    self._orders[i] = (pattern, fault, times - 1)
                    return fault
        return None
