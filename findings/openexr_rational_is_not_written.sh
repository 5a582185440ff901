#!/usr/bin/env bash
# OpenEXR 3.5.3, the package from PyPI.
#
# Behavior: the package has a class OpenEXR.Rational, but an EXR with a framesPerSecond of that class cannot be written:
# RuntimeError, "unrecognized type of attribute ... type=Rational". A fractions.Fraction is written, and a file's
# framesPerSecond comes back as a Fraction, too.
# Expected: the class that is named after the file's type is taken, or there is none.
# Seen on Linux x86_64, Python 3.11.
# So: give and expect fractions.Fraction.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet OpenEXR==3.5.3 numpy==2.4.6

env/bin/python - <<'PYTHON'
from fractions import Fraction

import numpy as np
import OpenEXR

header = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage}
pixels = {"Y": np.zeros((4, 4), np.float32)}
try:
    OpenEXR.File({**header, "framesPerSecond": OpenEXR.Rational(24000, 1001)}, pixels).write("rational.exr")
except RuntimeError as error:
    print(f"OpenEXR.Rational: {error}")
    assert "unrecognized type of attribute 'framesPerSecond'" in str(error)
else:
    raise SystemExit("OpenEXR.Rational is written now")
OpenEXR.File({**header, "framesPerSecond": Fraction(24000, 1001)}, pixels).write("fraction.exr")
with OpenEXR.File("fraction.exr", header_only=True) as file:
    read = file.header()["framesPerSecond"]
print(f"fractions.Fraction: written, read as {read!r}")
assert read == Fraction(24000, 1001) and type(read) is Fraction
PYTHON
echo "as described"
