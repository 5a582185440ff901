"""Dataclass <-> JSON without surprises: every key known, every type right, every number finite.

Standard library only: the contract stands on it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import types
import typing
from pathlib import Path


def write_json_atomically(path: Path, data: dict, *, indent: int | None = 1) -> None:
    """Whole or not at all: written beside its place, flushed to disk, then moved there."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as stream:
        stream.write(as_json(data, indent=indent))
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def as_json(data: dict, *, indent: int | None = 1) -> bytes:
    """Raises ValueError for a number that JSON does not know."""
    return json.dumps(data, indent=indent, allow_nan=False).encode("utf-8")


def to_dict(instance) -> dict:
    """Plain dict of a dataclass, ready for json."""
    return dataclasses.asdict(instance)


def from_dict(cls, data):
    """Build dataclass cls from plain JSON data. Raises ValueError on a wrong type, an unknown or a missing key."""
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} must be an object")
    hints = _field_types(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ValueError(f"{cls.__name__} has no {', '.join(map(repr, unknown))}")
    values = {name: _value(hints[name], value, f"{cls.__name__}.{name}") for name, value in data.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


@functools.cache
def _field_types(cls) -> dict:
    return typing.get_type_hints(cls)


def _value(hint, value, where: str):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = next(a for a in arguments if a is not types.NoneType)
        return None if value is None else _value(inner, value, where)
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object")
        return {key: _value(arguments[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    return _scalar(hint, value, where)


def _tuple(arguments, value, where: str) -> tuple:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} must be a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        # Long lists of numbers, a matte's outlines, are checked as a whole: one by one takes ten times as long.
        if arguments[0] is float and set(map(type, value)) == {float} and all(map(math.isfinite, value)):
            return tuple(value)
        return tuple(_value(arguments[0], item, where) for item in value)
    if len(value) != len(arguments):
        raise ValueError(f"{where} must have {len(arguments)} members, got {len(value)}")
    return tuple(_value(hint, item, where) for hint, item in zip(arguments, value, strict=True))


def _scalar(hint, value, where: str):
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:  # a whole number with hundreds of digits
            raise ValueError(f"{where} is too large") from error
        if not math.isfinite(number):
            raise ValueError(f"{where} must be finite")
        return number
    if type(value) is not hint:
        raise ValueError(f"{where} must be {hint.__name__}, got {type(value).__name__}")
    return value
