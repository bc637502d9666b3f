"""Models whose circuits are known, because their weights were written by hand.

The residual stream is divided into subspaces of one-hot vectors:

    [ token (V) | position (T) | previous token (V) | fetched position (T) | unused ]

The position table is replaced by one-hot vectors, all weights start at zero (a head of zeros
attends uniformly and writes nothing; so does a feed-forward layer), and each `plant_…` sets
the matrices of one head. GAIN makes softmax nearly hard. One-hot vectors have length √D in
the stream, as embeddings are scaled by √D; then the tied output reads logits of useful size.
"""

import math

import torch
from torch import Tensor

from transformer.config import ModelConfig
from transformer.model import DecoderOnlyTransformer

V, T = 12, 25  # end-of-text is token 0; two copies of 11 random tokens fit
HEADS, D = 3, 96  # head size 32 >= T
K = D // HEADS
GAIN = 3.0
SIZE = math.sqrt(D)  # of a one-hot vector in the stream
CONFIG = ModelConfig(
    vocab_size=V, d_model=D, n_heads=HEADS, n_layers=2, d_ff=8, max_seq_len=T, dropout=0.0
)
TOKEN, POSITION, PREVIOUS = slice(0, V), slice(V, V + T), slice(V + T, 2 * V + T)
FETCHED = slice(2 * V + T, 2 * V + 2 * T)


def blank_model() -> DecoderOnlyTransformer:
    """Embeds tokens and positions, reads off the token subspace, and does nothing else."""
    model = DecoderOnlyTransformer(CONFIG)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.zero_()
        model.token_embedding.weight[:, TOKEN] = torch.eye(V)
        model.positions.table.zero_()
        model.positions.table[:, POSITION] = SIZE * torch.eye(T)
    return model.eval()


def _plant(
    model: DecoderOnlyTransformer,
    layer: int,
    head: int,
    queries: Tensor,
    keys: Tensor,
    write_to: slice,
    size: float,
    read_from: slice = TOKEN,
) -> None:
    """Set one head: (K, D) query and key matrices; it moves a one-hot vector to `write_to`."""
    attention = model.blocks[layer].attention
    values, width = torch.zeros(K, D), read_from.stop - read_from.start
    values[:width, read_from] = torch.eye(width)
    rows = slice(head * K, (head + 1) * K)
    with torch.no_grad():
        for index, matrix in enumerate((queries, keys, values)):
            attention.qkv_projection.weight.unflatten(0, (3, D))[index, rows] = matrix
        columns = slice(head * K, head * K + width)
        attention.output_projection.weight[write_to, columns] = size * torch.eye(width)


def plant_previous_token_head(model: DecoderOnlyTransformer, layer: int, head: int) -> None:
    """Position t asks for position t - 1; the token there goes to the `previous` subspace."""
    queries, keys = torch.zeros(K, D), torch.zeros(K, D)
    queries[: T - 1, POSITION] = GAIN * torch.eye(T)[1:]  # position t -> unit vector t - 1
    keys[:T, POSITION] = GAIN * torch.eye(T)
    _plant(model, layer, head, queries, keys, PREVIOUS, size=1.5)


def plant_matching_head(model: DecoderOnlyTransformer, layer: int, head: int) -> None:
    """A token asks for the places whose previous token it is, and copies what stands there.

    After a previous-token head this is an induction head.
    """
    queries, keys = torch.zeros(K, D), torch.zeros(K, D)
    queries[:V, TOKEN] = GAIN * torch.eye(V)
    keys[:V, PREVIOUS] = GAIN * torch.eye(V)
    _plant(model, layer, head, queries, keys, TOKEN, size=5)


def plant_duplicate_token_head(model: DecoderOnlyTransformer, layer: int, head: int) -> None:
    """A token asks for the same token, earlier rather than now."""
    queries, keys = _ask_for_earlier_copy(model, layer, head)
    _plant(model, layer, head, queries, keys, TOKEN, size=5)


def _ask_for_earlier_copy(
    model: DecoderOnlyTransformer, layer: int, head: int
) -> tuple[Tensor, Tensor]:
    queries, keys = torch.zeros(K, D), torch.zeros(K, D)
    queries[:V, TOKEN] = keys[:V, TOKEN] = GAIN * torch.eye(V)
    later = torch.arange(T).float()  # subtracts from the score what grows with the key position
    keys[V, POSITION] = -later
    model.blocks[layer].attention.qkv_projection.bias.data[head * K + V] = GAIN
    return queries, keys


def plant_place_after_copy_head(model: DecoderOnlyTransformer, layer: int, head: int) -> None:
    """A duplicate-token head that fetches the place *after* the earlier copy."""
    queries, keys = _ask_for_earlier_copy(model, layer, head)
    positions = slice(POSITION.start, POSITION.stop - 1)
    next_places = slice(FETCHED.start + 1, FETCHED.stop)
    _plant(model, layer, head, queries, keys, next_places, size=1.5, read_from=positions)


def plant_place_seeking_head(model: DecoderOnlyTransformer, layer: int, head: int) -> None:
    """A token asks for the place that was fetched for it, and copies what stands there.

    After a head that fetches the place after the earlier copy this is an induction head.
    """
    queries, keys = torch.zeros(K, D), torch.zeros(K, D)
    queries[:T, FETCHED] = GAIN * torch.eye(T)
    keys[:T, POSITION] = GAIN * torch.eye(T)
    _plant(model, layer, head, queries, keys, TOKEN, size=5)


def plant_first_token_head(model: DecoderOnlyTransformer, layer: int, head: int) -> None:
    """Every position asks for position 0, and copies the token there."""
    queries, keys = torch.zeros(K, D), torch.zeros(K, D)
    keys[0, V] = GAIN  # column V of the stream: position 0
    model.blocks[layer].attention.qkv_projection.bias.data[head * K] = 10 * GAIN
    _plant(model, layer, head, queries, keys, TOKEN, size=5)


def induction_model() -> DecoderOnlyTransformer:
    """Previous-token head 0.1 and, reading it, matching head 1.2: together induction."""
    model = blank_model()
    plant_previous_token_head(model, layer=0, head=1)
    plant_matching_head(model, layer=1, head=2)
    return model


def duplicate_token_model() -> DecoderOnlyTransformer:
    """Head 0.1 fetches the place after the earlier copy and head 1.2 goes there: induction too."""
    model = blank_model()
    plant_place_after_copy_head(model, layer=0, head=1)
    plant_place_seeking_head(model, layer=1, head=2)
    return model
