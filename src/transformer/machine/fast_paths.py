"""The same numbers, faster: where the plain lines of the model have a quicker twin.

    plain                                        twin               taken
    attention.scaled_dot_product_attention       fused_attention    `uses_kernel`
    hidden · tableᵀ                              narrow_product     `is_narrow`

Each twin agrees with its plain form within rounding; tests/machine/test_fast_paths.py shows it,
gradients included. Which one is faster was measured with benchmarks/training.py and
benchmarks/generation.py.
"""

from torch import Tensor, float32, is_grad_enabled, nn
from torch.nn import functional as F

SHORT = 256  # positions up to which a CPU trains faster along the plain lines
NARROW = 16  # rows up to which `narrow_product` is the faster way


def uses_kernel(path: str, queries: Tensor, *taps: nn.Module) -> bool:
    """Whether attention takes PyTorch's kernel instead of the plain lines.

    Never where `path` is "explicit" or a hook on one of `taps` wants the scores or the weights,
    which the kernel does not have; always where it is "fused". "auto" takes it except where a CPU
    trains on few positions: there the kernel's backward pass in bfloat16 takes longer than the
    matrix products written out, and the weights that it does not store are a megabyte or two.
    """
    if path == "explicit" or any(tap._forward_hooks or tap._forward_pre_hooks for tap in taps):
        return False
    few = queries.size(-2) <= SHORT and queries.device.type == "cpu"
    return path == "fused" or not (few and queries.requires_grad)


def fused_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """softmax(Q Kᵀ / √K) · V by PyTorch's kernel.

    Where it can, the kernel walks over the keys in tiles and keeps a running softmax, so memory
    grows with T instead of T². Source: Dao et al., "FlashAttention" (2022). `mask=None` means
    the plain causal mask of as many queries as keys, which the kernel knows by itself; a single
    query is the last position and sees every key.
    """
    causal = mask is None and queries.size(-2) > 1
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=causal
    )  # (..., T, K)


def is_narrow(hidden: Tensor) -> bool:
    """Whether these are a few texts' last positions in float32, on a CPU, without a gradient.

    Generation asks for nothing else; whole texts always take the plain way, so that the same
    vectors give the same bits whatever they are read off with.
    """
    last_positions = hidden.dim() == 2 or hidden.size(-2) == 1
    few = 0 < hidden.numel() <= NARROW * hidden.size(-1)
    plain = hidden.dtype == float32 and hidden.device.type == "cpu"
    return last_positions and few and plain and not is_grad_enabled()


def narrow_product(hidden: Tensor, table: Tensor) -> Tensor:
    """hidden · tableᵀ as (table · hiddenᵀ)ᵀ: (..., D), (V, D) -> (..., V).

    The library cuts the left operand among its cores. V rows make good pieces; one row of
    `hidden` makes none, and takes four times as long. A single column would be handed to its
    routine for vectors, as slow again, so it comes twice.
    """
    rows = hidden.reshape(-1, hidden.size(-1))  # (N, D)
    product = (table @ rows.repeat(2 if len(rows) == 1 else 1, 1).T).T  # (N or 2, V)
    return product[: len(rows)].reshape(*hidden.shape[:-1], -1)
