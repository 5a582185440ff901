"""The method as a page: frames in, cameras and depth out. Knows no files."""

from .networks import DEPTHCRAFTER, MONST3R, load_networks, refuse_missing
from .pipeline import Estimate, estimate_depth
from .stages import remove_superseded

__all__ = [
    "DEPTHCRAFTER", "MONST3R", "Estimate", "estimate_depth", "load_networks", "refuse_missing", "remove_superseded",
]
