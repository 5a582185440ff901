"""Depth at the plate's size, its edges where the plate has them."""

from .sharpening import plate_depth

__all__ = ["plate_depth"]
