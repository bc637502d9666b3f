"""A fork waits until no thread is in the middle of something.

A `DataLoader` with workers forks this process (on Linux, before Python 3.14). A fork copies one
thread, and every lock as it is at that moment. A lock that *another* thread holds (of the HTTP
client, of Arrow, of the tokenizer) stays locked in the copy, where no thread will release it, and
a thread that asks for it waits for ever:

    main     ──────────────────── fork ──▶ child: asks for the lock … for ever
    builder  ───── [ lock held, request under way ] ─────▶

So all use of those libraries is inside `no_fork()`, and a fork is held back until all threads have
left it:

    main     ──────────────────── (waits) ────── fork ──▶ child: every lock is free
    builder  ───── [ no_fork(): request under way ] │ waits for the fork ─▶

Long waits inside it (for a hub that is down) are wrapped in `fork_allowed()`.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 180.0  # seconds that a fork waits: longer than any request lasts

_changed = threading.Condition(threading.Lock())
_inside: set[int] = set()  # threads inside `no_fork`
_forking = False


@contextmanager
def no_fork() -> Iterator[None]:
    """While the block runs, no thread of this process forks. May be nested."""
    thread = threading.get_ident()
    if thread in _inside:  # only this thread adds or removes itself
        yield
        return
    _enter(thread)
    try:
        yield
    finally:
        _leave(thread)


@contextmanager
def fork_allowed() -> Iterator[None]:
    """Inside `no_fork`: a section in which a fork does no harm, since no lock is held."""
    thread = threading.get_ident()
    if thread not in _inside:
        yield
        return
    _leave(thread)
    try:
        yield
    finally:
        _enter(thread)


def _enter(thread: int) -> None:
    with _changed:
        _changed.wait_for(lambda: not _forking)
        _inside.add(thread)


def _leave(thread: int) -> None:
    with _changed:
        _inside.discard(thread)
        _changed.notify_all()


def _before() -> None:
    global _forking
    _changed.acquire()
    _changed.wait_for(lambda: not _forking, timeout=LONGEST)
    _forking = True
    _changed.wait_for(lambda: _inside <= {threading.get_ident()}, timeout=LONGEST)


def _after_in_parent() -> None:
    global _forking
    _forking = False
    _changed.notify_all()
    _changed.release()


def _after_in_child() -> None:
    global _forking, _changed
    _forking = False
    _changed = threading.Condition(threading.Lock())  # the old one remembers threads that are gone
    _inside.intersection_update({threading.get_ident()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
