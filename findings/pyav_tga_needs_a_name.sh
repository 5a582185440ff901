#!/usr/bin/env bash
# PyAV 18.1.0 from PyPI, with the FFmpeg it brings.
#
# Behavior: a valid TGA opens by its path, and from a file object that has a name ending in .tga. The same bytes in a
# file object without a name are "Invalid data found when processing input": TGA has no signature at its beginning, and
# FFmpeg goes by the name.
# Expected: what opens by path opens from memory.
# Seen on Linux x86_64, Python 3.11: InvalidDataError without a name, the right picture with one.
# So: give the file object the file's name.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet av==18.1.0 numpy==2.4.6

env/bin/python - <<'PYTHON'
import io
import struct
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 16, 8
pixels = np.arange(WIDTH * HEIGHT * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)  # BGR, top row first
header = bytes([0, 0, 2]) + bytes(5) + struct.pack("<HHHHBB", 0, 0, WIDTH, HEIGHT, 24, 0x20)
data = header + pixels.tobytes()
Path("picture.tga").write_bytes(data)


def read(source):
    with av.open(source) as container:
        return next(container.decode(video=0)).to_ndarray(format="bgr24")


assert np.array_equal(read("picture.tga"), pixels)
print("by path: the picture")
try:
    read(io.BytesIO(data))
    raise SystemExit("changed: a TGA without a name opens")
except av.error.InvalidDataError as error:
    print("from memory:", error)

named = io.BytesIO(data)
named.name = "picture.tga"
assert np.array_equal(read(named), pixels)
print("from memory, with a name: the picture")
PYTHON
echo "as described"
