"""Does the model copy the song that it has read, and which head finds the way? Toy stories tell.

    … To say thank you, he sang: la zim ri du ba! … So Tambo sang it back: zim ri du ba!
                                 first singing                             second singing

A song's syllables are made up in each story, and the second singing starts at a random one,
so nothing but the syllable just sung and the first singing tell how it continues. The trainer logs
the best head's induction score on songs at every evaluation: the curve shows when the head is
born, and the loss drops with it. `copy_accuracy` says what becomes of it: how much of the second
singing the model writes right.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import torch

from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.stories import Story, song_examples
from transformer.data.toy.words import SONG_SYLLABLES
from transformer.generation import generate_steps
from transformer.interpretability.induction import (
    NOT_REPEATED,
    Repeats,
    best_head,
    by_block,
    induction_scores,
)
from transformer.model import DecoderOnlyTransformer
from transformer.sampling import PRESETS

DEMO_SONGS = 16
TOGETHER = 50  # stories that are continued at once: memory stays small, whatever their number


def repeated_songs(
    examples: Iterable[Story], tokenizer: Tokenizer, max_seq_len: int
) -> Repeats | None:
    """Stories up to the end of the second singing, as token ids.

    A story that is too long loses its beginning. None if no song fits with both singings.
    """
    sequences = [_tokenize_song(example, tokenizer, max_seq_len) for example in examples]
    kept = [(ids, first) for ids, first in sequences if max(first) != NOT_REPEATED]
    if not kept:
        return None
    longest = max(len(ids) for ids, _ in kept)
    pad = tokenizer.end_of_text  # comes after all that is looked at, so it changes nothing
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in kept])
    first = torch.tensor([row + [NOT_REPEATED] * (longest - len(row)) for _, row in kept])
    return Repeats(ids, first)


def _tokenize_song(
    example: Story, tokenizer: Tokenizer, max_seq_len: int
) -> tuple[list[int], list[int]]:
    """Ids of a story up to its second singing, and where each repeated token was first."""
    text = example.text[: example.repetition.stop]
    ids = tokenizer.encode_prompt(text)
    first_copy = _tokens_in(ids, example.song, text, tokenizer)
    second_copy = _tokens_in(ids, example.repetition, text, tokenizer)
    first = [NOT_REPEATED] * len(ids)
    cut = max(0, len(ids) - max_seq_len)
    for k in range(2, 1 + min(len(first_copy), len(second_copy))):  # from the end: the last token
        earlier, later = first_copy[-k], second_copy[-k]  # of a copy has no successor in it
        if ids[earlier : earlier + 2] != ids[later : later + 2] or earlier < cut:
            break  # text before and after a copy may share a token with its ends
        first[later] = earlier - cut
    return ids[cut:], first[cut:]


def _tokens_in(ids: list[int], span: slice, text: str, tokenizer: Tokenizer) -> list[int]:
    """Positions of the tokens that end inside a span of characters of the text."""
    start, stop = (len(text[:edge].encode()) for edge in (span.start, span.stop))
    positions, end, before = [], 0, len(tokenizer.prefix)
    for position, token in enumerate(ids[before:], start=before):
        end += len(tokenizer.decode_bytes([token]))
        if start < end <= stop:
            positions.append(position)
    return positions


def demo_songs(tokenizer: Tokenizer, max_seq_len: int) -> Repeats | None:
    """A few stories with songs, few enough to run every head's ablation on them."""
    return repeated_songs(song_examples(DEMO_SONGS), tokenizer, max_seq_len)


def song_induction_score(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, count: int = 32
) -> float | None:
    """The best head's induction score on songs that held-out toy stories repeat.

    A song is made of made-up syllables, so only the first singing tells what comes next in
    the second. Its first syllable is drawn at random: to predict that one does not count. None if
    the context is too short to hold a song twice.
    """
    repeats = repeated_songs(song_examples(count), tokenizer, model.config.max_seq_len)
    if repeats is None:
        return None
    device = model.token_embedding.weight.device
    scores = by_block(model, repeats.ids.to(device), partial(induction_scores, repeats=repeats))
    return best_head(scores).score


def sings(tokenizer: Tokenizer) -> bool:
    """Whether every syllable of the songs is one token, as it is for those who learned on toy
    stories. A tokenizer that cuts syllables asks another question of the model."""
    return all(len(tokenizer.encode(f" {syllable}")) == 1 for syllable in SONG_SYLLABLES)


def copy_accuracy(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, examples: Sequence[Story]
) -> float:
    """Share of the second singing's tokens that the model writes exactly right.

    The model reads each story up to the first syllable of the second singing, which is drawn at
    random and cannot be known before, and continues greedily, on its own: a syllable left out
    shifts all that follow, and each of them counts as wrong.

    Args:
        examples: stories with their songs (`song_examples`).

    Returns:
        Right tokens / tokens of all repetitions after their first syllables, 0 to 1.
    """
    right = total = 0
    for at in range(0, len(examples), TOGETHER):
        pairs = [_split(example, tokenizer) for example in examples[at : at + TOGETHER]]
        prompts, songs = zip(*pairs, strict=True)
        longest = max(map(len, songs))
        columns = [step.ids for step in generate_steps(model, prompts, longest, PRESETS["greedy"])]
        written = torch.stack(columns, dim=1).tolist()  # (B, longest)
        for ids, song in zip(written, songs, strict=True):
            right += sum(one == other for one, other in zip(ids, song, strict=False))
            total += len(song)
    return right / total


def _split(example: Story, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Token ids up to the second singing's first syllable, and those of its rest.

    A syllable's token begins with the space before it.
    """
    start = example.text.index(" ", example.repetition.start)
    prompt = tokenizer.encode_prompt(example.text[:start])
    song = tokenizer.encode(example.text[start : example.repetition.stop])
    return prompt, song
