"""Learned engines on a clip shot through a known lens that distorts: they see a pinhole's pictures, and what they find
lies on the plate as it was shot. The networks are tiny and their answers mean nothing, so other things are measured."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_scenes import FOCAL_PX, HEIGHT, WIDTH, camera_path, render_boards
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import Distortion, LensResult, Settings
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.pipeline.networks import Networks, load_networks
from stereodiff_blender.engine.pipeline.pipeline import Estimate, estimate_depth
from stereodiff_blender.engine.solution import KnownLens
from stereodiff_blender.engine.storage import RunContext

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
from tiny_depthcrafter import write_tiny_depthcrafter  # noqa: E402
from tiny_monst3r import write_tiny_monst3r  # noqa: E402

from stereodiff_blender.engine.diffusion.depthcrafter import refine as refine_module  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r import clip as monst3r_clip  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.checkpoint import load_network  # noqa: E402

COUNT, MARGIN = 4, 60
AXIS = (WIDTH / 2 + 7.3, HEIGHT / 2 - 4.0)
LENSES = [Distortion(-0.12), Distortion(-0.1, 0.02, 0.004, 0.003, -0.002), Distortion(0.02, is_fisheye=True)]

pytestmark = pytest.mark.slow


def plate_through(lens: Distortion, frames: np.ndarray, axis: tuple[float, float]) -> np.ndarray:
    """(T,H,W,3), of a pinhole's pictures with MARGIN around them, whose axis is in their middle."""
    centers = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1)
    middle = (WIDTH / 2 + MARGIN - 0.5, HEIGHT / 2 + MARGIN - 0.5)
    ideal = (undistorted((centers - axis) / FOCAL_PX, lens) * FOCAL_PX + middle).astype(np.float32)
    return np.stack([cv2.remap(frame, ideal, None, cv2.INTER_CUBIC) for frame in frames])


@pytest.fixture(scope="module")
def ideal() -> np.ndarray:
    return render_boards(camera_path(COUNT), width=WIDTH + 2 * MARGIN, height=HEIGHT + 2 * MARGIN)


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> Networks:
    folder = write_tiny_monst3r(tmp_path_factory.mktemp("monst3r"))
    return Networks(matcher=load_network(folder, device=torch.device("cpu"), precision=torch.float32))


@pytest.fixture
def shown_to_network(monkeypatch) -> list[np.ndarray]:
    """The clips that the network is asked about, in the order in which it is."""
    clips, match = [], monst3r_clip.match_clip

    def noted(frames, *arguments, **options):
        clips.append(np.array(frames))
        return match(frames, *arguments, **options)

    monkeypatch.setattr(monst3r_clip, "match_clip", noted)
    return clips


def solved(frames: np.ndarray, lens: KnownLens | None, networks: Networks, **settings) -> Estimate:
    report = RecordingReport()
    chosen = Settings(**{"stereo": "monst3r", "device": "cpu", "refine": "none"} | settings)
    estimate = estimate_depth(frames, chosen, lens=lens, networks=networks, context=RunContext(report=report))
    assert "lens_distortion_ignored" not in report.warnings
    return estimate


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("axis", [None, AXIS])
def test_monst3r_is_shown_what_a_pinhole_would_have_shown(ideal, networks, shown_to_network, lens, axis):
    """With the axis in the middle, as the network takes it; and what it finds comes back to the plate."""
    center = axis or (WIDTH / 2, HEIGHT / 2)
    filmed = plate_through(lens, ideal, center)
    estimate = solved(filmed, KnownLens(FOCAL_PX, axis, lens), networks)
    shown, = shown_to_network
    height, width = shown.shape[1:3]
    row, column = (ideal.shape[1] - height) // 2, (ideal.shape[2] - width) // 2
    inner = slice(20, -20)
    expected = ideal[:, row:row + height, column:column + width]
    off = np.abs(shown.astype(int) - expected)[:, inner, inner].mean()
    assert off < 0.5 * np.abs(filmed.astype(int) - ideal[:, MARGIN:-MARGIN, MARGIN:-MARGIN])[:, inner, inner].mean()
    assert estimate.depth.shape == filmed.shape[:3] and (estimate.depth > 0).all()
    assert estimate.stereo.confidence.shape == estimate.stereo.motion_mask.shape == filmed.shape[:3]
    np.testing.assert_allclose(estimate.cameras.intrinsics, [[FOCAL_PX, FOCAL_PX, *center]] * COUNT)
    assert estimate.cameras.lens == LensResult(lens.model, lens, is_given=True)


def test_refining_keeps_the_lens_that_the_pictures_were_rectified_for(ideal, networks):
    filmed = plate_through(LENSES[0], ideal, AXIS)
    estimate = solved(filmed, KnownLens(FOCAL_PX, AXIS, LENSES[0]), networks, refine_cameras=True)
    np.testing.assert_allclose(estimate.cameras.intrinsics, [[FOCAL_PX, FOCAL_PX, *AXIS]] * COUNT)
    assert estimate.cameras.lens.distortion == LENSES[0]


@pytest.mark.parametrize("lens", [None, KnownLens(FOCAL_PX, AXIS)])
def test_without_known_distortion_the_pictures_are_as_they_were_shot(ideal, networks, shown_to_network, lens):
    filmed = ideal[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    estimate = solved(filmed, lens, networks)
    np.testing.assert_array_equal(shown_to_network[0], filmed)
    assert estimate.cameras.lens == LensResult()


def test_depthcrafter_is_given_rectified_pictures_and_depth(ideal, networks, tmp_path, monkeypatch):
    """And what it refines comes back to the plate, as stage 1's does."""
    pytest.importorskip("diffusers")
    given, refine = [], refine_module.refine_by_diffusion

    def noted(frames, stereo, *arguments, **options):
        given.append((np.array(frames), stereo))
        return refine(frames, stereo, *arguments, **options)

    monkeypatch.setattr(refine_module, "refine_by_diffusion", noted)
    write_tiny_depthcrafter(tmp_path)
    refiner = load_networks(Settings(refine="depthcrafter", device="cpu"), str(tmp_path)).refiner
    filmed = plate_through(LENSES[0], ideal, (WIDTH / 2, HEIGHT / 2))
    estimate = solved(filmed, KnownLens(FOCAL_PX, None, LENSES[0]), Networks(networks.matcher, refiner),
                      refine="depthcrafter")
    (frames, stereo), = given
    height, width = frames.shape[1:3]
    assert height > HEIGHT and width > WIDTH and stereo.depth.shape == frames.shape[:3]
    row, column = (ideal.shape[1] - height) // 2, (ideal.shape[2] - width) // 2
    expected = ideal[:, row:row + height, column:column + width].astype(int)
    off, as_filmed = (np.abs(one.astype(int) - same)[:, 20:-20, 20:-20].mean() for one, same in (
        (frames, expected), (filmed, ideal[:, MARGIN:-MARGIN, MARGIN:-MARGIN])))
    assert off < 0.5 * as_filmed
    assert estimate.refined_depth.shape == filmed.shape[:3] and (estimate.refined_depth > 0).all()
