"""A result's pictures: what plays with the scene (depth, confidence, motion mask, and the plate), and ST maps."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..result import ImportedResult
from .ownership import claim

PRODUCTS = ("depth", "confidence", "motion_mask", "plate_depth", "mesh_depth")


def import_depth_images(shot: ImportedResult) -> dict[str, bpy.types.Image]:
    """Image datablocks of the result's products, by name; Non-Color and at full precision.

    Whoever shows one takes its timing from play_product().

    Parameters
    ----------
    shot : ImportedResult
        The result; images of an earlier import of the same footage are used again.

    Returns
    -------
    dict of str to bpy.types.Image
        By product, "depth" (z-depth in units of the solve, 0 is invalid), "confidence" (0..1), "motion_mask" (1
        where things move), "plate_depth" (as depth, at the plate's size) and "mesh_depth" (the first three in one
        picture, for the mesh); only those that the result has.
    """
    files = {product: shot.first_file(product) for product in PRODUCTS}
    return {product: _import_product(shot, product, file) for product, file in files.items() if file is not None}


def _import_product(shot: ImportedResult, product: str, file: Path) -> bpy.types.Image:
    image = _claim_image(shot, product, file)
    image.source = "SEQUENCE"
    image.colorspace_settings.name = "Non-Color"
    image.use_half_precision = False
    return image


def import_plate(shot: ImportedResult, clip: bpy.types.MovieClip) -> bpy.types.Image:
    """The footage as an image texture, in the color space the clip is read with.

    Parameters
    ----------
    shot : ImportedResult
        Says where the footage is, and whether it is a movie or a sequence.
    clip : bpy.types.MovieClip
        Whose color space is taken.

    Returns
    -------
    bpy.types.Image
        Whoever shows it takes its timing from play_plate().
    """
    image = _claim_image(shot, "plate", shot.plate)
    image.source = "MOVIE" if shot.result.clip.kind == "movie" else "SEQUENCE"
    image.colorspace_settings.name = clip.colorspace_settings.name
    return image


def import_lens_maps(shot: ImportedResult) -> dict[str, bpy.types.Image]:
    """The ST maps of the result's lens, or of its frames where they have their own; Non-Color and at full precision.

    Parameters
    ----------
    shot : ImportedResult
        The result; images of an earlier import of the same footage are used again.

    Returns
    -------
    dict of str to bpy.types.Image
        "undistort" and "redistort"; empty if the result has none. Whoever shows one takes its timing from play_map().
    """
    lens = shot.result.lens
    if lens.undistort is None or lens.redistort is None:
        return {}
    maps = {"undistort": shot.folder / lens.undistort, "redistort": shot.folder / lens.redistort}
    return {name: _import_map(shot, f"{name} map", file, shot.first_file(name)) for name, file in maps.items()}


def _import_map(shot: ImportedResult, part: str, file: Path, first_file: Path | None) -> bpy.types.Image:
    """file: of the clip. first_file: of the frames' own."""
    image = _claim_image(shot, part, file if first_file is None else first_file)
    image.source = "FILE" if first_file is None else "SEQUENCE"
    image.colorspace_settings.name = "Non-Color"
    image.use_half_precision = False
    return image


def _claim_image(shot: ImportedResult, part: str, file: Path) -> bpy.types.Image:
    def load(name: str) -> bpy.types.Image:
        image = bpy.data.images.load(str(file), check_existing=False)
        image.name = name
        return image

    image = claim(bpy.data.images, shot, part, load)
    image.filepath = blend_path(file)
    image.reload()
    return image


def blend_path(file: Path) -> str:
    """Relative to the .blend where that is possible, so that both can move together; else absolute.

    Parameters
    ----------
    file : Path
        Absolute.

    Returns
    -------
    str
        As Blender keeps paths: it begins with // where it is relative. Absolute while the .blend is not saved, and
        where it lies on another drive.
    """
    if not bpy.data.filepath:
        return str(file)
    try:
        return bpy.path.relpath(str(file))
    except ValueError:  # another drive on Windows
        return str(file)


def play_product(user, shot: ImportedResult) -> None:
    """Time an image user, or a compositor node, so that each scene frame shows its own file of a product.

    The file's number is clamp(scene frame - frame_start + 1, 0, frame_duration) + frame_offset.

    Parameters
    ----------
    user : bpy.types.ImageUser or bpy.types.CompositorNodeImage
        What is timed.
    shot : ImportedResult
        Says the solved frames, and where they play in the scene.
    """
    _play(user, shot.scene_frame(shot.first_frame), shot.frame_count, shot.first_file_number - 1)


def play_map(node: bpy.types.Node, shot: ImportedResult) -> None:
    """Time a compositor node that shows an ST map, if each frame has its own.

    Parameters
    ----------
    node : bpy.types.CompositorNodeImage
        With the image in it.
    shot : ImportedResult
        As of play_product().
    """
    if node.image.source == "SEQUENCE":
        play_product(node, shot)


def play_plate(user, shot: ImportedResult, clip: bpy.types.MovieClip) -> None:
    """Time an image user so that it shows the footage as the solve saw it.

    Parameters
    ----------
    user : bpy.types.ImageUser
        What is timed.
    shot : ImportedResult
        Says where the clip plays in the scene, and which picture clip frame 1 shows.
    clip : bpy.types.MovieClip
        Its duration says how long the footage plays, but it plays to the last solved frame at least.
    """
    offset = shot.plate_number if shot.result.clip.kind == "movie" else shot.plate_number - 1
    _play(user, shot.start, max(clip.frame_duration, shot.result.frames[-1].frame), offset)


def _play(user, start: int, duration: int, offset: int) -> None:
    user.frame_start = start
    user.frame_duration = duration
    user.frame_offset = offset
    user.use_cyclic = False
    user.use_auto_refresh = True
