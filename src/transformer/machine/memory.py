"""Whether something fits into this machine's memory, known before anything is built.

Sensible sizes always pass; this catches a slip of the finger before the machine starts to swap.
"""

import os

import torch

from transformer.errors import UserError


def memory_of(device: torch.device) -> int | None:
    """Bytes that the device has in all, None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_fits(what: str, needed: int, device: torch.device, sizes: dict[str, int]) -> None:
    """
    Args:
        needed: bytes that `what` takes at least.
        sizes: the flags to lower, with their values.

    Raises:
        UserError: the device has less.
    """
    there = memory_of(device)
    if there is None or needed <= there:
        return
    flags = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    raise UserError(
        f"{what} needs at least {_gigabytes(needed)} of memory, and this machine has "
        f"{_gigabytes(there)}: lower {'one of ' if len(sizes) > 1 else ''}{flags}"
    )


def _gigabytes(size: int) -> str:
    """
    >>> _gigabytes(25_000_000_000), _gigabytes(10**40)
    ('25 GB', '1e+31 GB')
    """
    return f"{size / 1e9:,.0f} GB" if size < 1e18 else f"{size / 1e9:.0e} GB"
