"""Weights in eight bits: half the memory of bfloat16, and half the bytes to read for each token.

    W ≈ scale · Q        Q (R, C): whole numbers from −127 to 127
                         scale (R): one for each row, its largest |weight| / 127

A row of W makes one output, so its scale is one factor on that output, and the product needs no
weight in another form than it is stored in:

    x · Wᵀ ≈ (x · Qᵀ) · scale        (N, C), (R, C), (R) -> (N, R)

Rounding moves a weight by half a step at most, 1/254 of the largest in its row; over the C terms of
a sum these errors have random signs and mostly cancel. One scale for a whole matrix would do for
most rows and be far too coarse for those with small weights. Only weights are rounded so: what
flows between the layers stays in bfloat16, where a single large value spoils no other ("weight-only
quantisation"). Nothing can be trained in it: a step of the optimiser is smaller than a step of Q.

What it costs in perplexity and brings in speed: docs/experiments.md, "Eight bits".
Source: Dettmers et al., "LLM.int8()" (2022), section 2.1, for the scale of a row.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 127
FEW = 16  # rows up to which the library's kernel is taken
WIDTH = 16  # columns that it takes at a time: with AVX-512 it crashes on a rest (PyTorch 2.15)


class Int8Matrix(nn.Module):
    """A matrix (R, C) in eight bits, which stands where a tensor was: PyTorch's `F.linear` and
    `F.embedding` ask it for what they want to do with it (`__torch_function__`), so the modules
    that use it need not know.

    Its `dtype` is that of what goes in and comes out.

    >>> matrix = Int8Matrix(torch.tensor([[1.27, -0.5], [0.0, 0.01]]))
    >>> matrix.numbers.tolist()
    [[127, -50], [0, 127]]
    >>> F.embedding(torch.tensor([1]), matrix)
    tensor([[0.0000, 0.0100]])
    """

    scale: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        precise = weight.detach().float()
        largest = precise.abs().amax(dim=1).clamp(min=torch.finfo(weight.dtype).tiny * LARGEST)
        self.register_buffer("scale", (largest / LARGEST).to(weight.dtype))  # (R)
        steps = (precise / self.scale.float()[:, None]).round().clamp(-LARGEST, LARGEST)
        self.numbers = nn.Parameter(steps.to(torch.int8), requires_grad=False)  # (R, C)

    @property
    def dtype(self) -> torch.dtype:
        return self.scale.dtype

    @property
    def device(self) -> torch.device:
        return self.scale.device

    @property
    def itemsize(self) -> int:
        return self.scale.itemsize

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Tensor:
        if function is F.linear:
            x, matrix, *bias = args
            out: Tensor = matrix.product(x)
            return out if not bias or bias[0] is None else out + bias[0]
        if function is F.embedding:
            ids, matrix, *_ = args
            rows: Tensor = matrix.look_up(ids)
            return rows
        return NotImplemented

    def product(self, x: Tensor) -> Tensor:
        """x · Wᵀ: (..., C) -> (..., R)."""
        rows = x.reshape(-1, x.size(-1))  # (N, C)
        return self.linear(None)(rows).reshape(*x.shape[:-1], -1)

    def linear(self, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
        """x -> x · Wᵀ + bias for (N, C), with all that it needs looked up once: in a small model
        the way through `F.linear` takes longer than the product."""
        numbers, scale = self.numbers.detach(), self.scale
        on_cpu = numbers.device.type == "cpu"
        kernel = on_cpu and scale.dtype == torch.bfloat16 and numbers.size(1) % WIDTH == 0

        def apply(x: Tensor) -> Tensor:
            if kernel and len(x) <= FEW and x.dtype == torch.bfloat16:
                out = torch._weight_int8pack_mm(x, numbers, scale)
            else:
                out = (F.linear(x.float(), numbers.float()) * scale.float()).to(x.dtype)
            return out if bias is None else out + bias  # (N, R)

        return apply

    def look_up(self, ids: Tensor) -> Tensor:
        """Rows of W: (...) -> (..., C)."""
        return self.numbers[ids].to(self.dtype) * self.scale[ids, None]


@torch.no_grad()
def round_to_int8(model: nn.Module) -> None:
    """Replace a model's matrices in place: of the linear layers in its blocks, and the tables of
    input and output. Vectors stay as they are, and so do tables of positions and value embeddings.
    """
    linear = [m for m in model.get_submodule("blocks").modules() if isinstance(m, nn.Linear)]
    for module in (*linear, model.get_submodule("token_embedding"), model.get_submodule("output")):
        weight = getattr(module, "weight", None)  # a tied output has none
        if weight is not None:
            del module.weight
            module.weight = Int8Matrix(weight)
