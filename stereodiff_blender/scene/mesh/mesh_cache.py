"""Vertex positions over time in the two file formats of Blender's Mesh Cache modifier. NumPy only, no bpy."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np


def write_pc2(stream: BinaryIO, samples: Iterable[np.ndarray], sample_count: int, vertex_count: int,
              fps: float) -> None:
    """Point Cache 2: little-endian. samples: sample_count arrays (vertex_count,3), one for each frame."""
    stream.write(b"POINTCACHE2\0" + struct.pack("<iiffi", 1, vertex_count, 0.0, 1.0, sample_count))
    stream.writelines(np.ascontiguousarray(sample, dtype="<f4").tobytes() for sample in samples)


def write_mdd(stream: BinaryIO, samples: Iterable[np.ndarray], sample_count: int, vertex_count: int,
              fps: float) -> None:
    """LightWave's MDD: big-endian, with the second of every frame. Arguments as write_pc2."""
    stream.write(struct.pack(">ii", sample_count, vertex_count))
    stream.write((np.arange(sample_count) / fps).astype(">f4").tobytes())
    stream.writelines(np.ascontiguousarray(sample, dtype=">f4").tobytes() for sample in samples)


CACHE_WRITERS = {"PC2": write_pc2, "MDD": write_mdd}
