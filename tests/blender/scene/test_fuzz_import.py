"""Damaged results and point files given to Blender: refused in words, with nothing of the scene changed."""

from __future__ import annotations

import importlib
import random

import bpy
import numpy as np
import pytest
from fuzz.mutations import damaged, damaged_json
from job_folder import Example, write_job_folder

SEED, CASES = "20261123", 120


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


def datablocks() -> dict[str, int]:
    kinds = ("objects", "collections", "meshes", "cameras", "images", "materials", "node_groups", "movieclips")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def test_a_damaged_result_is_refused_or_imported_whole(scene_module, contract, tmp_path):
    folder = tmp_path / "job"
    write_job_folder(folder, Example(raster=(32, 18), clip=(32, 18), frame_count=3), clip_folder=tmp_path / "clip")
    path = folder / "result.json"
    original, before, outcomes = path.read_bytes(), datablocks(), {"imported": 0, "refused": 0}
    for number in range(CASES):
        path.write_bytes(damaged_json(original, random.Random(f"{SEED}/import/{number}")))
        try:
            scene_module.import_result(bpy.context.scene, folder)
            outcomes["imported"] += 1
            before = datablocks()
        except contract.StereoDiffError as error:
            outcomes["refused"] += 1
            assert error.code != "internal_error", f"{SEED} {number}: {error}"
            assert datablocks() == before, f"{SEED} {number}: {error}"
    assert outcomes["refused"] > CASES // 2


def test_a_damaged_point_file_is_refused(addon, contract, tmp_path):
    ply = importlib.import_module(f"{addon.__name__}.scene.result.ply")
    path, points = tmp_path / "points.ply", np.zeros(20, ply.POINT)
    points["position"] = np.arange(60, dtype=np.float32).reshape(20, 3)
    header = ["ply", "format binary_little_endian 1.0", "element vertex 20", *ply.PROPERTIES, "end_header", ""]
    original, refused = "\n".join(header).encode("ascii") + points.tobytes(), 0
    path.write_bytes(original)
    assert len(ply.read_ply(path)[0]) == 20
    for number in range(400):
        path.write_bytes(damaged(original, random.Random(f"{SEED}/ply/{number}")))
        try:
            positions, colors = ply.read_ply(path)
            assert len(positions) == len(colors)
        except contract.StereoDiffError:
            refused += 1
    assert refused > 200
