#!/usr/bin/env bash
# Blender 5.0.1 (bpy from PyPI, needs python3.11); the same in 4.2.20 and 5.2.3. OpenCV 4.11.0.86 beside it (5.0.0.93 is the same).
#
# Behavior: a JPEG whose EXIF tag says "turn me" (orientation 6, as phones write it) is shown by Blender as it is stored,
# as an image and as a movie clip. OpenCV's imread() turns it; its IMREAD_UNCHANGED does not.
# Expected: all show the picture alike.
# Seen on Linux x86_64: 64x32 stored; Blender 64x32, OpenCV 32x64, unchanged 64x32.
# So: a program whose results must lie on what Blender shows does not apply the tag.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv env
env/bin/pip install --quiet bpy==5.0.1 opencv-python-headless==4.11.0.86

env/bin/python - <<'PYTHON'
import os
from pathlib import Path

import bpy
import cv2
import numpy as np

TURN = bytes.fromhex("ffe1 0022 457869660000 4d4d002a00000008 0001 0112 0003 00000001 00060000 00000000")

cv2.imwrite("stored.jpg", np.full((32, 64, 3), 128, np.uint8))
jpeg = Path("stored.jpg").read_bytes()
Path("tagged.jpg").write_bytes(jpeg[:2] + TURN + jpeg[2:])
path = os.path.abspath("tagged.jpg")

seen = {
    "Blender image": tuple(bpy.data.images.load(path).size),
    "Blender clip": tuple(bpy.data.movieclips.load(path).size),
    "OpenCV": cv2.imread(path).shape[1::-1],
    "OpenCV unchanged": cv2.imread(path, cv2.IMREAD_UNCHANGED).shape[1::-1],
}
for name, size in seen.items():
    print(f"{name}: {size[0]}x{size[1]}")
assert seen == {"Blender image": (64, 32), "Blender clip": (64, 32), "OpenCV": (32, 64), "OpenCV unchanged": (64, 32)}
PYTHON
echo "as described"
