"""Modules whose tensors are only shapes, or memory that nobody has filled yet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def shapes_only() -> Iterator[None]:
    """Modules built inside have tensors with a shape and a type, but without values.

    >>> with shapes_only():
    ...     layer = torch.nn.Linear(10**8, 10**8)
    >>> layer.weight.shape
    torch.Size([100000000, 100000000])
    """
    with torch.device("meta"), _NothingIsFilled():
        yield


@contextmanager
def unfilled() -> Iterator[None]:
    """Parameters of modules built inside have memory, but what is in it is left to chance: for
    those that get all their values from a file. Tables that a module computes are computed.

    >>> with unfilled():
    ...     layer = torch.nn.Linear(2, 3)
    >>> layer.weight.shape, layer.weight.device.type
    (torch.Size([3, 2]), 'cpu')
    """
    with _NothingIsFilled():
        yield


class _NothingIsFilled(TorchFunctionMode):
    """Skips in-place operations, such as `normal_`: they change values, and there are none.

    PyTorch can do them on the meta device, but the first operation there imports its compiler,
    which takes seconds. Skipping them also draws no random numbers.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
