"""6. The whole model: from token ids to a score for every possible next token.

    ids (B, T)
      │  token_embedding · √D  +  sinusoidal positions
      ▼
    residual stream (B, T, D) ──▶ block 0 ──▶ block 1 ──▶ … ──▶ final LayerNorm
      │  dot product with every token's embedding (the tied output projection)
      ▼
    logits (B, T, V)         softmax(logits[b, t]) is the model's belief about token t + 1

The output projection is the embedding table itself: a token is predicted as far as the final
vector points the way that token's embedding points. That saves V · D parameters (12.9 of
30.5 million in the default model) and learns better. Embeddings are scaled by √D so that,
starting at std 0.02, they are not drowned by positions of size 1.

Sources: Vaswani et al. (2017), section 3.4; Press and Wolf, "Using the Output Embedding to
Improve Language Models" (2016); Radford et al., GPT-2 (2019), for pre-norm and the scaled
initialisation.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.block import LAYER_NORM_EPS, Block
from transformer.config import ModelConfig
from transformer.errors import UserError
from transformer.kv_cache import KVCache
from transformer.loss import linear_cross_entropy
from transformer.positional_encoding import sinusoidal_encoding

EMBEDDING_STD = 0.02
NARROW = 16  # rows up to which `_narrow_product` is the faster way
LINEAR_STD = 0.5  # over √D: 0.018 at GPT-2's D = 768, where the customary 0.02 comes from


class DecoderOnlyTransformer(nn.Module):
    """A stack of causal blocks between an embedding and its transpose.

    >>> from transformer.config import ModelConfig
    >>> model = DecoderOnlyTransformer(ModelConfig(vocab_size=50_281))
    >>> f"{sum(p.numel() for p in model.parameters()):,}"
    '17,611,008'
    """

    positions: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        table = sinusoidal_encoding(config.max_seq_len, config.d_model)
        self.register_buffer("positions", table, persistent=False)  # (max_seq_len, D)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.d_model, eps=LAYER_NORM_EPS)
        self.embedding, self.logits = nn.Identity(), nn.Identity()  # taps
        self._initialise()

    def _initialise(self) -> None:
        """Normal: embeddings with std 0.02, matrices 0.5/√D; biases 0.

        A matrix with a std of 0.02 whatever D is starts a narrow model almost blind: at D = 128
        attention scores are a tenth of GPT-2's, and heads take longer to find their task.

        What writes to the residual stream starts smaller: 2 · n_layers sublayers add to it. Were
        each to add variance σ², the sum would grow to 2 · n_layers · σ²; dividing their std by
        √(2 · n_layers) keeps it at σ².
        """
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name == "token_embedding.weight":
                nn.init.normal_(parameter, std=EMBEDDING_STD)
            elif parameter.dim() == 2:
                writes = name.endswith(("output_projection.weight", "contract.weight"))
                depth = math.sqrt(2 * self.config.n_layers) if writes else 1.0
                nn.init.normal_(parameter, std=LINEAR_STD / math.sqrt(self.config.d_model) / depth)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits for the token after each position.

        Args:
            ids: (B, T) int64.
            cache: what earlier calls have seen; this call's positions follow it and are
                appended.

        Returns:
            (B, T, V).

        Raises:
            UserError: ids of another shape, dtype or range, or more positions than fit.
        """
        return self.unembed(self.hidden_states(ids, cache))  # (B, T, V)

    def unembed(self, hidden: Tensor) -> Tensor:
        """The score of every token: (..., D) after the final norm -> (..., V)."""
        weight = self.token_embedding.weight
        if _is_narrow(hidden):
            return self.logits(_narrow_product(hidden, weight))
        return self.logits(F.linear(hidden, weight))

    def hidden_states(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The residual stream after all blocks and the final LayerNorm: (B, T, D)."""
        self._check(ids, cache)
        x = self.embed(ids, cache)  # (B, T, D)
        layers = [None] * len(self.blocks) if cache is None else cache.layers(ids.size(1))
        for block, layer in zip(self.blocks, layers, strict=True):
            x = block(x, layer)  # (B, T, D)
        if cache is not None:
            cache.advance(ids.size(1))
        return self.final_norm(x)  # (B, T, D)

    def embed(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Scaled token embeddings plus positions, which go on where the cache ends: (B, T, D)."""
        x = self.token_embedding(ids) * math.sqrt(self.config.d_model)  # (B, T, D)
        places = slice(ids.size(1)) if cache is None else cache.places(ids.size(1))
        x = x + self.positions[places]  # (T, D) or (B, T, D)
        return self.dropout(self.embedding(x))

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats over targets that are not -100.

        It never holds the (B · T, V) logits at once; see loss.py.

        Args:
            ids, targets: (B, T) int64.

        Returns:
            A scalar.
        """
        if targets.shape != ids.shape:
            raise UserError(f"targets have shape {tuple(targets.shape)}, ids {tuple(ids.shape)}")
        hidden = self.hidden_states(ids).flatten(0, 1)  # (B·T, D)
        return linear_cross_entropy(hidden, self.token_embedding.weight, targets.flatten())

    def save_pretrained(self, folder: Path | str, **options: Any) -> None:
        """Write the model as a folder that `from_pretrained` reads; see hub.py."""
        from transformer.sharing import model_hub as hub

        hub.save_pretrained(self, folder, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model; returns the address of the commit. See hub.py."""
        from transformer.sharing import model_hub as hub

        return hub.push_to_hub(self, repo_id, **options)

    @staticmethod
    def from_pretrained(name: Path | str, **options: Any) -> "DecoderOnlyTransformer":
        """Read a folder, or download OWNER/NAME from the hub; see hub.py."""
        from transformer.sharing import model_hub as hub

        return hub.from_pretrained(name, **options)

    def _check(self, ids: Tensor, cache: KVCache | None) -> None:
        """Values are only looked at on the CPU: elsewhere that would stall the device."""
        if ids.dim() != 2 or ids.size(1) == 0:
            raise UserError(f"ids must have shape (B, T) with T >= 1, but have {tuple(ids.shape)}")
        if ids.dtype != torch.int64:
            raise UserError(f"ids must be int64, but are {ids.dtype}; use ids.long()")
        if cache is not None:
            cache.check_room(ids.size(1))
        elif ids.size(1) > self.config.max_seq_len:
            raise UserError(
                f"T={ids.size(1)} positions exceed max_seq_len={self.config.max_seq_len}"
            )
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= self.config.vocab_size:
                wrong, last = low if low < 0 else high, self.config.vocab_size - 1
                raise UserError(f"id {wrong} is outside 0 … {last} (vocab_size - 1)")


def _is_narrow(hidden: Tensor) -> bool:
    """Whether these are a few texts' last positions in float32, on a CPU, without a gradient.

    Generation asks for nothing else; whole texts always take the plain way, so that the same
    vectors give the same bits whatever they are read off with.
    """
    last_positions = hidden.dim() == 2 or hidden.size(-2) == 1
    few = 0 < hidden.numel() <= NARROW * hidden.size(-1)
    plain = hidden.dtype == torch.float32 and hidden.device.type == "cpu"
    return last_positions and few and plain and not torch.is_grad_enabled()


def _narrow_product(hidden: Tensor, weight: Tensor) -> Tensor:
    """hidden · weightᵀ as (weight · hiddenᵀ)ᵀ: (..., D), (V, D) -> (..., V).

    The library cuts the left operand among its cores. V rows make good pieces; one row of
    `hidden` makes none, and takes four times as long. A single column would be handed to its
    routine for vectors, as slow again, so it comes twice.
    """
    rows = hidden.reshape(-1, hidden.size(-1))  # (N, D)
    product = (weight @ rows.repeat(2 if len(rows) == 1 else 1, 1).T).T  # (N or 2, V)
    return product[: len(rows)].reshape(*hidden.shape[:-1], -1)
