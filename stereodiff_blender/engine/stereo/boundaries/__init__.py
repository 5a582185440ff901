"""Depth boundaries: where they run, and which side a pixel is on."""

from .voting import agree_on_boundaries, refine_boundaries

__all__ = ["agree_on_boundaries", "refine_boundaries"]
