"""Every text that the code hands to an artist, found in its source, with the shortest words in its gaps."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "stereodiff_blender"
GAP = "1"
"""Stands for whatever is filled in: the shortest that a name, a number or a reason can be."""
MESSAGE_OF = {"StereoDiffError": 1, "warn": 1, "note": 0, "Problem": 1}
"""Position of the message among the arguments."""
MOST_FORMS = 64


@dataclass(frozen=True)
class Message:
    """place: file and line. text: one of the forms it can have."""

    place: str
    text: str


@dataclass(frozen=True)
class _Call:
    """file: where it stands. within: the function around it, and the names of what that takes."""

    file: str
    call: ast.Call
    within: str
    parameters: tuple[str, ...]

    def message(self, takers: dict[str, int]) -> ast.expr | None:
        function = self.call.func
        at = takers.get(function.id if isinstance(function, ast.Name) else getattr(function, "attr", ""))
        return self.call.args[at] if at is not None and len(self.call.args) > at else None


def messages_in_code(package: Path = PACKAGE) -> list[Message]:
    """Of all calls that take a message, and of the functions that hand one on, every form that is written out."""
    calls = [call for path in sorted(package.rglob("*.py"))
             for call in _calls(str(path.relative_to(package.parent)), ast.parse(path.read_text(encoding="utf-8")))]
    takers = dict(MESSAGE_OF)
    while more := {name: at for name, at in _handing_on(calls, takers) if name not in takers}:
        takers |= more
    return [Message(f"{call.file}:{call.call.lineno}", text) for call in calls
            if (written := call.message(takers)) is not None for text in sorted(set(forms(written)))]


def _calls(file: str, node: ast.AST, within: str = "", parameters: tuple[str, ...] = ()) -> Iterator[_Call]:
    if isinstance(node, ast.FunctionDef):
        names = [argument.arg for argument in node.args.args]
        within, parameters = node.name, tuple(name for name in names if name not in ("self", "cls"))
    if isinstance(node, ast.Call):
        yield _Call(file, node, within, parameters)
    for child in ast.iter_child_nodes(node):
        yield from _calls(file, child, within, parameters)


def _handing_on(calls: list[_Call], takers: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Functions of which a parameter is, as it stands, the message of another; and which parameter."""
    for call in calls:
        written = call.message(takers)
        if isinstance(written, ast.Name) and written.id in call.parameters and call.within != "__init__":
            yield call.within, call.parameters.index(written.id)


def forms(written: ast.expr) -> list[str]:
    """What an expression can read as; nothing where it is not written out here at all."""
    if isinstance(written, ast.Constant):
        return [written.value] if isinstance(written.value, str) else []
    if isinstance(written, ast.IfExp):
        return forms(written.body) + forms(written.orelse)
    if isinstance(written, ast.JoinedStr):
        parts = [_part(part) for part in written.values]
        return ["".join(chosen) for chosen in itertools.islice(itertools.product(*parts), MOST_FORMS)]
    if isinstance(written, ast.BinOp) and isinstance(written.op, ast.Add):
        pairs = itertools.product(forms(written.left) or [GAP], forms(written.right) or [GAP])
        return ["".join(pair) for pair in pairs]
    return []


def _part(part: ast.expr) -> list[str]:
    value = part.value if isinstance(part, ast.FormattedValue) else part
    return (forms(value) if isinstance(value, ast.Constant | ast.IfExp | ast.JoinedStr) else []) or [GAP]
