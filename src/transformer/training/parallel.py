"""Two ways to train one model in several processes; both give the gradients of one process.

    DDP    each process holds the whole model and works on its own micro-batches; gradients
           are averaged. Fastest where the model fits.
    FSDP   each process keeps 1/N of weights, gradients and AdamW's means; a block's weights
           are put together when it runs and dropped after. For models that do not fit.

Sources: Li et al., "PyTorch Distributed" (2020); Zhao et al., "PyTorch FSDP" (2023).
"""

from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from transformer.loss import LossModule
from transformer.machine.processes import Processes
from transformer.training.config import Parallel


def in_parallel(objective: LossModule, how: Parallel, processes: Processes) -> nn.Module:
    """`objective`, exchanging gradients with the other processes when it is called."""
    if processes.world_size == 1:
        return objective
    device = next(objective.parameters()).device
    if how == "ddp":
        return DistributedDataParallel(
            objective, device_ids=[device.index] if device.type == "cuda" else None
        )
    mesh = init_device_mesh(device.type, (processes.world_size,))
    for block in objective.model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    return objective
