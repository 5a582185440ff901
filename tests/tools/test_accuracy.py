"""What the accuracy of a job is measured by, on a job whose errors are known because they were put in."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
from accuracy import Accuracy, cells, measure, near_border, rotation_error, table_head
from accuracy_table import Clip, Run, parsed_clip, row
from contact_sheet import CELL_WIDTH, contact_sheet
from job_folder import EXAMPLE, write_gray, write_job_folder
from truth import compare, read_channel, read_truth

from stereodiff_blender.engine.contract import Distortion, JobFolder, LensResult, StereoDiffError

CLIP_PER_RASTER = 2


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job") / "example"
    return folder, write_job_folder(folder, replace(EXAMPLE, frame_count=10, invalid_corner=False))


def truth_arrays(folder, result) -> dict[str, np.ndarray]:
    """The truth by which this job is exact, in a unit of length of its own."""
    depth = np.stack([read_channel(folder / frame.depth) for frame in result.frames])
    poses = np.array([frame.camera_to_world for frame in result.frames])
    poses[:, :3, 3] *= 4.0
    first = result.frames[0]
    matrix = np.array([[first.fx, 0, first.cx], [0, first.fy, first.cy], [0, 0, 1 / CLIP_PER_RASTER]])
    return {"depth": 4.0 * depth, "dynamic": np.zeros(depth.shape, bool), "camera_to_world": poses,
            "K": CLIP_PER_RASTER * matrix, "size": np.array([result.clip_width, result.clip_height]),
            "focal_px": CLIP_PER_RASTER * np.array([frame.fx for frame in result.frames])}


def measured(job, tmp_path, **changed) -> Accuracy:
    folder, result = job
    np.savez(tmp_path / "gt.npz", **{**truth_arrays(folder, result), **changed})
    return measure(folder, tmp_path)


def test_the_truth_itself_has_no_error(job, tmp_path):
    accuracy = measured(job, tmp_path)
    assert accuracy.frames == 10 and accuracy.kind == "moving"
    for name, floor in (("ate_percent", 1e-5), ("rotation_deg", 1e-6), ("focal_percent", 1e-9),
                        ("absrel_static", 1e-6), ("absrel_border", 1e-6), ("alignment_percent", 0.05),
                        ("drift_px", 0.01)):
        assert abs(getattr(accuracy, name)) <= floor, name
    assert accuracy.within_25_percent == accuracy.coverage == accuracy.right == accuracy.trusted_right == 1.0
    assert accuracy.absrel_moving is accuracy.mask_iou is None


BENT = {"barrel": Distortion(-0.25, 0.05), "brown": Distortion(-0.2, 0.06, 0.0, 0.01, -0.008),
        "fisheye": Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True)}


@pytest.mark.parametrize("lens", BENT.values(), ids=BENT)
def test_a_distorted_plate_is_measured_along_the_rays_of_its_lens(tmp_path, lens):
    """The truth itself has no error; a job that takes the lens for a pinhole lets points drift."""
    folder = tmp_path / "example"
    result = write_job_folder(folder, replace(EXAMPLE, frame_count=10, invalid_corner=False, focal=40.0,
                                              distortion=lens))
    in_order = {"fisheye": lens.coefficients} if lens.is_fisheye else {
        "dist": (lens.k1, lens.k2, lens.p1, lens.p2, lens.k3)}
    exact = measured((folder, result), tmp_path, **in_order)
    assert exact.alignment_percent < 0.05 and exact.drift_px < 0.01 and exact.ate_percent < 1e-5
    JobFolder(folder).write_result(replace(result, lens=LensResult(zooms=True)))
    pinhole = measured((folder, result), tmp_path, **in_order)
    assert pinhole.drift_px > 0.1 and pinhole.absrel_static == exact.absrel_static, "depth lies on the plate as shot"


@pytest.mark.parametrize("lens", [None, BENT["barrel"]])
def test_a_rolling_shutter_is_measured_row_by_row(tmp_path, lens):
    """The truth itself has no error; a job that takes all rows for read at once lets points drift."""
    folder = tmp_path / "example"
    result = write_job_folder(folder, replace(EXAMPLE, frame_count=10, invalid_corner=False, focal=40.0, readout=0.7,
                                              distortion=lens))
    of_lens = {} if lens is None else {"dist": (lens.k1, lens.k2, lens.p1, lens.p2, lens.k3)}
    exact = measured((folder, result), tmp_path, readout=0.7, **of_lens)
    assert exact.alignment_percent < 0.05 and exact.drift_px < 0.02 and exact.absrel_static < 1e-6
    JobFolder(folder).write_result(replace(result, lens=replace(result.lens, readout=0.0)))
    assert measured((folder, result), tmp_path, readout=0.7, **of_lens).drift_px > 2 * exact.drift_px + 0.02


def test_each_error_is_found_where_it_is(job, tmp_path):
    arrays = truth_arrays(*job)
    depth, dynamic, poses = arrays["depth"].copy(), arrays["dynamic"].copy(), arrays["camera_to_world"].copy()
    dynamic[:, :, 40:] = True
    depth[:, :, 40:] *= 2.0
    depth[5:, :, :10] *= 1.04
    turn, _ = cv2.Rodrigues(np.radians([0, 0.5, 0]))
    poses[6:, :3, :3] = turn @ poses[6:, :3, :3]
    accuracy = measured(job, tmp_path, depth=depth, dynamic=dynamic, camera_to_world=poses,
                        focal_px=arrays["focal_px"] / 1.03)
    assert accuracy.absrel_moving == pytest.approx(0.5)
    assert accuracy.absrel_static == pytest.approx((1 - 1 / 1.04) / 8, rel=1e-3)
    assert accuracy.rotation_deg == pytest.approx(0.5 / 9, rel=1e-3)
    assert accuracy.focal_percent == pytest.approx(3.0)
    assert accuracy.right == pytest.approx(40 / 64, abs=0.001)
    assert accuracy.mask_recall < 0.5


def test_a_jump_in_time_is_flicker(job, tmp_path):
    folder, result = job
    np.savez(tmp_path / "gt.npz", **truth_arrays(folder, result))
    nervous = tmp_path / "nervous"
    shutil.copytree(folder, nervous)
    for frame in result.frames[1::2]:
        write_gray(nervous / frame.depth, 1.01 * read_channel(folder / frame.depth))
    assert measure(nervous, tmp_path).alignment_percent == pytest.approx(100 * np.log(1.01), rel=0.05)


def test_a_wrong_camera_lets_points_drift(job, tmp_path):
    """Half a degree more turn per frame is some half pixel per frame on this raster, 4.5 frames ahead on average."""
    poses = truth_arrays(*job)["camera_to_world"].copy()
    for index in range(len(poses)):
        turn, _ = cv2.Rodrigues(np.radians([0, 0.5 * index, 0]))
        poses[index, :3, :3] = poses[index, :3, :3] @ turn
    assert 1.0 < measured(job, tmp_path, camera_to_world=poses).drift_px < 5.0


def test_small_turns_are_not_lost_in_rounding():
    poses = np.tile(np.eye(4), (3, 1, 1))
    other = poses.copy()
    turn, _ = cv2.Rodrigues(np.radians([1e-6, 0, 0]))
    other[1:, :3, :3] = turn
    assert rotation_error(poses, other) == pytest.approx(0.5e-6, rel=1e-6)


def test_a_border_is_a_jump_not_a_slope_or_a_hole():
    depth = np.tile(np.linspace(2.0, 4.0, 80), (60, 1))
    assert not near_border(depth, 4.0).any()
    depth[:, 40:] *= 1.2
    depth[20:30, 10:20] = 0
    band = near_border(depth, 4.0)
    assert band[:, 37:43].all() and not band[:, :35].any() and not band[:, 45:].any()


def test_a_recorded_truth_says_the_same(job, tmp_path):
    """The layout of RGB-D data sets: quaternions, and depth in millimeters."""
    folder, result = job
    arrays = truth_arrays(folder, result)
    (tmp_path / "depth").mkdir()
    lines = []
    for index, pose in enumerate(arrays["camera_to_world"]):
        vector = cv2.Rodrigues(pose[:3, :3])[0][:, 0]
        angle = np.linalg.norm(vector)
        axis = vector / angle if angle else vector
        lines.append(" ".join(map(str, [index, *pose[:3, 3], *(axis * np.sin(angle / 2)), np.cos(angle / 2)])))
        millimeters = np.rint(1000 * arrays["depth"][index]).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "depth" / f"{index:06d}.png"), millimeters)
    (tmp_path / "poses.txt").write_text("# stamp x y z qx qy qz qw\n" + "\n".join(lines) + "\n")
    names = {"width": result.clip_width, "height": result.clip_height, "fx": arrays["K"][0, 0],
             "fy": arrays["K"][1, 1], "cx": arrays["K"][0, 2], "cy": arrays["K"][1, 2], "depth_scale": 1000.0}
    (tmp_path / "intrinsics.txt").write_text("".join(f"{name}={value} # pixels\n" for name, value in names.items()))
    accuracy = measure(folder, tmp_path)
    assert accuracy.ate_percent < 1e-4 and accuracy.rotation_deg < 1e-5
    assert accuracy.absrel_static < 1e-4 and accuracy.absrel_moving is None
    assert read_truth(tmp_path).distortion is None
    with open(tmp_path / "intrinsics.txt", "a") as stream:
        stream.write("k1=-0.1\np2=0.003\n")
    assert read_truth(tmp_path).distortion == Distortion(-0.1, p2=0.003)


def test_no_truth(tmp_path):
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "job_missing"):
        read_truth(tmp_path)


# --- To look at ------------------------------------------------------------------------------------------------

def test_the_sheet_shows_an_error_where_it_is(job, tmp_path):
    folder, result = job
    arrays = truth_arrays(folder, result)
    arrays["depth"][:, :, 48:] *= 1.5
    np.savez(tmp_path / "gt.npz", **arrays)
    sheet = contact_sheet(folder, tmp_path, [1, 7])
    height = round(CELL_WIDTH * result.height / result.width)
    assert sheet.shape == (2 * height, 5 * CELL_WIDTH, 3) and sheet.dtype == np.uint8
    error = sheet[height + 30:, 3 * CELL_WIDTH:4 * CELL_WIDTH].astype(int).sum(axis=2)
    assert error[:, :CELL_WIDTH // 2].max() == 0
    assert error[:, -CELL_WIDTH // 5:].min() == 3 * 255


def test_a_sheet_of_a_solve_without_depth(job, tmp_path):
    still = write_job_folder(tmp_path / "still", replace(EXAMPLE, frame_count=10, camera_kind="static"))
    np.savez(tmp_path / "gt.npz", **truth_arrays(*job))
    sheet = contact_sheet(tmp_path / "still", tmp_path)
    assert still.depth_range is None
    assert sheet.shape[0] == 5 * round(CELL_WIDTH * still.height / still.width)
    assert sheet[:, CELL_WIDTH:2 * CELL_WIDTH].std() > 20 and (sheet[60:200, 3 * CELL_WIDTH:] == 0).all()


def test_a_sheet_of_frames_that_are_not_there(job, tmp_path):
    np.savez(tmp_path / "gt.npz", **truth_arrays(*job))
    with pytest.raises(ValueError, match="none of the frames"):
        contact_sheet(job[0], tmp_path, [40])


def test_rows_are_as_long_as_the_head(job, tmp_path):
    accuracy = measured(job, tmp_path)
    clip = Clip("example", job[0], tmp_path)
    head = table_head(("clip", "preset"), ("CPU s a frame", "memory")).splitlines()[0]
    for made in (Run(None, 5.0, 9.0, 800.0, accuracy), Run("camera_unsolved", 5.0, 9.0, 800.0, None)):
        assert row(clip, "draft", made).count("|") == head.count("|")
    assert "-" in cells(accuracy)  # nothing moves in this truth


def test_clips_are_named_by_their_truth(tmp_path):
    (tmp_path / "room").mkdir()
    truth = tmp_path / "room" / "gt.npz"
    truth.touch()
    assert parsed_clip(f"{tmp_path}={truth}").name == parsed_clip(f"{tmp_path}={tmp_path / 'room'}").name == "room"
    assert parsed_clip(f"den:{tmp_path}={truth}").name == "den"


def test_one_depth_scale_for_the_clip(job, tmp_path):
    folder, result = job
    np.savez(tmp_path / "gt.npz", **truth_arrays(folder, result))
    frames, scale = compare(folder, result, read_truth(tmp_path))
    assert scale == pytest.approx(4.0)
    assert len(frames) == 10 and all(frame.error.max() < 1e-6 for frame in frames)


def test_figures_survive_the_file(job, tmp_path):
    assert Accuracy(**asdict(measured(job, tmp_path))) == measured(job, tmp_path)
