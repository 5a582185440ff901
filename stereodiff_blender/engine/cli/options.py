"""The engine's choices as options of a command line, the same for every command that solves."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from ..contract import (
    DEPTH_SIZES,
    DIFFUSION_PRESETS,
    MAX_FPS,
    MAX_MEGAPIXELS,
    NOISE_SCHEDULES,
    PAPER_NOISE_LEVEL,
    QUALITIES,
    REFINE_ENGINES,
    STEREO_ENGINES,
    DiffusionSettings,
    Settings,
    depth_size_of,
)
from ..weights.command import default_models_folder

__all__ = ["add_cores", "add_engine_options", "add_solve", "engine_settings", "models_folder"]


def add_cores(parser: argparse.ArgumentParser) -> None:
    """How many cores are used.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Is given the option.
    """
    parser.add_argument("--cores", type=int, default=0, metavar="N",
                        help="processor cores to use; the result does not depend on it (0: all; -1: all but "
                        "one, or both of two)")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Everything of Settings but the clip's own lens and exposure.

    Besides, where the weights of learned engines are, and that their license is accepted.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Is given the options.
    """
    parser.add_argument("--stereo", choices=STEREO_ENGINES, default="geometric", help="stage 1 (geometric)")
    parser.add_argument("--refine", choices=REFINE_ENGINES, default="guided", help="stage 2 (guided)")
    parser.add_argument("--quality", choices=QUALITIES, default="standard", help="preset (standard)")
    parser.add_argument("--max-side", type=int, default=0, metavar="N", help="longest working side in pixels")
    parser.add_argument("--depth-size", choices=DEPTH_SIZES, help="plate: pictures of depth at the clip's size, too "
                        "(up to 4096 pixels across), its edges on the plate's (plate, but working for a draft)")
    add_cores(parser)
    parser.add_argument("--max-megapixels", type=int, default=MAX_MEGAPIXELS, metavar="N", help="million pixels of a "
                        f"picture of the footage, beyond which it is not read ({MAX_MEGAPIXELS})")
    parser.add_argument("--refine-cameras", action="store_true",
                        help="adjust cameras to points tracked in the pictures")
    parser.add_argument("--diffusion", choices=DIFFUSION_PRESETS, default="standard", help="preset of DepthCrafter "
                        "(standard)")
    parser.add_argument("--schedule", choices=NOISE_SCHEDULES, default="karras",
                        help="where DepthCrafter's step begins (karras, as published)")
    parser.add_argument("--noise-level", type=float, default=PAPER_NOISE_LEVEL, metavar="S", help="of --schedule free: "
                        f"less keeps more of stage 1 ({PAPER_NOISE_LEVEL})")
    parser.add_argument("--ensemble", type=int, default=1, metavar="N", help="draws of noise that DepthCrafter "
                        "averages (1)")
    parser.add_argument("--keep-static", type=float, default=0.0, metavar="W", help="0 to 1: how far DepthCrafter "
                        "leaves still things as measured (0)")
    parser.add_argument("--compile", action="store_true", help="compile DepthCrafter's network first")
    parser.add_argument("--models", type=Path, metavar="DIR", help="where the weights of learned engines are: a folder "
                        "for each, such as DIR/monst3r (where `weights get` puts them)")
    parser.add_argument("--accept-licence", action="store_true", help="the license of the chosen engines' weights was "
                        "read and is accepted; `weights list` names it")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw (0)")


def add_solve(parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    """The options of the command, which is called with them.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of "solve"; is given the options.
    command : Callable
        Gets the parsed options and gives the exit status.
    """
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="movie file, or any picture of an image sequence")
    parser.add_argument("out", type=Path, metavar="OUT", help="becomes the job folder; new, empty, or of an unfinished "
                       "solve with the same settings, which is then gone on with. Of several clips: the folder of "
                       "their job folders")
    add_engine_options(parser)
    parser.add_argument("--frames", type=_frame_range, metavar="A-B", help="first and last frame: of a sequence "
                        "the numbers of its files, of a movie 1 is the first")
    parser.add_argument("--fps", type=_rate, default=0.0, metavar="N",
                        help="frames per second, such as 25 or 24000/1001; a picture sequence seldom says its own")
    parser.add_argument("--focal-mm", type=float, metavar="F", help="known focal length; needs --sensor-mm")
    parser.add_argument("--sensor-mm", type=float, metavar="S", help="width of the sensor; needs --focal-mm")
    parser.add_argument("--principal-point", type=float, nargs=2, metavar=("X", "Y"), help="where the axis of the "
                        "known lens meets the picture, in the clip's pixels from the top left corner (the center)")
    parser.add_argument("--lens-file", type=Path, metavar="FILE", help="the lens is known: a calibration of OpenCV's "
                        "(YAML, JSON, XML) or a cameras.txt of COLMAP's; or a redistort ST map (EXR) of the clip's "
                        "size, with --focal-mm and --sensor-mm")
    parser.add_argument("--undistorted", action="store_true", help="the clip has no lens distortion, because it is "
                        "rendered or undistorted already; needs --focal-mm and --sensor-mm, or --lens-file")
    parser.add_argument("--readout", type=float, metavar="R", help="known rolling shutter: share of the time from "
                        "frame to frame between the first row and the last (-1 to 1; 0: none; below 0: from the "
                        "bottom up)")
    parser.add_argument("--matte", metavar="PATH", help="footage that shows white what moves by itself; its first "
                       "picture belongs to the clip's first")
    parser.add_argument("--invert-matte", action="store_true", help="black is what moves; needs --matte")
    parser.add_argument("--cameras", type=Path, metavar="FOLDER", help="depth from cameras that are known: the folder "
                        "of a COLMAP model of this clip, .bin or .txt; nothing is solved")
    parser.add_argument("--exposure-ev", type=float, default=0.0, metavar="EV", help="stops added to scene-linear "
                        "footage such as EXR (0: chosen where it is far too dark or bright)")
    parser.add_argument("--color-space", default="", metavar="NAME", help="of the stored values, as Blender names it, "
                        "such as ACEScg (as Blender takes it for this kind of file)")
    parser.add_argument("--ocio", type=Path, metavar="FILE", help="OpenColorIO configuration that knows the color "
                        "space (the one of the environment variable OCIO, else OpenColorIO's own)")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep what the solve needs meanwhile, and for "
                        "going on, in a folder of its own below this one, such as on a fast disk (OUT/cache)")
    parser.add_argument("--overwrite", action="store_true", help="clear OUT first if it is an earlier job folder")
    parser.set_defaults(command=command)


def _rate(text: str) -> float:
    """As a number or a fraction: 25, 23.976, 24000/1001."""
    try:
        rate = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        rate = 0.0
    if not 0.0 < rate <= MAX_FPS:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate such as 25 or 24000/1001")
    return rate


def _frame_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not two frame numbers like 1-48")
    return int(match[1]), int(match[2])


def engine_settings(options: argparse.Namespace, *, focal_mm: float | None = None, sensor_mm: float | None = None,
                    exposure_ev: float = 0.0, principal_point_px: tuple[float, float] | None = None,
                    readout: float | None = None) -> Settings:
    """The settings that the engine's options stand for, checked.

    Parameters
    ----------
    options : argparse.Namespace
        Parsed, of add_engine_options.
    focal_mm, sensor_mm : float or None
        Known focal length and width of the sensor, in mm; both, or neither where the lens is not known.
    exposure_ev : float
        Stops added to scene-linear EXR.
    principal_point_px : tuple of float or None
        Of the known lens, in pixels of the clip; None: the center.
    readout : float or None
        Of a known rolling shutter, as Settings has it.

    Returns
    -------
    Settings
        In range.

    Raises
    ------
    StereoDiffError
        "settings_invalid".
    """
    settings = Settings(options.stereo, options.refine, options.quality, options.max_side, focal_mm, sensor_mm,
                        exposure_ev, options.device, options.seed, options.refine_cameras,
                        DiffusionSettings(options.diffusion, options.schedule, options.noise_level, options.ensemble,
                                          options.keep_static, options.compile), options.max_megapixels,
                        principal_point_px, readout=readout,
                        depth_size=options.depth_size or depth_size_of(options.quality))
    settings.validate()
    return settings


def models_folder(options: argparse.Namespace) -> str:
    """Absolute path of the folder of models: the one of --models, else where `weights get` puts them.

    Parameters
    ----------
    options : argparse.Namespace
        Parsed, of add_engine_options.

    Returns
    -------
    str
        As in contract.Job.
    """
    return str((options.models or default_models_folder()).absolute())
