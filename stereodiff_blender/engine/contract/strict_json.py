"""Dataclass <-> JSON without surprises: every key known, every type right, every number finite.

Standard library only: the contract stands on it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path

from .job_files.turns import taking_turns
from .whole_files import replacing

__all__ = ["as_json", "from_dict", "to_dict", "write_json_atomically"]

MOST_NAMED = 5
"""Of unknown keys."""


def write_json_atomically(path: Path, data: dict, *, indent: int | None = 1) -> None:
    """Write a JSON file, whole or not at all.

    Parameters
    ----------
    path : Path
        Of the file; its folder exists.
    data : dict
        Plain data, as as_json takes it.
    indent : int or None
        Spaces of a level; None: all on one line.

    Raises
    ------
    ValueError
        As as_json.
    OSError
        The file cannot be written; what was there before stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(as_json(data, indent=indent))


def as_json(data: dict, *, indent: int | None = 1) -> bytes:
    """Plain data as the text of a JSON file.

    Parameters
    ----------
    data : dict
        Of dicts, lists, tuples, texts, numbers, booleans and None.
    indent : int or None
        Spaces of a level; None: all on one line.

    Returns
    -------
    bytes
        UTF-8.

    Raises
    ------
    ValueError
        A number that JSON does not know: one that is not finite.
    """
    return json.dumps(data, indent=indent, allow_nan=False).encode("utf-8")


def to_dict(instance) -> dict:
    """Plain dict of a dataclass, ready for json.

    Parameters
    ----------
    instance : dataclass instance
        May hold further ones.

    Returns
    -------
    dict
        Field by field, those of dataclasses inside it as dicts, too.
    """
    return dataclasses.asdict(instance)


def from_dict(cls, data):
    """Build dataclass cls from plain JSON data.

    Parameters
    ----------
    cls : dataclass type
        Its fields are dataclasses, tuples, dicts or scalars, or any of these or None.
    data : object
        As json.loads gives it.

    Returns
    -------
    cls
        Lists became tuples, and whole numbers floats where the field is one. Nothing else is converted.

    Raises
    ------
    ValueError
        A wrong type, an unknown or a missing key, or a number that is not finite.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} must be an object")
    readers = _readers(cls)
    if not data.keys() <= readers.keys():
        unknown = sorted(data.keys() - readers.keys())
        raise ValueError(f"{cls.__name__} has no {', '.join(map(repr, unknown[:MOST_NAMED]))}")
    values = {name: readers[name](value) for name, value in data.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


@functools.cache
def _readers(cls) -> dict[str, Callable]:
    """How the value of each field is read; found out once, because results have thousands of frames."""
    return {name: _reader(hint, f"{cls.__name__}.{name}") for name, hint in typing.get_type_hints(cls).items()}


def _reader(hint, where: str) -> Callable:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = _reader(next(a for a in arguments if a is not types.NoneType), where)
        return lambda value: None if value is None else inner(value)
    if dataclasses.is_dataclass(hint):
        return functools.partial(from_dict, hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return functools.partial(_list, _reader(arguments[0], where), arguments[0] is float, where)
    if origin is tuple:
        members = [_reader(argument, where) for argument in arguments]
        return functools.partial(_tuple, members, set(arguments) == {float}, where)
    if origin is dict:
        return functools.partial(_dict, arguments[1], where)
    return functools.partial(_scalar, hint, where)


def _list(reader: Callable, are_floats: bool, where: str, value) -> tuple:
    _check_is_list(value, where)
    if are_floats and _are_finite_floats(value):
        return tuple(value)
    return tuple(reader(item) for item in taking_turns(value))


def _tuple(readers: list[Callable], are_floats: bool, where: str, value) -> tuple:
    _check_is_list(value, where)
    if len(value) != len(readers):
        raise ValueError(f"{where} must have {len(readers)} members, got {len(value)}")
    if are_floats and _are_finite_floats(value):
        return tuple(value)
    return tuple(reader(item) for reader, item in zip(readers, value, strict=True))


def _are_finite_floats(value) -> bool:
    """Numbers are looked at all together where that is enough: one by one takes ten times as long."""
    return set(map(type, value)) == {float} and all(map(math.isfinite, value))


def _check_is_list(value, where: str) -> None:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} must be a list")


def _dict(hint, where: str, value) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object")
    return {key: _reader(hint, f"{where}[{key!r}]")(item) for key, item in value.items()}


def _scalar(hint, where: str, value):
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
