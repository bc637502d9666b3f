"""One more token through the classic model without calling a module: the same operations in the
same order, and so the same numbers to the bit.

A token takes some hundred operations of a few microseconds each. At every call of a module PyTorch
looks for hooks, parameters, submodules and taps. Here all that is looked up once, before the first
token (what it brought, together with a shorter draw: docs/experiments.md).
Where that could miss something (a hook that wants to see or change a value, another part, training,
gradients), `flat_decoder` returns None, and the model itself is called.

The plain lines are `DecoderOnlyTransformer.hidden_states` and what it calls.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.machine.fast_paths import fused_attention
from transformer.machine.int8 import Int8Matrix

Linear = Callable[[Tensor], Tensor]  # (B, inputs) -> (B, outputs)
Norm = tuple[tuple[int, ...], Tensor, Tensor, float]


class FlatDecoder:
    """`decoder(ids, cache)`: (B,) ids -> (B, V) logits for the token after each.

    Args:
        model: classic, in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        self.heads, self.size = config.n_heads, config.head_size
        self.embedding, self.output, self.places = (
            model.token_embedding, model.output, model.positions.table,
        )  # fmt: skip
        self.blocks = [
            (
                _norm(block.attention_norm),
                _linear(block.attention.qkv_projection),
                _linear(block.attention.output_projection),
                _norm(block.feed_forward_norm),
                _linear(block.feed_forward.expand),
                _linear(block.feed_forward.contract),
            )
            for block in model.blocks
        ]
        self.final_norm = _norm(model.final_norm)

    def __call__(self, ids: Tensor, cache: Any) -> Tensor:
        cache.check_room(1)
        B, H, K = len(ids), self.heads, self.size
        layers = cache.layers(1)
        places = layers[0].places  # a slice, or (B, 1)
        x = self.embedding(ids[:, None])[:, 0] + self._position(places)  # (B, D)
        for block, layer in zip(self.blocks, layers, strict=True):
            norm, qkv, out, feed_forward_norm, expand, contract = block
            split = qkv(F.layer_norm(x, *norm)).view(B, 3, H, 1, K)
            keys, values = layer.append(split[:, 1], split[:, 2])  # (B, H, S, K)
            heads = fused_attention(split[:, 0], keys, values, layer.mask)  # (B, H, 1, K)
            x = x + out(heads.reshape(B, H * K))  # (B, D)
            hidden = F.gelu(expand(F.layer_norm(x, *feed_forward_norm)))  # (B, F)
            x = x + contract(hidden)  # (B, D)
        cache.advance(1)
        final = F.layer_norm(x, *self.final_norm)  # (B, D)
        logits: Tensor = self.output.logits(final, self.embedding.weight)
        return logits  # (B, V)

    def _position(self, places: slice | Tensor) -> Tensor:
        """(1, D), or (B, D) where rows have different places."""
        return self.places[places if isinstance(places, slice) else places[:, 0]]


def flat_decoder(model: nn.Module, known: Collection[type[nn.Module]]) -> FlatDecoder | None:
    """The model's decoder, or None where only its modules will do.

    Args:
        known: the classes whose operations are written out here.
    """
    for module in model.modules():
        watched = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        if type(module) not in known or watched or module.training:
            return None
    if torch.is_grad_enabled() or model.config.attention == "explicit":  # type: ignore[union-attr]
        return None
    return FlatDecoder(model)


def _linear(module: nn.Linear) -> Linear:
    weight: Any = module.weight
    if isinstance(weight, Int8Matrix):
        return weight.linear(module.bias)
    return partial(F.linear, weight=weight, bias=module.bias)


def _norm(module: nn.LayerNorm) -> Norm:
    return module.normalized_shape, module.weight, module.bias, module.eps
