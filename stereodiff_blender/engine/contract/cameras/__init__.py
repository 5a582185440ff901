"""Cameras and lenses that are known before a solve: as a job has them, and where they can come from."""

from .calibration import GivenLens, invalid_lens_file, is_exr, read_calibration, read_lens_bytes
from .colmap import read_colmap_cameras
from .given import GivenCamera, GivenCameras, invalid_cameras, read_cameras, write_cameras

__all__ = ["GivenCamera", "GivenCameras", "GivenLens", "invalid_cameras", "invalid_lens_file",
           "is_exr", "read_calibration", "read_cameras", "read_colmap_cameras", "read_lens_bytes", "write_cameras"]
