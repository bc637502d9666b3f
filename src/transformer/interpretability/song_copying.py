"""How well a model repeats a song that it has read: the copying that induction heads do."""

from collections.abc import Sequence

import torch
from torch import Tensor

from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.stories import Story
from transformer.model import DecoderOnlyTransformer


@torch.no_grad()
def copy_accuracy(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, examples: Sequence[Story]
) -> float:
    """Share of the second singing's tokens that the model writes exactly right.

    The model reads each story up to the first syllable of the second singing, which is drawn at
    random and cannot be known before, and continues greedily, on its own: a syllable left out
    shifts all that follow, and each of them counts as wrong.

    Args:
        examples: stories with their songs (`toy_stories.song_examples`).

    Returns:
        Right tokens / tokens of all repetitions after their first syllables, 0 to 1.
    """
    was_training = model.training
    model.eval()
    prompts, songs = zip(*(_split(example, tokenizer) for example in examples), strict=True)
    written = _continue_greedily(model, prompts, max(map(len, songs)))
    model.train(was_training)
    right = total = 0
    for ids, song in zip(written, songs, strict=True):
        right += sum(one == other for one, other in zip(ids, song, strict=False))
        total += len(song)
    return right / total


def _split(example: Story, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Token ids up to the second singing's first syllable, and those of its rest.

    A syllable's token begins with the space before it.
    """
    start = example.text.index(" ", example.repetition.start)
    prompt = tokenizer.encode(example.text[:start])
    song = tokenizer.encode(example.text[start : example.repetition.stop])
    return [tokenizer.end_of_text, *prompt], song


def _continue_greedily(
    model: DecoderOnlyTransformer, prompts: Sequence[list[int]], length: int
) -> list[list[int]]:
    """The `length` most likely next tokens of each prompt, one after another.

    Rows are as long as the longest; what stands to the right of a row's end does not matter,
    since attention is causal.
    """
    device = model.token_embedding.weight.device
    rows = torch.arange(len(prompts), device=device)
    ends = torch.tensor([len(prompt) for prompt in prompts], device=device)
    ids = torch.zeros(len(prompts), int(ends.max()) + length, dtype=torch.int64, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    for step in range(length):
        hidden = model.hidden_states(ids[:, : int(ends.max()) + step])  # (B, T, D)
        last: Tensor = hidden[rows, ends + step - 1]  # (B, D)
        ids[rows, ends + step] = (last @ model.token_embedding.weight.T).argmax(-1)
    return [ids[row, end : end + length].tolist() for row, end in enumerate(ends.tolist())]
