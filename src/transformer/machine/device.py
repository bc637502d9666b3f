"""Where to compute, in which precision, and whether to compile.

`auto` looks at the machine once, at the start of a run. Its choice is saved in config.json and
read from there on resume: a run keeps its arithmetic, and so its losses, to the end.

    device      CUDA, then MPS (Apple), then the CPU
    precision   bf16 where the hardware multiplies in it: on CUDA since Ampere; on CPUs with
                AVX512-BF16 or AMX, if a short measurement shows it faster. Otherwise fp32;
                on CUDA its products may then be rounded to TF32 (11 bits of precision)
    compile     torch.compile fuses element-wise operations into few passes over memory. It
                starts with up to a minute of C++ compilation (kept on disk for the next time),
                so it pays in runs of more than a few minutes

CUDA and MPS could not be tried on the machines this was written on.
"""

import ctypes
import logging
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from transformer.errors import UserError
from transformer.machine.int8 import round_to_int8

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
InferencePrecision = Literal["auto", "fp32", "bf16", "int8"]
Switch = Literal["auto", "on", "off"]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from malloc.h
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Machine:
    """What was chosen."""

    device: Literal["cpu", "cuda", "mps"]
    bf16: bool
    compiled: bool

    def torch_device(self, local_rank: int = 0) -> torch.device:
        """This process's device: each process has its own GPU, all share the CPU."""
        return (
            torch.device("cuda", local_rank) if self.device == "cuda" else torch.device(self.device)
        )

    def __str__(self) -> str:
        kind = {"cpu": f"CPU ({torch.get_num_threads()} threads)", "cuda": "CUDA", "mps": "MPS"}
        numbers = "bfloat16 products" if self.bf16 else "float32"
        return f"{kind[self.device]}, {numbers}, {'compiled' if self.compiled else 'eager'}"


def choose_machine(device: DeviceName, precision: Precision, compile: Switch) -> Machine:
    """Decide what the flags leave open."""
    chosen = choose_device(device)
    if chosen == "cpu":
        keep_freed_memory()
        repeat_exactly()
    if chosen == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 where products are in fp32
    return Machine(chosen, choose_bf16(chosen, precision), choose_compile(chosen, compile))


def choose_device(name: DeviceName) -> Literal["cpu", "cuda", "mps"]:
    """The named device, or for `auto` the best one here.

    Raises:
        UserError: this machine does not have that device.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
    if not has[name]:
        raise UserError(f"--device {name}: this machine has none; use --device cpu")
    return name


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. A GPU fetches it by itself, from memory that stays in its place
    ("pinned"), while this program goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def has_float64(device: torch.device) -> bool:
    """Apple's GPUs do not compute in float64."""
    return device.type != "mps"


def in_float64(values: Tensor) -> Tensor:
    """The values in double precision, on the CPU where their device has none."""
    return (values if has_float64(values.device) else values.cpu()).double()


def choose_bf16(device: str, precision: Precision = "auto") -> bool:
    """Whether to multiply matrices in bfloat16."""
    if precision != "auto":
        return precision == "bf16"
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and cpu_has_bf16() and _bf16_is_faster()


def cpu_has_bf16() -> bool:
    """AVX512-BF16 (AMD Zen 4, Intel Cooper Lake) or AMX (Intel Sapphire Rapids)."""
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def _bf16_is_faster() -> bool:
    """Time a product as large as in a training step, in both types in turn."""
    left, right = torch.randn(1024, 512), torch.randn(512, 1024)
    pairs = {kind: (left.to(kind), right.to(kind)) for kind in (torch.float32, torch.bfloat16)}
    seconds = {kind: float("inf") for kind in pairs}
    for _ in range(5):
        for kind, (a, b) in pairs.items():
            seconds[kind] = min(seconds[kind], _time_product(a, b))
    return seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]


def _time_product(a: Tensor, b: Tensor) -> float:
    start = time.perf_counter()
    a @ b
    return time.perf_counter() - start


def choose_compile(device: str, switch: Switch = "auto") -> bool:
    """Whether to use torch.compile; it is still immature on MPS, so there only with "on"."""
    if switch == "off" or (switch == "auto" and device == "mps"):
        return False
    return compiler_works(device)


def repeat_exactly() -> None:
    """Let the same numbers be added in the same order each time.

    A compiled step on several threads adds up the gradient of the embedding in the order in which
    the threads come, and float32 sums depend on the order. Deterministic algorithms do not, and
    were not slower on a CPU (docs/experiments.md).
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Only for finding mistakes, and it costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def keep_freed_memory() -> None:
    """Let glibc reuse large freed blocks of memory instead of returning them to the system.

    A training step frees and requests the same tens of megabytes again and again. By default
    each block is mapped again and the system clears every page of it first, which takes longer
    than some of the arithmetic (docs/experiments.md). Generating in batches does the same on a
    smaller scale. Does nothing where there is no glibc.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def compiler_works(device: str = "cpu") -> bool:
    """torch.compile writes C++ for the CPU and Triton for CUDA: try whether this machine can build
    and load it.

    Finding a compiler is not enough (Python's headers may be missing), so compile something
    small. The result is kept on disk, where the next start finds it.
    """
    if device == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return False
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # no word on CUDA_HOME
    try:
        torch.compile(_small_function, dynamic=False)(torch.ones(64, device=device))
    except Exception:  # whatever goes wrong in there, training works without it
        return False
    return True


def _small_function(x: Tensor) -> Tensor:
    return x.exp().sum() + x


def for_inference(model: Model, precision: InferencePrecision = "auto") -> Model:
    """The model in evaluation mode, its weights in the precision that is fast here.

    Generating one token reads every weight once, so half the bytes take less time on hardware
    that computes in bf16: not half, since reading is only a part of it (docs/experiments.md).
    "int8" halves them once more and is never chosen by itself, since it changes the numbers
    (int8.py); a model in it cannot be trained.
    """
    device = next(model.parameters()).device.type
    if device == "cpu":
        keep_freed_memory()
    if precision == "int8":
        model = model.to(torch.bfloat16)
        round_to_int8(model)
    elif choose_bf16(device, precision):
        model = model.to(torch.bfloat16)
    elif precision == "fp32" or next(model.parameters()).dtype.itemsize < 4:
        model = model.float()
    return model.eval()
