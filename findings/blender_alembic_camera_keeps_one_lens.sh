#!/usr/bin/env bash
# Blender 5.0.1 (bpy from PyPI, needs python3.11); the same in 4.2.20. Gone in 5.2.3.
#
# Behavior: a camera with a keyed focal length, exported to Alembic and imported again, has the first frame's focal length
# in every frame. The file holds them all: Blender 5.2 reads them. USD from and to the same Blender keeps them (not in
# Blender 4.2, which takes the first from USD, too).
# Expected: 20, 40 and 80 mm in frames 1, 2 and 3.
# Seen on Linux x86_64: Alembic 20, 20, 20; USD 20, 40, 80.
# So: hand a zoom to Blender before 5.2 as USD.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv env
env/bin/pip install --quiet bpy==5.0.1

env/bin/python - <<'PYTHON'
import os

import bpy

LENSES = {1: 20.0, 2: 40.0, 3: 80.0}
ALEMBIC, USD = os.path.abspath("camera.abc"), os.path.abspath("camera.usdc")


def lenses_in_scene():
    camera = next(thing for thing in bpy.data.objects if thing.type == "CAMERA")
    found = []
    for frame in LENSES:
        bpy.context.scene.frame_set(frame)
        found.append(round(camera.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.lens, 3))
    return found


bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.frame_start, scene.frame_end = 1, 3
scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
scene.collection.objects.link(scene.camera)
for frame, lens in LENSES.items():
    scene.camera.data.lens = lens
    scene.camera.data.keyframe_insert("lens", frame=frame)
bpy.ops.wm.alembic_export(filepath=ALEMBIC, start=1, end=3, as_background_job=False)
bpy.ops.wm.usd_export(filepath=USD, export_animation=True)

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.alembic_import(filepath=ALEMBIC, as_background_job=False)
from_alembic = lenses_in_scene()
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.usd_import(filepath=USD)
from_usd = lenses_in_scene()
print("Alembic:", from_alembic, " USD:", from_usd)
assert from_alembic == [20.0, 20.0, 20.0]
assert from_usd == [20.0, 40.0, 80.0]
PYTHON
echo "as described"
