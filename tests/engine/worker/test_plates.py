"""Plates larger than the raster, from a clip's files to cameras."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_scenes import FOCAL_PX, HEIGHT, WIDTH, camera_path, render_boards
from clips import write_encoded
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import (
    Distortion,
    Job,
    JobFolder,
    LensResult,
    Matte,
    Result,
    Settings,
    StereoDiffError,
)
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.media.frames import Raster, read_frames, source_from_path
from stereodiff_blender.engine.stereo.sfm import solve_cameras
from stereodiff_blender.engine.storage import DiskScratch, RunContext
from stereodiff_blender.engine.worker import run as worker
from stereodiff_blender.engine.worker.lens_maps import bytes_of_lens_maps, overscan_of, write_lens_maps
from stereodiff_blender.engine.worker.reading import Request, read_plate_masks, read_plates, wants_plates
from stereodiff_blender.engine.worker.run import examine, run

COUNT, SCALE = 8, 2
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """The first file of a sequence of boards, twice as large as the raster it is worked on."""
    folder = tmp_path_factory.mktemp("clip")
    pictures = render_boards(camera_path(COUNT), focal_px=SCALE * FOCAL_PX, width=SCALE * WIDTH, height=SCALE * HEIGHT)
    for number, picture in enumerate(pictures, 1):
        write_encoded(folder / f"boards_{number:04d}.png", picture[..., ::-1])
    return folder / "boards_0001.png"


def request_for(folder: Path, clip: Path, **settings) -> Request:
    job = Job("plates", source_from_path(clip), 1, COUNT, Settings(**{"max_side_px": WIDTH} | settings))
    folder.mkdir(exist_ok=True)
    JobFolder(folder).write_job(job)
    return Request(job, JobFolder(folder), *examine(job))


def test_plates_are_the_clips_own_pixels_in_gray(tmp_path, clip):
    request = request_for(tmp_path / "plates", clip)
    frames, plates = read_plates(request, DiskScratch(tmp_path / "scratch"), RecordingReport())
    expected = cv2.cvtColor(cv2.imread(str(clip))[..., ::-1], cv2.COLOR_RGB2GRAY)
    assert plates.shape == (COUNT, SCALE * HEIGHT, SCALE * WIDTH) and np.array_equal(plates[0], expected)
    as_read = read_frames(request.job.clip, request.job.frame_numbers, request.raster)
    assert all(np.array_equal(*pair) for pair in zip(frames, as_read, strict=True))


def test_plates_that_were_read_are_not_read_again(tmp_path, clip):
    copy = shutil.copytree(clip.parent, tmp_path / "copy")
    request, scratch = request_for(tmp_path / "plates", copy / clip.name), DiskScratch(tmp_path / "scratch")
    first = [array.copy() for array in read_plates(request, scratch, RecordingReport())]
    shutil.rmtree(copy)
    again = read_plates(request, DiskScratch(tmp_path / "scratch"), RecordingReport())
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))


@pytest.mark.parametrize(("settings", "wanted"), [
    ({}, True), ({"max_side_px": SCALE * WIDTH}, False), ({"max_side_px": round(SCALE * WIDTH / 1.1)}, False)])
def test_plates_are_read_where_they_show_more(tmp_path, clip, settings, wanted):
    request = request_for(tmp_path / "plates", clip, **settings)
    assert wants_plates(request) == wanted
    plates = read_plates(request, DiskScratch(tmp_path / "scratch"), RecordingReport())[1]
    assert (plates is not None) == wanted


@pytest.mark.parametrize(("clip_size", "plate_size"), [
    ((1920, 1080), (1920, 1080)), ((4096, 2160), (4096, 2160)), ((8192, 4320), (4096, 2160)),
    ((2160, 4320), (2048, 4096))])
def test_plates_have_no_more_than_4096_pixels(clip_size, plate_size):
    assert Raster(640, 360, *clip_size, 1.0).plate_size == plate_size


@pytest.mark.parametrize(("free", "code"), [(1.05, None), (0.7, "disk_full")])
def test_the_plates_room_is_asked_for(tmp_path, clip, monkeypatch, free, code):
    """Only so much is free, beside the rest, of what the plates take; or the job is not begun."""
    request_for(tmp_path / "plates", clip, quality="draft")
    clip_pixels = SCALE**2 * WIDTH * HEIGHT
    rest, plates = COUNT * WIDTH * HEIGHT * (46 + 12) + 3 * 8 * clip_pixels, COUNT * clip_pixels
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, int(rest + free * plates)))
    if code is None:
        assert len(run(tmp_path / "plates").frames) == COUNT
        return
    with pytest.raises(StereoDiffError) as caught:
        run(tmp_path / "plates")
    assert caught.value.code == code


FISHEYE = {"distortion": (-0.03, 0.01, 0.0, 0.0), "is_fisheye": True}


@pytest.mark.parametrize(("lens", "plates_of_maps"), [
    (FISHEYE, None), ({"distortion": (0.0, 0.0, 0.0)}, 0.0), ({"distortion": (-0.1, 0.0, 0.0)}, None), ({}, 3.0)])
def test_room_for_the_lens_maps_is_asked_for(tmp_path, clip, monkeypatch, lens, plates_of_maps):
    """By the overscan of a lens that is known; of one that is not, by what wide barrels have."""
    request = request_for(tmp_path / "maps", clip, quality="draft", focal_mm=18.0, sensor_mm=36.0, **lens)
    clip_pixels = SCALE**2 * WIDTH * HEIGHT
    if plates_of_maps is None:
        size, focal_px = (SCALE * WIDTH, SCALE * HEIGHT), 0.5 * SCALE * WIDTH
        left, right, top, bottom = overscan_of(request.job.settings.known_distortion,
                                               np.array([focal_px, focal_px, 0.5 * size[0], 0.5 * size[1]]), size)
        plates_of_maps = 1.0 + (size[0] + left + right) * (size[1] + top + bottom) / clip_pixels
        assert plates_of_maps > 2.2
    needed = COUNT * WIDTH * HEIGHT * (46 + 12) + COUNT * clip_pixels + 8 * clip_pixels * plates_of_maps

    def stop(*_):
        raise StereoDiffError("cancelled", "The next step has begun.")
    monkeypatch.setattr(worker, "load_networks", stop)
    for free, code in ((int(0.99 * needed), "disk_full"), (int(needed) + 10, "cancelled")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: Usage(0, 0, free))
        with pytest.raises(StereoDiffError) as caught:
            run(tmp_path / "maps")
        assert caught.value.code == code


def test_the_maps_take_what_is_asked_for(tmp_path):
    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    lens, size = Distortion(-0.05, 0.01, is_fisheye=True), (640, 360)
    intrinsics = np.array([300.0, 300.0, 320.0, 180.0])
    write_lens_maps(folder, LensResult("fisheye", lens), intrinsics, size, {})
    taken = folder.undistort_file.stat().st_size + folder.redistort_file.stat().st_size
    assert 0.7 * bytes_of_lens_maps(size, lens, intrinsics) < taken <= bytes_of_lens_maps(size, lens, intrinsics)


@pytest.mark.slow
def test_a_job_solves_with_what_the_plates_show(tmp_path, clip):
    request = request_for(tmp_path / "plates", clip)
    frames, plates = read_plates(request, DiskScratch(tmp_path / "scratch"), RecordingReport())
    without, with_plates = (solve_cameras(frames, context=RunContext(plates=found)) for found in (None, plates))
    found = np.array([frame.camera_to_world for frame in run(tmp_path / "plates").frames])
    assert np.array_equal(found, with_plates.camera_to_world)
    assert not np.array_equal(found, without.camera_to_world)


# --- Depth at the plate's size -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def plate_job(tmp_path_factory, clip) -> JobFolder:
    folder = tmp_path_factory.mktemp("solved") / "plates"
    request_for(folder, clip, quality="draft", depth_size="plate")
    run(folder)
    return JobFolder(folder)


def depth_file(folder: JobFolder, product: str, number: int) -> np.ndarray:
    (picture,) = exr.read_exr(folder.product_file(product, number)).values()
    return picture


def test_depth_is_written_at_the_plates_size_beside_the_working_one(plate_job):
    result = plate_job.read_result()
    assert result.plate_size == (SCALE * WIDTH, SCALE * HEIGHT) and (result.width, result.height) == (WIDTH, HEIGHT)
    for frame in result.frames:
        assert frame.plate_depth == f"plate_depth/{frame.frame:04d}.exr"
        coarse, fine = (depth_file(plate_job, product, frame.frame) for product in ("depth", "plate_depth"))
        assert fine.shape == (SCALE * HEIGHT, SCALE * WIDTH) and (fine > 0).all()
        shrunk = cv2.resize(1.0 / fine, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        assert np.median(np.abs(shrunk * coarse - 1.0)) < 0.01


def test_edges_are_written_beside_it(plate_job):
    for frame in plate_job.read_result().frames:
        assert frame.edge == f"edge/{frame.frame:04d}.exr"
        share = depth_file(plate_job, "edge", frame.frame)
        assert share.shape == (SCALE * HEIGHT, SCALE * WIDTH)
        assert 0.0 <= share.min() < 0.1 and share.max() == 1.0 and (share == 1.0).mean() > 0.5


def test_its_edges_are_truer_than_those_of_enlarged_depth(plate_job):
    """By what both say of the next frame: the pictures agree where depth is right."""
    result = plate_job.read_result()
    wrong = {product: np.mean([unlike(plate_job, result, index, product) for index in range(COUNT - 1)])
             for product in ("depth", "plate_depth")}
    assert wrong["plate_depth"] < 0.9 * wrong["depth"]


def unlike(folder: JobFolder, result: Result, index: int, product: str) -> float:
    """Mean difference in gray levels between a frame and the next one, looked up through depth, where depth changes."""
    here, there = (cv2.imread(file_of(result, index + k), cv2.IMREAD_GRAYSCALE).astype(np.float32) for k in (0, 1))
    size = here.shape[::-1]
    depth = cv2.resize(depth_file(folder, product, index + 1), size, interpolation=cv2.INTER_NEAREST)
    first, second = result.frames[index:index + 2]
    intrinsics = np.array([[f.fx, f.fy, f.cx, f.cy] for f in (first, second)]) * SCALE
    rows, columns = np.nonzero(edges_of(folder, index + 1, size))
    fx, fy, cx, cy = intrinsics[0]
    points = np.stack([(columns + 0.5 - cx) / fx, (rows + 0.5 - cy) / fy, np.ones(len(rows))]) * depth[rows, columns]
    to_next = np.linalg.inv(second.camera_to_world) @ np.array(first.camera_to_world)
    x, y, z = to_next[:3, :3] @ points + to_next[:3, 3:]
    fx, fy, cx, cy = intrinsics[1]
    places = ((x / z * fx + cx - 0.5).astype(np.float32)[None], (y / z * fy + cy - 0.5).astype(np.float32)[None])
    found = cv2.remap(there, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    return float(np.abs(found - here[rows, columns]).mean())


def file_of(result: Result, index: int) -> str:
    return result.clip.path.replace("0001", f"{index + 1:04d}")


def edges_of(folder: JobFolder, number: int, size: tuple[int, int]) -> np.ndarray:
    """(H,W) bool: where depth of the working size changes its surface, and a little around it."""
    depth = np.log(depth_file(folder, "depth", number))
    changes = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0.15
    return cv2.resize(changes.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def test_the_same_with_and_without_is_measured_once(tmp_path, clip, plate_job):
    """Stage 1 does not depend on how large its depth is written."""
    folder = plate_job.path.parent / "working"
    request_for(folder, clip, quality="draft")
    result = run(folder)
    assert result.plate_size is None and not {"track", "solve", "depth"} & result.timings_s.keys()
    assert not (folder / "plate_depth").exists()
    for number in range(1, COUNT + 1):
        np.testing.assert_array_equal(depth_file(JobFolder(folder), "depth", number),
                                      depth_file(plate_job, "depth", number))


@pytest.mark.parametrize(("times", "wrong"), [(1.0, 0), (0.5, 400)])
def test_a_matte_is_honored_at_the_plates_size(tmp_path, clip, monkeypatch, times, wrong):
    """One of another size as well as it can be: here by half a pixel of its own along the outline."""
    size = SCALE * WIDTH, SCALE * HEIGHT
    marked = cv2.ellipse(np.zeros(size[::-1], np.uint8), (151, 93), (61, 37), 20, 0, 360, 255, cv2.FILLED)
    smaller = cv2.resize(marked, None, fx=times, fy=times, interpolation=cv2.INTER_AREA)
    for number in range(1, COUNT + 1):
        write_encoded(tmp_path / f"matte_{number:04d}.png", cv2.cvtColor(smaller, cv2.COLOR_GRAY2BGR))
    matte = Matte("pictures", source_from_path(tmp_path / "matte_0001.png"))
    folder = tmp_path / "job"
    request = request_for(folder, clip, quality="draft", depth_size="plate")
    JobFolder(folder).write_job(replace(request.job, matte=matte))
    given = []

    def stop(*_, context, **__):
        given.append(np.array(context.plate_matte))
        raise StereoDiffError("cancelled", "Enough was seen.")
    monkeypatch.setattr(worker, "estimate_depth", stop)
    with pytest.raises(StereoDiffError, match="Enough"):
        run(folder)
    assert given[0].shape == (COUNT, *size[::-1])
    assert ((given[0][3] > 0) != (marked > 0)).sum() <= wrong


def test_without_a_matte_or_depth_of_that_size_none_is_read_so_large(tmp_path, clip):
    for settings in ({"depth_size": "plate"}, {}):
        request = request_for(tmp_path / "none", clip, quality="draft", **settings)
        with_matte = replace(request, job=replace(request.job, matte=Matte("shapes") if not settings else None))
        assert read_plate_masks(with_matte, DiskScratch(tmp_path / "scratch"), RecordingReport()) is None


def test_room_for_plate_depth_is_asked_for(tmp_path, clip, monkeypatch):
    def stop(*_):
        raise StereoDiffError("cancelled", "The next step has begun.")
    monkeypatch.setattr(worker, "load_networks", stop)
    clip_pixels = SCALE**2 * WIDTH * HEIGHT
    without = COUNT * WIDTH * HEIGHT * (46 + 12) + COUNT * clip_pixels + 3 * 8 * clip_pixels
    for size, more, code in (("plate", 0, "disk_full"), ("working", 0, "cancelled"),
                             ("plate", 3.3 * COUNT * clip_pixels, "cancelled")):
        request_for(tmp_path / "room", clip, quality="draft", depth_size=size)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, more=more: Usage(0, 0, int(without + more) + 10))
        with pytest.raises(StereoDiffError) as caught:
            run(tmp_path / "room")
        assert caught.value.code == code
