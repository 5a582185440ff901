"""A clip shot through a lens that bends the picture, from its files to a result: depth lies on the plate as it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_scenes import BOARDS, FOCAL_PX, HEIGHT, WIDTH, camera_path, path_error, render_boards
from clips import write_encoded

from stereodiff_blender.engine.cli.lens_file import with_lens_file
from stereodiff_blender.engine.contract import ClipSource, Distortion, Job, JobFolder, Result, Settings
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.media.exr import read_exr, write_exr
from stereodiff_blender.engine.media.frames import ClipInfo, source_from_path
from stereodiff_blender.engine.solution import TRUSTED
from stereodiff_blender.engine.worker.lens_maps import overscan_of, redistort_map
from stereodiff_blender.engine.worker.run import run

LENS = Distortion(-0.15)
COUNT, MARGIN = 14, 40
CORNER = 24

pytestmark = pytest.mark.slow


def plate_places() -> np.ndarray:
    """(H,W,2) where a pinhole would have shown the plate's pixels, in focal lengths from the principal point."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    return undistorted(np.stack([x, y], axis=-1) / FOCAL_PX, LENS)


def distorted_boards(poses: np.ndarray) -> np.ndarray:
    """(T,H,W,3) uint8."""
    width, height = WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN
    ideal = plate_places() * FOCAL_PX + (width / 2 - 0.5, height / 2 - 0.5)
    frames = render_boards(poses, width=width, height=height)
    return np.stack([cv2.remap(frame, ideal.astype(np.float32), None, cv2.INTER_CUBIC) for frame in frames])


def true_depth(pose: np.ndarray) -> np.ndarray:
    """(H,W) of the boards, behind each of the plate's pixels."""
    rays = np.concatenate([plate_places(), np.ones((HEIGHT, WIDTH, 1))], axis=2) @ pose[:3, :3].T
    depth = np.zeros((HEIGHT, WIDTH))
    for origin, across, down in BOARDS:
        # origin + u across + v down = place + depth * ray
        sides = np.stack(np.broadcast_arrays(np.array(across), np.array(down), -rays), axis=-1)
        u, v, far = np.moveaxis(np.linalg.solve(sides, (pose[:3, 3] - origin)[:, None])[..., 0], -1, 0)
        on_board = (u > 0) & (u < 1) & (v > 0) & (v < 1) & (far > 0)
        depth[on_board] = far[on_board]
    return depth


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return camera_path(COUNT)


@pytest.fixture(scope="module")
def clip(poses, tmp_path_factory) -> ClipSource:
    folder = tmp_path_factory.mktemp("clip")
    for number, frame in enumerate(distorted_boards(poses), 1):
        write_encoded(folder / f"boards_{number:04d}.png", frame[..., ::-1])
    return source_from_path(folder / "boards_0001.png")


def solved_with(clip: ClipSource, path: Path, settings: Settings) -> tuple[JobFolder, Result]:
    folder = JobFolder(path)
    folder.path.mkdir()
    folder.write_job(Job("distorted", clip, 1, COUNT, settings))
    return folder, run(folder.path)


@pytest.fixture(scope="module")
def solved(clip, tmp_path_factory) -> tuple[JobFolder, Result]:
    return solved_with(clip, tmp_path_factory.mktemp("jobs") / "distorted", Settings(max_side_px=WIDTH))


@pytest.fixture(scope="module")
def given(clip, tmp_path_factory) -> tuple[JobFolder, Result]:
    """The same with the lens as known, from an ST map that such a lens has."""
    known = Settings(max_side_px=WIDTH, focal_mm=FOCAL_PX / WIDTH * 36.0, sensor_mm=36.0, refine="none")
    size, lens = (WIDTH, HEIGHT), np.array([FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2])
    u, v = redistort_map(LENS, lens, size, overscan_of(LENS, lens, size))
    path = tmp_path_factory.mktemp("map") / "redistort.exr"
    write_exr(path, {"R": u, "G": v, "B": np.ones_like(u)})
    settings = with_lens_file(known, path, ClipInfo(*size, 1.0, 24.0, COUNT))
    return solved_with(clip, tmp_path_factory.mktemp("jobs") / "given", settings)


def test_a_lens_that_is_given_by_an_st_map_solves_as_well(given, solved, poses):
    result = given[1]
    assert result.lens.is_given and result.lens.distortion.k1 == pytest.approx(LENS.k1, abs=1e-4)
    assert not {warning.code for warning in result.warnings} & {"lens_doubtful", "lens_distorts"}
    off, off_when_solved = (path_error(np.array([frame.camera_to_world for frame in one.frames])[:, :3, 3],
                                       poses[:, :3, 3]) for one in (result, solved[1]))
    assert off < 1.1 * off_when_solved and result.frames[0].fx == pytest.approx(FOCAL_PX)


def test_the_result_says_what_the_lens_does(solved):
    folder, result = solved
    read = folder.read_result()
    read.validate(folder.path)
    assert read.lens == result.lens and read.lens.model == "radial" and not read.lens.is_given
    assert read.lens.distortion.k1 == pytest.approx(LENS.k1, rel=0.1, abs=0.01)
    assert read.frames[0].fx == pytest.approx(FOCAL_PX, rel=0.02)
    assert "lens_distorts" in {warning.code for warning in read.warnings}


def test_the_camera_is_the_ideal_one(solved, poses):
    found = np.array([frame.camera_to_world for frame in solved[1].frames])
    assert path_error(found[:, :3, 3], poses[:, :3, 3]) < 0.005


def test_depth_on_the_plate_is_true_up_to_its_corners(solved, poses):
    folder, result = solved
    corners = np.zeros((HEIGHT, WIDTH), bool)
    for rows in (slice(0, CORNER), slice(-CORNER, None)):
        for columns in (slice(0, CORNER), slice(-CORNER, None)):
            corners[rows, columns] = True
    ratios = []
    for frame, pose in zip(result.frames, poses, strict=True):
        depth, = read_exr(folder.path / frame.depth).values()
        assert depth.shape == (HEIGHT, WIDTH) and (depth > 0).all()
        ratios.append(depth / true_depth(pose))
    ratios = np.stack(ratios)
    ratios /= np.median(ratios)
    off = np.abs(ratios - 1.0)
    assert np.median(off) < 0.01 and (off < 0.05).mean() > 0.9
    assert np.median(off[:, corners]) < 0.03 and abs(np.median(ratios[:, corners]) - 1.0) < 0.02
    assert result.quality.coverage > TRUSTED
