"""What PyTorch raises when the machine is the problem, said in words that help."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from transformer.errors import UserError
from transformer.machine.files import NO_ROOM

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
LOST_PROCESS = ("connection closed by peer", "connection reset by peer", "gloo", "nccl")


@contextmanager
def explained() -> Iterator[None]:
    """
    Raises:
        UserError: for a `RuntimeError` that means too little memory, or that another process
            of the same training is gone; for a full disk, which metrics.jsonl may meet as well
            as a checkpoint (files.py). All others pass as they are.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise UserError(
                "the disk is full: make room, then --resume goes on from the last checkpoint"
            ) from error
        raise
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if known or any(sign in text for sign in OUT_OF_MEMORY):
            raise UserError(
                "out of memory: lower --batch-size and raise --accumulation-steps in turn (the "
                "training stays the same), or lower --seq-length, --d-model or --n-layers"
            ) from error
        if any(sign in text for sign in LOST_PROCESS):
            raise UserError(
                f"lost contact with another process of this training ({error}); "
                "--resume goes on from the last checkpoint"
            ) from error
        raise
