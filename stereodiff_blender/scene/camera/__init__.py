"""The solved camera, its samples by frame, and what of the scene is set to the clip."""

from .camera import import_camera, quaternions, reframe, scale_reach
from .clip_lens import TRACKING_OBJECT, follow_lens, holding_lens
from .lens_camera import add_lens_camera, has_lens_cameras, refresh_lens_camera, set_rolling_shutter, shutter_of
from .overscan import add_overscan_camera, refresh_overscan_camera
from .placement import place_root
from .samples import CameraSamples, sample_camera, stage
from .timeline import differences, is_untouched, match_scene, set_picture

__all__ = [
    "TRACKING_OBJECT", "CameraSamples", "add_lens_camera", "add_overscan_camera", "differences", "follow_lens",
    "has_lens_cameras", "holding_lens", "import_camera", "is_untouched", "match_scene", "place_root", "quaternions",
    "reframe", "refresh_lens_camera", "refresh_overscan_camera", "sample_camera", "scale_reach", "set_picture",
    "set_rolling_shutter", "shutter_of", "stage",
]
