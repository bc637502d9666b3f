"""Step 6: the whole model, from token ids to a score for every possible next token.

    ids (B, T)
      │  token_embedding · √D  +  sinusoidal positions
      ▼
    residual stream (B, T, D) ──▶ block 0 ──▶ block 1 ──▶ … ──▶ final LayerNorm
      │  dot product with every token's embedding (the tied output projection)
      ▼
    logits (B, T, V)         softmax(logits[b, t]) is the model's belief about token t + 1

The output projection is the embedding table itself: a token's logit is the dot product of the
final vector with that token's embedding. That saves V · D parameters (12.9 of 30.5 million in
the default model). parts.py says what is built in each place; this file joins the parts.

Sources: Vaswani et al. (2017), section 3.4; Press and Wolf, "Using the Output Embedding to
Improve Language Models" (2016); Radford et al., GPT-2 (2019), for pre-norm and the scaled
initialisation.
"""

import math

import torch
from torch import Tensor, nn

from transformer.block import Extras
from transformer.config import ModelConfig
from transformer.errors import UserError
from transformer.kv_cache import KVCache
from transformer.loss import Exponentials, TiedOutput, row_exponentials
from transformer.parts import CLASSIC, Parts
from transformer.positional_encoding import SinusoidalPositions

START = 0.5  # over √D: 0.018 at GPT-2's D = 768, where the customary 0.02 comes from


class DecoderOnlyTransformer(nn.Module):
    """A stack of causal blocks between an embedding and its transpose.

    >>> from transformer.config import ModelConfig
    >>> model = DecoderOnlyTransformer(ModelConfig(vocab_size=50_281))
    >>> f"{sum(p.numel() for p in model.parameters()):,}"
    '17,611,008'
    >>> f"{model.token_embedding.weight.numel():,}"  # an untied output would need them again
    '12,871,936'
    """

    token_embedding: nn.Embedding
    positions: SinusoidalPositions  # in the classic model, as are the next two
    final_norm: nn.LayerNorm
    output: TiedOutput

    def __init__(self, config: ModelConfig, parts: Parts = CLASSIC) -> None:
        super().__init__()
        if parts is CLASSIC and not config.variant.is_classic:
            raise UserError("this variant is built by transformer.ladder.build_model(config)")
        self.config = config
        self.token_embedding = parts.embedding(config)
        self.positions = parts.positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(parts.block(config, parts) for _ in range(config.n_layers))
        self.final_norm = parts.norm(config)
        self.output = parts.output(config)
        self.embedding, self.logits = nn.Identity(), nn.Identity()  # taps
        self._initialise()

    def _initialise(self) -> None:
        """Normal with std 0.5/√D, the embedding and all matrices; biases 0.

        Attention scores start with a std of D · std², so 0.02 at every width would start narrow
        models almost blind: at D = 128 the scores are a sixth (128/768) of GPT-2's. 0.5/√D
        starts them at 0.25 whatever D is, and untrained logits at 0.5.

        What writes to the residual stream starts smaller, because 2 · n_layers sublayers add to
        it. If each added variance σ², the sum would grow to 2 · n_layers · σ²; dividing their
        std by √(2 · n_layers) keeps it at σ².
        """
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                writes = name.endswith(("output_projection.weight", "contract.weight"))
                depth = math.sqrt(2 * self.config.n_layers) if writes else 1.0
                nn.init.normal_(parameter, std=START / math.sqrt(self.config.d_model) / depth)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits for the token after each position.

        Args:
            ids: (B, T) int64.
            cache: what earlier calls have read; this call's positions follow and are appended.

        Returns:
            (B, T, V).

        Raises:
            UserError: ids of another shape, dtype or range, or more positions than fit.
        """
        return self.unembed(self.hidden_states(ids, cache))  # (B, T, V)

    def unembed(self, hidden: Tensor) -> Tensor:
        """The score of every token: (..., D) after the final norm -> (..., V)."""
        return self.logits(self.output.logits(hidden, self.token_embedding.weight))

    def hidden_states(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The residual stream after all blocks and the final LayerNorm: (B, T, D)."""
        self._check(ids, cache)
        places = slice(ids.size(1)) if cache is None else cache.places(ids.size(1))
        x = self.embed(ids, places)  # (B, T, D)
        extras = Extras(ids, x, places)  # for variants; classic blocks ignore it
        layers = [None] * len(self.blocks) if cache is None else cache.layers(ids.size(1))
        for block, layer in zip(self.blocks, layers, strict=True):
            x = block(x, layer, extras)  # (B, T, D)
        if cache is not None:
            cache.advance(ids.size(1))
        return self.final_norm(x)  # (B, T, D)

    def embed(self, ids: Tensor, places: Tensor | slice) -> Tensor:
        """The residual stream before the first block, for tokens at these places: (B, T, D)."""
        x = self.positions(self.token_embedding(ids), places)  # (B, T, D)
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
        return self.hidden_loss(self.hidden_states(ids), targets)

    def hidden_loss(
        self, hidden: Tensor, targets: Tensor, exponentials: Exponentials = row_exponentials
    ) -> Tensor:
        """The same loss, from the stream after the final norm, (B, T, D)."""
        table = self.token_embedding.weight
        return self.output.loss(hidden.flatten(0, 1), table, targets.flatten(), exponentials)

    def _check(self, ids: Tensor, cache: KVCache | None) -> None:
        """Values are checked on the CPU only: elsewhere that would stall the device."""
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
