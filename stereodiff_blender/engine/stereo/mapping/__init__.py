"""Cameras and points from tracks: a pair of views, then one frame after another, adjusted together."""

from .anchors import MOST_TOGETHER, adjust_on_anchors, choose_anchors, observed_twice
from .bundle_adjustment import (
    BundleOptions,
    bundle_adjust,
    center_deviations,
    focal_rel_std,
    lens_covariance,
)
from .bundle_state import BundleState, Observations
from .path_smoothing import smooth_path
from .reconstruction import Reconstruction, reconstruct, zoom_ways
from .registration import ADJUSTMENT_ROUNDS, CameraFit, register_all_frames
from .triangulation import parallax_deg, scatter_add, triangulate_points
from .two_view import pair_candidates

__all__ = [
    "ADJUSTMENT_ROUNDS", "MOST_TOGETHER", "BundleOptions", "BundleState", "CameraFit", "Observations", "Reconstruction",
    "adjust_on_anchors", "bundle_adjust", "center_deviations", "choose_anchors", "focal_rel_std",
    "lens_covariance", "observed_twice",
    "pair_candidates", "parallax_deg", "reconstruct", "register_all_frames", "scatter_add", "smooth_path",
    "triangulate_points", "zoom_ways",
]
