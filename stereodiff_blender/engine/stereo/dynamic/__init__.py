"""What moves by itself: found, followed, and given depth."""

from .attached import find_attached
from .ground_plane import GroundPlane, GroundView, find_ground
from .matte import doubtful_beside, motion_beyond, without_matte
from .objects import DynamicObjects
from .outlines import draw_outlines
from .tracks import cells_before, coarse_flow, coarse_shape

__all__ = [
    "DynamicObjects", "GroundPlane", "GroundView", "cells_before", "coarse_flow", "coarse_shape", "doubtful_beside",
    "draw_outlines", "find_attached", "find_ground", "motion_beyond", "without_matte",
]
