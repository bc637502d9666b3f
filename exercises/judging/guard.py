"""What happens around each call of a learner's code.

    no ready-made answer    what the exercise is about raises a sentence while their code runs
    inputs stay             a tensor that was passed in and is another afterwards is a failure
    global state stays      default type, gradient mode and seeds are put back, and told

This is no sandbox: the code is the learner's, and it can do whatever they can do.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

WRITES = set("wax+")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")


class ReadyMadeError(Exception):
    """The learner's code used what it should build."""


class ChangedInputError(Exception):
    """The learner's code wrote into a tensor that it was given."""


class Guard:
    """Knows when a learner's code is running, and what it did besides returning a value."""

    def __init__(self, forbidden: Mapping[str, str]) -> None:
        self.forbidden = forbidden
        self.depth = 0
        self.remarks: dict[str, None] = {}  # in order, each once

    def remark(self, text: str) -> None:
        self.remarks.setdefault(text)

    def install(self) -> None:
        """For the rest of this process."""
        for path, why in self.forbidden.items():
            owner_path, _, name = path.rpartition(".")
            owner = _resolve(owner_path)
            target = getattr(owner, name)
            if isinstance(target, type):
                target.__init__ = self._refusing(target.__init__, path, why)  # type: ignore[misc]
            else:
                setattr(owner, name, self._refusing(target, path, why))
        for path in SEEDS:
            owner_path, _, name = path.rpartition(".")
            owner = _resolve(owner_path)
            setattr(owner, name, self._not_seeding(getattr(owner, name), path))
        sys.addaudithook(self._watch)

    def _not_seeding(self, original: Callable[..., Any], path: str) -> Callable[..., Any]:
        def seed(*args: Any, **kwargs: Any) -> Any:
            if not self.depth:
                return original(*args, **kwargs)
            self.remark(f"it called {path}, which would seed everybody's random numbers: left out")
            return None

        return seed

    def _refusing(self, original: Callable[..., Any], path: str, why: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def refusing(*args: Any, **kwargs: Any) -> Any:
            if self.depth:
                raise ReadyMadeError(f"`{path}` is the ready-made answer: {why}")
            return original(*args, **kwargs)

        return refusing

    def _watch(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.depth:
            return
        if event == "open" and isinstance(args[1], str) and WRITES & set(args[1]):
            self.remark(f"it opened {args[0]} for writing")
        elif event.startswith(PROGRAMS):
            self.remark("it started a program or opened a connection")

    def around(self, function: Callable[..., Any], first: int = 1) -> Callable[..., Any]:
        """`function`, watched where the judge calls it: what it does with tensors of its own, in
        other functions of the file, is its own matter. first: the number of its first argument."""

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.depth:
                return function(*args, **kwargs)
            # a tensor that inference_mode made counts no writes
            given = [*((str(i), arg) for i, arg in enumerate(args, first)), *kwargs.items()]
            named = {name: x for name, x in given if isinstance(x, Tensor)}
            tensors = {name: x for name, x in named.items() if not x.is_inference()}
            versions = {name: tensor._version for name, tensor in tensors.items()}
            with self._state_kept():
                self.depth += 1
                try:
                    result = function(*args, **kwargs)
                finally:
                    self.depth -= 1
            for name, tensor in tensors.items():
                if tensor._version != versions[name]:
                    raise ChangedInputError(f"argument {name} was written into")
            return result

        return watched

    @contextmanager
    def _state_kept(self) -> Iterator[None]:
        before = _state()
        try:
            yield
        finally:
            for what, value in _state().items():
                if value != before[what]:
                    self.remark(f"it changed {what}, for everybody: put back after the call")
                    RESTORE[what](before[what])

    def watch_module(self, module: ModuleType) -> None:
        """Watch every function of a learner's file, and the methods of its classes."""
        for name, value in vars(module).copy().items():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if isinstance(value, FunctionType):
                setattr(module, name, self.around(value))
            elif isinstance(value, type):
                for method, function in vars(value).copy().items():
                    if isinstance(function, FunctionType):
                        setattr(value, method, self.around(function, first=0))  # `self`


RESTORE: dict[str, Callable[[Any], Any]] = {
    "the default type of numbers": torch.set_default_dtype,
    "whether gradients are computed": torch.set_grad_enabled,
    "the number of threads": torch.set_num_threads,
}
SEEDS = ("torch.manual_seed", "random.seed", "numpy.random.seed")


def _state() -> dict[str, Any]:
    values = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
    return dict(zip(RESTORE, values, strict=True))


def _resolve(path: str) -> Any:
    """The module or class of a dotted path."""
    try:
        return importlib.import_module(path)
    except ImportError:
        owner, _, name = path.rpartition(".")
        return getattr(_resolve(owner), name)
