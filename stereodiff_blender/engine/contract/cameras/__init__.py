"""Cameras that are known before a solve: as a job has them, and where they can come from."""

from .colmap import read_colmap_cameras
from .given import GivenCamera, GivenCameras, invalid_cameras, read_cameras, write_cameras

__all__ = ["GivenCamera", "GivenCameras", "invalid_cameras", "read_cameras", "read_colmap_cameras",
           "write_cameras"]
