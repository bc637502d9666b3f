"""Songs in stories: which token of the second singing corresponds to which of the first, and how
many a model copies."""

import pytest
import torch
from interpretability import planted
from published_models import SPECIAL, byte_level
from tokenizers.processors import TemplateProcessing

from transformer.config import ModelConfig
from transformer.data.bpe import make_tokenizer
from transformer.data.hf_tokenizer import HfTokenizer
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.data.toy.source import tokenizer_stories
from transformer.data.toy.stories import Story, song_examples
from transformer.interpretability.induction import (
    NOT_REPEATED,
    Repeats,
    attention_weights,
    chance,
    induction_scores,
)
from transformer.interpretability.songs import copy_accuracy, repeated_songs, song_induction_score
from transformer.model import DecoderOnlyTransformer


@pytest.fixture(scope="module", params=["p50k_base", "bpe:512"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return make_tokenizer(request.param, tokenizer_stories())


def test_every_repeated_token_is_matched_with_its_place_in_the_first_singing(
    tokenizer: Tokenizer,
) -> None:
    examples = song_examples(30)
    repeats = repeated_songs(examples, tokenizer, max_seq_len=1000)
    assert repeats is not None
    assert len(repeats.ids) == 30
    for example, ids, first in zip(examples, repeats.ids, repeats.first, strict=True):
        queries = (first != NOT_REPEATED).nonzero().flatten()
        earlier = first[queries]
        assert torch.equal(ids[queries], ids[earlier])
        assert torch.equal(ids[queries + 1], ids[earlier + 1])  # what an induction head predicts
        song = example.text[example.song]
        sung = tokenizer.decode([*ids[earlier].tolist(), int(ids[earlier[-1] + 1])]).strip()
        assert song == sung or song.endswith(sung)
        assert len(sung) > len(song) - 4  # at most the first syllable may be cut differently


def test_a_tokenizer_that_puts_nothing_in_front_finds_the_same_places() -> None:
    """As GPT-2's published one: all is one position earlier."""
    library = byte_level()
    end = library.token_to_id("<|endoftext|>")
    plain = HfTokenizer("plain", library.to_str(), end, end)
    library.post_processor = TemplateProcessing(
        "<|endoftext|> $A", special_tokens=[(SPECIAL[0], end)]
    )
    begun = HfTokenizer("begun", library.to_str(), end, end)
    assert (plain.prefix, begun.prefix) == ([], [end])
    found = [repeated_songs(song_examples(12), each, 400) for each in (plain, begun)]
    assert found[0] is not None
    assert found[1] is not None
    earlier, later = found
    assert torch.equal(earlier.ids, later.ids[:, 1:])
    moved = later.first[:, 1:]
    assert torch.equal(earlier.first, torch.where(moved == NOT_REPEATED, moved, moved - 1))
    assert (moved != NOT_REPEATED).any()


def test_a_long_story_loses_its_beginning_but_not_the_song(tokenizer: Tokenizer) -> None:
    examples = song_examples(10)
    whole = repeated_songs(examples, tokenizer, max_seq_len=1000)
    short = repeated_songs(examples, tokenizer, max_seq_len=80)
    assert whole is not None
    assert short is not None
    assert short.ids.size(1) == 80
    for row in range(10):
        kept, all_ = (r.ids[row][r.first[row] != NOT_REPEATED] for r in (short, whole))
        assert torch.equal(kept, all_)
        positions = short.first[row][short.first[row] != NOT_REPEATED]
        assert torch.equal(short.ids[row][positions], kept)


def test_no_song_fits_a_short_context() -> None:
    tokenizer = load_tokenizer("p50k_base")
    assert repeated_songs(song_examples(3), tokenizer, max_seq_len=6) is None
    config = ModelConfig(tokenizer.vocab_size, d_model=8, n_heads=2, n_layers=1, max_seq_len=6)
    assert song_induction_score(DecoderOnlyTransformer(config), tokenizer, count=3) is None


def test_padding_behind_the_song_changes_no_score() -> None:
    model = planted.induction_model()
    ids = torch.tensor([[0, 3, 4, 5, 3, 4, 5]])
    first = torch.tensor([[-1, -1, -1, -1, 1, 2, -1]])
    padded = Repeats(torch.cat([ids, torch.zeros(1, 9, dtype=torch.int64)], 1),
                     torch.cat([first, torch.full((1, 9), -1)], 1))  # fmt: skip
    alone, behind = (
        induction_scores(attention_weights(model, r.ids), r) for r in (Repeats(ids, first), padded)
    )
    torch.testing.assert_close(alone, behind)
    assert alone[1, 2] > 0.999


def test_an_untrained_model_scores_near_chance_on_songs() -> None:
    tokenizer = make_tokenizer("bpe:512", tokenizer_stories())
    model = DecoderOnlyTransformer(ModelConfig(tokenizer.vocab_size, d_model=64, n_layers=2))
    repeats = repeated_songs(song_examples(8), tokenizer, 128)
    found = song_induction_score(model.train(), tokenizer, count=8)
    assert repeats is not None
    assert found is not None
    assert found == pytest.approx(chance(repeats), abs=0.01)
    assert model.training


@torch.no_grad()
def continuation(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, example: Story
) -> tuple[list[int], list[int]]:
    """What the model writes after the second singing's first syllable, and what stands there."""
    first, *rest = example.text[example.song].split()
    before, sung = tokenizer.encode(example.text[: example.repetition.start] + first), []
    song = tokenizer.encode("".join(f" {syllable}" for syllable in rest))
    for _ in song:
        ids = torch.tensor([[tokenizer.end_of_text, *before, *sung]])
        sung.append(int(model(ids)[0, -1].argmax()))
    return sung, song


def half_memorised(tokenizer: Tokenizer, examples: list[Story]) -> DecoderOnlyTransformer:
    """A small model that has read the stories often enough to know parts of them."""
    torch.manual_seed(0)
    size = {"d_model": 64, "n_heads": 2, "n_layers": 1, "d_ff": 64, "dropout": 0.1}
    model = DecoderOnlyTransformer(ModelConfig(tokenizer.vocab_size, max_seq_len=144, **size))
    end = tokenizer.end_of_text
    rows = [[end, *tokenizer.encode(example.text)] for example in examples]
    ids = torch.tensor([row + [end] * (144 - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
    return model


def test_copy_accuracy_equals_one_story_and_one_token_at_a_time() -> None:
    tokenizer = make_tokenizer("bpe:1024", tokenizer_stories())
    examples = song_examples(6)
    model = half_memorised(tokenizer, examples).eval()
    pairs = [continuation(model, tokenizer, example) for example in examples]
    right = sum(a == b for sung, song in pairs for a, b in zip(sung, song, strict=True))
    total = sum(len(song) for _, song in pairs)
    model.train()
    assert copy_accuracy(model, tokenizer, examples) == pytest.approx(right / total)
    assert model.training  # left as it was
    assert 0 < right < total
