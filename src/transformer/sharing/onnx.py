"""The model as an ONNX graph, for runtimes other than PyTorch, with the cache as inputs.

    ids (B, T), past_keys and past_values (n_layers, B, H, P, K)
        ─▶ logits (B, T, V), keys and values (n_layers, B, H, P + T, K)

(H is n_kv_heads where a variant has fewer heads of keys and values; all variants can be exported.)

A graph has no memory: the caller passes in the P positions that a KVCache would keep, and gets
back P + T. P = 0 starts a text. B, T and P may differ from call to call, with P + T at most
max_seq_len.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transformer.errors import UserError
from transformer.kv_cache import Cache, LayerCache
from transformer.machine.files import written_whole
from transformer.model import DecoderOnlyTransformer


class _GrowingLayer(LayerCache):
    """A block's cache that grows by concatenation instead of filling a buffer."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self.keys = torch.cat((self.keys, keys), 2)  # (B, H, P + T, K)
        self.values = torch.cat((self.values, values), 2)  # (B, H, P + T, K)
        return self.keys, self.values


class _GrowingCache(Cache):
    """The interface that the model uses, over tensors that are inputs of the graph."""

    def __init__(self, past_keys: Tensor, past_values: Tensor) -> None:
        self.keys, self.values = past_keys, past_values
        self.grown: list[LayerCache] = []

    def places(self, positions: int) -> Tensor:
        return self.keys.size(3) + torch.arange(positions)  # (T,)

    def layers(self, positions: int) -> list[LayerCache]:
        places = self.places(positions)
        mask = torch.arange(self.keys.size(3) + positions) <= places[:, None]  # (T, P + T)
        pairs = zip(self.keys.unbind(0), self.values.unbind(0), strict=True)
        self.grown = [_GrowingLayer(k, v, places, mask) for k, v in pairs]
        return self.grown

    def advance(self, positions: int) -> None:
        self.keys = torch.stack([layer.keys for layer in self.grown])
        self.values = torch.stack([layer.values for layer in self.grown])

    def check_room(self, positions: int) -> None:
        """The caller's business: a graph cannot raise."""


class _Graph(nn.Module):
    def __init__(self, model: DecoderOnlyTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids: Tensor, past_keys: Tensor, past_values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        cache = _GrowingCache(past_keys, past_values)
        logits = self.model(ids, cache)
        return logits, cache.keys, cache.values


def check_target(path: Path) -> None:
    """
    Raises:
        UserError: `path` does not end in .onnx: it may be a model file, which would be replaced.
    """
    if path.suffix != ".onnx" or path.is_dir():
        raise UserError(f"--output is the name of a file that ends in .onnx, but is {path}")


def export_onnx(model: DecoderOnlyTransformer, path: Path) -> None:
    """Write the graph to `path`. Needs the packages of the extra `onnx`.

    Raises:
        UserError: they are not installed, `path` names no .onnx file, or it cannot be written.
    """
    check_target(path)
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError("the ONNX export needs two packages: uv sync --extra onnx") from error
    config = model.config
    past = torch.zeros(config.n_layers, 2, config.n_kv_heads, 3, config.head_size)
    batch, new, old = (torch.export.Dim(name) for name in ("batch", "new", "past"))
    shapes: dict[str, Any] = {
        "ids": {0: batch, 1: new},
        "past_keys": {1: batch, 3: old},
        "past_values": {1: batch, 3: old},
    }
    ids = torch.zeros(2, 2, dtype=torch.int64)
    with written_whole(path) as temporary:
        torch.onnx.export(
            _Graph(model).eval(),
            (ids, past, past.clone()),
            temporary,
            input_names=["ids", "past_keys", "past_values"],
            output_names=["logits", "keys", "values"],
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
