"""Depth boundaries: where they run, and which side a pixel is on."""

from .voting import KEPT_BORDERS, run_turn, settle_borders, vote_on_borders

__all__ = ["KEPT_BORDERS", "run_turn", "settle_borders", "vote_on_borders"]
