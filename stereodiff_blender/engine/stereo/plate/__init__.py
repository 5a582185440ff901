"""Depth at the plate's size, its edges where the plate has them."""

from .sharpening import PlateDepth

__all__ = ["PlateDepth"]
