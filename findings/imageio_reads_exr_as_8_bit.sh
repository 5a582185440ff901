#!/usr/bin/env bash
# imageio 2.38.1 with PyAV 18.1.0, both from PyPI.
#
# Behavior: imageio.v3.imread() of a float EXR, with no plugin asked for, goes to PyAV and gives 8-bit pixels: light above
# white is clipped, depth and other data are destroyed, and nothing is said. The result has four dimensions, as a movie has.
# Expected: float pixels, or a refusal.
# Seen on Linux x86_64, Python 3.11: values from 0 to 4 come back as uint8 with a largest value of 255, (1,H,W,3).
# So: read EXR with the OpenEXR package or OpenImageIO.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet imageio==2.38.1 av==18.1.0 OpenEXR==3.5.3 numpy==2.4.6

env/bin/python - <<'PYTHON'
import imageio.v3 as iio
import numpy as np
import OpenEXR

light = np.linspace(0, 4, 32 * 48 * 3, dtype=np.float32).reshape(32, 48, 3)
header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
for name, pixels in (("float", light), ("half", light.astype(np.float16))):
    OpenEXR.File(header, {"RGB": pixels}).write(f"{name}.exr")
    stored = OpenEXR.File(f"{name}.exr").channels()["RGB"].pixels
    read = iio.imread(f"{name}.exr")
    print(f"{name}: stored {stored.dtype}, up to {stored.max()}; read {read.dtype} {read.shape}, up to {read.max()}")
    assert stored.dtype == pixels.dtype and stored.max() == 4.0
    assert read.dtype == np.uint8 and read.shape == (1, 32, 48, 3) and read.max() == 255
    assert (read[0] == 255).mean() > 0.7, "light above white is not clipped any more"
PYTHON
echo "as described"
