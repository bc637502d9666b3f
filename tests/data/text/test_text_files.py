"""Text files as a batch source: one order for everyone, entered again exactly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from text_helpers import (
    DOCUMENTS,
    same,
    source,
    take,
)

from transformer.data.batch import IGNORED
from transformer.data.bpe import train_bpe
from transformer.data.text.files import TextCorpus
from transformer.errors import UserError


def test_one_pass_scores_every_token_once(corpus: TextCorpus, tmp_path: Path) -> None:
    made = source(corpus, tmp_path)
    n_sequences = -(-made.tokens_per_epoch // 16)
    batches = take(made.train_batches(batch_size=1), 2 * n_sequences)
    for one_pass in (batches[:n_sequences], batches[n_sequences:]):
        scored = torch.cat([batch.targets[batch.targets != IGNORED] for batch in one_pass])
        np.testing.assert_array_equal(np.sort(scored), np.sort(made.train_tokens[1:]))
    assert not same(batches[:5], batches[n_sequences : n_sequences + 5])


def test_a_saved_position_continues_exactly(corpus: TextCorpus, tmp_path: Path) -> None:
    made = source(corpus, tmp_path)
    per_pass = -(-made.tokens_per_epoch // 16)
    batches = take(made.train_batches(batch_size=4), per_pass // 2)  # two passes long
    for at in (0, 3, per_pass // 4 - 1, per_pass // 4, per_pass // 4 + 1):
        state = json.loads(json.dumps(batches[at].state))
        again = source(corpus, tmp_path).train_batches(batch_size=4, state=state)
        assert same(take(again, 5), batches[at + 1 : at + 6])


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_read_the_same_rows(corpus: TextCorpus, tmp_path: Path, world_size: int) -> None:
    made = source(corpus, tmp_path)
    whole = take(made.train_batches(batch_size=8), 60)
    share = {"batch_size": 8 // world_size, "world_size": world_size}
    ranks = [take(made.train_batches(**share, rank=r), 60) for r in range(world_size)]
    for one, *parts in zip(whole, *ranks, strict=True):
        assert torch.equal(one.inputs, torch.cat([part.inputs for part in parts]))
        assert torch.equal(one.targets, torch.cat([part.targets for part in parts]))
        assert all(part.state == one.state for part in parts)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_validation_is_the_same_for_everyone(
    corpus: TextCorpus, tmp_path: Path, world_size: int
) -> None:
    made = source(corpus, tmp_path, eval_tokens=10**6)
    ranks = [
        list(made.validation_batches(batch_size=5, rank=r, world_size=world_size))
        for r in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    scored = torch.cat([b.targets[b.targets != IGNORED] for batches in ranks for b in batches])
    np.testing.assert_array_equal(np.sort(scored), np.sort(made.validation_tokens[1:]))
    assert same(list(made.validation_batches(batch_size=5, world_size=world_size)), ranks[0])
    few = source(corpus, tmp_path, eval_tokens=33, seed=7).validation_batches(batch_size=5)
    (start,) = few
    assert torch.equal(start.inputs, ranks[0][0].inputs[:3])


def test_seeds_give_other_orders(corpus: TextCorpus, tmp_path: Path) -> None:
    one, two = (source(corpus, tmp_path, seed=seed) for seed in (1, 2))
    assert not same(
        take(one.train_batches(batch_size=4), 3), take(two.train_batches(batch_size=4), 3)
    )


def test_moved_files_keep_their_fingerprint(corpus: TextCorpus, tmp_path: Path) -> None:
    made = source(corpus, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "texts").rename(elsewhere)
    (elsewhere / "one.txt").rename(elsewhere / "zzz.txt")
    moved = source(TextCorpus(elsewhere), tmp_path)
    assert moved.fingerprint == made.fingerprint
    assert same(
        take(moved.train_batches(batch_size=4), 5), take(made.train_batches(batch_size=4), 5)
    )


def test_fingerprints_tell_everything_apart(corpus: TextCorpus, tmp_path: Path) -> None:
    made = source(corpus, tmp_path)
    others = [
        source(corpus, tmp_path, seq_length=17),
        source(corpus, tmp_path, seed=1),
        source(corpus, tmp_path, train_bpe(DOCUMENTS, 301)),
    ]
    (tmp_path / "texts" / "one.txt").write_text("changed")
    others.append(source(TextCorpus(tmp_path / "texts"), tmp_path))
    fingerprints = {made.fingerprint, *(other.fingerprint for other in others)}
    assert len(fingerprints) == 5
    with pytest.raises(UserError, match=made.fingerprint):
        next(others[0].train_batches(batch_size=1, state={"fingerprint": made.fingerprint}))
