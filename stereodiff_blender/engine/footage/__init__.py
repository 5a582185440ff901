"""Step 0: what is wrong with the footage, and the plate that the stages look at."""

from .inspection import inspect_footage
from .plate import Plate, make_plate
from .warnings import refuse_cuts, warn_of_faults

__all__ = ["Plate", "inspect_footage", "make_plate", "refuse_cuts", "warn_of_faults"]
