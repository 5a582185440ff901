"""Arithmetic on pictures that every stage shares: flow, warps, edges, regions, matching costs."""

from .edge_aware import boundary_confidence, smooth_along_surfaces, spread
from .flow import OpticalFlow, flows_in, sample
from .frame_window import FrameWindow, frames_around
from .matching_cost import features_of, mean_of_better_half, unlikeness
from .medians import lower_median
from .regions import Regions, find_regions, without_holes, without_specks
from .warp import (
    BEHIND_CAMERA,
    PlaneParallax,
    induced_flow,
    pixel_axes,
    sample_at,
    warp_between,
    warp_grid,
    warp_pixels,
)

__all__ = [
    "BEHIND_CAMERA", "FrameWindow", "OpticalFlow", "PlaneParallax", "Regions", "boundary_confidence", "features_of",
    "find_regions", "flows_in", "frames_around", "induced_flow", "lower_median", "mean_of_better_half", "pixel_axes",
    "sample", "sample_at", "smooth_along_surfaces", "spread", "unlikeness", "warp_between", "warp_grid", "warp_pixels",
    "without_holes", "without_specks",
]
