"""Point clouds: the solved points, and depth fused over the clip."""

from .fusion import Fusion
from .points import import_dense_points, import_solved_points, refresh_points

__all__ = ["Fusion", "import_dense_points", "import_solved_points", "refresh_points"]
