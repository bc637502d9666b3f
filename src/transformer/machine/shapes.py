"""Modules without their starting values: shapes alone, or memory to be filled from a file."""

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
    with torch.device("meta"), unfilled():
        yield


class unfilled(TorchFunctionMode):  # noqa: N801  (used as a context)
    """Skips in-place operations, such as `normal_`: modules built inside have any values.

    For a module whose weights come from a file the random ones are time lost, and so is the memory:
    what nobody has written to takes none. On the meta device there are no values at all, and the
    first operation there would import PyTorch's compiler, which takes seconds. No random numbers
    are drawn.
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
