"""What is measured between two training steps, without changing what training does next."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from transformer.data.batch import IGNORED, Batch, BatchSource
from transformer.generation import evaluating
from transformer.machine.processes import Processes


def validation_loss(
    loss_module: nn.Module,
    source: BatchSource,
    batch_size: int,
    device: torch.device,
    processes: Processes,
) -> float:
    """Mean nats per scored token of the validation set, over all processes (NaN without any)."""
    batches = source.validation_batches(
        batch_size=batch_size, rank=processes.rank, world_size=processes.world_size
    )
    return mean_loss(loss_module, batches, device, processes)


@torch.no_grad()
def mean_loss(
    loss_module: nn.Module, batches: Iterable[Batch], device: torch.device, processes: Processes
) -> float:
    """The same of any batches, equally many in each process.

    The loss of a batch is weighted by its scored tokens: the last batch is usually smaller, and
    a mean of batch means would give its tokens more weight.
    """
    total, scored = 0.0, 0
    with evaluating(loss_module):
        for batch in batches:
            n = int((batch.targets != IGNORED).sum())
            loss = loss_module(batch.inputs.to(device), batch.targets.to(device))
            total, scored = total + float(loss) * n, scored + n
    if isinstance(loss_module, FSDPModule):
        loss_module.reshard()  # else the whole weights stay, and a checkpoint needs the pieces
    tokens = processes.sum(scored)
    return processes.sum(total) / tokens if tokens else math.nan
