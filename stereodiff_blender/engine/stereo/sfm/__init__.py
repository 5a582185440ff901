"""Structure from motion: from frames to the camera of every one, lens and sparse points."""

from .known_cameras import use_cameras
from .refine import refine_cameras
from .solve import solve_cameras

__all__ = ["refine_cameras", "solve_cameras", "use_cameras"]
