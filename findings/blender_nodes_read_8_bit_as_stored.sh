#!/usr/bin/env bash
# Blender 5.3.0 (bpy from PyPI, needs python3.13). In 4.2.20, 5.0.1 and 5.2.3 both pictures come out alike, linear.
#
# Behavior: geometry nodes' Image Texture gives the color of an 8-bit picture as the file stores it, whatever its color
# space; that of the same picture with 16 bits is made scene-linear.
# Expected: the same colors of both, scene-linear, as shaders, the compositor and earlier versions give them.
# Seen on Linux x86_64: a gray stored as 0.502, in sRGB: 0.502 of 8 bits, 0.216 of 16 bits.
# So: whoever reads colors of pictures by geometry nodes converts those of 8 bits himself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.13 -m venv env
env/bin/pip install --quiet bpy==5.3.0

env/bin/python - <<'PYTHON'
import os
import struct
import zlib

import bpy


def write_gray(path: str, bits: int) -> str:
    """A PNG of 4 x 4 pixels, all 128 of 255."""
    pixel = b"\x80" * (3 * bits // 8)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 4, 4, bits, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress((b"\0" + 4 * pixel) * 4)), (b"IEND", b""))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body + struct.pack(
            ">I", zlib.crc32(kind + body)) for kind, body in chunks))
    return os.path.abspath(path)


def color_by_nodes(path: str) -> float:
    tree = bpy.data.node_groups.new("read", "GeometryNodeTree")
    for in_out in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    entry, leave = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    texture, store = tree.nodes.new("GeometryNodeImageTexture"), tree.nodes.new("GeometryNodeStoreNamedAttribute")
    texture.inputs["Image"].default_value = bpy.data.images.load(path)
    store.data_type, store.inputs["Name"].default_value = "FLOAT_COLOR", "color"
    tree.links.new(entry.outputs[0], store.inputs[0])
    tree.links.new(texture.outputs["Color"], next(s for s in store.inputs if s.name == "Value" and s.enabled))
    tree.links.new(store.outputs[0], leave.inputs[0])
    thing = bpy.data.objects.new("point", bpy.data.meshes.new("point"))
    thing.data.vertices.add(1)
    bpy.context.scene.collection.objects.link(thing)
    thing.modifiers.new("read", "NODES").node_group = tree
    mesh = thing.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    return mesh.attributes["color"].data[0].color[0]


seen = {bits: round(color_by_nodes(write_gray(f"gray_{bits}.png", bits)), 3) for bits in (8, 16)}
print(seen)
assert seen == {8: 0.502, 16: 0.216}
PYTHON
echo "as described"
