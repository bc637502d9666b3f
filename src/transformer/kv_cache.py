"""Step 8: the KV cache. What generation remembers: keys and values of every position so far.

A new token compares its query with all earlier keys, and those never change: position p only
looks at positions up to p, so nothing that comes later can alter its key or value. Keeping
them turns the cost of the next token from a forward pass over T positions into one over a
single position.

    block 0   keys   [k0 k1 k2 k3 __ __ __ __]   values [v0 v1 v2 v3 __ __ __ __]
    block 1   keys   [k0 k1 k2 k3 __ __ __ __]   values [v0 v1 v2 v3 __ __ __ __]
                                  ▲ length = 4                 max_seq_len = 8 ▲

The buffers are allocated once, for max_seq_len positions: 2 · n_layers · B · max_seq_len · D
numbers. The cache keeps its own length, so that no caller has to count positions.

Rows may end at different places ("ragged"). Prompts of different lengths are padded on the
right and read together; then the cache is told how long each row really is. What the padding
left behind is never seen: a query only looks up to its own position, and by then that place
has been overwritten.

    row 0     [k0 k1 k2 k3 __ __ __ __]  length 4
    row 1     [k0 k1 ×  ×  __ __ __ __]  length 2; the next token overwrites the first ×
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from transformer.config import ModelConfig
from transformer.errors import UserError


class Cache(Protocol):
    """What a model calls, in this order; attention sees only what `layers` returns.

    `KVCache` fills buffers, the cache of sharing/onnx.py grows by concatenation.
    """

    def check_room(self, positions: int) -> None: ...

    def places(self, positions: int) -> slice | Tensor: ...

    def layers(self, positions: int) -> list["LayerCache"]: ...

    def advance(self, positions: int) -> None: ...


class KVCache(Cache):
    """Preallocated keys and values of all blocks, filled up to `length` positions.

    Args:
        config: the model's configuration.
        batch_size: rows B.
        device, dtype: those of the model's weights; PyTorch's defaults if not given.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.config = config
        self.batch_size = batch_size
        self.length = 0  # of the longest row
        self.lengths: Tensor | None = None  # (B,) where rows differ
        heads, size = config.n_kv_heads, config.head_size
        shape = (config.n_layers, batch_size, heads, config.max_seq_len, size)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)  # (n_layers, B, H, S, K)
        self.values = torch.zeros(shape, device=device, dtype=dtype)  # (n_layers, B, H, S, K)

    def places(self, positions: int) -> slice | Tensor:
        """Where the next `positions` positions go: one slice, or (B, T) where rows differ."""
        if self.lengths is None:
            return slice(self.length, self.length + positions)
        return self.lengths[:, None] + torch.arange(positions, device=self.keys.device)

    def layers(self, positions: int) -> list["LayerCache"]:
        """For each block, its share of the cache with room for `positions` more."""
        end, places = self.length + positions, self.places(positions)
        mask = self._mask(end, places)
        return [
            LayerCache(self.keys[i, :, :, :end], self.values[i, :, :, :end], places, mask)
            for i in range(self.config.n_layers)
        ]

    def _mask(self, end: int, places: slice | Tensor) -> Tensor | None:
        """A query at place p sees the keys 0 … p: bool, (T, S) or (B, 1, T, S)."""
        keys = torch.arange(end, device=self.keys.device)  # (S,)
        if isinstance(places, Tensor):
            return keys <= places[:, None, :, None]  # (B, 1, T, S)
        if places.start == 0 or places.start == end - 1:
            return None  # the plain causal mask, or a single query that sees every key
        return keys <= keys[places, None]  # (T, S)

    def advance(self, positions: int) -> None:
        """Called by the model once all its blocks have stored `positions` positions."""
        self.length += positions
        if self.lengths is not None:
            self.lengths = self.lengths + positions

    def row_lengths(self) -> list[int]:
        """How many positions of each row are real, not padding."""
        return [self.length] * self.batch_size if self.lengths is None else self.lengths.tolist()

    def set_lengths(self, lengths: Sequence[int]) -> None:
        """Set how many positions of each row are real; the rest will be overwritten."""
        if len(lengths) != self.batch_size or not 0 <= min(lengths) <= max(lengths) <= self.length:
            raise UserError(
                f"lengths must be {self.batch_size} numbers from 0 to {self.length}, "
                f"but are {list(lengths)}"
            )
        self.length = max(lengths)
        equal = min(lengths) == self.length
        self.lengths = None if equal else torch.tensor(lengths, device=self.keys.device)

    def replace(self, rows: Sequence[int], fresh: "KVCache") -> None:
        """Replace `rows` by the rows of `fresh`, which has as many."""
        self.keys[:, rows] = fresh.keys
        self.values[:, rows] = fresh.values
        lengths = dict(enumerate(self.row_lengths()))
        lengths.update(zip(rows, fresh.row_lengths(), strict=True))
        self.length = self.config.max_seq_len
        self.set_lengths(list(lengths.values()))

    def check_room(self, positions: int) -> None:
        """Raise UserError unless `positions` more fit."""
        if self.length + positions > self.config.max_seq_len:
            raise UserError(
                f"the cache holds {self.length} of max_seq_len={self.config.max_seq_len} "
                f"positions and has no room for {positions} more"
            )


@dataclass
class LayerCache:
    """One block's keys and values (B, H, S, K), with room for the new positions at `places`.

    `mask` says what the new queries may see; None means the plain causal mask.
    """

    keys: Tensor
    values: Tensor
    places: slice | Tensor
    mask: Tensor | None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (B, H, T, K) keys and values; return all so far, (B, H, S, K)."""
        for stored, new in ((self.keys, keys), (self.values, values)):
            if isinstance(self.places, slice):
                stored[:, :, self.places] = new
            else:
                rows = torch.arange(len(new), device=new.device)[:, None]  # (B, 1)
                stored[rows, :, self.places] = new.transpose(1, 2)  # (B, T, H, K)
        return self.keys, self.values
