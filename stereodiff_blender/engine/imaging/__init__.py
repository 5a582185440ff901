"""Arithmetic on pictures that every stage shares: flow, warps, edges, matching costs."""

from .edge_aware import boundary_confidence, smooth_along_surfaces, spread
from .flow import OpticalFlow, flows_in, sample
from .lookup import look_up
from .matching_cost import carry, features_of, mean_of_better_half, unlikeness
from .medians import lower_median
from .warp import Transfer, transfer_between

__all__ = [
    "OpticalFlow", "Transfer", "boundary_confidence", "carry", "features_of", "flows_in", "look_up", "lower_median",
    "mean_of_better_half", "sample", "smooth_along_surfaces", "spread", "transfer_between", "unlikeness",
]
