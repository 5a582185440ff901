"""Multi-view stereo: dense depth of what stands still."""

from .depth import estimate_depth_maps
from .filtering import DepthFilter, texture_of
from .motion import RESIDUAL_RAMP_PX, find_moving, neighbors_of, vote
from .sources import DepthLimits, select_sources
from .triangulation import Triangulation

__all__ = [
    "RESIDUAL_RAMP_PX",
    "DepthFilter",
    "DepthLimits",
    "Triangulation",
    "estimate_depth_maps",
    "find_moving",
    "neighbors_of",
    "select_sources",
    "texture_of",
    "vote",
]
