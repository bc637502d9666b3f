"""Two ways to train one model in several processes; both give the gradients of one process.

    DDP    each process holds the whole model and works on its own micro-batches; gradients
           are averaged. Fastest where the model fits.
    FSDP   each process keeps 1/N of weights, gradients and AdamW's means; a block's weights
           are gathered when it runs and dropped afterwards. For models that do not fit.

Sources: Li et al., "PyTorch Distributed" (2020); Zhao et al., "PyTorch FSDP" (2023).
"""

import hashlib

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from transformer.loss import LossModule
from transformer.machine.processes import Processes
from transformer.training.config import Parallel


def wrap_parallel(loss_module: LossModule, how: Parallel, processes: Processes) -> nn.Module:
    """`loss_module`, exchanging gradients with the other processes when it is called."""
    if processes.world_size == 1:
        return loss_module
    device = next(loss_module.parameters()).device
    if how == "ddp":
        return DistributedDataParallel(
            loss_module, device_ids=[device.index] if device.type == "cuda" else None
        )
    mesh = init_device_mesh(device.type, (processes.world_size,))
    for block in loss_module.model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(loss_module, mesh=mesh)
    return loss_module


def seed_dropout(seed: int, step: int, micro_batch: int) -> None:
    """Make the random numbers of one micro-batch a function of its place in the run.

    Then they need not be saved, a resumed run draws the same ones, and so do several processes
    that share the micro-batches of a step.
    """
    digest = hashlib.sha256(f"{seed} {step} {micro_batch}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
