"""A finished job as it lies on disk: read, checked, and in Blender's conventions. No datablocks."""

from .arrays import read_picture, read_points
from .plate import other_footage
from .shot import ImportedResult, read_imported_result

__all__ = ["ImportedResult", "other_footage", "read_imported_result", "read_picture", "read_points"]
