"""Errors of the machine, in words."""

import numpy as np
import pytest
import torch

from transformer.errors import UserError
from transformer.machine.failures import explained


def test_too_little_memory_names_the_flag_to_lower() -> None:
    with pytest.raises(UserError, match="lower --batch-size"), explained():
        torch.empty(2**55)


def test_memory_that_python_lacks_is_explained_too() -> None:
    with pytest.raises(UserError, match="lower --batch-size"), explained():
        np.empty(2**60, dtype=np.uint8)


def test_a_full_disk_is_named() -> None:
    with (
        pytest.raises(UserError, match="the disk is full: make room, then --resume"),
        explained(),
        open("/dev/full", "w", buffering=1) as file,
    ):
        print("a line of metrics.jsonl", file=file)


def test_a_lost_process_is_named() -> None:
    with pytest.raises(UserError, match="lost contact"), explained():
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer")


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), explained():
        torch.ones(2, 2) @ torch.ones(3, 3)
