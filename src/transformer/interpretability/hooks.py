"""Recording and replacing activations while the model runs.

Every interesting intermediate value flows through a module with a name: an `nn.Identity`
placed for this purpose, or the final LayerNorm (model.py, block.py and attention.py show
where). A PyTorch *forward hook* on such a module sees its output, and may return another one
that the rest of the model then computes with. So there is no second implementation of the
forward pass that could differ from the first, and no cost while nobody looks.

    embedding                          (B, T, D)     scaled embeddings plus positions
    blocks.{i}.attention.queries       (B, H, T, K)  also .keys and .values
    blocks.{i}.attention.scores        (B, H, T, T)  Q Kᵀ / √K, before the mask
    blocks.{i}.attention.weights       (B, H, T, T)  after softmax
    blocks.{i}.attention.heads         (B, H, T, K)  weights · values
    blocks.{i}.attention.output        (B, T, D)     what the heads write, and the bias
    blocks.{i}.residual_middle         (B, T, D)     the stream after attention
    blocks.{i}.feed_forward.activations (B, T, F)    neurons after GELU
    blocks.{i}.feed_forward.output     (B, T, D)
    blocks.{i}.residual                (B, T, D)     the stream after the block
    final_norm                         (B, T, D)
    logits                             (B, T, V)

In a model of the ladder these names stay. Queries and keys are those that meet, after norm and
rotation; with fewer heads of keys and values these taps have fewer; "neurons after GELU" are those
after whatever the model has in its place.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn

from transformer.errors import UserError
from transformer.generation import evaluating
from transformer.model import DecoderOnlyTransformer

Edit = Callable[[Tensor], Tensor]
Result = TypeVar("Result")


def tap_names(model: DecoderOnlyTransformer, pattern: str = "*") -> list[str]:
    """Names of the activations that can be recorded and replaced, in the order they occur.

    Args:
        pattern: only names that match; `*` is any text.

    Raises:
        UserError: no name matches.

    >>> from transformer.config import ModelConfig
    >>> model = DecoderOnlyTransformer(ModelConfig(vocab_size=5, d_model=8, n_layers=2))
    >>> tap_names(model, "blocks.*.attention.weights")
    ['blocks.0.attention.weights', 'blocks.1.attention.weights']
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Identity)]
    names = sorted([*names, "final_norm"], key=_order)
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        raise UserError(f"the model has no activation {pattern!r}; it has {', '.join(names)}")
    return matching


def _order(name: str) -> tuple[int, int]:
    """Where in the forward pass an activation occurs."""
    within = (
        *(f"attention.{tap}" for tap in ("queries", "keys", "values", "scores", "weights")),
        *("attention.heads", "attention.output", "residual_middle"),
        *("feed_forward.activations", "feed_forward.output", "residual"),
    )
    if name.startswith("blocks."):
        _, index, tap = name.split(".", 2)
        return int(index), within.index(tap)
    last = 10**9
    return {"embedding": (-1, 0), "final_norm": (last, 0), "logits": (last, 1)}[name]


@contextmanager
def replacing(model: DecoderOnlyTransformer, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Inside the `with`, the model computes on with what `edits` make of its activations.

    Args:
        edits: name of an activation (or a pattern) -> function from its value to the one
            to use instead, of the same shape. It must return a new tensor, not write into
            the old one: tensors may be shared with what has been computed already.
    """
    with ExitStack() as stack:
        for pattern, edit in edits.items():
            for name in tap_names(model, pattern):
                handle = model.get_submodule(name).register_forward_hook(_as_hook(name, edit))
                stack.callback(handle.remove)
        yield


def _as_hook(name: str, edit: Edit) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        edited = edit(output)
        if edited.shape != output.shape:
            raise UserError(
                f"the replacement of {name} has shape {tuple(edited.shape)}, "
                f"the activation {tuple(output.shape)}"
            )
        return edited

    return hook


@torch.no_grad()
def streams(model: DecoderOnlyTransformer, ids: Tensor) -> list[Tensor]:
    """The residual stream after each block, for `from_block_of`."""
    return list(record(model, ids, ["blocks.*.residual"]).values())


def block_of(tap: str) -> int:
    """The block that an activation belongs to; 0 for those of none.

    >>> block_of("blocks.2.attention.heads"), block_of("embedding")
    (2, 0)
    """
    return int(tap.split(".")[1]) if tap.startswith("blocks.") else 0


@contextmanager
def from_block_of(
    model: DecoderOnlyTransformer, tap: str, known: Sequence[Tensor]
) -> Iterator[None]:
    """Inside the `with`, the model computes nothing before the block of `tap`.

    What changes an activation there leaves everything before as it was, so that is taken from
    an earlier run: over all blocks, half of the work.

    Args:
        known: `streams` of the same ids; (1, T, D) each will do for a batch of equal rows.
    """
    block, whole = block_of(tap), model.blocks
    before = [_Known(stream) for stream in known[:block]]
    model.blocks = nn.ModuleList([*before, *whole[block:]])
    try:
        yield
    finally:
        model.blocks = whole


class _Known(nn.Module):
    """In the place of a block whose result is known."""

    def __init__(self, stream: Tensor) -> None:
        super().__init__()
        self.stream = stream

    def forward(self, x: Tensor, _cache: object, _extras: object) -> Tensor:
        return self.stream.expand_as(x)


@torch.no_grad()
def measure(
    model: DecoderOnlyTransformer, ids: Tensor, measures: Mapping[str, Callable[[Tensor], Result]]
) -> dict[str, Result]:
    """Run the model on `ids` and keep of each activation what its measure makes of it.

    What is large needs to be there for a moment only: the attention weights of a model with 12
    blocks of 12 heads on 1,024 positions are 604 MB, those of one block 50 MB, and a score per
    head is nothing. Dropout is off during the run, whatever mode the model is in. Combined with
    `replacing`, it measures what the changed model computes.

    Args:
        ids: (B, T) int64.
        measures: name of an activation (or a pattern) -> function of its value.

    Returns:
        name -> result, in the order they occurred.
    """
    names = {name: f for pattern, f in measures.items() for name in tap_names(model, pattern)}
    results: dict[str, Result] = {}

    def keep(name: str) -> Edit:
        def edit(activation: Tensor) -> Tensor:
            results[name] = names[name](activation)
            return activation

        return edit

    with evaluating(model), replacing(model, {name: keep(name) for name in names}):
        hidden = model.hidden_states(ids)
        if "logits" in names:  # (B, T, V) is large, and mostly not asked for
            model.unembed(hidden)
    return results


def record(
    model: DecoderOnlyTransformer, ids: Tensor, patterns: Iterable[str] = ("*",)
) -> dict[str, Tensor]:
    """Run the model on `ids` and return the activations whose names match; see `measure`.

    Args:
        ids: (B, T) int64.
        patterns: names, or patterns such as "blocks.*.attention.weights".

    Returns:
        name -> activation, in the order they occurred; shapes at the top of this file.
    """
    return measure(model, ids, dict.fromkeys(patterns, lambda activation: activation))
