"""Direct logit attribution: who wrote this logit?

The final residual stream is a sum: the embedding, the position, what each head and each
feed-forward sublayer wrote, and biases. A logit is *almost* linear in it. Almost, because the
final LayerNorm divides by the standard deviation σ of the whole sum. With σ taken as it came
out in this run and held fixed, the rest is linear, and the logit of token v splits into
one term per contribution c:

    logit[v] = Σ_c  W[v] · (γ ⊙ (c - mean(c))) / σ   +   W[v] · β

    W (V, D)  the embedding table, which is also the unembedding     γ, β  the final LayerNorm

An RMS norm subtracts no mean and has no β, an untied model has a W of its own, and a softcap comes
after all this: what is split is the logit before it.

The terms sum to the logit exactly, up to rounding. What they do not say: a head that writes
nothing towards v itself may still decide everything, by what it lets later blocks do. That
takes patching or ablation. And since softmax ignores a constant added to all logits, only
*differences* between the terms of two tokens mean something; compare an answer with a rival.

Source: Elhage et al. (2021), the residual stream as a sum and the direct path; nostalgebraist,
"interpreting GPT: the logit lens" (2020).
"""

import torch
from torch import Tensor, nn

from transformer.interpretability.hooks import measure
from transformer.model import DecoderOnlyTransformer

EVERYWHERE = slice(None)


@torch.no_grad()
def logit_contributions(
    model: DecoderOnlyTransformer, ids: Tensor, tokens: Tensor, places: slice = EVERYWHERE
) -> dict[str, Tensor]:
    """Split the logit of one token per position into what wrote it.

    Args:
        ids: (B, T) the text.
        tokens: (B, T) the token whose logit is split, for each position.
        places: only these positions, of which then there are T in all that follows.

    Returns:
        Name of the contribution -> (B, T), in logit units; the names are "embedding",
        "positions", "blocks.{i}.attention.heads.{h}", "blocks.{i}.feed_forward" (without its
        bias), and the biases by the names of their parameters. They sum to
        `model(ids)[b, t, tokens[b, t]]` (before a softcap).
    """
    writes = residual_writes(model, ids, places)
    stream = torch.stack(list(writes.values())).sum(dim=0)  # (B, T, D)
    sigma = size_before_norm(model, stream)  # (B, T), frozen from here on
    rows = unembedding(model)[tokens]  # (B, T, D)
    contributions = {
        name: (unscaled_norm(model, write) * rows).sum(dim=-1) / sigma
        for name, write in writes.items()
    }
    bias = getattr(model.final_norm, "bias", None)
    return contributions | ({} if bias is None else {"final_norm.bias": rows @ bias})


def unembedding(model: DecoderOnlyTransformer) -> Tensor:
    """(V, D): what the final vector is compared with. The embedding itself, unless untied."""
    own: Tensor | None = getattr(model.output, "weight", None)
    return model.token_embedding.weight if own is None else own


def unscaled_norm(model: DecoderOnlyTransformer, x: Tensor) -> Tensor:
    """What the final norm makes of x before it divides by a size: γ ⊙ (x - mean(x)), or γ ⊙ x
    where it is an RMS norm. (..., D) -> (..., D), linear in x."""
    norm = model.final_norm
    gain: Tensor | None = norm.weight
    return _centred(norm, x) if gain is None else _centred(norm, x) * gain


def size_before_norm(model: DecoderOnlyTransformer, x: Tensor) -> Tensor:
    """The σ by which the final norm divides x: (..., D) -> (...)."""
    norm = model.final_norm
    return (_centred(norm, x).square().mean(dim=-1) + norm.eps).sqrt()


def _centred(norm: nn.Module, x: Tensor) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else x


@torch.no_grad()
def residual_writes(
    model: DecoderOnlyTransformer, ids: Tensor, places: slice = EVERYWHERE
) -> dict[str, Tensor]:
    """Everything that was added to the residual stream at these places: name -> (B, T, D).

    Where blocks mix the stream with the embedding (input skip), everything as it is at the end.
    """
    taps = ("blocks.*.attention.heads", "blocks.*.feed_forward.activations")
    recorded = measure(model, ids, dict.fromkeys(taps, lambda x: x[..., places, :]))
    embedded = model.token_embedding(ids)  # (B, T, D)
    positions = model.positions(torch.zeros_like(embedded), slice(ids.size(1)))  # (B, T, D)
    first = {"embedding": embedded[:, places], "positions": positions[:, places]}
    writes = dict(first)
    for i, block in enumerate(model.blocks):
        keep, skip = getattr(block, "keep", None), getattr(block, "skip", None)
        if keep is not None and skip is not None:
            writes = {name: keep * write for name, write in writes.items()}
            writes |= {name: writes[name] + skip * write for name, write in first.items()}
        writes |= _block_writes(model, i, recorded)
    return writes


def _block_writes(
    model: DecoderOnlyTransformer, i: int, recorded: dict[str, Tensor]
) -> dict[str, Tensor]:
    weights = dict(model.blocks[i].named_parameters())
    heads = recorded[f"blocks.{i}.attention.heads"].transpose(1, 2)  # (B, T, H, K)
    per_head = head_writes(model, i, heads)  # (B, T, H, D)
    writes = {
        f"blocks.{i}.attention.heads.{h}": per_head[:, :, h] for h in range(model.config.n_heads)
    }
    neurons = recorded[f"blocks.{i}.feed_forward.activations"]  # (B, T, F)
    writes[f"blocks.{i}.feed_forward"] = neurons @ weights["feed_forward.contract.weight"].T
    for name in ("attention.output_projection.bias", "feed_forward.contract.bias"):
        if name in weights:
            writes[f"blocks.{i}.{name}"] = weights[name].expand_as(per_head[:, :, 0])
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
