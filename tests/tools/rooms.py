"""Who may import whom: the rooms of the package, read from rooms.toml, checked, and printed as Markdown.

Every import statement is read from the syntax tree, wherever it stands (top of a file, inside a function, under
TYPE_CHECKING), so nothing here imports bpy or torch. Standard library only: build.py runs this.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = "stereodiff_blender"
CONTRACT = "engine.contract"
MARKS = "<!-- rooms -->", "<!-- /rooms -->"
"""Between these the page for contributors has the map."""
REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("rooms.toml")
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names)


@dataclass(frozen=True)
class Room:
    """imports: rooms or modules. libraries: besides Python's own. alone: of these, who alone may import one."""

    about: str = ""
    imports: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    alone: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Exemption:
    """An import that the table forbids and the code has, for a reason. imports: a module, or a library."""

    module: str
    imports: str
    why: str


@dataclass(frozen=True)
class Plan:
    rooms: dict[str, Room]
    loads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exceptions: tuple[Exemption, ...] = ()

    def room_of(self, module: str) -> str:
        """The longest room name that fits. Raises LookupError for a module without a room."""
        fitting = [name for name in self.rooms if (module == name if name in ("", "engine") else within(module, name))]
        if not fitting:
            raise LookupError(f"{module} belongs to no room: put it into one, or add one to rooms.toml")
        return max(fitting, key=len)

    def may_import(self, own: str, module: str) -> bool:
        """Whether a room may import a module of another: it, or one it lies in, is named, and both in one room."""
        home = self.room_of(module)
        return home == CONTRACT or any(within(module, name) and (name == home or self.room_of(name) == home)
                                       for name in self.rooms[own].imports)


@dataclass(frozen=True)
class Import:
    """One import as written. module: inside the package, or a library's. name: what of it; "" = the module itself.

    is_late: it stands in a function or under TYPE_CHECKING. local: the name it is bound to.
    """

    line: int
    module: str
    name: str
    is_inside: bool
    is_late: bool
    local: str = ""


def read(path: Path = TABLE) -> Plan:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    rooms = {name: Room(entry["about"], tuple(entry.get("imports", ())), tuple(entry.get("libraries", ())),
                        entry.get("alone", {})) for name, entry in content["rooms"].items()}
    loads = {name: tuple(libraries) for name, libraries in content.get("loads", {}).items()}
    return Plan(rooms, loads, tuple(Exemption(**entry) for entry in content.get("exceptions", ())))


def within(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


# --- What is imported ------------------------------------------------------------------------------------------

def package_sources(root: Path = REPOSITORY / PACKAGE) -> dict[str, str]:
    """Source of every module, by its name below the package."""
    return {module_name(path, root): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_package(module: str, modules: set[str]) -> bool:
    return module == "" or any(other.startswith(f"{module}.") for other in modules)


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def imports_of(source: str, module: str, modules: set[str]) -> list[Import]:
    """Every import in a source; `from . import a, b` names the modules a and b where they are modules."""
    tree = parsed(source)
    late = {id(inner) for node in ast.walk(tree) if is_late_block(node) for inner in ast.walk(node)}
    package = module if is_package(module, modules) else module.rpartition(".")[0]
    found: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [named(node, alias.name, "", id(node) in late, alias.asname or "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module if not node.level else absolute(node, package)
            found += [imported(node, base, alias, id(node) in late, modules) for alias in node.names]
    return found


def is_late_block(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
        isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The full name of what a relative import starts from; of one that leaves the package, its dots and all."""
    parents = package.split(".") if package else []
    if node.level - 1 > len(parents):
        return "." * node.level + (node.module or "")
    return ".".join([PACKAGE, *parents[:len(parents) - node.level + 1], *([node.module] if node.module else [])])


def imported(node: ast.ImportFrom, base: str, alias: ast.alias, is_late: bool, modules: set[str]) -> Import:
    full = f"{base}.{alias.name}".removeprefix(f"{PACKAGE}.")
    local = alias.asname or alias.name
    if within(base, PACKAGE) and full in modules:
        return Import(node.lineno, full, "", True, is_late, local)
    return named(node, base, alias.name, is_late, local)


def named(node: ast.stmt, module: str, name: str, is_late: bool, local: str) -> Import:
    inside = within(module, PACKAGE)
    below = module.removeprefix(PACKAGE).removeprefix(".") if inside else module
    return Import(node.lineno, below, name, inside, is_late, local)


# --- What is wrong with it -------------------------------------------------------------------------------------

def violations(source: str, module: str, plan: Plan, modules: set[str]) -> list[tuple[Import, str]]:
    """Imports that the table forbids, each with a sentence."""
    own = plan.room_of(module)
    wrong = []
    for item in imports_of(source, module, modules):
        if item.is_inside:
            is_fine = plan.room_of(item.module) == own or plan.may_import(own, item.module)
        else:
            is_fine = may_load(plan.rooms[own], own, module, item.module.partition(".")[0])
        if not is_fine:
            wrong.append((item, f"{module or '__init__'}:{item.line} may not import {item.module}"))
    return wrong


def may_load(room: Room, own: str, module: str, library: str) -> bool:
    if library in STANDARD_LIBRARY:
        return True
    alone = room.alone.get(library)
    return library in room.libraries and (alone is None or any(within(module, f"{own}.{part}") for part in alone))


def excused(item: Import, module: str, plan: Plan) -> Exemption | None:
    wanted = item.module if item.is_inside else item.module.partition(".")[0]
    return next((e for e in plan.exceptions if e.module == module and within(wanted, e.imports)), None)


def door_faults(source: str, module: str, plan: Plan, sources: dict[str, str]) -> list[str]:
    """Names that come from another room without standing in an __all__ there, each with a sentence."""
    own, modules, found = plan.room_of(module), set(sources), []
    for item in imports_of(source, module, modules):
        if not item.is_inside or plan.room_of(item.module) == own:
            continue
        doors = public_names(sources[item.module])
        names = [item.name] if item.name else sorted(attributes(source, item.local))
        if doors is None:
            found.append(f"{module}:{item.line} imports from {item.module}, which has no __all__")
        else:
            found += [f"{module}:{item.line} imports {name}, which is not in the __all__ of {item.module}"
                      for name in names if name not in doors]
    return found


def public_names(source: str) -> set[str] | None:
    """What a module's __all__ says; None without one."""
    for node in parsed(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return None


def defined_names(source: str) -> set[str]:
    """What a module binds at its top level."""
    found: set[str] = set()
    waiting = list(parsed(source).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)}
        else:
            waiting += [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)]
    return found


def attributes(source: str, local: str) -> set[str]:
    return {node.attr for node in ast.walk(parsed(source)) if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name) and node.value.id == local}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Ways that lead back to where they began; one for each circle found."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(node: str, way: list[str]) -> None:
        if node in way:
            found.append([*way[way.index(node):], node])
        elif node not in done:
            for other in sorted(arrows.get(node, ())):
                visit(other, [*way, node])
            done.add(node)

    for node in sorted(arrows):
        visit(node, [])
    return found


def arrows_of(sources: dict[str, str], plan: Plan) -> dict[str, set[str]]:
    """Which rooms each room really imports."""
    arrows: dict[str, set[str]] = {name: set() for name in plan.rooms}
    for module, source in sources.items():
        own = plan.room_of(module)
        arrows[own] |= {plan.room_of(item.module) for item in imports_of(source, module, set(sources))
                        if item.is_inside} - {own}
    return arrows


def loaded_at_once(module: str, sources: dict[str, str]) -> dict[str, str]:
    """Libraries that are loaded as soon as a module is, each with the module that asks for it."""
    waiting, seen, libraries = [module], set(), {}
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        waiting += [".".join(current.split(".")[:n]) for n in range(current.count(".") + 1)] if current else []
        for item in imports_of(sources[current], current, set(sources)):
            if item.is_late:
                continue
            top = item.module.partition(".")[0]
            if item.is_inside:
                waiting.append(item.module)
            elif top not in STANDARD_LIBRARY:
                libraries.setdefault(top, current)
    return libraries


# --- The map ---------------------------------------------------------------------------------------------------

def markdown(plan: Plan, sources: dict[str, str]) -> Iterator[str]:
    """A line for each room: what it is for, its modules, whom it may import, its libraries.

    Rooms of the engine name each other without "engine.".
    """
    yield "| room | what it is for | modules | may import, besides `engine.contract` | libraries |"
    yield "|---|---|---|---|---|"
    for name, room in plan.rooms.items():
        own = [module for module in sources if plan.room_of(module) == name and not is_package(module, set(sources))]
        modules = ", ".join(module.removeprefix(f"{name}.") for module in own if module != name) or "-"
        at_home = "engine." if within(name, "engine") else " "
        asked = ", ".join(item.removeprefix(at_home) for item in room.imports) or "-"
        libraries = ", ".join(of_some(room, library) for library in room.libraries) or "-"
        yield f"| `{name or PACKAGE}` | {room.about} | {modules} | {asked} | {libraries} |"


def of_some(room: Room, library: str) -> str:
    """A library, and who alone may import it."""
    alone = room.alone.get(library)
    return f"{library} in {' and '.join(alone)}" if alone else library


def main() -> None:
    sys.stdout.write("\n".join(markdown(read(), package_sources())) + "\n")


if __name__ == "__main__":
    main()
