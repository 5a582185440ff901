"""ST maps, against OpenCV's, by the pictures they make, and as files of a job."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import (
    Distortion,
    Job,
    JobFolder,
    LensResult,
    Quality,
    Settings,
    StereoDiffError,
)
from stereodiff_blender.engine.contract.job_files.result_checks import read_checked
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.media.frames import ClipInfo, Raster, source_from_path
from stereodiff_blender.engine.pipeline import Estimate
from stereodiff_blender.engine.solution import CameraSolution
from stereodiff_blender.engine.storage import RunContext
from stereodiff_blender.engine.worker.event_report import EventReport
from stereodiff_blender.engine.worker.lens_maps import (
    NOWHERE,
    bytes_of_frame_maps,
    common_overscan,
    overscan_of,
    redistort_map,
    undistort_map,
    write_frame_maps,
    write_lens_maps,
)
from stereodiff_blender.engine.worker.publication import discard_products, publish
from stereodiff_blender.engine.worker.reading import Request

SIZE = 641, 359  # odd on purpose
INTRINSICS = np.array([500.0, 510.0, 328.0, 171.0])
BARREL, PINCUSHION = Distortion(-0.2, 0.06), Distortion(0.15)
BROWN = Distortion(-0.25, 0.08, -0.01, 0.002, -0.003)
LENSES = [BARREL, PINCUSHION, BROWN]


def coefficients(lens: Distortion) -> np.ndarray:
    return np.array([lens.k1, lens.k2, lens.p1, lens.p2, lens.k3])


def matrix(intrinsics: np.ndarray, corner=(0, 0)) -> np.ndarray:
    """As OpenCV has it: its pixel centers are whole."""
    fx, fy, cx, cy = intrinsics
    return np.array([[fx, 0.0, cx - 0.5 + corner[0]], [0.0, fy, cy - 0.5 + corner[1]], [0.0, 0.0, 1.0]])


def enlarged(overscan) -> tuple[int, int]:
    left, right, top, bottom = overscan
    return SIZE[0] + left + right, SIZE[1] + top + bottom


def look_up(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return cv2.remap(picture, u * width - 0.5, (1.0 - v) * height - 0.5, cv2.INTER_LINEAR, borderValue=(np.nan,) * 3)


def ramp() -> np.ndarray:
    """(H,W,2): the place of each pixel's center."""
    return np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) + 0.5 for side in SIZE)), axis=-1)


# --- The maps --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("lens", LENSES)
def test_undistort_looks_up_where_opencv_does(lens):
    overscan = overscan_of(lens, INTRINSICS, SIZE)
    wide = enlarged(overscan)
    expected = cv2.initUndistortRectifyMap(matrix(INTRINSICS), coefficients(lens), np.eye(3),
                                           matrix(INTRINSICS, overscan[::2]), wide, cv2.CV_32FC1)
    u, v = undistort_map(lens, INTRINSICS, SIZE, overscan)
    found = u.astype(float) * SIZE[0] - 0.5, (1.0 - v.astype(float)) * SIZE[1] - 0.5
    assert u.dtype == v.dtype == np.float32 and u.shape == wide[::-1]
    assert np.abs(np.subtract(found, expected)).max() < 1e-3


@pytest.mark.parametrize("lens", LENSES)
def test_redistort_looks_up_where_opencv_does(lens):
    overscan = overscan_of(lens, INTRINSICS, SIZE)
    wide = enlarged(overscan)
    centers = (ramp() - 0.5).astype(np.float64).reshape(-1, 1, 2)
    exact = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
    expected = cv2.undistortPoints(centers, matrix(INTRINSICS), coefficients(lens), R=np.eye(3),
                                   P=matrix(INTRINSICS, overscan[::2]), criteria=exact).reshape(*SIZE[::-1], 2)
    u, v = redistort_map(lens, INTRINSICS, SIZE, overscan)
    found = np.stack([u.astype(float) * wide[0] - 0.5, (1.0 - v.astype(float)) * wide[1] - 0.5], axis=-1)
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("lens", LENSES)
def test_there_and_back_every_pixel_is_where_it_was(lens):
    overscan = overscan_of(lens, INTRINSICS, SIZE)
    flat = look_up(ramp(), *undistort_map(lens, INTRINSICS, SIZE, overscan))
    again = look_up(flat, *redistort_map(lens, INTRINSICS, SIZE, overscan))
    assert np.abs(again - ramp())[3:-3, 3:-3].max() < 0.05


@pytest.mark.parametrize("lens", LENSES)
def test_overscan_holds_the_whole_outline_and_hardly_more(lens):
    left, right, top, bottom = overscan_of(lens, INTRINSICS, SIZE)
    assert (left + right) % 2 == (top + bottom) % 2 == 0
    (width, height), along = SIZE, np.linspace(0.0, 1.0, 5001)
    outline = np.concatenate([np.stack(np.broadcast_arrays(x, y), axis=-1) for x, y in (
        (along * width, 0.0), (along * width, float(height)), (0.0, along * height), (float(width), along * height))])
    ideal = undistorted((outline - INTRINSICS[2:]) / INTRINSICS[:2], lens) * INTRINSICS[:2] + INTRINSICS[2:]
    beyond = *-ideal.min(axis=0), *(ideal.max(axis=0) - SIZE)
    for side, reach, spare in zip((left, top, right, bottom), beyond, (1, 1, 2, 2), strict=True):
        assert -1e-3 <= side - max(reach, 0.0) < spare


def test_a_barrel_needs_overscan_and_a_lens_that_bends_nothing_none():
    assert min(overscan_of(BARREL, INTRINSICS, SIZE)) > 5
    assert overscan_of(Distortion(), INTRINSICS, SIZE) == (0, 0, 0, 0)
    u, v = undistort_map(Distortion(), INTRINSICS, SIZE, (0, 0, 0, 0))
    assert u[0] == pytest.approx((np.arange(SIZE[0]) + 0.5) / SIZE[0], abs=1e-6)
    assert v[:, 0] == pytest.approx(1.0 - (np.arange(SIZE[1]) + 0.5) / SIZE[1], abs=1e-6)


def test_what_lies_beyond_the_fold_is_nowhere():
    """Else the middle of the plate would be shown once more, beside it."""
    lens, wide = Distortion(-0.2), (900, 900, 900, 900)
    u, v = undistort_map(lens, INTRINSICS, SIZE, wide)
    columns, rows = np.meshgrid(np.arange(u.shape[1]) - 899.5, np.arange(u.shape[0]) - 899.5)
    ideal = np.hypot((columns - INTRINSICS[2]) / INTRINSICS[0], (rows - INTRINSICS[3]) / INTRINSICS[1])
    folded = ideal > 1.0 / np.sqrt(3 * 0.2) + 0.01
    assert folded.any() and (u[folded] == NOWHERE).all() and (v[folded] == NOWHERE).all()
    assert (u[ideal < 1.0] > -0.5).all()


FISHEYE, WIDE = Distortion(-0.03, 0.01, is_fisheye=True), np.array([320.0, 320.0, 328.0, 171.0])


def test_maps_of_a_fisheye_lead_there_and_back():
    overscan = overscan_of(FISHEYE, WIDE, SIZE)
    u, v = undistort_map(FISHEYE, WIDE, SIZE, overscan)
    size, corner = enlarged(overscan), np.array(overscan[::2])
    bends = np.array([FISHEYE.k1, FISHEYE.k2, 0.0, 0.0])
    expected = cv2.fisheye.initUndistortRectifyMap(matrix(WIDE), bends, np.eye(3), matrix(WIDE, corner), size,
                                                   cv2.CV_32FC1)
    found = u.astype(float) * SIZE[0] - 0.5, (1.0 - v.astype(float)) * SIZE[1] - 0.5
    assert np.abs(np.subtract(found, expected)).max() < 1e-3
    again = look_up(look_up(ramp(), u, v), *redistort_map(FISHEYE, WIDE, SIZE, overscan))
    assert np.abs(again - ramp())[3:-3, 3:-3].max() < 0.05


def test_the_overscan_of_a_fisheye_ends_somewhere():
    """Its corners are 83 degrees off the axis, where an ideal picture would be 9 times as wide."""
    lens, intrinsics = Distortion(is_fisheye=True), np.array([255.0, 255.0, 320.5, 179.5])
    overscan = overscan_of(lens, intrinsics, SIZE)
    assert max(overscan[:2]) <= SIZE[0] + 1 and max(overscan[2:]) <= SIZE[1] + 1 and min(overscan) >= SIZE[1]
    u, v = redistort_map(lens, intrinsics, SIZE, overscan)
    assert np.isfinite(u).all() and np.isfinite(v).all() and (u[0, 0] < 0.0 or v[0, 0] > 1.0)
    assert 0.0 < u[SIZE[1] // 2, 0] < 1.0 or overscan[0] == SIZE[0]


# --- The files -------------------------------------------------------------------------------------------------

def solved(folder: Path, lens: LensResult, focals=(50.0, 50.0, 50.0)) -> tuple[Request, np.ndarray, Estimate]:
    """Three frames of a locked camera, solved at half the clip's size."""
    pictures = np.random.default_rng(4).integers(0, 256, (3, 36, 64, 3), np.uint8)
    for number, picture in enumerate(pictures, 1):
        cv2.imwrite(str(folder / f"p_{number}.png"), cv2.resize(picture, (128, 72)))
    job = Job("job", source_from_path(folder / "p_1.png"), 1, 3, Settings())
    cameras = CameraSolution("static", np.tile(np.eye(4), (3, 1, 1)),
                             np.array([[focal, focal, 33.0, 17.0] for focal in focals]), np.ones(3, bool),
                             np.full(3, np.nan), np.zeros((0, 3)), np.zeros(0), lens=lens)
    estimate = Estimate(cameras, Quality(solved_share=1.0))
    request = Request(job, JobFolder(folder), ClipInfo(128, 72, 1.0, 24.0, 3), Raster(64, 36, 128, 72, 1.0))
    request.folder.write_job(job)
    return request, pictures, estimate


def published(folder: Path, lens: LensResult, focals=(50.0, 50.0, 50.0)):
    request, pictures, estimate = solved(folder, lens, focals)
    return publish(request, pictures, estimate, (), RunContext(), EventReport(request.folder))


def test_a_result_with_distortion_has_its_maps(tmp_path):
    result, folder = published(tmp_path, LensResult("radial", BARREL)), JobFolder(tmp_path)
    folder.write_result(result)
    assert (result.lens.undistort, result.lens.redistort) == ("lens/undistort.exr", "lens/redistort.exr")
    left, right, top, bottom = result.lens.overscan
    intrinsics = np.array([100.0, 100.0, 66.0, 34.0])  # at the clip's size
    assert result.lens.overscan == overscan_of(BARREL, intrinsics, (128, 72))
    undistort, redistort = (exr.read_exr(path) for path in (folder.undistort_file, folder.redistort_file))
    for found, (u, v) in ((undistort, undistort_map(BARREL, intrinsics, (128, 72), result.lens.overscan)),
                          (redistort, redistort_map(BARREL, intrinsics, (128, 72), result.lens.overscan))):
        assert set(found) == set("RGB") and (found["B"] == 1.0).all()
        assert np.array_equal(found["R"], u) and np.array_equal(found["G"], v)
    assert undistort["R"].shape == (72 + top + bottom, 128 + left + right) and redistort["R"].shape == (72, 128)
    assert read_checked(folder) == result


def test_each_frame_of_a_zoom_has_maps_of_its_own(tmp_path):
    """Beside the middle frame's, which builds before this one read; all of one size, and rounded to a 256th of a pixel.
    """
    lens, folder = LensResult("radial", BARREL, zooms=True), JobFolder(tmp_path)
    result = published(tmp_path, lens, (45.0, 50.0, 60.0))
    folder.write_result(result)
    assert read_checked(folder) == result
    left, right, top, bottom = overscan = result.lens.overscan
    assert (left + right) % 2 == (top + bottom) % 2 == 0
    for number, (frame, focal) in enumerate(zip(result.frames, (90.0, 100.0, 120.0), strict=True), 1):
        assert frame.undistort == f"lens/undistort/000{number}.exr"
        assert frame.redistort == f"lens/redistort/000{number}.exr"
        own = np.array([focal, focal, 66.0, 34.0])
        needed = np.array(overscan_of(BARREL, own, (128, 72)))
        assert (needed <= np.add(overscan, (0, 1, 0, 1))).all()
        for name, expected in ((frame.undistort, undistort_map(BARREL, own, (128, 72), overscan)),
                               (frame.redistort, redistort_map(BARREL, own, (128, 72), overscan))):
            found = exr.read_exr(tmp_path / name)
            assert (found["B"] == 1.0).all()
            for channel, exact in zip("RG", expected, strict=True):
                assert np.abs(found[channel] - exact).max() * max(exact.shape) < 1 / 256
    middle = exr.read_exr(folder.undistort_file)
    own = np.array([100.0, 100.0, 66.0, 34.0])
    assert np.array_equal(middle["R"], undistort_map(BARREL, own, (128, 72), overscan)[0])


@pytest.mark.parametrize(("lens", "focals"), [
    (LensResult("radial", BARREL, zooms=True), (49.98, 50.0, 50.02)), (LensResult(zooms=True), (45.0, 50.0, 60.0)),
    (LensResult("radial", Distortion(-1e-4), zooms=True), (45.0, 50.0, 60.0))])
def test_one_pair_serves_a_zoom_in_which_nobody_would_see_the_difference(tmp_path, lens, focals):
    folder = JobFolder(tmp_path)
    folder.write_result(published(tmp_path, lens, focals))
    assert not (tmp_path / "lens" / "undistort").exists()
    assert not {"undistort", "redistort"} & set(json.loads(folder.result_file.read_text())["frames"][0])


@pytest.mark.parametrize("lens", [BARREL, BROWN, Distortion(-0.03, 0.01, is_fisheye=True)])
def test_a_table_of_radii_is_as_good_as_the_formula(lens):
    overscan = overscan_of(lens, INTRINSICS, SIZE)
    for made in (undistort_map, redistort_map):
        quick, exact = (made(lens, INTRINSICS, SIZE, overscan, is_quick=is_quick) for is_quick in (True, False))
        assert np.abs(np.subtract(quick, exact)).max() * max(enlarged(overscan)) < 1e-3


def test_the_maps_of_frames_take_what_is_asked_for(tmp_path):
    lens, size = LensResult("radial", BARREL, zooms=True), (640, 360)
    intrinsics = np.array([[focal, focal, 320.0, 180.0] for focal in (500.0, 550.0, 600.0)])
    overscan = common_overscan(BARREL, intrinsics, size)
    lens = write_lens_maps(JobFolder(tmp_path), lens, intrinsics[1], size, {}, overscan)
    maps = write_frame_maps(JobFolder(tmp_path), lens, intrinsics, size, [7, 8, 9], {})
    taken = sum((tmp_path / name).stat().st_size for own in maps for name in own.values())
    assert 0.6 * bytes_of_frame_maps(size, BARREL, intrinsics) < taken <= bytes_of_frame_maps(size, BARREL, intrinsics)
    assert bytes_of_frame_maps(size, BARREL, intrinsics[:1]) == bytes_of_frame_maps(size, None, intrinsics) == 0


def test_a_pinhole_has_none(tmp_path):
    result = published(tmp_path, LensResult())
    assert result.lens == LensResult() and not (tmp_path / "lens").exists()


def test_maps_go_with_the_other_products(tmp_path):
    published(tmp_path, LensResult("radial", BARREL))
    discard_products(JobFolder(tmp_path))
    assert not (tmp_path / "lens").exists()


def refused():
    return pytest.raises(StereoDiffError, check=lambda error: error.code == "result_invalid")


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    folder = JobFolder(tmp_path)
    folder.write_result(published(tmp_path, LensResult("radial", BARREL)))
    return folder


def test_a_map_that_is_gone_is_missed(folder):
    folder.redistort_file.unlink()
    with refused():
        folder.read_result()


@pytest.mark.parametrize("picture", [
    dict.fromkeys("RGB", np.ones((71, 128))), dict.fromkeys("RG", np.ones((72, 128))), {"V": np.ones((72, 128))}])
def test_a_map_that_is_none_is_not_for_blender(folder, picture):
    exr.write_exr(folder.redistort_file, picture)
    with refused():
        read_checked(folder)


@pytest.mark.parametrize("change", [{"redistort": None}, {"undistort": "../other.exr"}])
def test_maps_of_frames_come_in_pairs_and_for_all(tmp_path, change):
    folder = JobFolder(tmp_path)
    folder.write_result(published(tmp_path, LensResult("radial", BARREL, zooms=True), (45.0, 50.0, 60.0)))
    data = json.loads(folder.result_file.read_text())
    data["frames"][1].update(change)
    folder.result_file.write_text(json.dumps(data))
    with refused():
        folder.read_result()


@pytest.mark.parametrize("change", [
    {"undistort": None}, {"overscan": [-1, 1, 0, 0]}, {"overscan": [10**7, 0, 0, 0]}, {"undistort": "../other.exr"},
    {"distortion": None, "model": "pinhole"}])
def test_lenses_that_do_not_go_with_their_maps(folder, change):
    data = json.loads(folder.result_file.read_text())
    data["lens"].update(change)
    folder.result_file.write_text(json.dumps(data))
    with refused():
        folder.read_result()


def test_a_folder_for_maps_that_cannot_be_made(tmp_path):
    (tmp_path / "lens").write_text("in the way")
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "output_not_writable"):
        write_lens_maps(JobFolder(tmp_path), LensResult("radial", BARREL), INTRINSICS, SIZE, {})
