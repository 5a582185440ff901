"""The compositor: depth as a node, the lens as nodes, hold-out, the plate behind."""

from .compositor import is_on
from .depth_node import add_depth_group, add_depth_pass, finest_depth, reframe_depth, refresh_depth_group
from .hold_out import cuts_by_depth, has_hold_out, remove_hold_out, set_up_hold_out
from .lens_groups import add_lens_groups, reframe_lens, refresh_lens_groups
from .plate_behind import has_lens_itself, reframe_plate, refresh_plate
from .st_maps import has_overscan_size, sees_overscan

__all__ = [
    "add_depth_group", "add_depth_pass", "add_lens_groups", "cuts_by_depth", "finest_depth", "has_hold_out",
    "has_lens_itself", "has_overscan_size", "is_on", "reframe_depth", "reframe_lens", "reframe_plate",
    "refresh_depth_group", "refresh_lens_groups", "refresh_plate", "remove_hold_out", "sees_overscan",
    "set_up_hold_out",
]
