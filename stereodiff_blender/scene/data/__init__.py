"""Datablocks that belong to an import: how they are found again, made, animated and wired."""

from .animation import animate, clear_animation, clear_curves
from .depth_images import (
    blend_path,
    import_depth_images,
    import_lens_maps,
    import_plate,
    play_map,
    play_plate,
    play_product,
)
from .earlier import EarlierImport, find_earlier, is_better, note_import, with_key
from .framing import Framing, fit_inside, frame_picture, frame_pixels, render_shape
from .imports import SceneImport, chosen_import, has_imports, imports_in, parts
from .modifier_inputs import ensure_input, get_input, has_input, input_property, set_input
from .nodes import add_math, add_node, feed
from .ownership import TAG, claim, claim_collection, claim_object, find, find_node, part_of, remove_depth, tag

__all__ = [
    "TAG", "EarlierImport", "Framing", "SceneImport", "add_math", "add_node", "animate", "blend_path", "chosen_import",
    "claim", "claim_collection", "claim_object", "clear_animation", "clear_curves", "ensure_input", "feed", "find",
    "find_earlier", "find_node", "fit_inside", "frame_picture", "frame_pixels", "get_input", "has_imports", "has_input",
    "import_depth_images", "import_lens_maps", "import_plate", "imports_in", "input_property", "is_better",
    "note_import", "part_of", "parts", "play_map", "play_plate", "play_product", "remove_depth", "render_shape",
    "set_input", "tag", "with_key",
]
