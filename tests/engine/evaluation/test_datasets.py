"""Data sets in their official layouts, right and broken."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import error_of
from dataset_folders import (
    DRIVE,
    FRAMES,
    TAG,
    WRITERS,
    Written,
    dpt_of,
    kitti_truth,
    write_bonn,
    write_folder,
    write_kitti,
    write_png,
    write_scannet,
    write_sintel,
    write_tum,
)

from stereodiff_blender.engine.evaluation.datasets import DATASETS, TruthClip, choose_clips
from stereodiff_blender.engine.evaluation.datasets.rgbd import nearest_times
from stereodiff_blender.engine.evaluation.datasets.sintel import read_cam, read_dpt


def opened(name: str, written: Written) -> TruthClip:
    dataset = DATASETS[name]
    assert dataset.list_clips(written.root) == [written.clip]
    return dataset.open_clip(written.root, written.clip)


# --- As they should be -------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "step"), [("tum", 1 / 5000), ("bonn", 1 / 5000), ("scannet", 1 / 1000),
                                            ("sintel", 1e-7), ("folder", 1e-7)])
def test_frames_and_depth(name, step, tmp_path):
    written = WRITERS[name](tmp_path)
    clip = opened(name, written)
    assert (clip.name, clip.frame_count) == (written.clip, FRAMES)
    for index in range(FRAMES):
        frame = clip.frame(index)
        if name == "scannet":  # twice as large, and a JPEG
            assert frame.shape == (224, 320, 3)
            frame = frame[::2, ::2]
            assert np.abs(frame.astype(int) - written.shot.frames[index]).mean() < 4
        else:
            assert np.array_equal(frame, written.shot.frames[index])
        depth = clip.depth(index)
        assert depth.dtype == np.float32
        assert np.abs(depth - written.shot.depth[index]).max() <= 0.51 * step + 1e-6


@pytest.mark.parametrize("name", ["tum", "bonn", "scannet", "sintel", "folder"])
def test_cameras_are_camera_to_world_in_opencv_axes(name, tmp_path):
    written = WRITERS[name](tmp_path)
    found = opened(name, written).camera_to_world
    known = [0, 1, 3] if name == "scannet" else range(FRAMES)
    assert found[known] == pytest.approx(written.shot.camera_to_world[known], abs=1e-6)
    if name == "scannet":
        assert np.isnan(found[2]).all(), "tracking was lost there"


@pytest.mark.parametrize(("name", "enlarged"), [("sintel", 1), ("folder", 1), ("scannet", 2)])
def test_lenses_count_from_the_pictures_corner(name, enlarged, tmp_path):
    written = WRITERS[name](tmp_path)
    assert opened(name, written).intrinsics == pytest.approx(enlarged * written.shot.intrinsics)


def test_published_lenses(tmp_path):
    assert opened("tum", write_tum(tmp_path / "tum")).intrinsics[0] == pytest.approx([535.4, 539.2, 320.6, 248.1])
    assert opened("bonn", write_bonn(tmp_path / "bonn")).intrinsics[0] == pytest.approx(
        [542.822841, 542.576870, 316.09352, 238.256098])


def test_a_tum_clip_of_an_unknown_camera_has_no_lens(tmp_path):
    written = write_tum(tmp_path)
    (tmp_path / written.clip).rename(tmp_path / "my_own")
    assert DATASETS["tum"].open_clip(tmp_path, "my_own").intrinsics is None


def test_kitti_is_cut_and_runs_from_first_to_last_truth(tmp_path):
    written = write_kitti(tmp_path)
    clip = opened("kitti", written)
    assert clip.frame_count == 4 and clip.camera_to_world is None
    rows, cols = slice(375 - 352, 375), slice(13, 13 + 1216)
    assert clip.frame(0).shape == (352, 1216, 3)
    assert np.array_equal(clip.frame(0), cv2.resize(written.shot.frames[1], (1242, 375))[rows, cols])
    assert np.abs(clip.depth(0) - kitti_truth(written.shot, 1)[rows, cols]).max() < 0.51 / 256
    assert clip.depth(2) is None, "the laser's truth is missing there"
    assert clip.intrinsics[0] == pytest.approx([721.5377, 721.5377, 609.5593 + 0.5 - 13, 172.854 + 0.5 - 23])


def test_kitti_in_its_other_folders(tmp_path):
    written = write_kitti(tmp_path)
    (tmp_path / "data_depth_annotated" / "val").rename(tmp_path / "val")
    (tmp_path / "raw").mkdir()
    (tmp_path / "2011_09_26").rename(tmp_path / "raw" / "2011_09_26")
    (tmp_path / "raw" / "2011_09_26" / "calib_cam_to_cam.txt").unlink()
    clip = opened("kitti", written)
    assert clip.frame_count == 4 and clip.intrinsics is None


def test_sintel_without_cameras(tmp_path):
    written = write_sintel(tmp_path)
    (tmp_path / "training" / "camdata_left").rename(tmp_path / "elsewhere")
    clip = opened("sintel", written)
    assert clip.camera_to_world is clip.intrinsics is None and clip.depth(0) is not None


def test_sintels_unknown_depth_is_none(tmp_path):
    path = tmp_path / "frame_0001.dpt"
    path.write_bytes(dpt_of(np.array([[1.0, np.nan, np.inf], [-1.0, 0.0, 2.5]])))
    assert read_dpt(path).tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 2.5]]


@pytest.mark.parametrize(("depth", "cameras", "first"), [("png", "poses", 0), ("exr", "poses", 7), ("png", "", 1)])
def test_other_ways_of_a_plain_folder(depth, cameras, first, tmp_path):
    written = write_folder(tmp_path, depth=depth, cameras=cameras, first_number=first)
    clip = opened("folder", written)
    assert clip.depth(3) == pytest.approx(written.shot.depth[3], abs=0.51 / 2000)
    assert np.array_equal(clip.motion_mask(2), written.shot.motion_mask[2] > 0) and clip.motion_mask(2).any()
    if cameras:
        assert clip.camera_to_world == pytest.approx(written.shot.camera_to_world, abs=1e-6)
        assert clip.intrinsics == pytest.approx(written.shot.intrinsics)
    else:
        assert clip.camera_to_world is clip.intrinsics is None


def test_a_plain_folder_with_frames_alone_or_as_the_root_itself(tmp_path):
    written = write_folder(tmp_path)
    for name in ("depth", "motion"):
        (tmp_path / "street" / name).rename(tmp_path / name)
    bare = DATASETS["folder"].open_clip(tmp_path / "street", "street")
    assert DATASETS["folder"].list_clips(tmp_path / "street") == ["street"]
    assert bare.depth is bare.motion_mask is None and bare.frame_count == FRAMES
    assert np.array_equal(bare.frame(1), written.shot.frames[1])


def test_frames_that_lack_something_are_kept_without_it(tmp_path):
    write_folder(tmp_path)
    for name in ("depth/0002.exr", "motion/0003.png"):
        (tmp_path / "street" / name).unlink()
    clip = DATASETS["folder"].open_clip(tmp_path, "street")
    assert clip.depth(1) is None and clip.depth(2) is not None
    assert clip.motion_mask(2) is None and clip.motion_mask(1) is not None


def test_depth_and_poses_too_far_in_time_do_not_belong(tmp_path):
    written = write_tum(tmp_path)
    for name in ("depth", "groundtruth"):
        path = tmp_path / written.clip / f"{name}.txt"
        lines = path.read_text().splitlines()
        kept = [lines[0], *lines[2 if name == "depth" else 3:]]
        path.write_text("\n".join(kept))
    clip = opened("tum", written)
    assert clip.depth(0) is None and clip.depth(1) is not None
    assert np.isnan(clip.camera_to_world[0]).all() and np.isfinite(clip.camera_to_world[1]).all()


def test_nearest_times():
    known = np.array([0.0, 0.1, 0.2])
    assert nearest_times(np.array([-0.015, 0.04, 0.099, 0.115, 0.21, 0.3]), known).tolist() == [0, -1, 1, 1, 2, -1]
    assert nearest_times(np.array([0.01, 0.5]), np.array([0.0])).tolist() == [0, -1]


def test_the_first_frames_of_a_clip(tmp_path):
    clip = opened("folder", write_folder(tmp_path)).first(2)
    assert clip.frame_count == len(clip.camera_to_world) == len(clip.intrinsics) == 2
    assert clip.first(50).frame_count == 2


# --- Which clips -------------------------------------------------------------------------------------------------

def test_the_usual_clips_or_those_asked_for(tmp_path):
    for name in ("scene0078_00", "scene0192_01", "scene0348_00", "scene0556_01", "scene0000_00"):
        (tmp_path / name / "color").mkdir(parents=True)
    scannet = DATASETS["scannet"]
    assert choose_clips(scannet, tmp_path, []) == list(scannet.clips) and len(scannet.clips) == 4
    assert len(choose_clips(scannet, tmp_path, ["all"])) == 5
    assert choose_clips(scannet, tmp_path, ["scene0000_00"]) == ["scene0000_00"]
    (tmp_path / "scene0192_01" / "color").rmdir()
    for asked in ([], ["scene0192_01"], ["../scene0078_00"]):
        error = error_of(choose_clips, scannet, tmp_path, asked)
        assert error.code == "dataset_missing" and (asked or ["scene0192_01"])[0] in error.message


def test_an_empty_or_absent_root(tmp_path):
    for name, dataset in DATASETS.items():
        for root in (tmp_path, tmp_path / "nowhere"):
            assert error_of(choose_clips, dataset, root, []).code == "dataset_missing", name


# --- Broken ------------------------------------------------------------------------------------------------------

def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(("file", "line", "words"), [
    ("rgb.txt", "1.0 ../../secret.png", "not a name inside"),
    ("rgb.txt", "1.0 /etc/passwd", "not a name inside"),
    ("rgb.txt", "1.0 C:\\secret.png", "not a name inside"),
    ("depth.txt", "1.0 rgb/../../../x.png", "not a name inside"),
    ("rgb.txt", "1.0", "line 6"), ("rgb.txt", "soon rgb/a.png", "line 6"), ("rgb.txt", "nan rgb/a.png", "line 6"),
    ("groundtruth.txt", "1 2 3", "line 10"), ("groundtruth.txt", "1 a b c d e f g", "line 10"),
    ("groundtruth.txt", "1 0 0 0 0 0 0 0", "quaternion"), ("groundtruth.txt", "1 0 0 0 nan 0 0 1", "quaternion"),
])
def test_broken_lists_are_refused_with_their_line(file, line, words, tmp_path):
    written = write_tum(tmp_path)
    path = tmp_path / written.clip / file
    path.write_text(path.read_text() + line + "\n")
    error = error_of(DATASETS["tum"].open_clip, tmp_path, written.clip)
    assert error.code == "dataset_invalid" and words in error.message


@pytest.mark.parametrize(("name", "part"), [
    ("tum", "depth.txt"), ("tum", "groundtruth.txt"), ("bonn", "groundtruth.txt"), ("kitti", "2011_09_26"),
    ("kitti", f"2011_09_26/{DRIVE}/image_02/data/0000000003.png"), ("scannet", "scene0078_00/depth"),
    ("sintel", "training/depth"), ("sintel", "training/camdata_left/alley_1/frame_0002.cam"),
])
def test_a_missing_part_is_named(name, part, tmp_path):
    written = WRITERS[name](tmp_path)
    folder = {"tum": "rgbd_dataset_freiburg3_walking", "bonn": "rgbd_bonn_balloon"}.get(name, "")
    path = tmp_path / folder / part
    path.rename(tmp_path.parent / f"{tmp_path.name}_away")
    error = error_of(DATASETS[name].open_clip, tmp_path, written.clip)
    assert error.code == "dataset_missing"
    assert Path(part).name in error.message or "picture 3" in error.message.lower() or "frame 2" in error.message


@pytest.mark.parametrize("data", [
    b"", b"PIEH" + bytes(40), TAG,
    TAG + struct.pack("<ii", 4, 3) + bytes(47), TAG + struct.pack("<ii", 4, 3) + bytes(49),
    TAG + struct.pack("<ii", 100000, 100000) + bytes(48), TAG + struct.pack("<ii", -4, -3) + bytes(48),
    TAG + struct.pack("<ii", 0, 0), TAG + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bytes(4),
])
def test_depth_that_lies_about_its_size_is_refused(data, tmp_path):
    path = tmp_path / "frame_0001.dpt"
    path.write_bytes(data)
    assert error_of(read_dpt, path).code == "dataset_invalid"


@pytest.mark.parametrize("data", [b"", TAG + bytes(168), TAG + bytes(100), TAG + bytes(400),
                                  TAG + struct.pack("<21d", *[np.nan] * 21)])
def test_a_camera_that_is_none_is_refused(data, tmp_path):
    path = tmp_path / "frame_0001.cam"
    path.write_bytes(data)
    assert error_of(read_cam, path).code == "dataset_invalid"


def test_depth_pictures_that_are_none_are_refused(tmp_path):
    write_folder(tmp_path, depth="png")
    clip = DATASETS["folder"].open_clip(tmp_path, "street")
    path = tmp_path / "street" / "depth" / "0001.png"
    whole = path.read_bytes()
    claims = whole[:16] + struct.pack(">II", 60000, 60000) + whole[24:]
    for data in (b"", b"no picture", whole[:200], claims):
        path.write_bytes(data)
        assert error_of(clip.depth, 0).code == "dataset_invalid"
    write_png(path, np.zeros((8, 8), np.uint8))
    assert "16 bits" in error_of(clip.depth, 0).message
    write_png(path, np.zeros((8, 8, 3), np.uint16))
    assert "16 bits" in error_of(clip.depth, 0).message
    path.unlink()
    assert error_of(clip.depth, 0).code == "dataset_missing"


def test_depth_in_a_damaged_exr_is_refused(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "street" / "depth" / "0001.exr"
    path.write_bytes(path.read_bytes()[:300])
    clip = DATASETS["folder"].open_clip(tmp_path, "street")
    assert error_of(clip.depth, 0).code == "dataset_invalid"


@pytest.mark.parametrize("scale", ["", "0", "-5", "nan", "1 2", "much"])
def test_a_scale_that_is_none_is_refused(scale, tmp_path):
    write_folder(tmp_path, depth="png")
    (tmp_path / "street" / "depth" / "scale.txt").write_text(scale)
    assert error_of(DATASETS["folder"].open_clip, tmp_path, "street").code == "dataset_invalid"


def mirrored(cameras: dict) -> dict:
    cameras["frames"][1]["camera_to_world"][0][0] *= -1
    return cameras


@pytest.mark.parametrize("change", [
    lambda cameras: "nothing", lambda cameras: {"frames": "none"}, lambda cameras: {"frames": []},
    lambda cameras: {"frames": [cameras["frames"][0] | {"color": 1}]},
    lambda cameras: {"frames": [cameras["frames"][0] | {"fx": -1.0}]},
    lambda cameras: {"frames": [cameras["frames"][0] | {"camera_to_world": [[1, 0, 0, 0]]}]},
    lambda cameras: {"frames": [cameras["frames"][0] | {"number": 99}]}, mirrored,
])
def test_cameras_that_are_none_are_refused(change, tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "street" / "cameras.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert error_of(DATASETS["folder"].open_clip, tmp_path, "street").code == "dataset_invalid"


def test_json_nested_without_end_is_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "street" / "cameras.json").write_text("[" * 200000)
    assert error_of(DATASETS["folder"].open_clip, tmp_path, "street").code == "dataset_invalid"


def test_gaps_doubles_and_odd_names_are_refused(tmp_path):
    write_folder(tmp_path)
    frames = tmp_path / "street" / "frames"
    (frames / "0002.png").rename(frames / "0009.png")
    assert "picture 2" in error_of(DATASETS["folder"].open_clip, tmp_path, "street").message
    (frames / "0009.png").rename(frames / "0002.png")
    write_png(frames / "2.png", np.zeros((8, 8, 3), np.uint8))
    assert "same number" in error_of(DATASETS["folder"].open_clip, tmp_path, "street").message
    for name in ("../street", "..", "", "a/b", "a\\b", "street\n"):
        assert error_of(DATASETS["folder"].open_clip, tmp_path, name).code == "dataset_invalid"


def test_a_scene_whose_pose_is_no_pose_is_refused(tmp_path):
    write_scannet(tmp_path)
    pose = tmp_path / "scene0078_00" / "pose" / "10.txt"
    for text in ("1 0 0\n0 1 0\n0 0 1\n", "2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "words\n"):
        pose.write_text(text)
        assert error_of(DATASETS["scannet"].open_clip, tmp_path, "scene0078_00").code == "dataset_invalid"


def test_kitti_pictures_smaller_than_the_cut_and_broken_lenses_are_refused(tmp_path):
    write_kitti(tmp_path)
    calibration = tmp_path / "2011_09_26" / "calib_cam_to_cam.txt"
    replaced(calibration, "P_rect_02: 721.5377", "P_rect_02: wide")
    assert error_of(DATASETS["kitti"].open_clip, tmp_path, DRIVE).code == "dataset_invalid"
    replaced(calibration, "P_rect_02:", "P_rect_03:")
    assert error_of(DATASETS["kitti"].open_clip, tmp_path, DRIVE).code == "dataset_invalid"
    calibration.unlink()
    clip = DATASETS["kitti"].open_clip(tmp_path, DRIVE)
    write_png(tmp_path / "2011_09_26" / DRIVE / "image_02" / "data" / "0000000001.png", np.zeros((99, 99, 3), np.uint8))
    assert error_of(clip.frame, 0).code == "dataset_invalid"
