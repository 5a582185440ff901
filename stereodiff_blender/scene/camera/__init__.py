"""The solved camera, its samples by frame, and the scene's frame range."""

from .camera import import_camera, quaternions, scale_reach
from .placement import place_root
from .samples import CameraSamples, sample_camera, stage
from .timeline import fit_scene

__all__ = ["CameraSamples", "fit_scene", "import_camera", "place_root", "quaternions", "sample_camera", "scale_reach",
           "stage"]
