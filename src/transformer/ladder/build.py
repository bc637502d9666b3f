"""From a configuration to its model: the one place where variants are chosen."""

import math

import torch
from torch import Tensor, nn

from transformer.config import ModelConfig
from transformer.ladder.attention import VariantAttention
from transformer.ladder.block import VariantBlock
from transformer.ladder.feed_forward import VariantFeedForward, start_relu2_smaller
from transformer.ladder.learned_positions import LearnedPositions
from transformer.ladder.output import VariantOutput
from transformer.ladder.rms_norm import RMSNorm, layer_norm, rms_normed
from transformer.ladder.rotary import NoPositions
from transformer.ladder.zero_init import start_writers_at_zero
from transformer.model import START, DecoderOnlyTransformer
from transformer.parts import CLASSIC, Part, Parts
from transformer.positional_encoding import SinusoidalPositions
from transformer.token_embedding import TokenEmbedding

LEARNED_POSITIONS = 0.35  # as large as sinusoids × 0.5
POSITIONS: dict[str, Part] = {
    "sinusoidal": SinusoidalPositions,
    "learned": LearnedPositions,
    "rotary": NoPositions,
}
NORMS: dict[str, Part] = {"layer": layer_norm, "rms": RMSNorm}


class NormedEmbedding(TokenEmbedding):
    """The token embedding, each vector brought to size 1 (the root of its mean of squares)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.eps = config.variant.norm_eps

    def forward(self, ids: Tensor) -> Tensor:
        return rms_normed(super().forward(ids), self.eps)  # (B, T, D)


def parts_for(config: ModelConfig) -> Parts:
    """What is built in each place."""
    variant = config.variant
    if variant.is_classic:
        return CLASSIC
    return Parts(
        embedding=NormedEmbedding if variant.embedding_norm else TokenEmbedding,
        positions=POSITIONS[variant.positions],
        norm=NORMS[variant.norm],
        attention=VariantAttention,
        feed_forward=VariantFeedForward,
        block=VariantBlock,
        output=VariantOutput,
    )


def build_model(config: ModelConfig) -> DecoderOnlyTransformer:
    """The model of any configuration, with the weights it starts from."""
    model = DecoderOnlyTransformer(config, parts_for(config))
    if not config.variant.is_classic:
        _initialise(model)
    return model


@torch.no_grad()
def _initialise(model: DecoderOnlyTransformer) -> None:
    """What the classic start (model.py) does not know."""
    config, variant = model.config, model.config.variant
    for name, parameter in model.named_parameters():
        if name == "positions.table.weight":
            nn.init.normal_(parameter, std=LEARNED_POSITIONS)
        elif name == "output.weight" or name.endswith("value_embedding.weight"):
            nn.init.normal_(parameter, std=START / math.sqrt(config.d_model))
    start_relu2_smaller(model)
    if variant.zero_init:
        start_writers_at_zero(model)
        if not variant.tied_embeddings:
            nn.init.zeros_(model.get_parameter("output.weight"))
