"""How `--help` reads: types in one word, texts in whole lines.

tyro writes the type `int | None` as `{None}|INT`, and breaks an explanation where its docstring
breaks. Here it is `INT`, and the lines are as long as the terminal is wide.
"""

import dataclasses
from types import MappingProxyType, NoneType
from typing import Any, get_args

import docstring_parser
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructTypeInfo,
)

HELP = ConstructorRegistry()


@HELP.primitive_rule
def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """`X | None` reads as X. "None" is understood too, to take back what a preset or run has."""
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    if NoneType not in get_args(info.type) or len(kinds) != 1:
        return None
    inner = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kinds[0], info.markers))
    if not isinstance(inner, PrimitiveConstructorSpec):
        return None
    return PrimitiveConstructorSpec(
        nargs=inner.nargs,
        metavar=inner.metavar,
        instance_from_str=lambda args: None if args == ["None"] else inner.instance_from_str(args),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: (
            ["None"] if value is None else inner.str_from_instance(value)
        ),
    )


@HELP.struct_rule
def texts(info: StructTypeInfo) -> None:
    """The docstring under each field of a dataclass, on one line, is its help."""
    if not dataclasses.is_dataclass(info.type):
        return
    said = {
        param.arg_name: " ".join((param.description or "").split())
        for base in reversed(info.type.__mro__)
        if dataclasses.is_dataclass(base)
        for param in docstring_parser.parse_from_object(base).params
    }
    for field in dataclasses.fields(info.type):
        if said.get(field.name) and "help" not in field.metadata:
            field.metadata = MappingProxyType({**field.metadata, "help": said[field.name]})
