"""The same numbers, faster: where the plain lines of the model have a quicker twin.

    plain                                        twin               taken
    attention.scaled_dot_product_attention       fused_attention    `uses_kernel`
    hidden · tableᵀ                              narrow_product     `is_narrow`

Each twin agrees with its plain form within rounding, gradients included, as
tests/machine/test_fast_paths.py shows. Which is faster was measured with benchmarks/training.py
and benchmarks/generation.py.
"""

from torch import Tensor, float32, is_grad_enabled, nn
from torch.nn import functional as F

SHORT = 256  # positions up to which a CPU trains with the plain lines: faster, weights still small
NARROW = 16  # rows up to which `narrow_product` is faster


def uses_kernel(path: str, queries: Tensor, *taps: nn.Module) -> bool:
    """Whether attention takes PyTorch's kernel instead of the plain lines.

    Never where `path` is "explicit" or a hook on one of `taps` wants the scores or the weights,
    which the kernel does not have; otherwise always where it is "fused". "auto" takes it except
    where a CPU trains on few positions: there the kernel's backward pass in bfloat16 takes longer
    than the explicit matrix products, and the weights that it avoids storing are small.
    """
    if path == "explicit" or any(tap._forward_hooks or tap._forward_pre_hooks for tap in taps):
        return False
    few = queries.size(-2) <= SHORT and queries.device.type == "cpu"
    return path == "fused" or not (few and queries.requires_grad)


def fused_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """softmax(Q Kᵀ / √K) · V by PyTorch's kernel (the letters as in attention.py).

    Where it can, the kernel goes through the keys in tiles and keeps a running softmax, so memory
    grows with T instead of T². Source: Dao et al., "FlashAttention" (2022). `mask=None` means
    the causal mask for as many queries as keys, which the kernel has built in; a single query is
    the last position and sees every key.
    """
    causal = mask is None and queries.size(-2) > 1
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=causal
    )  # (..., T, K)


def is_narrow(hidden: Tensor) -> bool:
    """Whether these are the last positions of a few texts, in float32, on a CPU, with no gradient.

    That is what generation needs. Whole texts always take the plain form, so that equal vectors
    give equal logits, to the bit, wherever they are computed.
    """
    last_positions = hidden.dim() == 2 or hidden.size(-2) == 1
    few = 0 < hidden.numel() <= NARROW * hidden.size(-1)
    plain = hidden.dtype == float32 and hidden.device.type == "cpu"
    return last_positions and few and plain and not is_grad_enabled()


def narrow_product(hidden: Tensor, table: Tensor) -> Tensor:
    """hidden · tableᵀ as (table · hiddenᵀ)ᵀ: (..., D), (V, D) -> (..., V).

    The library divides the left operand among the cores. V rows divide well; a single row of
    `hidden` does not, and was slower (docs/experiments.md). A single column on the right would go
    to the library's routine for vectors, which is slow too, so one row is sent twice.
    """
    rows = hidden.reshape(-1, hidden.size(-1))  # (N, D)
    product = (table @ rows.repeat(2 if len(rows) == 1 else 1, 1).T).T  # (N or 2, V)
    return product[: len(rows)].reshape(*hidden.shape[:-1], -1)
