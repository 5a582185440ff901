"""Step 0: what is wrong with the footage, and the plate that the stages look at."""

from .inspection import inspect_footage
from .plate import PreparedFootage, prepare_footage
from .plate_raster import PlateRaster
from .warnings import refuse_cuts, warn_of_faults

__all__ = ["PlateRaster", "PreparedFootage", "inspect_footage", "prepare_footage", "refuse_cuts", "warn_of_faults"]
