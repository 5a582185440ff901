"""scene.stereodiff: what to solve and how, and the jobs that were started from this scene.

Saved in the .blend, so a Blender that opens it later finds its jobs again. No property has a callback: they would
keep a background Blender from ending cleanly.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bpy

from ..engine.contract import (
    MAX_ENSEMBLE,
    MAX_MEGAPIXELS,
    MOST_MEGAPIXELS,
    NOISE_LEVELS,
    PAPER_NOISE_LEVEL,
    DiffusionSettings,
    Distortion,
    Settings,
    depth_size_of,
    is_exr,
)
from ..footage import clip as clips
from ..footage.lens import with_clip_lens, with_lens_file
from ..jobs.reader_thread import read_beside
from . import preferences

__all__ = ["register", "unregister"]

STEREO_ITEMS = (
    ("geometric", "Geometric", "Solves the camera from tracked points and measures depth from several views. "
                               "Needs no learned weights"),
    ("monst3r", "MonST3R", "Depth and cameras of a network trained on films in which things move. Needs its weights, "
                           "which are not for commercial work, and PyTorch; a graphics card saves hours"),
)
REFINE_ITEMS = (
    ("guided", "Guided", "Removes flicker over time, forward and backward, and keeps edges"),
    ("depthcrafter", "DepthCrafter", "One denoising step of a video diffusion network, kept in the scale of the "
                                     "solve. Needs its weights, which are not for commercial work, PyTorch and a "
                                     "graphics card"),
    ("none", "None", "Leaves depth as it was measured"),
)
DIFFUSION_PRESET_ITEMS = (
    ("standard", "Standard", "The paper's step, with outliers in depth, short last windows and seams of decoding "
                             "taken care of"),
    ("paper", "Paper", "Exactly what the paper ran: 110 frames a window, 25 of them shared, one range from the nearest "
                       "to the farthest point of the clip"),
    ("fast", "Fast", "Windows share no frames, and 640 pixels at most: quicker, but each window's border may show"),
)
SCHEDULE_ITEMS = (
    ("karras", "Published", "Noise level 2.269, where the published scheduler has the paper's step. ZeroSNR changes "
                            "nothing in this schedule"),
    ("trailing", "Trailing", "Noise level 1.613: the plain schedule with trailing spacing, which the paper calls "
                             "ZeroSNR. Keeps a little more of the solve and of its flicker"),
    ("free", "Free", "A noise level of your own"),
)
QUALITY_ITEMS = (
    ("draft", "Draft", "A quick look: 480 pixels on the long side, to see whether the shot solves at all"),
    ("standard", "Standard", "For most shots: 640 pixels on the long side, the balance of detail and time"),
    ("high", "High", "For final results: 960 pixels on the long side; takes two to three times as long as Standard"),
)
BY_PRESET = "preset"
DEPTH_SIZE_ITEMS = (
    (BY_PRESET, "By Preset", "Plate size at Standard and High, working size for a draft"),
    ("working", "Working Size", "As large as depth is worked on: quick, and small on the disk"),
    ("plate", "Plate Size", "As large as the plate, up to 4096 pixels across, its edges where the plate has them; an "
                            "HD frame takes half a second more, and 6 MB"),
)
MATTE_ITEMS = (
    ("NONE", "None", "Find what moves by itself"),
    ("MASK", "Mask", "A mask drawn over this clip; its outlines count, feather does not"),
    ("CLIP", "Footage", "An image sequence or movie, white where things move, in step with the clip on the timeline"),
)
CAMERAS_ITEMS = (
    ("SOLVE", "Solve", "Find the camera of every frame from the clip"),
    ("COLMAP", "COLMAP Model", "Measure depth with the cameras of a COLMAP model of this clip, in its world and units. "
                               "Its pictures are told by the numbers in their names"),
    ("CLIP", "Clip's Solve", "Measure depth with the cameras that Blender's own tracker has solved for this clip"),
    ("SCENE", "Scene Camera", "Measure depth with a camera of this scene as it is animated, in the scene's world and "
                              "units"),
)
STATE_ITEMS = tuple((state, state.capitalize(), "") for state in
                    ("waiting", "running", "finished", "failed", "cancelled", "interrupted"))


class STEREODIFF_PG_job(bpy.types.PropertyGroup):
    """One job of this scene; what it holds survives in the .blend, everything else is read from the folder."""

    job_id: bpy.props.StringProperty(name="Job")
    folder: bpy.props.StringProperty(name="Folder", description="The job folder")
    clip_name: bpy.props.StringProperty(name="Clip")
    clip: bpy.props.PointerProperty(type=bpy.types.MovieClip)
    state: bpy.props.EnumProperty(name="State", items=STATE_ITEMS)
    code: bpy.props.StringProperty(name="Error Code")
    message: bpy.props.StringProperty(name="Error")
    shots: bpy.props.StringProperty(name="Shots", description="Frame ranges between the cuts that were found")


class STEREODIFF_PG_scene(bpy.types.PropertyGroup):
    """The settings of one scene."""

    clip: bpy.props.PointerProperty(
        name="Clip", description="The footage to solve", type=bpy.types.MovieClip,
    )
    use_clip_range: bpy.props.BoolProperty(
        name="Whole Clip", description="Solve every frame of the footage", default=True,
    )
    first_frame: bpy.props.IntProperty(
        name="First Frame", description="First frame to solve: the number of a sequence's file, or a movie's frame, "
                                        "whose first is 1", default=1, min=0,
    )
    last_frame: bpy.props.IntProperty(
        name="Last Frame", description="Last frame to solve, counted as First Frame is", default=48, min=0,
    )
    stereo: bpy.props.EnumProperty(
        name="Cameras and Depth", description="How cameras and depth are found", items=STEREO_ITEMS,
    )
    refine_cameras: bpy.props.BoolProperty(
        name="Refine Cameras",
        description="Adjust cameras and lens to points tracked in the still parts of the picture, which takes the "
                    "jitter out of a network's cameras; depth is scaled to them",
    )
    refine: bpy.props.EnumProperty(
        name="Refinement", description="How depth is made steady over time", items=REFINE_ITEMS,
    )
    diffusion_preset: bpy.props.EnumProperty(
        name="Preset", description="How DepthCrafter goes through the clip", items=DIFFUSION_PRESET_ITEMS,
    )
    noise_schedule: bpy.props.EnumProperty(
        name="Schedule", description="Where DepthCrafter's one step begins", items=SCHEDULE_ITEMS,
    )
    noise_level: bpy.props.FloatProperty(
        name="Noise Level", description="Less keeps more of the solve and of its flicker; more is smoother and invents "
                                        "more",
        default=PAPER_NOISE_LEVEL, min=NOISE_LEVELS[0], max=NOISE_LEVELS[1], soft_min=0.5, soft_max=16.0, precision=3,
    )
    noise_ensemble: bpy.props.IntProperty(
        name="Draws", description="How many draws of noise are averaged; each takes the network's time once more",
        default=1, min=1, max=MAX_ENSEMBLE, soft_max=8,
    )
    keep_static: bpy.props.FloatProperty(
        name="Keep Still", description="How far depth that was measured on still things is left as it is",
        default=0.0, min=0.0, max=1.0, subtype="FACTOR",
    )
    quality: bpy.props.EnumProperty(
        name="Quality", description="How much detail, and how long it takes", items=QUALITY_ITEMS, default="standard",
    )
    max_side_px: bpy.props.IntProperty(
        name="Working Size", description="Longest side of depth in pixels. 0: as the quality preset says",
        default=0, min=0, max=4096, subtype="PIXEL",
    )
    depth_size: bpy.props.EnumProperty(
        name="Depth Pass", description="Size of depth in the compositor, and of what hides CG there; the "
                                       "mesh has the working size in any case",
        items=DEPTH_SIZE_ITEMS, default=BY_PRESET,
    )
    use_known_focal: bpy.props.BoolProperty(
        name="Known Lens",
        description="Take focal length, sensor width, principal point and distortion from the clip's camera settings "
                    "instead of finding them. Where all coefficients are 0, the distortion is found all the same",
    )
    is_undistorted: bpy.props.BoolProperty(
        name="No Distortion",
        description="The clip has no lens distortion, because it is rendered or undistorted already: none is sought, "
                    "and the coefficients of the clip's camera settings or the lens file are passed over",
    )
    lens_file: bpy.props.StringProperty(
        name="Lens File", description="Take the lens from a file: a calibration of OpenCV's (YAML, JSON, XML), a "
                                      "cameras.txt of COLMAP's, or a redistort ST map (EXR) together with Known Lens",
        subtype="FILE_PATH",
    )
    use_known_readout: bpy.props.BoolProperty(
        name="Known Shutter",
        description="Take the readout of a rolling shutter from here instead of finding it",
    )
    readout: bpy.props.FloatProperty(
        name="Readout", description="Share of the time from frame to frame that passes between the first row and the "
                                    "last: milliseconds times frames per second, over 1000. 0: all rows at once. Below "
                                    "0: from the bottom up",
        default=0.0, min=-1.0, max=1.0, soft_min=0.0, precision=3,
    )
    cameras: bpy.props.EnumProperty(
        name="Cameras", description="Where the camera of every frame comes from", items=CAMERAS_ITEMS,
    )
    cameras_folder: bpy.props.StringProperty(
        name="Model", description="Folder with COLMAP's cameras.bin and images.bin, or .txt; often sparse/0. Lens "
                                  "distortion comes with it, if all pictures share one camera",
        subtype="DIR_PATH",
    )
    cameras_object: bpy.props.PointerProperty(
        name="Camera", description="Camera whose animation is used; none: the scene's own. Its lens counts for a "
                                   "picture of the clip's shape",
        type=bpy.types.Object,
    )
    matte: bpy.props.EnumProperty(
        name="Matte", description="What moves by itself: left out when the camera is solved, and given the depth of a "
                                  "moving thing", items=MATTE_ITEMS,
    )
    matte_mask: bpy.props.PointerProperty(
        name="Mask", description="The mask that covers what moves; animated on this timeline", type=bpy.types.Mask,
    )
    matte_clip: bpy.props.PointerProperty(
        name="Footage", description="Footage that shows white what moves. Its Start Frame places it on the timeline",
        type=bpy.types.MovieClip,
    )
    matte_invert: bpy.props.BoolProperty(
        name="Invert", description="Black, or the outside of the mask, is what moves",
    )
    exposure_ev: bpy.props.FloatProperty(
        name="Exposure", description="Stops added to scene-linear footage (EXR) before it is looked at. 0: as it is, "
                                     "or chosen where it is far too dark or too bright to see anything",
        default=0.0, min=-20.0, max=20.0, soft_min=-6.0, soft_max=6.0,
    )
    max_megapixels: bpy.props.IntProperty(
        name="Largest Picture", description="Million pixels. Footage with larger pictures is refused before it fills "
                                            "the memory; with the default, 16384 x 8192 are read",
        default=MAX_MEGAPIXELS, min=1, max=MOST_MEGAPIXELS, soft_min=10,
    )
    import_when_finished: bpy.props.BoolProperty(
        name="Import When Finished", description="Bring camera, mesh and depth into this scene as soon as all is done",
        default=True,
    )
    match_scene: bpy.props.BoolProperty(
        name="Match Scene to Clip",
        description="When a shot is imported for the first time: give this scene the clip's size, rate and frames, and "
                    "look through the camera. A scene that nobody has set up yet is matched in any case",
    )
    jobs: bpy.props.CollectionProperty(type=STEREODIFF_PG_job)
    active_job_index: bpy.props.IntProperty(name="Active Job")


CLASSES = (STEREODIFF_PG_job, STEREODIFF_PG_scene)


def settings_from(scene: bpy.types.Scene, clip: bpy.types.MovieClip | None = None, *,
                  with_lens: bool = True) -> Settings:
    """What the scene and the preferences ask for. Not checked here: Job.validate does that.

    clip: whose lens counts, if it is known; the chosen one's if None. with_lens: False leaves it out, which is all that
    may read a file. Raises StereoDiffError for a lens that cannot be used, as of footage.lens.
    """
    group = scene.stereodiff
    settings = Settings(
        stereo=group.stereo, refine=group.refine, quality=group.quality, max_side_px=group.max_side_px,
        exposure_ev=group.exposure_ev, device=preferences.current().device, refine_cameras=group.refine_cameras,
        diffusion=DiffusionSettings(group.diffusion_preset, group.noise_schedule, round(group.noise_level, 5),
                                    group.noise_ensemble, round(group.keep_static, 4)),
        max_megapixels=group.max_megapixels,
        depth_size=depth_size_of(group.quality) if group.depth_size == BY_PRESET else group.depth_size,
    )
    clip = clip or group.clip
    return settings if clip is None or not with_lens else _with_lens(settings, group, clip)


def _with_lens(settings: Settings, group: STEREODIFF_PG_scene, clip: bpy.types.MovieClip) -> Settings:
    """Of a clip that is not the chosen one, only its own lens panel counts."""
    if group.use_known_focal:
        settings = with_clip_lens(settings, clip, is_undistorted=group.is_undistorted and clip == group.clip)
    if group.cameras != "SOLVE" or clip != group.clip:
        return settings
    if group.lens_file:
        path = Path(bpy.path.abspath(group.lens_file))
        read_beside(lambda: is_exr(path))  # a disk that does not answer is told, and Blender does not wait for it
        settings = with_lens_file(settings, clip, path)
    if group.is_undistorted and settings.focal_mm is not None:
        settings = settings.with_distortion(Distortion())
    return replace(settings, readout=round(group.readout, 5)) if group.use_known_readout else settings


def frame_range(scene: bpy.types.Scene, clip: bpy.types.MovieClip, *, is_chosen: bool = True) -> tuple[int, int]:
    """First and last clip frame to solve: of a clip that is not the chosen one, all. Raises StereoDiffError as
    clip.check_range does."""
    group = scene.stereodiff
    is_whole = group.use_clip_range or not is_chosen
    numbers = (group.first_frame, group.last_frame)
    asked = clips.footage_range(clip) if is_whole else [clips.clip_frame_of_number(clip, n) for n in numbers]
    clips.check_range(clip, *asked)
    return tuple(asked)


def active_job(scene: bpy.types.Scene) -> STEREODIFF_PG_job | None:
    """The job that is selected in the list."""
    group = scene.stereodiff
    return group.jobs[group.active_job_index] if 0 <= group.active_job_index < len(group.jobs) else None


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.stereodiff = bpy.props.PointerProperty(type=STEREODIFF_PG_scene)


def unregister() -> None:
    del bpy.types.Scene.stereodiff
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
