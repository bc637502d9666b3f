"""What is read back from disk, checked value by value.

Files that this program wrote may come back damaged, edited by hand, or replaced by another
program's. Whatever is taken from them passes through here, so a wrong value ends in one sentence
that names file, field, value and what was expected.

    saved = read_saved(run / "config.json")
    saved.section("plan").take("schedule_steps", int, least=1)
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from transformer.errors import UserError

LARGEST = 2**64  # of whole numbers: above any step, count of tokens, position or seed
NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    NoneType: "null",
    dict: "an object",
}
REQUIRED = object()


@dataclass(frozen=True)
class Saved:
    """A JSON object, and where it was read."""

    where: str
    values: dict[str, Any]

    def take(
        self, name: str, kind: Any, *, least: float = -LARGEST, default: Any = REQUIRED
    ) -> Any:
        """The value of `name`, of a type such as `int | None` or `tuple[Path, ...]`.

        Args:
            least: no number may be smaller.
            default: used where there is no such field; without it, that is an error.

        Raises:
            UserError: there is no such value, or an impossible one.
        """
        if name not in self.values:
            if default is not REQUIRED:
                return default
            raise UserError(f"{self.where} has no {name!r}")
        value = self.values[name]
        if not _fits(value, kind, least):
            bound = f" of at least {least}" if least > -LARGEST else ""
            raise UserError(
                f"{self.where}: {name!r} must be {_name(kind)}{bound}, but is {_short(value)}"
            )
        return _convert(value, kind)

    def section(self, name: str) -> "Saved":
        """The object under `name`."""
        return Saved(f"{self.where}, {name!r}", self.take(name, dict))


def read_saved(path: Path) -> Saved:
    """A file that holds one JSON object.

    Raises:
        UserError: it is missing, or holds something else.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no {path}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return parse_saved(content, str(path))


def parse_saved(content: bytes, where: str) -> Saved:
    """The same for its content.

    Raises:
        UserError: it is not a JSON object.
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{where} is damaged: it must be a JSON object, but is {_short(value)}")
    return Saved(where, value)


def _fits(value: Any, kind: Any, least: float) -> bool:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, option, least) for option in get_args(kind))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin is tuple:
        return isinstance(value, list) and all(_fits(v, get_args(kind)[0], least) for v in value)
    if kind in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        number = whole or (kind is float and isinstance(value, float) and math.isfinite(value))
        return number and least <= value and (isinstance(value, float) or value <= LARGEST)
    if kind is Path:
        return isinstance(value, str) and "\0" not in value
    return isinstance(value, kind)


def _convert(value: Any, kind: Any) -> Any:
    """What JSON has no type for."""
    if isinstance(value, list):
        return tuple(_convert(item, get_args(kind)[0]) for item in value)
    if isinstance(value, str) and Path in (kind, *get_args(kind)):
        return Path(value)
    return value


def _name(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_name, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each item {_name(get_args(kind)[0])}"
    return NAMES[kind]


def _short(value: Any) -> str:
    """JSON again, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
