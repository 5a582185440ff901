"""All figures of a clip, on solves whose errors are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dataset_folders import shot_of
from golden import golden_file, tensors

from stereodiff_blender.engine.evaluation.clip_scores import ClipScores, SolvedClip, score_clip
from stereodiff_blender.engine.evaluation.datasets import TruthClip
from stereodiff_blender.engine.evaluation.scores import nearest_sampled
from stereodiff_blender.engine.quality import spectrum
from stereodiff_blender.engine.storage.scratch import Scratch

COUNT = 12


@pytest.fixture(scope="module")
def clip() -> TruthClip:
    shot = shot_of(COUNT, with_object=True)
    return TruthClip("street", COUNT, lambda index: shot.frames[index], lambda index: shot.depth[index],
                     lambda index: shot.motion_mask[index] > 0, shot.camera_to_world, shot.intrinsics)


@pytest.fixture
def exact() -> SolvedClip:
    """In a gauge of its own, as every solve is: half as large, elsewhere."""
    shot = shot_of(COUNT, with_object=True)
    poses = shot.camera_to_world.copy()
    poses[:, :3, 3] *= 0.5
    return SolvedClip("moving", poses, shot.intrinsics, 0.5 * shot.depth, shot.motion_mask)


def scored(clip: TruthClip, solved: SolvedClip, farthest: float = 100.0) -> ClipScores:
    return score_clip(clip, solved, run=1, farthest=farthest, scratch=Scratch(), tick=lambda done, total: None)


def test_an_exact_solve_has_no_error(clip, exact):
    found = scored(clip, exact)
    assert (found.absrel, found.rmse) == pytest.approx((0, 0), abs=1e-5)
    assert (found.delta1, found.delta2, found.coverage) == (1.0, 1.0, 1.0)
    assert (found.ate, found.rpe_translation, found.rpe_rotation_deg) == pytest.approx((0, 0, 0), abs=1e-5)
    assert found.scale == pytest.approx(0.5, rel=1e-5) and found.shift == pytest.approx(0.0, abs=1e-6)
    assert found.flicker2 == pytest.approx(found.truth_flicker2, rel=1e-4)
    assert found.tae < 0.02 and found.opw < 0.02
    assert (found.motion_from, found.cameras_from) == ("truth", "truth")


def test_moving_and_still_pixels_are_told_apart(clip, exact):
    wrong = np.where(exact.motion_mask > 0, 1.2 * exact.depth, exact.depth)
    found = scored(clip, replace(exact, depth=wrong))
    assert found.absrel_moving > 0.1 and found.absrel_static < 0.02
    assert found.absrel_static < found.absrel < found.absrel_moving


def test_without_a_mask_of_the_data_set_the_solves_own_tells(clip, exact):
    wrong = np.where(exact.motion_mask > 0, 1.2 * exact.depth, exact.depth)
    bare = replace(clip, motion_mask=None)
    found = scored(bare, replace(exact, depth=wrong))
    assert found.motion_from == "own" and found.absrel_moving > 0.1
    nothing = scored(bare, replace(exact, depth=wrong, motion_mask=np.zeros_like(exact.motion_mask)))
    assert nothing.absrel_moving is None and nothing.absrel_static == pytest.approx(found.absrel)


def test_each_frame_and_its_bands(clip, exact):
    """Frames that breathe: one scale for the clip cannot take it out."""
    wave = 1 + 0.05 * (-1.0) ** np.arange(COUNT)
    found = scored(clip, replace(exact, depth=exact.depth * wave[:, None, None]))
    per_frame = np.array(found.absrel_per_frame)
    assert per_frame.min() > 0.03 and found.absrel == pytest.approx(per_frame.mean())
    expected, edges = spectrum.band_means(per_frame), spectrum.band_edges(COUNT)
    assert [value is None for value in found.bands] == [start == stop for start, stop in
                                                        zip(edges, edges[1:], strict=False)]
    assert [value for value in found.bands if value is not None] == pytest.approx(expected[np.diff(edges) > 0])
    assert found.flicker2 > 3 * found.truth_flicker2 and found.tae > 0.08


def test_golden_bands_of_a_whole_clip():
    """The reference's error sequences and bands, through the figures of a clip."""
    given = tensors(golden_file("depthcrafter", "analysis.safetensors"))
    truth = given["gt_depth"].astype(np.float32)
    count, *shape = truth.shape
    still = TruthClip("still", count, lambda index: np.zeros((*shape, 3), np.uint8), lambda index: truth[index])
    poses = np.tile(np.eye(4), (count, 1, 1))
    solved = SolvedClip("moving", poses, np.tile([20.0, 20.0, 12.0, 8.0], (count, 1)),
                        given["pred_a"].astype(np.float32), np.zeros(truth.shape, np.uint8))
    found = scored(still, solved)
    aligned = np.stack([1 / np.maximum(found.scale / frame + found.shift, 1e-3) for frame in given["pred_a"]])
    expected = spectrum.absrel_per_frame(aligned, truth)
    assert found.absrel_per_frame == pytest.approx(tuple(expected), rel=1e-5)
    assert [value for value in found.bands if value is not None] == pytest.approx(
        spectrum.band_means(expected)[np.diff(spectrum.band_edges(count)) > 0], rel=1e-5)
    assert found.flicker2 == pytest.approx(float(given["a/flicker2_flicker1"][0]), rel=1e-5)


def test_delta2_by_hand():
    """A hundred frames of eight pixels; two of the first are off by a factor between 1.25 and 1.56, and beyond."""
    truth = np.tile([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0], (100, 1, 1)).astype(np.float32)
    depth = truth.copy()
    depth[0, 0, :2] = 1.4, 1.7
    flat = TruthClip("flat", 100, lambda index: np.zeros((1, 8, 3), np.uint8), lambda index: truth[index])
    solved = SolvedClip("rotation", np.tile(np.eye(4), (100, 1, 1)), np.ones((100, 4)), depth,
                        np.zeros(truth.shape, np.uint8))
    from stereodiff_blender.engine.evaluation import clip_scores
    fitted = clip_scores._fitted(flat, solved, 100.0)
    found = clip_scores._depth_figures(flat, solved, fitted, lambda done, total: None)
    assert found["delta1"] == pytest.approx(1 - 2 / 800) and found["delta2"] == pytest.approx(1 - 1 / 800)


@pytest.mark.slow
def test_what_is_far_or_without_depth_is_not_scored(clip, exact):
    depth = exact.depth.copy()
    depth[:, :14] = 0.0  # a black bar, an eighth of the picture
    found = scored(clip, replace(exact, depth=depth))
    assert found.coverage == pytest.approx(0.875) and found.absrel == pytest.approx(0.0, abs=1e-5)
    far = np.where(exact.depth > 2.5, 3.0, 1.0) * exact.depth
    assert scored(clip, replace(exact, depth=far), farthest=5.0).absrel < 0.02 < scored(
        clip, replace(exact, depth=far)).absrel


def test_a_smaller_solve_is_looked_up_at_the_nearest_pixel(clip, exact):
    """What a smaller raster cannot show is wrong at borders only."""
    small = replace(exact, depth=exact.depth[:, ::2, ::2], motion_mask=exact.motion_mask[:, ::2, ::2],
                    intrinsics=exact.intrinsics / 2)
    found = scored(clip, small)
    assert 0 < found.absrel < 0.02 and found.tae < 0.03
    picture = np.arange(12).reshape(3, 4)
    assert nearest_sampled(picture, (6, 8))[::2, ::2].tolist() == picture.tolist()
    assert nearest_sampled(picture, (1, 2)).tolist() == [[5, 7]]


def test_without_depth_only_the_cameras_turn_counts(clip, exact):
    found = scored(clip, SolvedClip("rotation", exact.camera_to_world, exact.intrinsics, None, None))
    assert found.absrel is found.ate is found.flicker2 is None and found.rpe_rotation_deg == pytest.approx(0, abs=1e-5)


def test_without_truth_of_either_kind_the_solve_is_measured_by_itself(clip, exact):
    bare = TruthClip("bare", COUNT, clip.frame)
    found = scored(bare, exact)
    assert found.absrel is found.bands is found.ate is found.truth_flicker2 is None
    assert found.cameras_from == "own" and found.tae < 0.02 and found.opw is not None


def test_frames_without_truth_are_left_out(clip, exact):
    some = replace(clip, depth=lambda index: None if index in (0, 5) else clip.depth(index))
    found = scored(some, replace(exact, depth=1.1 * exact.depth))
    assert [value is None for value in found.absrel_per_frame] == [index in (0, 5) for index in range(COUNT)]
    assert found.absrel == pytest.approx(0.0, abs=1e-5) and found.bands is not None


def test_depth_that_is_the_same_everywhere_has_no_scores(clip, exact):
    found = scored(clip, replace(exact, depth=np.ones_like(exact.depth)))
    assert found.absrel is None and found.flicker2 == 0.0 and found.ate is not None


def test_a_solve_whose_depth_is_nowhere_valid_has_no_figures_of_it(clip, exact):
    found = scored(clip, replace(exact, depth=np.zeros_like(exact.depth)))
    assert found.absrel is found.scale is found.flicker2 is None and found.opw == 0
