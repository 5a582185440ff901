#!/usr/bin/env bash
# Blender 4.2.20 (bpy from PyPI, needs python3.11 and glibc). In 4.5.15, all pixels are 0.5.
#
# Behavior: the compositor's Scale node, with Render Size and Crop, does not write the last column (or row) of the
# picture: it shows what the memory held before. Fit and Stretch write all of it.
# Expected: every pixel of a picture that is 0.5 all over is 0.5.
# Seen on Linux x86_64: 64 x 36 pixels into a render of 96 x 72: column 95 is not written; 128 x 72 into 128 x 96: all is.
# So: whoever lays a picture into a render of another shape in 4.2 crops it before, and stretches it then.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv env
env/bin/pip install --quiet bpy==4.2.20

# MALLOC_PERTURB_ lets glibc fill memory before it is used, so that what nobody wrote can be told.
MALLOC_PERTURB_=165 env/bin/python - <<'PYTHON'
import os

import bpy
import numpy as np


def unwritten_columns(picture: tuple[int, int], render: tuple[int, int], method: str) -> list[int]:
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    image = bpy.data.images.new("half", *picture, float_buffer=True)
    image.pixels = [0.5] * (picture[0] * picture[1] * 4)
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    source, scale, out = (tree.nodes.new(f"CompositorNode{kind}") for kind in ("Image", "Scale", "Composite"))
    source.image, scale.space, scale.frame_method = image, "RENDER_SIZE", method
    tree.links.new(source.outputs["Image"], scale.inputs["Image"])
    tree.links.new(scale.outputs["Image"], out.inputs["Image"])
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x, scene.render.resolution_y = render
    scene.render.image_settings.file_format, scene.render.image_settings.color_depth = "OPEN_EXR", "32"
    scene.render.filepath = os.path.abspath("seen.exr")
    bpy.ops.render.render(write_still=True)
    seen = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(seen.pixels).reshape(render[1], render[0], 4)
    return sorted({int(column) for column in np.nonzero(pixels.max(axis=-1) > 1.0)[1]})


seen = {
    ("Crop", 96, 72): unwritten_columns((64, 36), (96, 72), "CROP"),
    ("Fit", 96, 72): unwritten_columns((64, 36), (96, 72), "FIT"),
    ("Stretch", 96, 72): unwritten_columns((64, 36), (96, 72), "STRETCH"),
    ("Crop", 128, 96): unwritten_columns((128, 72), (128, 96), "CROP"),
}
print(seen)
assert seen == {("Crop", 96, 72): [95], ("Fit", 96, 72): [], ("Stretch", 96, 72): [], ("Crop", 128, 96): []}
PYTHON
echo "as described"
