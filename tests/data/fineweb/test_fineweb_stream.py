"""The stream of FineWeb against a plain reading of the same files: order, split, resume."""

import random
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from fineweb_tools import (
    PATH,
    REPO,
    block_tokens,
    make_text,
    read_texts,
    reference,
    stack,
    write_dataset,
    write_file,
)
from local_hub import LocalHub

from transformer.data.batch import IGNORED, Batch
from transformer.data.tokenizer import load_tokenizer
from transformer.errors import UserError
from transformer.fineweb_dataset import FineWebConfig, FineWebDataset, FineWebSource

T = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


def make_source(config: FineWebConfig, seed: int = 0) -> FineWebSource:
    return FineWebSource(load_tokenizer("p50k_base"), config, seq_length=T, seed=seed)


def rows(batches: list[Batch]) -> np.ndarray:
    """(n, 2, T)"""
    pairs = [torch.stack([batch.inputs, batch.targets], dim=1) for batch in batches]
    return torch.cat(pairs).numpy()


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_the_stream_equals_a_plain_reading_over_two_passes(
    config: FineWebConfig, folder: Path, workers: int
) -> None:
    source = make_source(replace(config, workers=workers))
    expected = stack(list(reference(folder, source.text.train, T, "train", 0, passes=2)))
    n = len(expected) // 5
    got = rows(list(islice(source.train_batches(batch_size=5), n)))
    source.close()
    assert np.array_equal(got, expected[: 5 * n])


def test_two_ranks_share_the_same_global_batches(config: FineWebConfig) -> None:
    source = make_source(config)
    alone = list(islice(source.train_batches(batch_size=6), 40))
    ranks = [
        list(islice(source.train_batches(batch_size=3, rank=r, world_size=2), 40)) for r in (0, 1)
    ]
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.inputs, torch.cat([first.inputs, second.inputs]))
        assert whole.state == first.state == second.state
    source.close()


def test_every_token_of_both_splits_is_a_target_exactly_once(
    config: FineWebConfig, folder: Path
) -> None:
    tokenizer = load_tokenizer("p50k_base")
    scored: Counter[int] = Counter()
    visited: Counter[tuple[str, int]] = Counter()
    for split in ("train", "validation"):
        dataset = FineWebDataset(split, config, seq_length=T, tokens_per_epoch=None)
        for _, targets in dataset:
            scored.update(targets[targets != IGNORED].tolist())
        for shard in dataset.text.split(split):
            visited.update((shard.file.path, block) for block in shard.blocks(8))
    expected: Counter[int] = Counter()
    for shard in dataset.text.shards:
        for block in shard.blocks(8):
            expected.update(block_tokens(read_texts(folder, shard, block), tokenizer)[1:])
    assert scored == expected
    assert set(visited.values()) == {1}
    assert len(visited) == 3 * 8


def test_an_epoch_of_none_is_a_pass_and_the_next_pass_has_another_order(
    config: FineWebConfig, folder: Path
) -> None:
    dataset = FineWebDataset("train", config, seq_length=T, tokens_per_epoch=None)
    passes = [np.stack([inputs.numpy() for inputs, _ in dataset]) for _ in range(2)]
    assert not np.array_equal(*passes)
    assert sorted(passes[0].tolist()) == sorted(passes[1].tolist())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_resumed_source_continues_with_the_next_row(config: FineWebConfig, seed: int) -> None:
    whole = list(islice(make_source(config, seed).train_batches(batch_size=4), 150))
    rng = random.Random(seed)
    for k in [1, *rng.sample(range(2, 140), 5)]:
        fresh = replace(
            config, workers=rng.choice([0, 1, 4]), cache_dir=config.cache_folder / str(k)
        )
        resumed = make_source(fresh, seed).train_batches(batch_size=4, state=whole[k - 1].state)
        assert np.array_equal(rows(list(islice(resumed, 8))), rows(whole[k : k + 8]))


def test_a_resumed_world_of_another_size_continues_with_the_next_row(config: FineWebConfig) -> None:
    whole = list(islice(make_source(config).train_batches(batch_size=4), 60))
    state = whole[29].state
    halves = [
        list(
            islice(
                make_source(config).train_batches(batch_size=2, rank=r, world_size=2, state=state),
                30,
            )
        )
        for r in (0, 1)
    ]
    both = [torch.cat([a.inputs, b.inputs]) for a, b in zip(*halves, strict=True)]
    assert torch.equal(torch.cat(both), torch.cat([batch.inputs for batch in whole[30:]]))


def test_validation_is_the_same_each_time_and_for_every_seed(
    config: FineWebConfig, folder: Path
) -> None:
    limited = replace(config, eval_tokens=50 * T)
    batches = [list(make_source(limited, seed).validation_batches(batch_size=8)) for seed in (0, 1)]
    expected = stack(
        list(islice(reference(folder, make_source(config).text.validation, T, "validation"), 50))
    )
    assert np.array_equal(rows(batches[0]), rows(batches[1]))
    assert np.array_equal(rows(batches[0]), expected)


def test_ranks_validate_the_same_rows_in_equally_many_batches(config: FineWebConfig) -> None:
    source = make_source(replace(config, eval_tokens=49 * T))
    alone = rows(list(source.validation_batches(batch_size=8)))
    ranks = [list(source.validation_batches(batch_size=3, rank=r, world_size=4)) for r in range(4)]
    assert {len(batches) for batches in ranks} == {5}
    joined = rows([batch for turn in zip(*ranks, strict=True) for batch in turn])
    scored = joined[(joined[:, 1] != IGNORED).any(axis=1)]
    assert np.array_equal(scored, alone)


@pytest.mark.slow
def test_a_document_of_five_megabytes_is_one_document(tmp_path: Path) -> None:
    text = make_text(random.Random(0), 700_000)
    assert len(text) > 5_000_000
    write_file(tmp_path / PATH / "0.parquet", [["short"], [text, "next"]])
    with LocalHub({REPO: tmp_path}) as hub:
        source = FineWebSource(
            load_tokenizer("p50k_base"),
            FineWebConfig(hub_endpoint=hub.url, cache_dir=tmp_path / "cache"),
            seq_length=1024,
        )
        shards = source.text.shards
        n_targets = sum(
            len(source.text.read(shard, block)) - 1 for shard in shards for block in shard.blocks(2)
        )
        expected = sum(
            len(block_tokens(read_texts(tmp_path, shard, block), source.tokenizer)) - 1
            for shard in shards
            for block in shard.blocks(2)
        )
    assert n_targets == expected > 1_000_000


def test_states_of_other_data_are_refused(config: FineWebConfig) -> None:
    state = next(make_source(config).train_batches(batch_size=1)).state
    other = make_source(config, seed=1)
    with pytest.raises(UserError, match=f"{state['fingerprint']}.*{other.fingerprint}"):
        next(other.train_batches(batch_size=1, state=state))
    with pytest.raises(UserError, match="fingerprint"):
        FineWebDataset("validation", config, seq_length=T).load_state_dict(state)


@pytest.mark.parametrize(
    ("place", "message"),
    [("shard", "shard 999.*0 to"), ("block", "row group 999.*0 to"), ("sequence", "sequence 999")],
)
def test_a_place_past_the_end_is_refused(config: FineWebConfig, place: str, message: str) -> None:
    source = make_source(config)
    state = next(source.train_batches(batch_size=1)).state
    with pytest.raises(UserError, match=message):
        next(source.train_batches(batch_size=1, state={**state, place: 999}))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "test"}, "split must be"),
        ({"max_cached_shards": 1}, "at least 2"),
        ({"text_column": "body"}, "one text column 'body'.*text .string"),
        ({"text_column": "language_score"}, "one text column"),
        ({"path": "sample/1BT"}, "one of: sample/10BT"),
        ({"revision": "v9"}, "404.*--revision"),
        ({"repo": "HuggingFaceFW/missing"}, "401"),
        ({"repo": "fineweb"}, "OWNER/NAME"),
        ({"workers": -1}, "--workers must be at least 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"tokens_per_epoch": 0}, "--tokens-per-epoch must be at least 1"),
    ],
)
def test_bad_input_is_reported_to_the_user(
    config: FineWebConfig, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        next(iter(FineWebDataset(**{"config": config, **wrong})))  # type: ignore[arg-type]
