"""A patient: the training of a small model on toy stories. As it stands here it is healthy.

Each method, and `parts`, is one thing that can be sick. A case is a subclass with one of them
changed, so `type(patient)` would give it away; a fair test calls the methods:

    def test(patient):
        model = patient.model()                           # untrained
        inputs, targets = patient.pair(patient.batch())   # (B, T) each
        assert patient.rate(1) < patient.rate(20)
        …
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from transformer.config import ModelConfig
from transformer.data.batch import IGNORED, Batch
from transformer.data.bpe import make_tokenizer
from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.source import ToyStoriesSource, tokenizer_stories
from transformer.model import DecoderOnlyTransformer
from transformer.parts import CLASSIC, Parts
from transformer.training.optimizer import BETAS

STEPS = 500
WARMUP = 25
PEAK = 4e-3  # of the learning rate
ROWS = 8  # of a micro-batch
MICRO_BATCHES = 2
T = 144
SIZES = (64, 4, 2, 256)  # D, heads, blocks, width of the feed-forward layer
EVAL_TOKENS = 6_000

Pair = tuple[Tensor, Tensor]


@cache
def tokenizer() -> Tokenizer:
    return make_tokenizer("bpe:1024", tokenizer_stories())


class Patient:
    """A training in health."""

    parts: Parts = CLASSIC
    """What the model is built of."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.source = ToyStoriesSource(
            tokenizer(), seq_length=T, seed=seed, eval_tokens=EVAL_TOKENS
        )
        self.config = ModelConfig(tokenizer().vocab_size, *SIZES, T, dropout=0.1)

    def model(self) -> DecoderOnlyTransformer:
        """The model before its first step."""
        torch.manual_seed(self.seed)
        return DecoderOnlyTransformer(self.config, self.parts)

    def batch(self, rows: int = ROWS) -> Batch:
        """The first batch of the training data."""
        return next(self.source.train_batches(batch_size=rows))

    def pair(self, batch: Batch) -> Pair:
        """What the model is given, and what it should say: (B, T) each."""
        return batch.inputs, batch.targets

    def optimizer(self, model: DecoderOnlyTransformer) -> AdamW:
        """Only matrices decay."""
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        vectors = [p for p in model.parameters() if p.dim() < 2]
        groups = [
            {"params": matrices, "weight_decay": 0.1},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return AdamW(groups, lr=PEAK, betas=BETAS)

    def rate(self, step: int) -> float:
        """The learning rate of update number `step`, counted from 1."""
        if step < WARMUP:
            return PEAK * step / WARMUP
        done = (step - WARMUP) / (STEPS - WARMUP)
        return PEAK * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)

    def accumulate(self, model: DecoderOnlyTransformer, pairs: Sequence[Pair]) -> float:
        """Leave the gradient of the mean loss over all scored tokens in `.grad`; that loss."""
        scored = [int((targets != IGNORED).sum()) for _, targets in pairs]
        mean = 0.0
        for (inputs, targets), tokens in zip(pairs, scored, strict=True):
            loss: Any = model.loss(inputs, targets) * (tokens / sum(scored))
            loss.backward()  # adds to what is in .grad already
            mean += loss.item()
        return mean

    def quiet(self, model: DecoderOnlyTransformer) -> None:
        """Before the model is evaluated or writes."""
        model.eval()

    @torch.no_grad()
    def evaluate(self, model: DecoderOnlyTransformer) -> float:
        """Mean loss on validation stories, in nats per token."""
        self.quiet(model)
        nats = tokens = 0.0
        for batch in self.source.validation_batches(batch_size=2 * ROWS):
            inputs, targets = self.pair(batch)
            scored = int((targets != IGNORED).sum())
            nats += model.loss(inputs, targets).item() * scored
            tokens += scored
        return nats / tokens

    def micro_batches(self) -> list[list[Pair]]:
        """Those of each step."""
        batches = self.source.train_batches(batch_size=ROWS)
        return [
            [self.pair(batch) for batch in islice(batches, MICRO_BATCHES)] for _ in range(STEPS)
        ]
