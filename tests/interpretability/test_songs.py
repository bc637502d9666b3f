"""Songs in stories: which token of the second singing corresponds to which of the first."""

import pytest
import torch
from interpretability import planted

from transformer.config import ModelConfig
from transformer.data.bpe import make_tokenizer
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.data.toy.source import tokenizer_stories
from transformer.data.toy.stories import song_examples
from transformer.interpretability.induction import (
    NOT_REPEATED,
    Repeats,
    attention_weights,
    chance,
    induction_scores,
)
from transformer.interpretability.songs import repeated_songs, song_induction_score
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
    assert found.score == pytest.approx(chance(repeats), abs=0.01)
    assert model.training
