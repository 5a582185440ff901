"""Depth at the plate's size: edges where the plate has them, thin things whole, and all else as it was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast

from stereodiff_blender.engine.stereo.plate import PlateDepth
from stereodiff_blender.engine.stereo.plate.choice import enlarged

COUNT = 9
FAT_PX = 1
BESIDE = slice(35, 70)
"""Rows of the working raster that the board is in."""


@dataclass(frozen=True)
class Clip:
    """A plate, its true depth, and depth as it is measured at the working size."""

    plate: RayCastShot
    working: RayCastShot
    measured: np.ndarray

    @property
    def gray(self) -> np.ndarray:
        return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in self.plate.frames])

    @property
    def enlarged(self) -> np.ndarray:
        """What plain enlarging gives."""
        size = self.plate.depth.shape[:0:-1]
        return np.stack([1.0 / cv2.resize(1.0 / depth, size, interpolation=cv2.INTER_LINEAR) for depth in
                         self.measured])

    def found(self) -> PlateDepth:
        return PlateDepth(self.gray, self.measured, self.working.motion_mask, self.working.cameras)

    def sharp(self) -> np.ndarray:
        return all_of(self.found())

    def wrong(self, depth: np.ndarray) -> np.ndarray:
        """(T,H,W): static pixels that show another surface than the true one."""
        return (np.abs(np.log(depth / self.plate.depth)) > 0.05) & (self.plate.motion_mask == 0)


def all_of(found: PlateDepth, count: int = COUNT) -> np.ndarray:
    return np.stack([found[index] for index in range(count)])


def clip_of(scale: int, **scene) -> Clip:
    """Things in front measured a pixel too fat, and with a gap in the post, if there is one."""
    plate, working = ray_cast(COUNT, scale=scale, **scene), ray_cast(COUNT, **scene)
    measured = np.stack([cv2.erode(depth, np.ones((2 * FAT_PX + 1,) * 2, np.uint8)) for depth in working.depth])
    measured = np.where(working.motion_mask > 0, working.depth, measured)
    if scene.get("with_post"):
        behind = ray_cast(COUNT).depth
        measured[:, 30:44] = np.where(is_post(working)[:, 30:44] | (measured[:, 30:44] < 0.9 * behind[:, 30:44])
                                      & beside_post(working)[:, 30:44], behind[:, 30:44], measured[:, 30:44])
    return Clip(plate, working, measured.astype(np.float32))


def is_post(shot: RayCastShot) -> np.ndarray:
    """(T,H,W) bool: nothing else stands at this depth above the floor."""
    along = shot.camera_to_world[:, 2, 2][:, None, None]
    return (np.abs(shot.depth * along + shot.camera_to_world[:, 2, 3][:, None, None] - 4.5) < 0.2) & (
        np.arange(shot.depth.shape[1]) < 0.6 * shot.depth.shape[1])[None, :, None]


def beside_post(shot: RayCastShot) -> np.ndarray:
    return np.stack([cv2.dilate(post.astype(np.uint8), np.ones((3, 3), np.uint8)) for post in is_post(shot)]) > 0


@pytest.fixture(scope="module")
def clip() -> Clip:
    return clip_of(3, with_post=True, with_object=True)


@pytest.fixture(scope="module")
def sharp(clip) -> np.ndarray:
    return clip.sharp()


def test_edges_are_where_the_plate_has_them(clip, sharp):
    before, after = clip.wrong(clip.enlarged)[2:-2].mean(), clip.wrong(sharp)[2:-2].mean()
    assert before > 0.02
    assert after < 0.3 * before


def test_a_post_with_a_gap_is_whole(clip, sharp):
    post, rows = is_post(clip.plate)[2:-2], slice(3 * 32, 3 * 42)
    before, after = (~clip.wrong(depth)[2:-2, rows][post[:, rows]] for depth in (clip.enlarged, sharp))
    assert post[:, rows].sum() > 1000
    assert before.mean() < 0.2
    assert after.mean() > 0.75


def test_still_edges_stay_on_their_side_from_frame_to_frame(clip, sharp):
    # The camera moves by about a pixel of the plate a frame, so that what is right in one is mostly right in the next.
    before, after = (np.mean(wrong[2:-3] != wrong[3:-2]) for wrong in (clip.wrong(clip.enlarged), clip.wrong(sharp)))
    assert after < 0.5 * before


@pytest.mark.parametrize("end", [0, COUNT - 1])
def test_what_only_an_end_of_the_clip_shows_is_not_given_to_what_stands_before_it(clip, sharp, end):
    # Beside each thing there is a strip that no frame around shows, so that none can tell what is there.
    before, after = clip.wrong(clip.enlarged)[end].mean(), clip.wrong(sharp)[end].mean()
    assert before > 0.02
    assert after < 0.3 * before


def test_surfaces_stay_as_they_were_measured(clip, sharp):
    true = clip.plate.depth
    window = np.ones((61, 61), np.uint8)
    is_inside = np.stack([cv2.dilate(depth, window) < 1.25 * cv2.erode(depth, window) for depth in true])
    difference = np.abs(np.log(sharp / clip.enlarged))
    assert is_inside.mean() > 0.1
    assert np.mean(difference[is_inside] > 0.02) < 2e-3


def test_what_moves_is_enlarged_and_nothing_else(clip, sharp):
    size = clip.plate.depth.shape[:0:-1]
    core = np.stack([cv2.erode(mask, np.ones((3, 3), np.uint8)) for mask in clip.working.motion_mask])
    moves = np.stack([cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in core]) > 0
    assert moves.sum() > 1000
    assert np.abs(np.log(sharp / clip.enlarged))[moves].max() < 1e-3


def test_frames_are_made_in_any_order(clip, sharp):
    found = clip.found()
    for index in (6, 1, COUNT - 1, 2):
        np.testing.assert_array_equal(found[index], sharp[index])


def test_the_same_on_any_number_of_cores(clip, sharp):
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1 if before != 1 else 3)
        again = clip.found()[0]
    finally:
        cv2.setNumThreads(before)
    np.testing.assert_array_equal(again, sharp[0])


def test_a_change_of_light_is_no_change_of_depth(clip, sharp):
    gray = clip.gray
    gray[1::2] = np.minimum(gray[1::2] + 5, 255)
    darker = all_of(PlateDepth(gray, clip.measured, clip.working.motion_mask, clip.working.cameras))
    assert clip.wrong(darker).mean() < 1.3 * clip.wrong(sharp).mean()


def grainy(frame: np.ndarray, index: int) -> np.ndarray:
    """Noise of 8 levels of 255."""
    noise = np.random.default_rng(index).normal(0.0, 8.0, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def combed(frame: np.ndarray, index: int) -> np.ndarray:
    """Every other row is of a moment later: shifted by as much as things move in half a frame."""
    torn = frame.copy()
    torn[1::2] = np.roll(frame, -2, axis=1)[1::2]
    return torn


def with_coarse_color(frame: np.ndarray, index: int) -> np.ndarray:
    """4:2:0."""
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
    half = cv2.resize(planes[..., 1:], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    planes[..., 1:] = cv2.resize(half, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


def compressed(frame: np.ndarray, index: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 15])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize(("spoiled", "share"), [(grainy, 0.7), (combed, 0.9), (with_coarse_color, 0.3),
                                                (compressed, 0.7)])
def test_of_a_bad_picture_depth_is_no_worse_than_at_the_working_size(clip, spoiled, share):
    frames = [spoiled(frame, index) for index, frame in enumerate(clip.plate.frames)]
    gray = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    found = all_of(PlateDepth(gray, clip.measured, clip.working.motion_mask, clip.working.cameras))
    before, after = clip.wrong(clip.enlarged), clip.wrong(found)
    assert after[2:-2].mean() < share * before[2:-2].mean()
    assert np.mean(after[2:-3] != after[3:-2]) < np.mean(before[2:-3] != before[3:-2])


@pytest.mark.slow
def test_a_much_larger_plate_is_reached_by_halves():
    clip = clip_of(6)
    before, after = clip.wrong(clip.enlarged)[2:-2].mean(), clip.wrong(clip.sharp())[2:-2].mean()
    assert before > 0.01
    assert after < 0.4 * before


def test_a_plate_that_is_hardly_finer_gets_depth_as_it_was_measured(clip):
    size = np.multiply(clip.measured.shape[1:], 4) // 3
    gray = np.stack([cv2.resize(each, size[::-1], interpolation=cv2.INTER_AREA) for each in clip.gray])
    found = all_of(PlateDepth(gray, clip.measured, clip.working.motion_mask, clip.working.cameras))
    nearest = np.stack([cv2.resize(each, size[::-1], interpolation=cv2.INTER_NEAREST) for each in clip.measured])
    assert np.abs(np.log(found / nearest)).max() < 0.05


def test_a_clip_of_one_frame_is_enlarged(clip):
    first = replace(clip.working, camera_to_world=clip.working.camera_to_world[:1],
                    intrinsics=clip.working.intrinsics[:1])
    alone = PlateDepth(clip.gray[:1], clip.measured[:1], clip.working.motion_mask[:1], first)
    assert alone[0].shape == clip.plate.depth.shape[1:]


def test_shapes_that_do_not_fit_are_refused(clip):
    gray, cameras = clip.gray, clip.working.cameras
    with pytest.raises(ValueError, match="must agree"):
        PlateDepth(gray[:4], clip.measured, clip.working.motion_mask, cameras)
    with pytest.raises(ValueError, match="smaller than depth"):
        PlateDepth(gray[:, :100], clip.measured, clip.working.motion_mask, cameras)


def test_pictures_that_tell_nothing_change_nothing(clip):
    measured = clip.working.depth.astype(np.float32)
    blank = replace(clip, plate=replace(clip.plate, frames=np.full_like(clip.plate.frames, 128)), measured=measured)
    sharp, size = blank.sharp(), clip.plate.depth.shape[1:]
    as_it_was = np.stack([1.0 / enlarged(1.0 / depth, size) for depth in measured])
    assert (np.abs(np.log(sharp / as_it_was)) > 0.05).mean() < 0.004
