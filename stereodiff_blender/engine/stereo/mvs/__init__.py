"""Multi-view stereo: dense depth of what stands still."""

from .depth import measure_depth
from .filtering import Assessment, texture_of
from .motion import RESIDUAL_RAMP_PX, find_moving, neighbours_of, vote
from .sources import DepthLimits, select_sources
from .triangulation import Triangulation

__all__ = [
    "RESIDUAL_RAMP_PX", "Assessment", "DepthLimits", "Triangulation", "find_moving", "measure_depth", "neighbours_of",
    "select_sources", "texture_of", "vote",
]
