"""Documents to sequences: joined, cut into windows, shuffled; no token lost, none predicted twice.

A **block** of text (not one of the model's) is a run of documents with end-of-text (E) before the
first and after every one. A model that reads E knows that a document starts, so it also learns
how documents begin.

    documents  [a b c] [d e f g]
    block      E a b c E d e f g E                   n = 10 tokens, n - 1 = 9 targets

Windows of T inputs start T apart; the target of an input is its successor. The last window
would run past the end, so it is moved back until it fits, and the targets that an earlier
window already scored are masked (·). With T = 4:

    inputs     E a b c │ E d e f │ d e f g           starts 0, 4, and 5 instead of 8
    targets    a b c E │ d e f g │ · · · E

Every token but the first E is a target exactly once. A block shorter than T + 1 tokens gives one
window, padded on the right with E, where nothing is scored (causal attention never looks there).

Neighbouring windows resemble each other, so training takes them in a random order. The order is
a function of a key (seed, pass, …), not of a generator's state: nothing has to be saved to find
the place again.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transformer.data.batch import IGNORED, Batch, State

Tokens = np.ndarray[Any, np.dtype[Any]]
"""Token ids in one dimension, of any unsigned integer type; perhaps memory-mapped."""


def token_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The type that ids are kept in: two bytes per token up to 65,535 ids, else four."""
    return np.uint16 if vocab_size <= 65_535 else np.uint32


def join_documents(
    documents: Iterable[Sequence[int] | Tokens], end_of_text: int, dtype: npt.DTypeLike = np.uint16
) -> Tokens:
    """A block: end-of-text before the first document and after every document.

    >>> join_documents([[1, 2, 3], [4]], end_of_text=9)
    array([9, 1, 2, 3, 9, 4, 9], dtype=uint16)
    """
    end = np.array([end_of_text], dtype=dtype)
    parts = [end]
    for document in documents:
        parts += [np.asarray(document, dtype=dtype), end]
    return np.concatenate(parts)


def count_windows(n_tokens: int, seq_length: int) -> int:
    """Windows of a block of `n_tokens`: ⌈(n - 1) / T⌉, its first token being no target."""
    return -(-(n_tokens - 1) // seq_length)


def windows(
    block: Tokens, indices: Sequence[int] | Tokens, seq_length: int
) -> tuple[Tokens, Tokens]:
    """Inputs and targets (n, T) int64 of n windows of a block; IGNORED where nothing is scored.

    >>> block = join_documents([[1, 2, 3], [4, 5, 6, 7]], end_of_text=9)
    >>> inputs, targets = windows(block, [0, 2], seq_length=4)
    >>> inputs.tolist(), targets.tolist()
    ([[9, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 9], [-100, -100, -100, 9]])
    """
    scored_from = np.asarray(indices, dtype=np.int64)[:, None] * seq_length  # (n, 1)
    n_targets = len(block) - 1
    if scored_from.size and not 0 <= scored_from.min() <= scored_from.max() < n_targets:
        raise IndexError(f"a window of {indices} is not in 0 … {(n_targets - 1) // seq_length}")
    if n_targets < seq_length:
        block = np.pad(block, (0, seq_length - n_targets), constant_values=block[0])
    starts = np.minimum(scored_from, max(0, n_targets - seq_length))  # the last one moves back
    places = starts + np.arange(seq_length + 1)  # (n, T + 1)
    tokens = block[places].astype(np.int64)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].copy()
    places = places[:, :-1]
    targets[(places < scored_from) | (places >= n_targets)] = IGNORED
    return inputs, targets


def permutation(n: int, *key: str | int) -> Tokens:
    """A random order of 0 … n-1 that depends on the key alone, with any NumPy on any machine.

    The key starts a Philox generator (counter-based: Salmon et al. 2011) whose raw numbers are
    promised never to change; sorting n of them yields each order with the same probability.

    >>> permutation(5, "order", 1), permutation(5, "order", 2)
    (array([2, 1, 0, 4, 3]), array([1, 0, 2, 4, 3]))
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    return np.argsort(generator.random_raw(n), kind="stable")


def endless_order(n: int, start: int, *key: str | int) -> Iterator[int]:
    """Places `start`, `start` + 1, … of an endless order of 0 … n-1: a new permutation for each
    pass, so nothing repeats until everything has been seen."""
    while True:
        yield from map(int, permutation(n, *key, start // n)[start % n :])
        start += n - start % n


def to_batch(rows: Iterable[tuple[Tokens, Tokens]], state: State) -> Batch:
    """Stack rows of inputs and targets, each (T,), into a batch (B, T)."""
    inputs, targets = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    return Batch(inputs, targets, state)
