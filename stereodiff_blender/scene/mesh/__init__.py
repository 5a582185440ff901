"""The displaced mesh: modifier, materials, views, and baking it."""

from .bake import FORMATS, bake_mesh
from .depth_mesh import depth_modifier, import_mesh, set_step
from .displacement import CONFIDENCE, FILL, HOLD_OUT, HOLD_OUT_CONFIDENCE, MOVING, SKY, STEP, STILL, TEAR, TEAR_AT
from .material import RELIGHT, measurement_materials, plate_material, slider_of
from .views import VIEWS, show_view

__all__ = [
    "CONFIDENCE", "FILL", "FORMATS", "HOLD_OUT", "HOLD_OUT_CONFIDENCE", "MOVING", "RELIGHT", "SKY", "STEP", "STILL",
    "TEAR", "TEAR_AT", "VIEWS", "bake_mesh", "depth_modifier", "import_mesh", "measurement_materials", "plate_material",
    "set_step", "show_view", "slider_of",
]
