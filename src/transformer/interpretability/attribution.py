"""Direct logit attribution: who wrote this logit?

The final residual stream is a sum: the embedding, the position, what each head and each
feed-forward sublayer wrote, and biases. A logit is *almost* linear in it. Almost, because the
final LayerNorm divides by the standard deviation σ of the whole sum. With σ taken as it came
out in this run and held fixed, the rest is linear, and the logit of token v splits into
one term per contribution c:

    logit[v] = Σ_c  W[v] · (γ ⊙ (c - mean(c))) / σ   +   W[v] · β

    W (V, D)  the embedding table, which is also the unembedding     γ, β  the final LayerNorm

The terms sum to the logit exactly, up to rounding. What they do not say: a head that writes
nothing towards v itself may still decide everything, by what it lets later blocks do. That
takes patching or ablation. And since softmax ignores a constant added to all logits, only
*differences* between the terms of two tokens mean something; compare an answer with a rival.

Source: Elhage et al. (2021), the residual stream as a sum and the direct path; nostalgebraist,
"interpreting GPT: the logit lens" (2020).
"""

import torch
from torch import Tensor

from transformer.interpretability.hooks import record
from transformer.model import DecoderOnlyTransformer


@torch.no_grad()
def logit_contributions(
    model: DecoderOnlyTransformer, ids: Tensor, tokens: Tensor
) -> dict[str, Tensor]:
    """Split the logit of one token per position into what wrote it.

    Args:
        ids: (B, T) the text.
        tokens: (B, T) the token whose logit is split, for each position.

    Returns:
        Name of the contribution -> (B, T), in logit units; the names are "embedding",
        "positions", "blocks.{i}.attention.heads.{h}", "blocks.{i}.feed_forward" (without its
        bias), and the biases by the names of their parameters. They sum to
        `model(ids)[b, t, tokens[b, t]]`.
    """
    writes = residual_writes(model, ids)
    stream = torch.stack(list(writes.values())).sum(dim=0)  # (B, T, D)
    variance = stream.var(dim=-1, correction=0)  # (B, T)
    sigma = (variance + model.final_norm.eps).sqrt()  # (B, T), frozen from here on
    unembedding = model.token_embedding.weight[tokens]  # (B, T, D)
    direction = unembedding * model.final_norm.weight  # (B, T, D)
    direction = direction - direction.mean(dim=-1, keepdim=True)  # W·γ⊙(c - mean c), seen from W
    contributions = {
        name: (write * direction).sum(dim=-1) / sigma for name, write in writes.items()
    }
    return contributions | {"final_norm.bias": unembedding @ model.final_norm.bias}


@torch.no_grad()
def residual_writes(model: DecoderOnlyTransformer, ids: Tensor) -> dict[str, Tensor]:
    """Everything that was added to the residual stream: name -> (B, T, D)."""
    recorded = record(model, ids, ["blocks.*.attention.heads", "blocks.*.feed_forward.activations"])
    embedded = model.token_embedding(ids)  # (B, T, D)
    positions = model.positions.table[: ids.size(1)].expand_as(embedded)  # (B, T, D)
    writes = {"embedding": embedded, "positions": positions}
    for i in range(model.config.n_layers):
        weights = dict(model.blocks[i].named_parameters())
        heads = recorded[f"blocks.{i}.attention.heads"].transpose(1, 2)  # (B, T, H, K)
        per_head = head_writes(model, i, heads)  # (B, T, H, D)
        for h in range(model.config.n_heads):
            writes[f"blocks.{i}.attention.heads.{h}"] = per_head[:, :, h]
        neurons = recorded[f"blocks.{i}.feed_forward.activations"]  # (B, T, F)
        writes[f"blocks.{i}.feed_forward"] = neurons @ weights["feed_forward.contract.weight"].T
        for name in ("attention.output_projection.bias", "feed_forward.contract.bias"):
            writes[f"blocks.{i}.{name}"] = weights[name].expand_as(embedded)
    return writes


@torch.no_grad()
def head_writes(model: DecoderOnlyTransformer, layer: int, heads: Tensor) -> Tensor:
    """What each head adds to the residual stream: (..., H, K) -> (..., H, D).

    `output_projection` multiplies the joined heads by one (D, D) matrix. Its columns belong
    to the heads, K to each, so the product is a sum over heads.
    """
    projection = dict(model.named_parameters())[
        f"blocks.{layer}.attention.output_projection.weight"
    ]  # (D, H·K)
    per_head = projection.view(len(projection), model.config.n_heads, -1)  # (D, H, K)
    return torch.einsum("...hk,dhk->...hd", heads, per_head)
