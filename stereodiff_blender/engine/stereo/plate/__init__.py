"""Depth at the plate's size, its edges where the plate has them."""

from .sharpening import PlateDepth
from .silhouette import depth_beside, depth_within
from .softness import nearer_share

__all__ = ["PlateDepth", "depth_beside", "depth_within", "nearer_share"]
