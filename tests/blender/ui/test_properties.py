"""scene.stereodiff and what it becomes for the worker."""

from __future__ import annotations

import typing

import bpy
import pytest
from job_folder import write_sequence


def scene_settings(addon):
    return addon.ui.properties.settings_from(bpy.context.scene)


def test_defaults_are_the_contract_s(addon, contract):
    assert scene_settings(addon) == contract.Settings(depth_size="plate")


def test_depth_has_the_plates_size_but_for_a_draft_unless_it_is_chosen(addon, settings):
    def sizes() -> list[str]:
        found = []
        for settings.quality in ("draft", "standard", "high"):
            found.append(scene_settings(addon).depth_size)
        return found

    assert sizes() == ["working", "plate", "plate"]
    for settings.depth_size in ("plate", "working"):
        assert set(sizes()) == {settings.depth_size}


def test_every_choice_is_valid_in_the_contract(addon, settings):
    for name in ("stereo", "refine", "quality"):
        for item in settings.bl_rna.properties[name].enum_items:
            setattr(settings, name, item.identifier)
            scene_settings(addon).validate()
            assert getattr(scene_settings(addon), name) == item.identifier


def test_every_device_is_valid_in_the_contract(addon, preferences):
    for item in preferences.bl_rna.properties["device"].enum_items:
        preferences.device = item.identifier
        scene_settings(addon).validate()
        assert scene_settings(addon).device == item.identifier


def test_settings_are_handed_on(addon, settings):
    settings.max_side_px, settings.exposure_ev, settings.refine = 320, 1.5, "none"
    assert scene_settings(addon).max_pixels == 135_000_000
    settings.max_megapixels = 300
    asked = scene_settings(addon)
    assert (asked.max_side_px, asked.exposure_ev, asked.refine, asked.max_megapixels) == (320, 1.5, "none", 300)


def test_every_choice_of_the_diffusion_is_valid_in_the_contract(addon, settings):
    for name, field in (("diffusion_preset", "preset"), ("noise_schedule", "schedule")):
        for item in settings.bl_rna.properties[name].enum_items:
            setattr(settings, name, item.identifier)
            scene_settings(addon).validate()
            assert getattr(scene_settings(addon).diffusion, field) == item.identifier


def test_numbers_of_the_diffusion_are_handed_on(addon, settings):
    settings.noise_level, settings.noise_ensemble, settings.keep_static = 0.7, 3, 0.25
    asked = scene_settings(addon).diffusion
    assert (asked.noise_level, asked.ensemble, asked.keep_static) == (0.7, 3, 0.25)


def test_principal_point_and_distortion_come_from_the_clip_with_its_lens(addon, settings, sequence):
    settings.clip, settings.use_known_focal = sequence, True
    camera, (width, height) = sequence.tracking.camera, sequence.size
    assert scene_settings(addon).principal_point_px is None and scene_settings(addon).distortion is None
    camera.focal_length_pixels = 200.0
    camera.principal_point_pixels = (0.75 * width, 0.75 * height)
    camera.distortion_model, camera.k1 = "POLYNOMIAL", -0.125
    asked = scene_settings(addon)
    assert asked.principal_point_px == pytest.approx((0.75 * width, 0.25 * height))
    assert asked.distortion == (-0.125, 0.0, 0.0, 0.0, 0.0)
    asked.validate()
    camera.distortion_model = "DIVISION"
    assert scene_settings(addon).distortion is None
    settings.use_known_focal = False
    assert scene_settings(addon).principal_point_px is None


def test_known_lens_comes_from_the_clip(addon, settings, sequence):
    settings.clip = sequence
    sequence.tracking.camera.sensor_width = 24.0
    sequence.tracking.camera.focal_length = 35.0
    assert scene_settings(addon).focal_mm is None
    settings.use_known_focal = True
    assert (scene_settings(addon).focal_mm, scene_settings(addon).sensor_mm) == pytest.approx((35.0, 24.0))


def test_known_lens_in_pixels_is_told_in_millimeters(addon, settings, sequence):
    settings.clip, settings.use_known_focal = sequence, True
    sequence.tracking.camera.sensor_width = 36.0
    sequence.tracking.camera.units = "PIXELS"
    sequence.tracking.camera.focal_length_pixels = 96.0
    assert scene_settings(addon).focal_mm == pytest.approx(36.0)


def test_frame_range(addon, settings, sequence):
    scene = bpy.context.scene
    settings.first_frame, settings.last_frame = 2, 4
    assert addon.ui.properties.frame_range(scene, sequence) == (1, 6)
    settings.use_clip_range = False
    assert addon.ui.properties.frame_range(scene, sequence) == (2, 4)
    settings.last_frame = 60
    with pytest.raises(Exception, match="2 to 60") as caught:
        addon.ui.properties.frame_range(scene, sequence)
    assert caught.value.code == "frame_range_invalid"


def test_the_range_goes_by_the_files_numbers(addon, settings, tmp_path):
    settings.clip = bpy.data.movieclips.load(str(write_sequence(tmp_path, first=1001)))
    settings.use_clip_range, settings.first_frame, settings.last_frame = False, 1002, 1004
    assert addon.ui.properties.frame_range(bpy.context.scene, settings.clip) == (2, 4)
    settings.first_frame = 2
    with pytest.raises(Exception, match="Frames 2 to 1004 were asked for, plate_1001.png has 1001 to 1006"):
        addon.ui.properties.frame_range(bpy.context.scene, settings.clip)
    assert bpy.ops.stereodiff.use_clip_frames() == {"FINISHED"}
    assert (settings.first_frame, settings.last_frame) == (1001, 1006)


TELLS_THE_SESSION = {"runtime_python", "models_folder"}
"""Preferences that change what is known about the engine: it is looked at again as soon as they do."""


def test_no_property_has_a_callback_or_lacks_words(addon):
    for cls in (addon.ui.properties.STEREODIFF_PG_scene, addon.ui.preferences.STEREODIFF_AP_preferences):
        for name, deferred in typing.get_type_hints(cls).items():
            keywords = deferred.keywords
            assert not {"get", "set", "poll"} & set(keywords), name
            assert ("update" in keywords) == (name in TELLS_THE_SESSION), name
            assert not callable(keywords.get("items")), name
            if keywords.get("name") != "Active Job" and name != "jobs":
                assert keywords.get("description"), name


def test_saved_with_the_file(addon, settings, sequence, tmp_path):
    name = sequence.name
    settings.clip, settings.quality = sequence, "draft"
    job = settings.jobs.add()
    job.job_id, job.state = "somewhere", "failed"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"), check_existing=False)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    group = bpy.context.scene.stereodiff
    assert (group.clip.name, group.quality, group.jobs[0].state) == (name, "draft", "failed")


def test_jobs_folder(addon, preferences, tmp_path):
    assert addon.ui.preferences.jobs_folder() == tmp_path / "jobs"
    preferences.jobs_folder = ""
    assert addon.ui.preferences.jobs_folder() == addon.engine.contract.user_folders.user_folder() / "jobs"


def test_cache_folder(addon, preferences, tmp_path):
    assert addon.ui.preferences.cache_folder() is None
    preferences.cache_folder = str(tmp_path / "scratch")
    assert addon.ui.operators.solve.launch_with(tmp_path / "python").caches == tmp_path / "scratch"


def test_cores(addon, preferences, tmp_path):
    """None chosen: all but one, which is the engine's to count."""
    assert "--cores=-1" in command_with(addon, tmp_path)
    preferences.cores = 3
    assert "--cores=3" in command_with(addon, tmp_path)


def command_with(addon, folder) -> list[str]:
    launch = addon.ui.operators.solve.launch_with(folder / "python")
    return addon.jobs.worker_process.worker_command(launch.python, folder, launch.cores)


def test_python_that_does_not_exist(addon, preferences):
    preferences.runtime_python = "/nowhere/python"
    with pytest.raises(Exception) as caught:
        addon.ui.preferences.find_python()
    assert caught.value.code == "runtime_missing"
