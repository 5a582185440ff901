"""Depth boundaries: where they run, and which side a pixel is on."""

from .voting import agree_on_borders, settle_borders

__all__ = ["agree_on_borders", "settle_borders"]
