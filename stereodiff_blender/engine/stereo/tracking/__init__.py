"""Feature tracks: corners of the picture, followed from frame to frame."""

from .plate_refinement import refine_on_plates
from .tracking import track_features
from .tracks import MIN_COMMON_TRACKS, Tracks, longest_linked_run, thin_tracks

__all__ = ["MIN_COMMON_TRACKS", "Tracks", "longest_linked_run", "refine_on_plates", "thin_tracks", "track_features"]
