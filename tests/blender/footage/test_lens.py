"""The lens that is known of a clip: all of Blender's models mean the same to us as to Blender's own solver."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest
from job_folder import write_sequence

SIZE, COUNT, FOCAL_PX = (640, 360), 10, 500.0
MODELS = {
    "polynomial": ("POLYNOMIAL", {"k1": -0.2, "k2": 0.05, "k3": -0.01}),
    "brown": ("BROWN", {"brown_k1": -0.2, "brown_k2": 0.05, "brown_k3": -0.01, "brown_p1": 0.006, "brown_p2": -0.004}),
    "brown with k4": ("BROWN", {"brown_k1": -0.1, "brown_k2": 0.02, "brown_k4": 0.01, "brown_p1": 0.002}),
    "division": ("DIVISION", {"division_k1": 0.12, "division_k2": 0.01}),
    "division pincushion": ("DIVISION", {"division_k1": -0.06}),
    "nuke": ("NUKE", {"nuke_k1": -0.06, "nuke_k2": 0.01}),
    "nuke barrel": ("NUKE", {"nuke_k1": 0.08}),
}


@pytest.fixture
def lens(addon):
    return importlib.import_module(f"{addon.__name__}.footage.lens")


@pytest.fixture
def through(addon):
    return importlib.import_module(f"{addon.__name__}.engine.lens")


@pytest.fixture
def clip(addon, tmp_path) -> bpy.types.MovieClip:
    path = write_sequence(tmp_path / "plate", count=COUNT, size=SIZE)
    found = bpy.data.movieclips.load(str(path))
    found.tracking.camera.focal_length_pixels = FOCAL_PX
    return found


def set_model(clip: bpy.types.MovieClip, name: str) -> None:
    model, values = MODELS[name]
    clip.tracking.camera.distortion_model = model
    for key, value in values.items():
        setattr(clip.tracking.camera, key, value)


def code_of(call, *arguments) -> tuple[str, str]:
    with pytest.raises(Exception, check=lambda error: hasattr(error, "code")) as caught:
        call(*arguments)
    return caught.value.code, caught.value.message


def solved_by_blender(addon, clip: bpy.types.MovieClip, pixels: np.ndarray) -> float:
    """Error of Blender's own solve of points seen at these pixels, (T,P,2), of which nothing is refined."""
    tracking = clip.tracking
    own = tracking.objects["Camera"]
    places = pixels / tuple(clip.size)
    for seen in np.swapaxes(places, 0, 1):
        track = own.tracks.new(name="", frame=1)
        for frame, (x, y) in enumerate(seen, 1):
            is_inside = 0 < x < 1 and 0 < y < 1
            track.markers.insert_frame(frame, co=(x, 1 - y)).mute = not is_inside
    own.keyframe_a, own.keyframe_b = 1, COUNT
    tracking.settings.use_keyframe_selection = False
    tracking.objects.active = own
    tracks = importlib.import_module(f"{addon.__name__}.scene.export.clip_tracks")
    with tracks._clip_editor(bpy.context, clip):
        bpy.ops.clip.solve_camera()
    assert own.reconstruction.is_valid
    return own.reconstruction.average_error


def ideal_places() -> np.ndarray:
    """(T,P,2) of points before a camera that travels."""
    points = np.random.default_rng(2).uniform((-5.0, -3.0, 4.0), (5.0, 3.0, 9.0), (150, 3))
    places = np.linspace((-0.6, 0.0, 0.0), (0.6, 0.15, 0.5), COUNT)
    local = points[None] - places[:, None]
    return local[..., :2] / local[..., 2:]


@pytest.mark.slow
@pytest.mark.parametrize("aspect", [1.0, 2.0])
@pytest.mark.parametrize("name", MODELS)
def test_blenders_solver_agrees_with_what_is_read(addon, lens, through, contract, clip, name, aspect):
    """Markers lie where our coefficients show the points; Blender's solver takes its own."""
    camera = clip.tracking.camera
    clip.display_aspect = (aspect, 1.0)
    camera.pixel_aspect, camera.focal_length_pixels = aspect, FOCAL_PX
    camera.principal_point_pixels = (330.0, 172.0)
    set_model(clip, name)
    known = lens.with_clip_lens(contract.Settings(), clip)
    known.validate()
    fx = known.focal_mm / known.sensor_mm * SIZE[0]
    assert fx == pytest.approx(FOCAL_PX) and known.principal_point_px == pytest.approx((330.0, 188.0))
    places = ideal_places() / (1.0, aspect)  # as high as the picture is, squeezed
    pixels = through.distorted(places, known.known_distortion) * (fx, fx * aspect) + (330.0, 188.0)
    assert solved_by_blender(addon, clip, pixels) < 0.003


@pytest.mark.parametrize("off", [(-0.19, 0.05, -0.01, 0.004, 0.006), (-0.2, 0.05, -0.01, -0.004, 0.006),
                                 (-0.2, 0.05, -0.01, 0.006, 0.004)])
def test_the_judge_sees_a_lens_that_is_off(addon, through, contract, clip, off):
    set_model(clip, "brown")
    pixels = through.distorted(ideal_places(), contract.Distortion(*off)) * FOCAL_PX + (320.0, 180.0)
    assert solved_by_blender(addon, clip, pixels) > 0.01


def test_nukes_half_lengths_are_of_the_side_that_is_longer_on_a_screen(addon, lens, through, contract, tmp_path):
    """Upright, of squeezed pixels: 360 x 640 of them are as wide as 720 high ones."""
    size = (360, 640)
    upright = bpy.data.movieclips.load(str(write_sequence(tmp_path / "upright", count=COUNT, size=size)))
    upright.display_aspect, upright.tracking.camera.pixel_aspect = (2.0, 1.0), 2.0
    upright.tracking.camera.focal_length_pixels = FOCAL_PX
    set_model(upright, "nuke barrel")
    known = lens.with_clip_lens(contract.Settings(), upright)
    places = ideal_places() / (1.5, 1.0)
    pixels = through.distorted(places, known.known_distortion) * (FOCAL_PX, 2 * FOCAL_PX) + (180, 320)
    assert solved_by_blender(addon, upright, pixels) < 0.003


def test_without_coefficients_the_shot_is_asked(lens, contract, clip):
    for model in ("POLYNOMIAL", "DIVISION", "NUKE", "BROWN"):
        clip.tracking.camera.distortion_model = model
        known = lens.with_clip_lens(contract.Settings(), clip)
        assert known.distortion is None and known.principal_point_px is None


def test_a_clip_without_distortion_is_told(addon, settings, contract, clip, tmp_path):
    """Zeros are a new clip's, so they say nothing by themselves; nor does it matter what the panel says then."""
    settings.clip, settings.use_known_focal = clip, True
    asked = addon.ui.properties.settings_from
    assert asked(bpy.context.scene).known_distortion is None
    settings.is_undistorted = True
    assert asked(bpy.context.scene).known_distortion == contract.Distortion()
    clip.tracking.camera.k1 = -3.0
    assert asked(bpy.context.scene).known_distortion == contract.Distortion()
    clip.tracking.camera.k1 = 0.0
    path = tmp_path / "cameras.txt"
    path.write_text("1 RADIAL 640 360 500 320 180 -0.1 0\n")
    settings.use_known_focal, settings.lens_file = False, str(path)
    assert asked(bpy.context.scene).known_distortion == contract.Distortion()
    settings.lens_file = ""
    assert asked(bpy.context.scene).focal_mm is None and asked(bpy.context.scene).known_distortion is None


@pytest.mark.parametrize("lens_of_result", [(0.0, 0.0), (-0.05, 0.01)])
def test_the_nuke_model_of_a_fisheye_gives_the_fisheye_back(lens, through, contract, clip, lens_of_result):
    """As an import writes it into the clip, 94 degrees across."""
    camera = clip.tracking.camera
    camera.focal_length_pixels = 390.0
    true = contract.Distortion(*lens_of_result, is_fisheye=True)
    camera.distortion_model = "NUKE"
    half = 320.0 / 390.0
    reach = np.linspace(0.01, np.hypot(320.0, 180.0) / 390.0, 60)
    ideal = through.undistorted(np.stack([reach, 0 * reach], -1), true)[:, 0]
    columns = np.stack([(reach / half)**2, (reach / half)**4], -1)
    camera.nuke_k1, camera.nuke_k2 = np.linalg.lstsq(columns, reach / ideal - 1.0, rcond=None)[0]
    known = lens.with_clip_lens(contract.Settings(), clip)
    known.validate()
    assert known.is_fisheye
    places = np.stack(np.meshgrid(np.linspace(-0.8, 0.8, 20), np.linspace(-0.4, 0.4, 20)), -1)
    off = through.undistorted(places, known.known_distortion) - through.undistorted(places, true)
    assert np.abs(off).max() * 390.0 < 0.3, "what Nuke's two coefficients are off by"


def test_the_exact_models_are_taken_as_they_are(lens, contract, clip):
    set_model(clip, "brown")
    assert lens.with_clip_lens(contract.Settings(), clip).distortion == pytest.approx((-0.2, 0.05, -0.01, 0.004, 0.006))
    set_model(clip, "polynomial")
    assert lens.with_clip_lens(contract.Settings(), clip).distortion == pytest.approx((-0.2, 0.05, -0.01, 0.0, 0.0))


@pytest.mark.parametrize(("model", "name", "value", "words"), [
    ("DIVISION", "division_k1", -2.0, "pixels off"), ("NUKE", "nuke_k1", -0.5, "pixels off"),
    ("DIVISION", "division_k1", 3.0, "folds"), ("NUKE", "nuke_k1", -1.5, "folds"),
    ("BROWN", "brown_k4", -5.0, "folds")])
def test_what_our_coefficients_cannot_follow_is_refused(lens, contract, clip, model, name, value, words):
    clip.tracking.camera.distortion_model = model
    setattr(clip.tracking.camera, name, value)
    code, message = code_of(lens.with_clip_lens, contract.Settings(), clip)
    assert code == "lens_not_followed" and model.title() in message and words in message


@pytest.mark.parametrize(("size", "is_followed"), [(0.0003, True), (0.02, False)])
def test_nukes_tangential_part_is_followed_only_while_it_is_next_to_nothing(lens, contract, clip, size, is_followed):
    camera = clip.tracking.camera
    if not hasattr(camera, "nuke_p1"):
        pytest.skip("before Blender 5.2, the model has none")
    camera.distortion_model, camera.nuke_p1 = "NUKE", size
    if is_followed:
        assert lens.with_clip_lens(contract.Settings(), clip).distortion is not None
    else:
        code, message = code_of(lens.with_clip_lens, contract.Settings(), clip)
        assert code == "lens_not_followed" and "pixels off" in message


@pytest.mark.parametrize(("model", "name", "value"), [("POLYNOMIAL", "k1", -2.0), ("BROWN", "brown_p1", 0.6)])
def test_a_lens_that_folds_the_picture_over_is_refused(lens, contract, clip, model, name, value):
    clip.tracking.camera.distortion_model = model
    setattr(clip.tracking.camera, name, value)
    code, message = code_of(lens.with_clip_lens, contract.Settings(), clip)
    assert code == "settings_invalid" and "fold" in message


def test_coefficients_for_other_pixels_are_refused(lens, contract, clip):
    set_model(clip, "polynomial")
    clip.display_aspect = (2.0, 1.0)
    code, message = code_of(lens.with_clip_lens, contract.Settings(), clip)
    assert code == "settings_invalid" and "Pixel Aspect" in message
    clip.tracking.camera.pixel_aspect = 2.0
    assert lens.with_clip_lens(contract.Settings(), clip).distortion is not None


# --- Files ---------------------------------------------------------------------------------------------------------

def write_map(path, through, contract, distortion, size=SIZE, *, hole=False):
    """A redistort map without overscan, by Blender's own EXR writer."""
    width, height = size
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    center = np.divide(size, 2)
    ideal = through.undistorted((pixels - center) / FOCAL_PX, distortion) * FOCAL_PX + center
    u, v = ideal[..., 0] / width, 1.0 - ideal[..., 1] / height
    if hole:
        u[20, 30] = np.nan
    image = bpy.data.images.new("map", width, height, float_buffer=True, alpha=False)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.stack([u, v, np.ones_like(u), np.ones_like(u)], -1)[::-1].astype(np.float32).ravel())
    image.file_format, image.filepath_raw = "OPEN_EXR", str(path)
    settings = bpy.context.scene.render.image_settings
    settings.file_format, settings.color_depth = "OPEN_EXR", "32"
    image.save_render(str(path), scene=bpy.context.scene)
    bpy.data.images.remove(image)
    return path


def test_an_st_map_gives_the_distortion_and_the_panel_the_rest(addon, settings, through, contract, clip, tmp_path):
    true = contract.Distortion(-0.15, 0.03)
    path = write_map(tmp_path / "redistort.exr", through, contract, true)
    settings.clip, settings.use_known_focal, settings.lens_file = clip, True, str(path)
    asked = addon.ui.properties.settings_from(bpy.context.scene)
    asked.validate()
    assert asked.distortion == pytest.approx((-0.15, 0.03, 0.0, 0.0, 0.0), abs=1e-4)
    assert asked.focal_mm == pytest.approx(clip.tracking.camera.focal_length)
    assert not bpy.data.images
    settings.use_known_focal = False
    code, message = code_of(addon.ui.properties.settings_from, bpy.context.scene)
    assert code == "settings_invalid" and "Known Lens" in message


def test_a_map_of_another_size_or_with_a_hole_is_refused(lens, through, contract, clip, tmp_path):
    known = lens.with_clip_lens(contract.Settings(), clip)
    small = write_map(tmp_path / "small.exr", through, contract, contract.Distortion(-0.1), (320, 180))
    assert code_of(lens.with_lens_file, known, clip, small)[0] == "lens_file_wrong_size"
    torn = write_map(tmp_path / "torn.exr", through, contract, contract.Distortion(-0.1), hole=True)
    assert code_of(lens.with_lens_file, known, clip, torn)[0] == "lens_file_invalid"
    torn.write_bytes(torn.read_bytes()[:20])
    assert code_of(lens.with_lens_file, known, clip, torn)[0] == "lens_file_invalid"
    assert code_of(lens.with_lens_file, known, clip, tmp_path / "none.exr")[0] == "lens_file_missing"
    assert not bpy.data.images


def test_a_calibration_makes_the_lens_known_by_itself(addon, settings, contract, clip, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 OPENCV 1280 720 1000 1000 650 350 -0.1 0.02 0.003 0.004\n")
    settings.clip, settings.lens_file = clip, str(path)
    clip.tracking.camera.sensor_width = 24.0
    asked = addon.ui.properties.settings_from(bpy.context.scene)
    asked.validate()
    assert (asked.sensor_mm, asked.focal_mm) == pytest.approx((24.0, 500.0 / 640 * 24.0))
    assert asked.principal_point_px == pytest.approx((325.0, 175.0))
    assert asked.distortion == (-0.1, 0.02, 0.0, 0.003, 0.004)
    assert addon.ui.properties.settings_from(bpy.context.scene, with_lens=False).focal_mm is None
    settings.cameras = "CLIP"
    assert addon.ui.properties.settings_from(bpy.context.scene).focal_mm is None
    settings.cameras = "SOLVE"
    path.write_text("1 OPENCV 1280 720 1000 1000 650 350 -3 0 0 0\n")
    assert code_of(addon.ui.properties.settings_from, bpy.context.scene)[0] == "settings_invalid"


def test_a_fisheye_is_taken_from_a_calibration_and_from_an_st_map(addon, settings, through, contract, clip, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 OPENCV_FISHEYE 1280 720 700 700 650 350 -0.05 0.01 0.004 -0.001\n")
    settings.clip, settings.lens_file = clip, str(path)
    asked = addon.ui.properties.settings_from(bpy.context.scene)
    asked.validate()
    true = contract.Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True)
    assert asked.known_distortion == true and asked.focal_mm == pytest.approx(350.0 / 640 * asked.sensor_mm)
    settings.lens_file = str(write_map(tmp_path / "redistort.exr", through, contract, true))
    settings.use_known_focal = True
    asked = addon.ui.properties.settings_from(bpy.context.scene)
    asked.validate()
    pixels = np.stack(np.meshgrid(np.linspace(-320, 320, 20), np.linspace(-180, 180, 20)), -1)
    off = through.undistorted(pixels / FOCAL_PX, asked.known_distortion) - through.undistorted(pixels / FOCAL_PX, true)
    assert np.abs(off).max() * FOCAL_PX < 0.1
    path.write_text("1 OPENCV_FISHEYE 640 360 200 200 320 180 0 0 0 0\n")
    settings.lens_file = str(path)
    code, message = code_of(addon.ui.properties.settings_from, bpy.context.scene)
    assert code == "settings_invalid" and "170 degrees" in message


def test_another_clip_has_neither_file_nor_readout(addon, settings, clip, sequence, tmp_path):
    settings.clip, settings.lens_file = clip, str(tmp_path / "none.yml")
    settings.use_known_readout, settings.readout = True, 0.25
    asked = addon.ui.properties.settings_from(bpy.context.scene, sequence)
    assert asked.focal_mm is None and asked.readout is None


def test_a_readout_is_handed_on(addon, settings, clip):
    settings.clip, settings.readout = clip, -0.4
    assert addon.ui.properties.settings_from(bpy.context.scene).readout is None
    settings.use_known_readout = True
    assert addon.ui.properties.settings_from(bpy.context.scene).readout == pytest.approx(-0.4)
    settings.cameras = "SCENE"
    assert addon.ui.properties.settings_from(bpy.context.scene).readout is None
