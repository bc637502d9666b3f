"""What accumulation is for: the activations of one micro-batch are gone when the next begins."""

import weakref
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from exercises.judging.check import Check


@dataclass(eq=False)
class _Held:
    """A tensor that the backward pass will need."""

    tensor: Tensor


def nothing_is_kept(yours: ModuleType, check: Check) -> None:
    """Neither activations nor tensors among the results."""
    weight = torch.ones(3, requires_grad=True)
    held: list[weakref.ref[_Held]] = []
    alive: list[int] = []

    def pack(tensor: Tensor) -> _Held:
        kept = _Held(tensor)
        held.append(weakref.ref(kept))
        return kept

    def loss_of(x: Tensor, wanted: Tensor) -> Tensor:
        alive.append(sum(each() is not None for each in held))
        with saved_tensors_hooks(pack, lambda kept: kept.tensor):
            return (x * weight).exp().mean()

    pairs = [(torch.ones(3), torch.zeros(1, 2, dtype=torch.int64))] * 3
    mean, _ = yours.accumulate(loss_of, pairs)
    check.that(
        alive == [0, 0, 0],
        given="three micro-batches",
        came=f"{max(alive, default=0)} activations of earlier ones are there when another begins",
        expected="none",
        mistake="the activations of earlier micro-batches are kept: that is the memory which "
        "accumulation saves. Is backward called late, or with retain_graph?",
    )
    check.that(
        not (isinstance(mean, Tensor) and mean.requires_grad),
        given="what is returned",
        came="a mean loss with its graph",
        expected="a plain number",
        mistake="a plain number is wanted: the tensor keeps its graph alive",
    )
