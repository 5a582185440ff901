"""Who may import whom: every import of the package against the table of rooms, tests/tools/rooms.toml.

What may cross a border, in one rule: a name does if the module it is imported from, or of which it is an attribute,
lists it in __all__. A room whose loading costs its users nothing hands its names on in its __init__.py, and then has
none elsewhere; where it would load what they do not need (PyTorch, codecs, Matplotlib) or is asked for module by
module, its modules have an __all__ each. A module without __all__ is its room's own business.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.tools import rooms
from tests.tools.rooms import Exemption, Plan, Room

PLAN = rooms.read()
SOURCES = rooms.package_sources()
MODULES = set(SOURCES)


# --- The code --------------------------------------------------------------------------------------------------

def of_room(name: str) -> dict[str, str]:
    return {module: source for module, source in SOURCES.items() if PLAN.room_of(module) == name}


@pytest.mark.parametrize("room", PLAN.rooms)
def test_a_room_imports_only_what_the_table_allows(room):
    found = [(item, module, words) for module, source in of_room(room).items()
             for item, words in rooms.violations(source, module, PLAN, MODULES)]
    assert [words for item, module, words in found if rooms.excused(item, module, PLAN) is None] == []


@pytest.mark.parametrize("room", PLAN.rooms)
def test_only_public_names_cross_a_border(room):
    assert [fault for module, source in of_room(room).items()
            for fault in rooms.door_faults(source, module, PLAN, SOURCES)] == []


def test_the_engine_imports_nothing_from_outside():
    outside = [f"{module} imports {item.module}" for module, source in SOURCES.items()
               if rooms.within(module, "engine")
               for item in rooms.imports_of(source, module, MODULES)
               if item.is_inside and not rooms.within(item.module, "engine")]
    assert outside == []


def test_no_room_leads_back_to_itself():
    assert rooms.circles(rooms.arrows_of(SOURCES, PLAN)) == []


def test_the_table_itself_has_no_circle():
    allowed = {name: {PLAN.room_of(item) for item in room.imports} - {name} for name, room in PLAN.rooms.items()}
    assert rooms.circles(allowed) == []


@pytest.mark.parametrize("module", PLAN.loads)
def test_what_is_loaded_at_once(module):
    loaded = rooms.loaded_at_once(module, SOURCES)
    assert {library: by for library, by in loaded.items() if library not in PLAN.loads[module]} == {}


def test_what_is_public_is_there():
    missing = [f"{module}.{name}" for module, source in SOURCES.items()
               for name in (rooms.public_names(source) or set()) - rooms.defined_names(source)]
    assert missing == []


@pytest.mark.parametrize("exception", PLAN.exceptions, ids=lambda e: f"{e.module} -> {e.imports}")
def test_an_exception_is_still_needed(exception):
    found = rooms.violations(SOURCES[exception.module], exception.module, PLAN, MODULES)
    assert exception.why
    assert [item for item, _ in found if rooms.excused(item, exception.module, PLAN) == exception]


@pytest.mark.parametrize("name", PLAN.rooms)
def test_a_room_is_there_and_may_import_what_is_there(name):
    assert name in MODULES
    assert [item for item in PLAN.rooms[name].imports if item not in MODULES] == []


def test_the_map_has_a_line_for_every_room_and_names_every_module():
    lines = list(rooms.markdown(PLAN, SOURCES))
    assert len(lines) == 2 + len(PLAN.rooms)
    words = set(" ".join(lines).replace(",", "").split())
    told = {module for module in MODULES - PLAN.rooms.keys() if not rooms.is_package(module, MODULES)}
    assert {module.removeprefix(f"{PLAN.room_of(module)}.") for module in told} <= words


def test_the_page_for_contributors_has_this_map():
    page = (rooms.REPOSITORY / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    first, last = rooms.MARKS
    shown = page.partition(f"{first}\n")[2].partition(f"\n{last}")[0]
    assert shown.splitlines() == list(rooms.markdown(PLAN, SOURCES)), "build.py rooms prints what belongs there"


# --- The checker -----------------------------------------------------------------------------------------------

SAMPLE = {
    "": "", "ui": "", "ui.panel": "", "jobs": "", "jobs.queue": "__all__ = ['Entry']", "engine": "",
    "engine.contract": "from .job import Job\n__all__ = ['Job']", "engine.contract.job": "class Job: ...",
    "engine.stereo": "from .depth import measure\n__all__ = ['measure']", "engine.stereo.depth": "def measure(): ...",
    "engine.stereo.sweep": "import torch\n__all__ = ['sweep']", "engine.worker": "", "engine.weights": "",
    "engine.weights.cards": "__all__ = []", "engine.weights.transfer": "__all__ = []",
}
RULES = Plan({
    "": Room(), "ui": Room(imports=("jobs", "engine.weights.cards"), libraries=("bpy",)), "jobs": Room(),
    "engine": Room(), "engine.contract": Room(),
    "engine.stereo": Room(libraries=("numpy", "torch"), alone={"torch": ["sweep"]}),
    "engine.worker": Room(imports=("engine.stereo", "engine.weights"), libraries=("numpy",)),
    "engine.weights": Room(),
})


def refused(module: str, source: str) -> list[str]:
    return [words for _, words in rooms.violations(source, module, RULES, set(SAMPLE))]


@pytest.mark.parametrize(("module", "source"), [
    ("jobs.queue", "import bpy"),
    ("jobs.queue", "from ..engine.worker import run"),
    ("jobs.queue", "def late():\n    from ..engine import worker"),
    ("jobs.queue", "from ..ui.panel import draw"),
    ("ui.panel", "from ..engine.weights.transfer import fetch"),
    ("ui.panel", "from ..engine.weights import fetch"),
    ("ui.panel", "from stereodiff_blender.engine.worker import run"),
    ("ui.panel", "import stereodiff_blender.engine.worker"),
    ("engine.contract.job", "import numpy"),
    ("engine.contract", "from .. import worker"),
    ("engine.stereo.depth", "import torch.nn"),
    ("engine.stereo.depth", "from ..weights.cards import read"),
    ("engine.worker", "from ..jobs.queue import Entry"),
    ("engine.worker", "if TYPE_CHECKING:\n    import torch"),
    ("engine.worker", "from ....outside import thing"),
])
def test_checker_refuses(module, source):
    assert len(refused(module, source)) == 1


@pytest.mark.parametrize(("module", "source"), [
    ("jobs.queue", "import subprocess\nfrom ..engine.contract import Job\nfrom ..engine.contract.job import Job"),
    ("ui.panel", "import bpy\nfrom ..jobs.queue import Entry\nfrom ..jobs import queue"),
    ("ui.panel", "from ..engine.weights.cards import read\nfrom ..engine.weights import cards\nfrom . import other"),
    ("engine.stereo.sweep", "import torch\nimport numpy as np\nfrom .depth import measure"),
    ("engine.worker", "from .stereo import measure\nfrom .stereo.sweep import sweep\nfrom .weights import transfer"),
])
def test_checker_allows(module, source):
    assert refused(module, source) == []


@pytest.mark.parametrize("module", ["shortcuts", "engine.shortcuts"])
def test_a_new_module_needs_a_room(module):
    with pytest.raises(LookupError, match="shortcuts belongs to no room"):
        RULES.room_of(module)


@pytest.mark.parametrize(("module", "source", "count"), [
    ("engine.worker", "from .stereo import measure\nfrom .stereo.sweep import sweep", 0),
    ("engine.worker", "from .stereo.depth import measure", 1),
    ("engine.worker", "from .stereo import survey", 1),
    ("engine.worker", "from .stereo.sweep import _private", 1),
    ("ui.panel", "from ..jobs import queue\nqueue.Entry()", 0),
    ("ui.panel", "from ..jobs import queue as later\nlater.Entry(), later.other()", 1),
    ("engine.stereo.sweep", "from .depth import anything", 0),
])
def test_a_name_that_is_not_public_stays_in_its_room(module, source, count):
    assert len(rooms.door_faults(source, module, RULES, SAMPLE)) == count


def test_a_circle_is_found():
    assert rooms.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]
    assert rooms.circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(("module", "source", "libraries"), [
    ("engine.worker", "from .stereo import measure", set()),
    ("engine.worker", "from .stereo.sweep import sweep", {"torch"}),
    ("engine.worker", "from .stereo import sweep", {"torch"}),
    ("engine.worker", "def late():\n    from .stereo.sweep import sweep\n    import cv2", set()),
    ("engine.worker", "if TYPE_CHECKING:\n    import torch", set()),
    ("engine.worker", "try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}),
    ("engine.stereo", "from .sweep import sweep", {"torch"}),
])
def test_what_an_import_drags_in(module, source, libraries):
    assert set(rooms.loaded_at_once(module, SAMPLE | {module: source})) == libraries


def test_a_package_is_loaded_before_its_modules():
    changed = SAMPLE | {"engine.stereo": "import torch"}
    assert rooms.loaded_at_once("engine.stereo.depth", changed) == {"torch": "engine.stereo"}


def test_an_exception_excuses_its_own_import_alone():
    plan = dataclasses.replace(RULES, exceptions=(Exemption("engine.worker", "torch", "for now"),))
    found = rooms.violations("import torch.nn\nimport bpy", "engine.worker", plan, set(SAMPLE))
    assert [rooms.excused(item, "engine.worker", plan) is not None for item, _ in found] == [True, False]
    other = rooms.violations("import torch", "jobs.queue", plan, set(SAMPLE))
    assert [rooms.excused(item, "jobs.queue", plan) for item, _ in other] == [None]


def test_names_that_are_bound_are_told():
    source = "import os\nfrom a import b as c\nX: int = 1\nif X:\n    Y = 2\ndef f(): ...\nclass G: ...\np, q = 1, 2\n"
    assert rooms.defined_names(source) == {"os", "c", "X", "Y", "f", "G", "p", "q"}
