"""Patients whose bug is in the model. The line that is to blame ends with `# ◀`."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exercises.clinic.patient import Patient
from transformer.attention import MultiHeadAttention, causal_mask
from transformer.block import Block, Extras
from transformer.config import ModelConfig
from transformer.kv_cache import LayerCache
from transformer.loss import TiedOutput
from transformer.parts import CLASSIC
from transformer.positional_encoding import SinusoidalPositions


class _Attention(MultiHeadAttention):
    """Line by line, so that each line can be another one."""

    def mask(self, queries: int, keys: int) -> Tensor:
        return causal_mask(queries, keys)

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries @ keys.transpose(-2, -1) / math.sqrt(queries.size(-1))

    def weigh(self, scores: Tensor) -> Tensor:
        return F.softmax(scores, dim=-1)

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        scores = self.scores(self.score(queries, keys))  # (B, H, T, S)
        allowed = self.mask(queries.size(-2), keys.size(-2))
        weights = self.weights(self.weigh(scores.masked_fill(~allowed, -math.inf)))
        return weights @ values


class MaskOffByOne(Patient):
    class Attention(_Attention):
        def mask(self, queries: int, keys: int) -> Tensor:
            allowed = torch.ones(queries, keys, dtype=torch.bool)
            return allowed.tril(diagonal=keys - queries + 1)  # ◀ keys - queries

    parts = replace(CLASSIC, attention=Attention)


class NoMask(Patient):
    class Attention(_Attention):
        def mask(self, queries: int, keys: int) -> Tensor:
            return torch.ones(queries, keys, dtype=torch.bool)  # ◀ .tril(keys - queries)

    parts = replace(CLASSIC, attention=Attention)


class NoScale(Patient):
    class Attention(_Attention):
        def score(self, queries: Tensor, keys: Tensor) -> Tensor:
            return queries @ keys.transpose(-2, -1)  # ◀ / math.sqrt(queries.size(-1))

    parts = replace(CLASSIC, attention=Attention)


class SoftmaxOverQueries(Patient):
    class Attention(_Attention):
        def weigh(self, scores: Tensor) -> Tensor:
            return F.softmax(scores, dim=-2)  # ◀ dim=-1

    parts = replace(CLASSIC, attention=Attention)


class HeadsJoinedWrongly(Patient):
    class Attention(_Attention):
        def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
            queries, keys, values = self.project(x)  # (B, H, T, K) each
            if cache is not None:
                keys, values = cache.append(keys, values)
            heads = self.attend(queries, keys, values)  # (B, H, T, K)
            joined = heads.reshape(x.shape)  # ◀ heads.transpose(1, 2).reshape(x.shape)
            joined = self.heads(joined)
            output: Tensor = self.output(self.output_projection(joined))
            return output

    parts = replace(CLASSIC, attention=Attention)


class NoPositions(Patient):
    class Positions(SinusoidalPositions):
        def forward(self, x: Tensor, places: Tensor | slice) -> Tensor:
            return x  # ◀ x + self.table[places]

    parts = replace(CLASSIC, positions=Positions)


class PositionsLateInTheCache(Patient):
    class Positions(SinusoidalPositions):
        def forward(self, x: Tensor, places: Tensor | slice) -> Tensor:
            if isinstance(places, slice) and places.start:  # behind a cache
                places = slice(places.start + 1, places.stop + 1)  # ◀ no such line
            return x + self.table[places]

    parts = replace(CLASSIC, positions=Positions)


class NoResidual(Patient):
    class Block(Block):
        def forward(
            self, x: Tensor, cache: LayerCache | None = None, extras: Extras | None = None
        ) -> Tensor:
            x = self.dropout(self.attention(self.attention_norm(x), cache))  # ◀ x + …
            x = self.residual_middle(x)
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
            return self.residual(x)

    parts = replace(CLASSIC, block=Block)


class NormOnTheBus(Patient):
    class Block(Block):
        def forward(
            self, x: Tensor, cache: LayerCache | None = None, extras: Extras | None = None
        ) -> Tensor:
            x = self.attention_norm(x)  # ◀ the sublayer alone reads the normed vector
            x = x + self.dropout(self.attention(x, cache))
            x = self.residual_middle(x)
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
            return self.residual(x)

    parts = replace(CLASSIC, block=Block)


class Untied(Patient):
    class Output(TiedOutput):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__(config)
            shape = (config.vocab_size, config.d_model)
            self.weight = nn.Parameter(torch.empty(shape))  # ◀ the embedding's, `table`

        def logits(self, hidden: Tensor, table: Tensor) -> Tensor:
            return super().logits(hidden, self.weight)

        def loss(self, hidden: Tensor, table: Tensor, *rest: Any, **named: Any) -> Tensor:
            return super().loss(hidden, self.weight, *rest, **named)

    parts = replace(CLASSIC, output=Output)
