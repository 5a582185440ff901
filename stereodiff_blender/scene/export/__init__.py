"""Cameras and tracks for other programs, and for Blender's own tracker."""
