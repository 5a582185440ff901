"""The files of a job folder that are made of arrays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import index_of, picture
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import JobFolder, StereoDiffError
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.media.movies import PictureConverter
from stereodiff_blender.engine.solution import CameraSolution, StereoResult
from stereodiff_blender.engine.storage import RunContext
from stereodiff_blender.engine.worker import products
from stereodiff_blender.engine.worker.preview import depth_colors, disparity_limits

COUNT, HEIGHT, WIDTH = 5, 97, 161  # odd on purpose
needs_unix_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


@pytest.fixture
def frames() -> np.ndarray:
    return np.stack([picture(index, WIDTH, HEIGHT) for index in range(COUNT)])


@pytest.fixture
def depth() -> np.ndarray:
    """Nearest at the left, 1 to 5 units; the upper rows are invalid; farther by a tenth in every frame."""
    slope = np.broadcast_to(np.linspace(1, 5, WIDTH, dtype=np.float32), (COUNT, HEIGHT, WIDTH))
    slope = slope * (1 + 0.1 * np.arange(COUNT, dtype=np.float32)[:, None, None])
    slope[:, :16] = 0
    return slope


# --- Depth, confidence, motion ---------------------------------------------------------------------------------

def cameras(unit: float = 1.0) -> CameraSolution:
    poses, nothing = np.tile(np.eye(4), (COUNT, 1, 1)), np.zeros(COUNT)
    return CameraSolution("moving", poses, np.ones((COUNT, 4)), nothing == 0, nothing, np.zeros((0, 3)), np.zeros(0),
                          unit=unit)


@pytest.mark.parametrize("unit", [1.0, 250.0])
def test_depth_products_are_numbered_by_clip_frame_and_exact(depth, tmp_path, unit):
    confidence = np.random.default_rng(1).random(depth.shape, dtype=np.float32)
    mask = (confidence > 0.9).astype(np.uint8)
    stored = np.lib.format.open_memmap(tmp_path / "depth.npy", mode="w+", dtype=np.float32, shape=depth.shape)
    stored[:] = depth
    folder, report = JobFolder(tmp_path), RecordingReport()
    stereo = StereoResult(cameras(unit), stored, confidence, mask)
    products.write_depth_products(folder, range(9998, 10003), stereo, (), RunContext(report=report))
    assert [done for _, done in report.steps] == [1, 2, 3, 4, 5]
    for product, arrays in (("depth", depth * np.float32(unit)), ("confidence", confidence), ("motion_mask", mask)):
        names = sorted(path.name for path in (folder.path / product).iterdir())
        assert names == ["10000.exr", "10001.exr", "10002.exr", "9998.exr", "9999.exr"]
        for index, frame in enumerate(range(9998, 10003)):
            assert np.array_equal(exr.read_exr(folder.product_file(product, frame))["V"], arrays[index])


def test_the_mesh_has_depth_confidence_and_kind_in_one_picture(depth, tmp_path):
    confidence = np.random.default_rng(1).random(depth.shape, dtype=np.float32)
    confidence[0, 0, :3] = 0.0, 0.2, 1.0
    mask = (confidence > 0.9).astype(np.uint8)
    folder = JobFolder(tmp_path)
    stereo = StereoResult(cameras(250.0), depth, confidence, mask, far_limit=5.0)
    products.write_depth_products(folder, range(1, 6), stereo, (), RunContext())
    found = exr.read_exr(folder.product_file("mesh_depth", 1))
    written = exr.read_exr(folder.product_file("depth", 1))["V"]
    assert np.array_equal(found["R"] > 0, written > 0) and np.abs(found["R"] - written).max() <= 1e-5 * written.max()
    assert (found["G"] >= confidence[0]).all() and (found["G"] < confidence[0] + 1 / 256).all()
    assert found["G"][0, 0] == 0.0 and found["G"][0, 2] == 1.0
    far = (depth[0] >= np.where(confidence[0] > 0.5, 4.75, 2.0)) & (mask[0] == 0)
    assert far.any() and np.array_equal(found["B"], np.where(far, -1.0, mask[0]))
    sizes = {product: folder.product_file(product, 1).stat().st_size for product in ("depth", "confidence",
                                                                                    "mesh_depth")}
    assert sizes["mesh_depth"] < 0.7 * (sizes["depth"] + sizes["confidence"])


def test_a_job_folder_that_is_no_folder(depth, tmp_path):
    (tmp_path / "job").write_text("in the way")
    with pytest.raises(StereoDiffError) as caught:
        products.write_depth_products(JobFolder(tmp_path / "job"), range(1, 6),
                                      StereoResult(cameras(), depth, depth, depth), (), RunContext())
    assert caught.value.code == "output_not_writable"


# --- Points ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [0, 1, 1000])
def test_points_are_a_binary_ply(count, tmp_path):
    rng = np.random.default_rng(2)
    points, colors = rng.normal(size=(count, 3)), rng.integers(0, 256, (count, 3), dtype=np.uint8)
    products.write_points(tmp_path / "points.ply", points, colors)
    header, _, body = (tmp_path / "points.ply").read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"] and f"element vertex {count}" in lines
    assert [line.split()[1:] for line in lines if line.startswith("property")] == [
        ["float", "x"], ["float", "y"], ["float", "z"], ["uchar", "red"], ["uchar", "green"], ["uchar", "blue"]]
    table = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)]))
    assert np.array_equal(table["xyz"], points.astype(np.float32)) and np.array_equal(table["rgb"], colors)


def test_points_and_colors_that_do_not_match(tmp_path):
    with pytest.raises(ValueError, match="both be"):
        products.write_points(tmp_path / "points.ply", np.zeros((4, 3)), np.zeros((3, 3), np.uint8))


# --- Depth range -----------------------------------------------------------------------------------------------

def test_the_depth_range_is_that_of_trusted_pixels():
    depth = np.full((3, 100, 100), 50.0, np.float32)
    depth[:, :50] = np.linspace(2, 4, 100, dtype=np.float32)
    confidence = np.where(depth < 10, 0.9, 0.1).astype(np.float32)
    depth[0, 0, 0], confidence[0, 0, 0] = 0.001, 1.0  # one outlier
    near, far = products.depth_range(depth, confidence)
    assert near == pytest.approx(2.0, abs=0.03) and far == pytest.approx(4.0, abs=0.03)


def test_without_trusted_pixels_all_valid_ones_count(depth):
    confidence = np.zeros_like(depth)
    confidence[0, 50, 50] = 1.0
    near, far = products.depth_range(depth, confidence)
    assert (near, far) == pytest.approx((1.1, 6.8), abs=0.1)


def test_a_large_clip_is_sampled_evenly(tmp_path):
    shape = (30, 300, 512)  # 4.6 million pixels, so that not every one is looked at
    depth = np.lib.format.open_memmap(tmp_path / "depth.npy", mode="w+", dtype=np.float32, shape=shape)
    depth[:] = np.linspace(1, 3, 512, dtype=np.float32)  # a function of the column alone
    near, far = products.depth_range(depth, np.ones(shape, np.float32))
    assert near == pytest.approx(1.01, abs=0.01) and far == pytest.approx(2.99, abs=0.01)


def test_no_valid_depth_has_no_range():
    nothing = np.zeros((2, 10, 10), np.float32)
    nothing[0, 0, 0] = np.nan
    with pytest.raises(StereoDiffError) as caught:
        products.depth_range(nothing, np.ones_like(nothing))
    assert caught.value.code == "result_invalid"


# --- Previews --------------------------------------------------------------------------------------------------

def brightness(image: np.ndarray) -> np.ndarray:
    return image.astype(float).mean(-1)


def test_near_is_bright_far_is_dark_invalid_is_black(depth):
    colors = depth_colors(depth[0], disparity_limits(depth))
    assert not colors[:16].any()
    assert colors[16:].any(axis=-1).all()
    steps = np.diff(brightness(colors[50].astype(float)[None])[0][::8])
    assert (steps <= 0.5).all() and brightness(colors)[50, 0] > brightness(colors)[50, -1] + 60


def test_one_range_for_the_whole_clip(depth):
    limits = disparity_limits(depth)
    first, last = (depth_colors(depth[index], limits) for index in (0, COUNT - 1))
    assert brightness(last)[50, 20] < brightness(first)[50, 20] - 10


@pytest.mark.parametrize("empty", [np.zeros((2, 8, 8), np.float32), np.full((2, 8, 8), np.nan, np.float32)])
def test_depth_without_a_valid_pixel_is_black(empty):
    assert not depth_colors(empty[0], disparity_limits(empty)).any()


def test_flat_depth_has_a_color():
    flat = np.full((2, 8, 8), 3.0, np.float32)
    assert depth_colors(flat[0], disparity_limits(flat)).any(axis=-1).all()


def test_the_preview_image_shows_frame_and_depth(frames, depth, tmp_path):
    products.write_preview_image(tmp_path / "preview.png", frames[3], depth[3])
    image = cv2.imread(str(tmp_path / "preview.png"))[..., ::-1]
    assert image.shape == (HEIGHT, 2 * WIDTH, 3)
    assert np.array_equal(image[:, :WIDTH], frames[3])
    assert np.array_equal(image[:, WIDTH:], depth_colors(depth[3], disparity_limits(depth[3][None])))
    products.write_preview_image(tmp_path / "alone.png", frames[3], None)
    assert np.array_equal(cv2.imread(str(tmp_path / "alone.png"))[..., ::-1], frames[3])


@pytest.mark.parametrize("has_depth", [True, False])
def test_the_preview_movie_plays_in_ordinary_players(has_depth, frames, depth, tmp_path):
    path = tmp_path / "preview.mp4"
    products.write_preview_movie(path, frames, depth if has_depth else None, 24000 / 1001)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (2 * WIDTH if has_depth else WIDTH + 1, HEIGHT + 1)
        assert stream.average_rate == Fraction(24000, 1001)
        convert = PictureConverter()
        images = [convert(image) for image in container.decode(stream)]
    assert [index_of(image[:HEIGHT, :WIDTH]) for image in images] == list(range(COUNT))
    difference = np.abs(images[2][:HEIGHT, :WIDTH].astype(int) - frames[2])
    assert np.median(difference) <= 2 and difference.mean() < 5  # colors survive the way there and back
    if has_depth:
        shown, colors = images[2][:HEIGHT, WIDTH:2 * WIDTH], depth_colors(depth[2], disparity_limits(depth))
        assert np.abs(shown.astype(int) - colors).mean() < 5


def test_the_same_clip_gives_the_same_preview(tmp_path):
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (10, 13, 21, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    depth = frames[..., 0].astype(np.float32) + 1
    contents = set()
    for attempt in range(6):
        products.write_preview_movie(tmp_path / f"{attempt}.mp4", frames, depth, 25.0)
        contents.add((tmp_path / f"{attempt}.mp4").read_bytes())
    assert len(contents) == 1


@needs_unix_device
@pytest.mark.parametrize("name", ["preview.mp4", "preview.png", "points.ply"])
def test_a_full_disk_says_so(name, frames, depth, tmp_path):
    path = tmp_path / name
    path.symlink_to("/dev/full")
    with pytest.raises(StereoDiffError) as caught:
        _write(path, frames, depth)
    assert caught.value.code == "disk_full" and name in caught.value.message


@pytest.mark.parametrize("name", ["preview.mp4", "preview.png", "points.ply"])
def test_a_missing_folder_says_so(name, frames, depth, tmp_path):
    with pytest.raises(StereoDiffError) as caught:
        _write(tmp_path / "nowhere" / name, frames, depth)
    assert caught.value.code == "output_not_writable"


def _write(path: Path, frames: np.ndarray, depth: np.ndarray) -> None:
    if path.suffix == ".mp4":
        products.write_preview_movie(path, frames, depth, 25.0)
    elif path.suffix == ".png":
        products.write_preview_image(path, frames[0], depth[0])
    else:
        products.write_points(path, np.zeros((9, 3)), np.zeros((9, 3), np.uint8))
