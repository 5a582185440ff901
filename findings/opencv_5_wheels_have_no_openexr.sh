#!/usr/bin/env bash
# OpenCV for Python, wheel opencv-python-headless 5.0.0.93 from PyPI.
#
# Behavior: the wheel is built without OpenEXR. imread() of a valid EXR gives None, imwrite() raises "could not find a
# writer", also with OPENCV_IO_ENABLE_OPENEXR=1, which switched EXR on in wheels of OpenCV 4.
# Expected: EXR with that variable set, as before.
# Seen on Linux x86_64, Python 3.11: "OpenEXR: NO" in the build information, imread None, imwrite refused.
# So: read and write EXR with another package (OpenEXR, OpenImageIO).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet opencv-python-headless==5.0.0.93 OpenEXR==3.5.3 numpy==2.4.6

OPENCV_IO_ENABLE_OPENEXR=1 env/bin/python - <<'PYTHON'
import cv2
import numpy as np
import OpenEXR

picture = np.linspace(0, 1, 32 * 48 * 3, dtype=np.float32).reshape(32, 48, 3)
header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
OpenEXR.File(header, {"RGB": picture}).write("valid.exr")
assert np.array_equal(OpenEXR.File("valid.exr").channels()["RGB"].pixels, picture), "the file itself is not valid"

built = [line.split() for line in cv2.getBuildInformation().splitlines() if "OpenEXR" in line]
print("build information:", built)
assert built == [["OpenEXR:", "NO"]]

read = cv2.imread("valid.exr", cv2.IMREAD_UNCHANGED)
print("imread:", read)
assert read is None

try:
    cv2.imwrite("written.exr", picture)
    raise SystemExit("changed: imwrite wrote an EXR")
except cv2.error as error:
    print("imwrite:", error.err)
    assert "could not find a writer" in error.err
PYTHON
echo "as described"
