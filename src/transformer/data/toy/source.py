"""Toy stories as batches: one story per row, and the best loss that any model could reach.

    inputs    E  Once  there  was  …  again  .   E   E   E
    targets   Once  there  was  …  again  .  E   ·   ·   ·        (E end-of-text, · not scored)

A story begins at the first position and ends with end-of-text; the rest of the row is padding
and not scored. Training and validation rows look the same, so nothing but the stories has to
be learned, and the loss on the validation stories can be compared with

    floor = Σ -ln p(story)  /  Σ (tokens of the story + 1 for end-of-text)        nats per token

The floor is that of exactly these stories: a model that knew the grammar perfectly would reach
it exactly. (The tokenizer spells a text in one way only, and the text says where it ends, so
the probability of the tokens is that of the text.)
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import count, islice

import numpy as np

from transformer.data.batch import IGNORED, Batch, State, saved_position
from transformer.data.packing import Tokens, endless_order, to_batch
from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.stories import held_out_stories, is_held_out, story_at
from transformer.errors import UserError

Row = tuple[Tokens, Tokens]

TOKENIZER_STORIES = 2_000  # about 1 MB: every word of the grammar comes often enough


def tokenizer_stories() -> Iterator[str]:
    """What a tokenizer for toy stories is trained on: the same stories every time."""
    return (text for text, _ in islice(_training_stories("tokenizer"), TOKENIZER_STORIES))


def _training_stories(seed: int | str, start: int = 0) -> Iterator[tuple[str, int]]:
    """Stories that are not held out, from number `start` on, with the number that is next."""
    for index in count(start):
        text = story_at(index, seed).text
        if not is_held_out(text):
            yield text, index + 1


class ToyStoriesSource:
    """Batches of toy stories; follows `BatchSource`.

    Args:
        tokenizer: for example `make_tokenizer("bpe:1024", tokenizer_stories())`.
        seq_length: T; every story must fit.
        seed: which stories, in which order. The validation stories do not depend on it.
        stories: train on only this many different stories, over and over.
        eval_tokens: how many tokens of validation stories (rounded up to a whole story).

    Raises:
        UserError: a story does not fit.
    """

    tokens_per_epoch: int | None = None  # there is always one more story

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seq_length: int,
        seed: int = 0,
        stories: int | None = None,
        eval_tokens: int = 262_144,
    ) -> None:
        self.tokenizer, self.seq_length, self.seed = tokenizer, seq_length, seed
        self.floor: float | None
        self._validation, self.floor = self._validation_rows(eval_tokens)
        self._limited = None if stories is None else self._distinct(stories)
        facts = ["toy", tokenizer.fingerprint, seq_length, seed, stories, self.floor]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def train_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1, state: State | None = None
    ) -> Iterator[Batch]:
        """Endless. The state is the number of the next story: story i is a function of (seed,
        i) alone, so a run continues from there with any number of processes."""
        start = 0
        if state is not None:  # older runs saved it without the fingerprint
            saved = {"fingerprint": self.fingerprint, **state}
            (start,) = saved_position(saved, self.fingerprint, "next")
        return self._train_batches(start, batch_size, rank, world_size)

    def _train_batches(
        self, start: int, batch_size: int, rank: int, world_size: int
    ) -> Iterator[Batch]:
        stories = self._training_order(start)
        while True:
            together = list(islice(stories, world_size * batch_size))
            own = together[rank * batch_size : (rank + 1) * batch_size]
            _, following = together[-1]
            state = {"fingerprint": self.fingerprint, "next": following}
            yield to_batch([self._row(text) for text, _ in own], state)

    def validation_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """The same held-out stories every time, and equally many batches on every rank (in the
        last one a rank may get a row in which nothing is scored)."""
        for start in range(0, len(self._validation), world_size * batch_size):
            first = start + rank * batch_size
            rows = self._validation[first : first + batch_size] or [self._padded([])]
            yield to_batch(rows, {"fingerprint": self.fingerprint})

    def close(self) -> None:
        """Nothing works in the background."""

    def _training_order(self, start: int) -> Iterator[tuple[str, int]]:
        """Texts from place `start` on, each with the place of its successor."""
        if self._limited is None:
            yield from _training_stories(self.seed, start)
            return
        order = endless_order(len(self._limited), start, "toy stories", self.seed)
        for place, index in enumerate(order, start=start):
            yield self._limited[index], place + 1

    def _distinct(self, stories: int) -> list[str]:
        """The first `stories` different training stories."""
        texts: dict[str, None] = {}
        for text, _ in _training_stories(self.seed):
            texts[text] = None
            if len(texts) == stories:
                break
        return list(texts)

    def _validation_rows(self, eval_tokens: int) -> tuple[list[Row], float]:
        """Rows of held-out stories, and their floor in nats per token."""
        rows, tokens, nats = [], 0, 0.0
        for story in held_out_stories("validation"):
            rows.append(self._row(story.text))
            tokens += int((rows[-1][1] != IGNORED).sum())
            nats -= story.log_probability
            if tokens >= eval_tokens:
                break
        return rows, nats / tokens

    def _row(self, text: str) -> Row:
        ids = self.tokenizer.encode(text)
        if len(ids) + 1 > self.seq_length:
            raise UserError(
                f"a toy story takes {len(ids) + 1} positions with this tokenizer, but the sequence "
                f"length is {self.seq_length}: train with --seq-length {(len(ids) // 32 + 2) * 32}"
            )
        return self._padded([*ids, self.tokenizer.end_of_text])

    def _padded(self, targets: list[int]) -> Row:
        """Inputs, which begin with end-of-text, and targets, both padded to length T."""
        end, missing = self.tokenizer.end_of_text, self.seq_length - len(targets)
        inputs = [end, *targets, *[end] * missing][: self.seq_length]
        return np.array(inputs), np.array(targets + [IGNORED] * missing)
