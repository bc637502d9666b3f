"""Packing: every token a target exactly once, in an order that depends on the key alone."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transformer.data.batch import IGNORED
from transformer.data.packing import (
    count_windows,
    endless_order,
    join_documents,
    permutation,
    to_batch,
    token_dtype,
    windows,
)

END = 99


@given(st.lists(st.lists(st.integers(0, 98), max_size=12), max_size=8))
def test_documents_come_back_from_a_block(documents: list[list[int]]) -> None:
    block = join_documents(documents, END)
    found: list[list[int]] = []
    for token in block.tolist():
        if token == END:
            found.append([])
        else:
            found[-1].append(token)
    assert block.tolist()[-1] == END
    assert found[:-1] == documents


@given(n_tokens=st.integers(2, 60), seq_length=st.integers(1, 20))
def test_every_token_but_the_first_is_a_target_once(n_tokens: int, seq_length: int) -> None:
    block = np.arange(100, 100 + n_tokens, dtype=np.uint16)  # each token is its own place
    n_windows = count_windows(n_tokens, seq_length)
    inputs, targets = windows(block, range(n_windows), seq_length)
    assert inputs.shape == targets.shape == (n_windows, seq_length)
    scored = targets != IGNORED
    assert sorted(targets[scored]) == list(range(101, 100 + n_tokens))
    np.testing.assert_array_equal(inputs[scored] + 1, targets[scored])  # the successor
    if n_tokens > seq_length:  # no padding: each input is the token at its place
        np.testing.assert_array_equal(np.diff(inputs), 1)
    else:
        assert set(inputs[0, n_tokens - 1 :]) <= {100, 99 + n_tokens}


def test_the_last_window_is_moved_back() -> None:
    block = np.arange(10, dtype=np.uint16)
    inputs, targets = windows(block, [0, 1, 2], 4)
    assert inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [5, 6, 7, 8]]
    assert targets.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [IGNORED] * 3 + [9]]
    _, targets = windows(np.arange(9, dtype=np.uint16), [1], 4)
    assert targets.tolist() == [[5, 6, 7, 8]]


def test_windows_do_not_depend_on_each_other() -> None:
    block = np.random.default_rng(0).integers(0, 99, 1000).astype(np.uint16)
    n_windows = count_windows(len(block), 7)
    inputs, targets = windows(block, range(n_windows), 7)
    for index in (0, 3, n_windows - 1):
        one_input, one_target = windows(block, [index], 7)
        np.testing.assert_array_equal(one_input[0], inputs[index])
        np.testing.assert_array_equal(one_target[0], targets[index])


@pytest.mark.parametrize("index", [-1, 3])
def test_a_window_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError, match="not in 0 … 2"):
        windows(np.arange(10, dtype=np.uint16), [index], 4)


def test_ids_take_two_bytes_where_they_fit() -> None:
    assert token_dtype(50_281) == token_dtype(65_535) == np.uint16
    assert token_dtype(65_536) == np.uint32


@given(n=st.integers(0, 300), key=st.integers())
def test_a_permutation_holds_everything_once(n: int, key: int) -> None:
    order = permutation(n, "test", key)
    assert sorted(order) == list(range(n))
    np.testing.assert_array_equal(order, permutation(n, "test", key))


def test_all_orders_are_equally_likely() -> None:
    counts = Counter(tuple(permutation(4, "fair", key).tolist()) for key in range(24 * 200))
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_an_order_never_changes() -> None:
    """Saved positions point into these orders: they may not differ in another version."""
    assert permutation(8, "pinned", 7, 0).tolist() == [0, 7, 5, 1, 6, 3, 2, 4]


def test_the_endless_order_can_be_entered_anywhere() -> None:
    whole = list(islice(endless_order(7, 0, "key"), 35))
    for start in range(20):
        assert list(islice(endless_order(7, start, "key"), 15)) == whole[start : start + 15]
    passes = [whole[i : i + 7] for i in range(0, 35, 7)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len(set(map(tuple, passes))) > 1


def test_a_batch_stacks_rows() -> None:
    block = np.arange(10, dtype=np.uint16)
    batch = to_batch(zip(*windows(block, [0, 1], 4), strict=True), {"place": 2})
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert batch.inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert batch.state == {"place": 2}
