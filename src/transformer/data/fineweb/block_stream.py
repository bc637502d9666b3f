"""From visits to rows: blocks read ahead in order, cut into groups of consecutive sequences."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from transformer.data.fineweb.background import spawn
from transformer.data.fineweb.block_order import Position, Visit, check_place
from transformer.data.packing import Tokens, count_windows, windows

Read = Callable[[Visit], Tokens]


def read_ahead(visits: Iterator[Visit], read: Read, workers: int) -> Iterator[tuple[Visit, Tokens]]:
    """Blocks in the order of their visits, `workers` of them read in advance by threads.

    Blocks are dealt to the threads in turn and taken back in the same order, so the stream is
    the same for any number of workers. (Threads suffice: fetching, decompressing and tokenising
    all happen outside Python's lock.) The first block is read alone, so that nothing competes
    with the very first batch.
    """
    pending: deque[tuple[Visit, Future[Tokens]]] = deque()
    for visit in islice(visits, 1):
        yield visit, read(visit)
    while True:
        for visit in islice(visits, workers + 1 - len(pending)):
            pending.append((visit, spawn(partial(read, visit))))
        if not pending:
            return
        visit, future = pending.popleft()
        yield visit, future.result()


@dataclass(frozen=True)
class Rows:
    """`n` consecutive sequences, perhaps of several blocks, and the position after them."""

    parts: tuple[tuple[Tokens, Tokens], ...]  # (block, indices of its windows)
    position: Position

    def cut(self, start: int, stop: int, seq_length: int) -> tuple[Tokens, Tokens]:
        """Inputs and targets (stop - start, T) of some of the rows."""
        pairs = []
        before = 0
        for block, indices in self.parts:
            chosen = indices[max(0, start - before) : max(0, stop - before)]
            before += len(indices)
            if len(chosen):
                pairs.append(windows(block, chosen, seq_length))
        inputs, targets = (np.concatenate(column) for column in zip(*pairs, strict=True))
        return inputs, targets

    def __len__(self) -> int:
        return sum(len(indices) for _, indices in self.parts)


def group_rows(
    blocks: Iterator[tuple[Visit, Tokens]],
    start: Position,
    rows: int,
    seq_length: int,
    *,
    limit: int | None = None,
    on_visit: Callable[[Visit], None] = lambda visit: None,
) -> Iterator[Rows]:
    """Groups of `rows` consecutive sequences from `start` on; the last may be smaller.

    Args:
        limit: sequences in all, None for as many as there are.
        on_visit: called after each group with the block that the stream is in.
    """
    parts: list[tuple[Tokens, Tokens]] = []
    held = 0
    remaining = sys.maxsize if limit is None else limit
    position = start
    for visit, block in blocks:
        n_sequences = count_windows(len(block), seq_length)
        order = visit.order(n_sequences)
        place = visit.position.sequence
        check_place("sequence", place, max(n_sequences, 1))
        while place < n_sequences:
            wanted = min(rows, remaining)
            taken = order[place : place + wanted - held]
            parts.append((block, taken))
            place, held = place + len(taken), held + len(taken)
            position = visit.after(place, n_sequences, position.seen + len(taken))
            if held < wanted:
                break  # the next block has the rest
            yield Rows(tuple(parts), position)
            parts, held = [], 0
            remaining -= wanted
            if remaining == 0:
                return
            on_visit(visit)
    if held:
        yield Rows(tuple(parts), position)
