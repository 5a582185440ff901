"""Arithmetic on pictures that every stage shares: flow, warps, edges, regions, matching costs."""

from .edge_aware import boundary_confidence, fast_global_smoother, pull_push
from .flow import OpticalFlow, flows_in, round_trip, sample
from .frame_window import FrameWindow, frames_around
from .matching_cost import CostFeatures, Features, cost_features, mean_of_better_half, photometric_cost
from .medians import lower_median
from .plane_fill import fill_along_planes
from .rectification import Rectification, finer_rectification, rectifier
from .regions import Regions, find_regions, without_holes, without_specks
from .rolling_parallax import LocatedPixels, RollingParallax
from .warp import (
    BEHIND_CAMERA,
    Cameras,
    Located,
    PlaneParallax,
    Warp,
    induced_flow,
    pixel_axes,
    sample_at,
    warp_between,
    warp_grid,
    warp_located,
    warp_pixels,
)

__all__ = [
    "BEHIND_CAMERA",
    "Cameras",
    "CostFeatures",
    "Features",
    "FrameWindow",
    "Located",
    "LocatedPixels",
    "OpticalFlow",
    "PlaneParallax",
    "Rectification",
    "Regions",
    "RollingParallax",
    "Warp",
    "boundary_confidence",
    "cost_features",
    "fast_global_smoother",
    "fill_along_planes",
    "find_regions",
    "finer_rectification",
    "flows_in",
    "frames_around",
    "induced_flow",
    "lower_median",
    "mean_of_better_half",
    "photometric_cost",
    "pixel_axes",
    "pull_push",
    "rectifier",
    "round_trip",
    "sample",
    "sample_at",
    "warp_between",
    "warp_grid",
    "warp_located",
    "warp_pixels",
    "without_holes",
    "without_specks",
]
