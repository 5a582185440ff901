"""Docstrings at the borders: what another room calls says its parameters and what it gives back, NumPy style.

Parameters (shapes, units, axes, ranges), Returns, Raises (with the codes), and where a method has one, its source.
Inside a room one line is enough.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.tools import rooms

PLAN = rooms.read()
SOURCES = rooms.package_sources()
SECTIONS = ("Parameters", "Returns", "Yields", "Raises", "Attributes", "Notes", "References")


@cache
def crossing_names() -> frozenset[tuple[str, str]]:
    """(room, name) of whatever another room takes from it, by name or as an attribute of a module."""
    found = set()
    for module, source in SOURCES.items():
        for item in rooms.imports_of(source, module, set(SOURCES)):
            if not item.is_inside or PLAN.room_of(item.module) == PLAN.room_of(module):
                continue
            names = [item.name] if item.name else rooms.attributes(source, item.local)
            found |= {(PLAN.room_of(item.module), name) for name in names}
    return frozenset(found)


def border_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    crossing = crossing_names()
    for module, source in SOURCES.items():
        for node in rooms.parsed(source).body:
            if isinstance(node, ast.FunctionDef) and (PLAN.room_of(module), node.name) in crossing:
                yield module, node


def parameters(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def sections(docstring: str) -> dict[str, str]:
    """The text of each NumPy section, by its heading."""
    heading = re.compile(rf"^({'|'.join(SECTIONS)})\n-+$", re.MULTILINE)
    parts = heading.split(docstring)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(section: str) -> set[str]:
    """The names at the left margin of a section: `name`, `name : type` or `first, second : type`."""
    heads = (line.partition(" : ")[0] for line in section.splitlines() if re.match(r"\*{0,2}\w", line))
    return {name.strip(" *") for head in heads for name in head.split(",")}


def gives_something(function: ast.FunctionDef) -> bool:
    return function.returns is not None and not (isinstance(function.returns, ast.Constant)
                                                 and function.returns.value is None)


def faults_of(function: ast.FunctionDef) -> list[str]:
    docstring = ast.get_docstring(function) or ""
    found = sections(docstring)
    missing = [name for name in parameters(function) if name not in described(found.get("Parameters", ""))]
    faults = [f"{name} is not described" for name in missing]
    if gives_something(function) and not {"Returns", "Yields"} & set(found):
        faults.append("what it returns is not described")
    if not docstring.split("\n", 1)[0].strip():
        faults.append("what it does is not said")
    return faults


@pytest.mark.parametrize("room", sorted(PLAN.rooms))
def test_what_crosses_a_border_is_described(room):
    faults = [f"{module}:{function.lineno} {function.name}: {fault}" for module, function in border_functions()
              if PLAN.room_of(module) == room for fault in faults_of(function)]
    assert faults == []


@pytest.mark.parametrize(("source", "faults"), [
    ('def f(a, *, b):\n    """Do it.\n\n    Parameters\n    ----------\n    a, b : int\n        Two.\n    """', []),
    ('def f(a) -> int:\n    """Do it.\n\n    Parameters\n    ----------\n    a : int\n\n    Returns\n    -------\n'
     '    int\n    """', []),
    ('def f(a) -> int:\n    """Do it. a: int."""', ["a is not described", "what it returns is not described"]),
    ('def f() -> None:\n    """Do it."""', []),
])
def test_what_is_missing_is_found(source, faults):
    assert faults_of(ast.parse(source).body[0]) == faults
