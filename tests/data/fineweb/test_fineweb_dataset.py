"""FineWebDataset under DataLoaders: the one order, whoever reads it and however often."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from fineweb_tools import (
    reference,
    stack,
    write_dataset,
)
from local_hub import LocalHub
from processes import CONTEXT, LIMIT
from torch.utils.data import DataLoader

from transformer import fineweb_dataset
from transformer.data.fineweb.block_order import Position
from transformer.errors import UserError
from transformer.fineweb_dataset import FineWebConfig, FineWebDataset

T = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.slow
def test_the_first_example_runs(hub: LocalHub, tmp_path: Path) -> None:
    """The lines of the module's text, in a process whose HF_ENDPOINT is the local hub."""
    text = fineweb_dataset.__doc__ or ""
    lines = re.findall(r"^    (?:>>>|\.\.\.) (.*?)(?: +# .*)?$", text, re.M)[:4]
    code = ["from transformer.fineweb_dataset import FineWebDataset", *lines[:3]]
    code += ["    print(*inputs.shape, *targets.shape)", "    break"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        env={**os.environ, "HF_ENDPOINT": hub.url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.stdout == "32 128 32 128\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own_size", "batch_size", "workers", "epochs"),
    [
        *[(None, 8, 0, 3), (None, 8, 1, 1), (None, None, 4, 1), (8, None, 0, 3), (8, None, 2, 2)],
        pytest.param(8, None, 4, 2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_any_data_loader_yields_the_one_order(
    config: FineWebConfig,
    folder: Path,
    own_size: int | None,
    batch_size: int | None,
    workers: int,
    epochs: int,
) -> None:
    dataset = FineWebDataset(
        "train", config, batch_size=own_size, seq_length=T, tokens_per_epoch=100 * T
    )
    expected = stack(list(reference(folder, dataset.text.train, T, "train", 0)))
    for epoch in range(epochs):  # each starts where the one before it ended
        context = CONTEXT if workers else None
        loader = DataLoader(
            dataset, batch_size, num_workers=workers, multiprocessing_context=context
        )
        pairs = [torch.stack(list(pair), dim=-2).reshape(-1, 2, T) for pair in loader]
        got = torch.cat(pairs).numpy()
        assert np.array_equal(got, expected[100 * epoch : 100 * (epoch + 1)])


@pytest.mark.slow
def test_data_loaders_of_two_ranks_share_the_order(config: FineWebConfig, folder: Path) -> None:
    halves = []
    for rank in (0, 1):
        dataset = FineWebDataset(
            "train",
            replace(config, tokens_per_epoch=160 * T),
            batch_size=4,
            seq_length=T,
            rank=rank,
            world_size=2,
        )
        loader = DataLoader(dataset, None, num_workers=2, multiprocessing_context=CONTEXT)
        halves.append([inputs for inputs, _ in loader])
    got = torch.cat([half for pair in zip(*halves, strict=True) for half in pair]).numpy()
    expected = stack(list(islice(reference(folder, dataset.text.train, T, "train", 0), 160)))
    assert np.array_equal(got, expected[:, 0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_that_deal_single_pairs_yield_each_pair_once(config: FineWebConfig) -> None:
    dataset = FineWebDataset("train", config, seq_length=T, tokens_per_epoch=100 * T)
    expected = [inputs.tolist() for inputs, _ in dataset]
    dataset.load_state_dict({**dataset.state_dict(), **Position().to_state()})
    loader = DataLoader(dataset, 8, num_workers=2, multiprocessing_context=CONTEXT)
    got = [row.tolist() for inputs, _ in loader for row in inputs]
    assert sorted(got) == sorted(expected)


def late(worker: int) -> None:
    time.sleep(3 * worker)


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_a_worker_that_begins_after_another_has_ended_is_in_the_same_epoch(
    config: FineWebConfig, persistent: bool
) -> None:
    settings = replace(config, tokens_per_epoch=16 * T)
    dataset = FineWebDataset("train", settings, batch_size=8, seq_length=T)
    expected = torch.cat([inputs for _ in range(2) for inputs, _ in dataset])
    dataset.load_state_dict({**dataset.state_dict(), **Position().to_state()})
    loader = DataLoader(
        dataset,
        None,
        num_workers=2,
        worker_init_fn=late,
        persistent_workers=persistent,
        multiprocessing_context=CONTEXT,
    )
    got = torch.cat([inputs for _ in range(2) for inputs, _ in loader])
    assert torch.equal(got, expected)


def test_a_resumed_data_set_ends_its_epoch_and_continues(config: FineWebConfig) -> None:
    dataset = FineWebDataset("train", config, seq_length=T, tokens_per_epoch=100 * T)
    whole = [inputs for _ in range(3) for inputs, _ in dataset]
    for k in (1, 37, 99, 100, 101, 250):
        first = FineWebDataset("train", config, seq_length=T, tokens_per_epoch=100 * T)
        pairs = (pair for _ in range(3) for pair in first)
        for _ in range(k):
            next(pairs)
        second = FineWebDataset("train", config, seq_length=T, tokens_per_epoch=100 * T)
        second.load_state_dict(first.state_dict())
        rest = [inputs for inputs, _ in second]
        assert len(rest) == 100 - k % 100
        assert torch.equal(torch.stack(rest), torch.stack(whole[k : k + len(rest)]))


def test_iterating_again_in_mid_epoch_restarts_the_epoch(config: FineWebConfig) -> None:
    dataset = FineWebDataset("train", config, seq_length=T)
    first, second = (torch.stack([x for x, _ in islice(dataset, 20)]) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.slow
def test_the_state_of_a_data_set_read_by_loader_workers_is_refused(config: FineWebConfig) -> None:
    dataset = FineWebDataset("train", config, seq_length=T, tokens_per_epoch=8 * T)
    for _ in DataLoader(dataset, 4, num_workers=1, multiprocessing_context=CONTEXT):
        pass
    with pytest.raises(UserError, match="FineWebSource"):
        dataset.state_dict()
