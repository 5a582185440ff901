"""A finished job as it lies on disk: read, checked, and in Blender's conventions. No datablocks."""

from .arrays import read_picture, read_points
from .shot import Shot, read_shot

__all__ = ["Shot", "read_picture", "read_points", "read_shot"]
