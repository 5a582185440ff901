"""Another Blender: a process of its own with the extension enabled, driven by a line of orders on its command line.

python other_blender.py ROOT ORDER...   ROOT holds jobs/, worker/ (see conftest.worker_like), footage/ and user/.

Orders, each followed by a line "done ORDER" when it is: open FILE, save FILE, solve, follow (until the job's worker has
said something), wait (until nothing runs or waits), state (prints the jobs as JSON), ends-jobs, idle (tick until
killed). At the end it quits as Blender does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import ModuleType

import bpy

REPOSITORY = Path(__file__).resolve().parents[3]
NAME = "stereodiff_other"
WRAPPER = '''
bl_info = {"name": "StereoDiff", "blender": (4, 2, 0), "category": "Import-Export"}
def register():
    from .stereodiff_blender import register
    register()
def unregister():
    from .stereodiff_blender import unregister
    unregister()
'''


def enable(root: Path) -> ModuleType:
    """As an artist has it: in the list of add-ons, so that quitting disables it. Returns the package."""
    import addon_utils  # Only there once bpy is.
    folder = root / "addons" / NAME
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(WRAPPER)
        (folder / "stereodiff_blender").symlink_to(REPOSITORY / "stereodiff_blender")
    sys.path.insert(0, str(folder.parent))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    assert addon_utils.enable(NAME, default_set=True) is not None
    package = sys.modules[f"{NAME}.stereodiff_blender"]
    preferences = package.ui.preferences.current()
    preferences.runtime_python, preferences.jobs_folder = sys.executable, str(root / "jobs")
    package.ui.preferences.EXTENSION_ROOT = root / "worker"
    return package


class Orders:
    """Each order is a method of its name."""

    def __init__(self, root: Path):
        self.root, self.package = root, enable(root)

    @property
    def session(self):
        return self.package.session.session.current()

    def tick_until(self, reached) -> None:
        deadline = time.monotonic() + 60.0
        while not reached():
            assert time.monotonic() < deadline, "waited in vain"
            self.session.tick()
            time.sleep(0.02)

    def open(self, file: str) -> None:
        bpy.ops.wm.open_mainfile(filepath=file)
        self.session.tick()

    def save(self, file: str) -> None:
        bpy.ops.wm.save_as_mainfile(filepath=file, check_existing=False)

    def solve(self) -> None:
        first = next(iter(sorted((self.root / "footage").iterdir())))
        bpy.context.scene.stereodiff.clip = bpy.data.movieclips.load(str(first), check_existing=True)
        assert bpy.ops.stereodiff.solve(wait=False) == {"FINISHED"}

    def follow(self) -> None:
        self.tick_until(lambda: (view := self.session.status().running) is not None and view.status.done == 3)

    def wait(self) -> None:
        self.tick_until(lambda: self.session.status().running is None and not self.session.status().waiting)

    def state(self) -> None:
        self.session.tick()
        views = self.session.status().jobs
        print(json.dumps({"jobs": [{"id": item.job_id, "state": item.state, "folder": item.folder,
                                    "note": views[item.job_id].status.note} for item in
                                   bpy.context.scene.stereodiff.jobs],
                          "camera": bpy.context.scene.camera is not None}), flush=True)

    def ends_jobs(self) -> None:
        self.package.ui.preferences.current().at_exit = "END"

    def idle(self) -> None:
        while True:
            self.session.tick()
            time.sleep(0.05)


def main(root: str, *words: str) -> None:
    orders, rest = Orders(Path(root)), list(words)
    while rest:
        order = rest.pop(0)
        takes_file = order in ("open", "save")
        if order == "idle":
            print("done idle", flush=True)
        getattr(orders, order.replace("-", "_"))(*([rest.pop(0)] if takes_file else []))
        print(f"done {order}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
