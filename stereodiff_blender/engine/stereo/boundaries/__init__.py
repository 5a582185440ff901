"""Depth boundaries: where they run, and which side a pixel is on."""

from .voting import refine_boundaries

__all__ = ["refine_boundaries"]
