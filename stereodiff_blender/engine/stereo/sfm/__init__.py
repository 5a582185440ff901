"""Structure from motion: tracks, cameras, lens, sparse points."""

from ..mapping import BundleOptions, BundleState, Observations, bundle_adjust
from .known_cameras import use_cameras
from .refine import refine_cameras
from .solve import solve_cameras

__all__ = ["BundleOptions", "BundleState", "Observations", "bundle_adjust", "refine_cameras", "solve_cameras",
           "use_cameras"]
