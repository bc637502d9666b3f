"""The ladder's attention: the classic one, with what a variant puts between its steps.

    x ─▶ Q, K, V ─▶ values + E_v ─▶ QK-norm ─▶ rotary ─▶ cache ─▶ window ─▶ attend ─▶ output
         heads,      value_          qk_norm    rotary              window,
         head size   embeddings                                     shared heads

Each step is one file; a step that the variant does not have is left out.
"""

import torch
from torch import Tensor, nn

from transformer.attention import MultiHeadAttention
from transformer.config import ModelConfig
from transformer.kv_cache import LayerCache
from transformer.ladder.grouped_heads import shared_heads
from transformer.ladder.qk_norm import QKNorm
from transformer.ladder.rotary import Rotary
from transformer.ladder.value_embeddings import ValueEmbedding
from transformer.ladder.window import window_mask


class VariantAttention(MultiHeadAttention):
    """(B, T, D) -> (B, T, D). It wants the tokens' ids too, where values are looked up."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        variant, K = config.variant, config.head_size
        self.counts = (config.n_heads, config.n_kv_heads, config.n_kv_heads)
        self.qkv_projection = nn.Linear(config.d_model, sum(self.counts) * K, bias=variant.bias)
        self.output_projection = nn.Linear(config.n_heads * K, config.d_model, bias=variant.bias)
        self.rotary = Rotary(config) if variant.positions == "rotary" else None
        self.qk_norm = QKNorm(config) if variant.qk_norm != "none" else None
        self.value_embedding = ValueEmbedding(config) if variant.value_embeddings else None

    def forward(
        self, x: Tensor, cache: LayerCache | None = None, ids: Tensor | None = None
    ) -> Tensor:
        places = slice(x.size(1)) if cache is None else cache.places
        queries, keys, values = self.project_at(x, places, ids)
        mask = None
        if cache is not None:
            keys, values = cache.append(keys, values)  # (B, H_kv, S, K), S = cached + T
            mask = cache.mask
        if self.config.variant.window is not None:
            mask = self._window(places, keys, x.device)
        keys, values = (shared_heads(each, self.config.n_heads) for each in (keys, values))
        heads = self.heads(self.attend(queries, keys, values, mask))  # (B, H, T, K)
        joined = heads.transpose(1, 2).flatten(2)  # (B, T, H · K)
        return self.output(self.output_projection(joined))  # (B, T, D)

    def project_at(
        self, x: Tensor, places: Tensor | slice, ids: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, K), keys and values (B, H_kv, T, K), as they meet."""
        heads = self.qkv_projection(x).unflatten(-1, (sum(self.counts), -1)).transpose(1, 2)
        queries, keys, values = heads.split(self.counts, dim=1)
        if self.value_embedding is not None and ids is not None:
            values = self.value_embedding.add_to(values, ids)
        if self.qk_norm is not None:
            queries, keys = self.qk_norm(queries, keys)
        if self.rotary is not None:
            queries, keys = self.rotary(queries, places), self.rotary(keys, places)
        return self.queries(queries), self.keys(keys), self.values(values)

    def _window(self, places: Tensor | slice, keys: Tensor, device: torch.device) -> Tensor:
        S, window = keys.size(-2), self.config.variant.window
        assert window is not None
        if isinstance(places, slice):
            places = torch.arange(places.start or 0, places.stop, device=device)  # (T,)
        return window_mask(places, S, window)  # (T, S) or (B, 1, T, S)
