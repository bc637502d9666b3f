"""The copy accuracy counts what the model really writes, one token after another."""

import pytest
import torch

from transformer.config import ModelConfig
from transformer.data.bpe import make_tokenizer
from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.source import tokenizer_stories
from transformer.data.toy.stories import Story, song_examples
from transformer.interpretability.song_copying import copy_accuracy
from transformer.model import DecoderOnlyTransformer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return make_tokenizer("bpe:1024", tokenizer_stories())


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


def test_equals_one_story_and_one_token_at_a_time(tokenizer: Tokenizer) -> None:
    examples = song_examples(6)
    model = half_memorised(tokenizer, examples).eval()
    pairs = [continuation(model, tokenizer, example) for example in examples]
    right = sum(a == b for sung, song in pairs for a, b in zip(sung, song, strict=True))
    total = sum(len(song) for _, song in pairs)
    model.train()
    assert copy_accuracy(model, tokenizer, examples) == pytest.approx(right / total)
    assert model.training  # left as it was
    assert 0 < right < total
