"""The engine's choices as options of a command line, the same for every command that solves."""

from __future__ import annotations

import argparse
from pathlib import Path

from .contract import (
    DIFFUSION_PRESETS,
    NOISE_SCHEDULES,
    PAPER_NOISE_LEVEL,
    QUALITIES,
    REFINE_ENGINES,
    STEREO_ENGINES,
    DiffusionSettings,
    Settings,
)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Everything of Settings but the clip's own lens and exposure."""
    parser.add_argument("--stereo", choices=STEREO_ENGINES, default="geometric", help="stage 1 (geometric)")
    parser.add_argument("--refine", choices=REFINE_ENGINES, default="guided", help="stage 2 (guided)")
    parser.add_argument("--quality", choices=QUALITIES, default="standard", help="preset (standard)")
    parser.add_argument("--max-side", type=int, default=0, metavar="N", help="longest working side in pixels")
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
                        "for each, such as DIR/monst3r")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw (0)")


def engine_settings(options: argparse.Namespace, *, focal_mm: float | None = None, sensor_mm: float | None = None,
                    exposure_ev: float = 0.0) -> Settings:
    """Raises StereoDiffError "settings_invalid"."""
    settings = Settings(options.stereo, options.refine, options.quality, options.max_side, focal_mm, sensor_mm,
                        exposure_ev, options.device, options.seed, options.refine_cameras,
                        DiffusionSettings(options.diffusion, options.schedule, options.noise_level, options.ensemble,
                                          options.keep_static, options.compile))
    settings.validate()
    return settings


def models_folder(options: argparse.Namespace) -> str:
    """Absolute; empty if none was named."""
    return str(options.models.absolute()) if options.models else ""
