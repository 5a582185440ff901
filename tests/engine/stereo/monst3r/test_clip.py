"""A clip through the network and back to the plate, as one method with everything around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from depth_scenes import ray_cast

torch = pytest.importorskip("torch")

from tiny_monst3r import write_tiny_monst3r  # noqa: E402

from stereodiff_blender.engine.contract import Settings, StereoDiffError  # noqa: E402
from stereodiff_blender.engine.pipeline.networks import Networks, load_networks, refuse_missing  # noqa: E402
from stereodiff_blender.engine.pipeline.pipeline import estimate_depth  # noqa: E402
from stereodiff_blender.engine.solution import KnownLens  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.clip import match_clip  # noqa: E402
from stereodiff_blender.engine.storage import RunContext  # noqa: E402

MONST3R = Settings(stereo="monst3r", refine="none", device="cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_monst3r(folder / "monst3r")
    return str(folder)


@pytest.fixture(scope="module")
def networks(models) -> Networks:
    return load_networks(MONST3R, models)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return ray_cast(4, with_object=True).frames  # (4,112,160,3)


@pytest.fixture(scope="module")
def matched(frames, networks):
    return match_clip(frames, networks.matcher, focal_px=150.0, context=RunContext())


@pytest.mark.slow
def test_all_is_on_the_plate(matched, frames):
    assert matched.depth.shape == matched.confidence.shape == matched.motion_mask.shape == frames.shape[:3]
    assert np.isfinite(matched.depth).all() and matched.depth.min() > 0
    np.testing.assert_allclose(matched.cameras.intrinsics, np.tile([150, 150, 80, 56], (4, 1)), rtol=2e-3)
    for _, pixels in matched.cameras.observations:
        assert (pixels >= 0).all() and (pixels <= (160, 112)).all()


@pytest.mark.slow
def test_a_matte_moves(frames, networks):
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 20:60, 30:80] = True
    result = match_clip(frames, networks.matcher, masks=masks, focal_px=150.0, context=RunContext())
    assert result.motion_mask[:, 24:56, 34:76].mean() > 0.95


@pytest.mark.slow
def test_the_whole_method(frames, networks):
    estimate = estimate_depth(frames, replace(MONST3R, refine="guided"), lens=KnownLens(150.0), networks=networks,
                              context=RunContext())
    assert estimate.cameras.kind == "moving" and len(estimate.cameras.observations) == 4
    assert estimate.depth.shape == frames.shape[:3] and np.isfinite(estimate.depth).all()
    np.testing.assert_array_equal(estimate.cameras.camera_to_world[0], np.eye(4))


@pytest.mark.slow
def test_a_repeated_frame_has_its_twins_camera_and_depth(frames, networks):
    twice = frames[[0, 1, 1, 2, 3]]
    estimate = estimate_depth(twice, MONST3R, lens=KnownLens(150.0), networks=networks, context=RunContext())
    assert len(estimate.cameras.camera_to_world) == len(estimate.depth) == 5
    np.testing.assert_array_equal(estimate.cameras.camera_to_world[1], estimate.cameras.camera_to_world[2])
    np.testing.assert_array_equal(estimate.depth[1], estimate.depth[2])


def test_what_is_not_there_is_refused_at_the_door(models, tmp_path):
    refuse_missing(MONST3R, models)
    refuse_missing(Settings(), "")
    for folder in ("", str(tmp_path)):
        with pytest.raises(StereoDiffError, check=lambda error: error.code == "weights_missing"):
            refuse_missing(MONST3R, folder)


def test_nothing_is_loaded_that_nobody_asked_for():
    assert load_networks(Settings(), "").matcher is None
