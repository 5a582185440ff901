#!/usr/bin/env bash
# OpenCV for Python, wheel opencv-python-headless 5.0.0.93 from PyPI.
#
# Behavior: absdiff() of two one-dimensional float32 arrays of equal length gives, for one to four elements, four rows of
# float64, filled up with zeros: the arrays are taken for colors. For five and more it gives as many elements, of float32.
# max() of the same arrays gives as many elements as they have, of float32, whatever their number.
# Expected: as many elements as went in, of their type, as the function documents.
# Seen on Linux x86_64, Python 3.11: shapes (4, 1) of float64 for lengths 1 to 4, (5,) and (6,) of float32 for 5 and 6.
# So: where a selection of pixels may be small, take differences with NumPy, or keep the arrays two-dimensional.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet opencv-python-headless==5.0.0.93 numpy==2.4.6

env/bin/python - <<'PYTHON'
import cv2
import numpy as np

for length in range(1, 7):
    first = np.arange(1, length + 1, dtype=np.float32)
    second = 2 * first
    difference, larger = cv2.absdiff(first, second), cv2.max(first, second)
    flat = cv2.absdiff(first[None], second[None])
    print(length, "elements: absdiff", difference.shape, difference.dtype, difference.ravel().tolist(),
          "max", larger.shape, larger.dtype, "absdiff of (1,n)", flat.shape, flat.dtype)
    assert larger.shape == (length,) and larger.dtype == np.float32
    if length <= 4:
        assert difference.shape == (4, 1) and difference.dtype == np.float64, "changed: short arrays keep their length"
        assert difference.ravel().tolist() == first.tolist() + [0.0] * (4 - length)
    else:
        assert difference.shape == (length,) and difference.dtype == np.float32
        assert difference.tolist() == first.tolist()
PYTHON
