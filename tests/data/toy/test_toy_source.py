"""Batches of toy stories: whole stories, a floor that is right, positions that are found again."""

import math
from itertools import islice

import pytest
import torch
from torch import Tensor

from transformer.data.batch import IGNORED
from transformer.data.bpe import make_tokenizer
from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.grammar import Bind, Chain, Choice, Dependent, Node, Text, as_node
from transformer.data.toy.source import ToyStoriesSource, tokenizer_stories
from transformer.data.toy.stories import STORY, is_held_out, parse_story
from transformer.data.toy.words import (
    FIRST_SYLLABLES,
    LAST_SYLLABLES,
    LONGEST_SONG,
    SONG_SYLLABLES,
)
from transformer.errors import UserError
from transformer.training.config import TOY, TrainingConfig
from transformer.training.start import make_plan


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return make_tokenizer(TOY.tokenizer, tokenizer_stories())


@pytest.fixture(scope="module")
def source(tokenizer: Tokenizer) -> ToyStoriesSource:
    return ToyStoriesSource(tokenizer, seq_length=TOY.seq_length, eval_tokens=30_000)


def story_in(tokenizer: Tokenizer, inputs: Tensor, targets: Tensor) -> str:
    """The text of a row, after a check of its form."""
    end, scored = tokenizer.end_of_text, int((targets != IGNORED).sum())
    assert inputs[0] == end
    assert targets[scored - 1] == end
    assert torch.equal(inputs[1:scored], targets[: scored - 1])
    assert (inputs[scored:] == end).all()
    assert (targets[scored:] == IGNORED).all()
    return tokenizer.decode(targets[: scored - 1].tolist())


def test_rows_are_whole_stories_and_the_floor_is_theirs(
    source: ToyStoriesSource, tokenizer: Tokenizer
) -> None:
    nats, tokens = 0.0, 0
    for batch in source.validation_batches(batch_size=7):
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            text = story_in(tokenizer, inputs, targets)
            assert is_held_out(text)
            nats -= parse_story(text).log_probability
            tokens += len(tokenizer.encode(text)) + 1
    assert 30_000 <= tokens < 30_000 + TOY.seq_length
    assert source.floor == pytest.approx(nats / tokens, rel=1e-9)


def test_training_stories_are_not_held_out(source: ToyStoriesSource, tokenizer: Tokenizer) -> None:
    texts = [
        story_in(tokenizer, *row)
        for batch in islice(source.train_batches(batch_size=16), 20)
        for row in zip(batch.inputs, batch.targets, strict=True)
    ]
    assert not any(map(is_held_out, texts))
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("stories", [None, 10])
def test_a_saved_state_continues_exactly(tokenizer: Tokenizer, stories: int | None) -> None:
    source = ToyStoriesSource(
        tokenizer, seq_length=TOY.seq_length, stories=stories, eval_tokens=1_000
    )
    through = list(islice(source.train_batches(batch_size=4), 8))
    resumed = source.train_batches(batch_size=4, state=through[4].state)
    for expected, found in zip(through[5:], resumed, strict=False):
        assert torch.equal(expected.inputs, found.inputs)
        assert torch.equal(expected.targets, found.targets)
        assert expected.state == found.state


def test_ranks_share_one_order(source: ToyStoriesSource) -> None:
    whole = islice(source.train_batches(batch_size=6), 3)
    shares = [source.train_batches(batch_size=3, rank=rank, world_size=2) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=False):
        assert torch.equal(batch.inputs, torch.cat([part.inputs for part in parts]))
        assert all(part.state == batch.state for part in parts)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_ranks_share_the_validation_stories(source: ToyStoriesSource, batch_size: int) -> None:
    whole = torch.cat([batch.targets for batch in source.validation_batches(batch_size=50)])
    ranks = [
        list(source.validation_batches(batch_size=batch_size, rank=rank, world_size=3))
        for rank in range(3)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    rows = torch.cat([batch.targets for together in zip(*ranks, strict=True) for batch in together])
    assert torch.equal(rows[(rows != IGNORED).any(dim=1)], whole)


def test_a_limited_number_of_stories(tokenizer: Tokenizer) -> None:
    source = ToyStoriesSource(tokenizer, seq_length=TOY.seq_length, stories=12, eval_tokens=1_000)
    batches = list(islice(source.train_batches(batch_size=4), 9))
    passes = [torch.cat([b.inputs for b in batches[i : i + 3]]).tolist() for i in (0, 3, 6)]
    assert len({tuple(row) for row in passes[0]}) == 12
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(passes[2])
    assert passes[0] != passes[1]


def test_the_fingerprint_tells_sources_apart(tokenizer: Tokenizer) -> None:
    different = [{}, {"seed": 1}, {"stories": 5}, {"seq_length": 256}, {"eval_tokens": 2_000}]
    arguments = [{"seq_length": TOY.seq_length, "eval_tokens": 1_000} | d for d in different]
    sources = [ToyStoriesSource(tokenizer, **each) for each in [*arguments, arguments[0]]]
    assert len({source.fingerprint for source in sources}) == len(different)
    assert sources[0].fingerprint == sources[-1].fingerprint
    assert sources[0].floor == sources[1].floor  # validation does not depend on the seed


def test_a_story_that_does_not_fit_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"--seq-length \d+") as refusal:
        ToyStoriesSource(tokenizer, seq_length=64)
    assert "64" in str(refusal.value)


def longest(node: Node | str, tokenizer: Tokenizer, bindings: dict[str, str]) -> int:
    """An upper bound on the tokens that a node writes: the longest way at every fork."""
    match as_node(node):
        case Text(template):
            text = template.format_map(bindings).strip()
            return len(tokenizer.encode(f" {text}" if text[:1].isalpha() else text))
        case Chain(parts):
            return sum(longest(part, tokenizer, bindings) for part in parts)
        case Choice(options=options):
            return max(longest(option, tokenizer, bindings) for option in options)
        case Dependent(_, nodes):
            return max(longest(option, tokenizer, bindings) for option in nodes.values())
        case Bind("hero" | "friend", _):
            return len(tokenizer.encode(f" {bindings['hero']}"))
        case Bind(_, inner):
            return longest(inner, tokenizer, bindings)
        case _:
            return 0


def test_every_possible_story_fits_the_preset(tokenizer: Tokenizer) -> None:
    names = [first + last for first in FIRST_SYLLABLES for last in LAST_SYLLABLES]
    name = max(names, key=lambda name: len(tokenizer.encode(f" {name}")))
    bindings = dict.fromkeys(("She", "she", "Her", "He", "he", "His", "his", "him"), "she")
    bindings |= {"hero": name, "friend": name, "last": "la"}
    bindings |= {f"from {start}": " la" * (LONGEST_SONG - start) for start in range(LONGEST_SONG)}
    bindings |= {"left": "seven", "left things": "last cherry"}  # rare words are two tokens
    assert longest(STORY, tokenizer, bindings) + 1 <= TOY.seq_length


def test_syllables_are_stable_tokens(tokenizer: Tokenizer) -> None:
    """Copying a syllable is copying one token, and copying a name at most two."""
    assert all(len(tokenizer.encode(f" {syllable}")) == 1 for syllable in SONG_SYLLABLES)
    for first in FIRST_SYLLABLES:
        for last in LAST_SYLLABLES:
            assert len(tokenizer.encode(f" {first}{last}")) <= 2


def test_the_floor_is_the_entropy_of_the_grammar(source: ToyStoriesSource) -> None:
    """About 63.3 nats in 116.0 tokens; these stories agree within sampling error."""
    assert source.floor is not None
    assert math.isclose(source.floor, 63.3 / 116.0, rel_tol=0.01)


def test_a_pass_of_unknown_length_is_no_epoch(tokenizer: Tokenizer) -> None:
    source = ToyStoriesSource(tokenizer, seq_length=160, eval_tokens=1)
    with pytest.raises(UserError, match=r"--tokens-per-epoch None.*--dataset toy.*give a number"):
        make_plan(TrainingConfig(dataset="toy", tokens_per_epoch=None), source)
