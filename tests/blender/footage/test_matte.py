"""What the artist chose as matte, as the worker gets it: masks of real Blender, and footage beside the clip."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest
from job_folder import write_sequence
from masks import add_circle, add_polygon, key_shapes, rendered, square


@pytest.fixture
def mattes(addon):
    return addon.ui.operators.solve.mattes


@pytest.fixture
def mask() -> bpy.types.Mask:
    return bpy.data.masks.new("Roto")


@pytest.fixture
def layer(mask) -> bpy.types.MaskLayer:
    return mask.layers.new(name="Body")


def area(outline: tuple[float, ...]) -> float:
    """Shoelace formula, in shares of the picture."""
    x, y = outline[::2], outline[1::2]
    return abs(sum(x[k - 1] * y[k] - x[k] * y[k - 1] for k in range(len(x)))) / 2


def outline_at(shapes, frame: int) -> tuple[float, ...]:
    return shapes.at(frame).layers[0].outlines[0]


def refused(call, *arguments):
    with pytest.raises(Exception) as caught:
        call(*arguments)
    return caught.value


# --- Where outlines lie ----------------------------------------------------------------------------------------

def test_the_masks_square_spans_the_wide_picture(mattes, mask, layer, sequence):
    """96 x 72: the square reaches from a sixth above the picture to a sixth below it."""
    add_polygon(layer, [(0.0, 0.5), (0.5, 0.5), (0.5, 0.875), (0.0, 0.875)])
    outline = outline_at(mattes.mask_shapes(mask, sequence, range(1, 7)), 1)
    assert outline == pytest.approx((0.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0))


def test_the_masks_square_spans_the_tall_picture(mattes, mask, layer, tmp_path):
    clip = bpy.data.movieclips.load(str(write_sequence(tmp_path / "tall", size=(72, 96))))
    add_polygon(layer, [(0.125, 0.0), (0.5, 0.0), (0.5, 1.0), (0.125, 1.0)])
    outline = outline_at(mattes.mask_shapes(mask, clip, range(1, 3)), 2)
    assert outline == pytest.approx((0.0, 1.0, 0.5, 1.0, 0.5, 0.0, 0.0, 0.0))


def test_pixels_that_are_not_square_count(mattes, mask, layer, sequence):
    """96 x 72 shown 1.5 times as wide: 2 to 1."""
    sequence.display_aspect = (1.5, 1.0)
    add_polygon(layer, [(0.0, 0.5), (0.5, 0.5), (0.5, 0.75), (0.0, 0.75)])
    outline = outline_at(mattes.mask_shapes(mask, sequence, range(1, 3)), 1)
    assert outline == pytest.approx((0.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0))


def test_curves_keep_their_area(mattes, mask, layer, sequence):
    add_circle(layer, (0.5, 0.5), 0.25)
    outline = outline_at(mattes.mask_shapes(mask, sequence, range(1, 3)), 1)
    assert area(outline) == pytest.approx(math.pi * 0.25**2 * 96 / 72, rel=2e-3)
    assert len(outline) < 400


@pytest.mark.parametrize("handles", ["FREE", "VECTOR", "AUTO"])
def test_between_two_keys_the_outline_is_the_one_that_blender_renders(mattes, mask, layer, sequence, tmp_path, handles):
    """Bent far between its keys, where automatic handles are no mean of the keyed ones."""
    corners = [(0.2, 0.35), (0.75, 0.35), (0.6, 0.6), (0.35, 0.65)]
    bent = [(0.3, 0.6), (0.35, 0.3), (0.95, 0.65), (0.9, 0.7)]
    spline = add_polygon(layer, corners)
    for point in spline.points:
        point.handle_left_type = point.handle_right_type = handles
    key_shapes(mask, spline, [(1, corners), (6, bent)])
    bpy.context.scene.frame_set(3)
    outline = outline_at(mattes.mask_shapes(mask, sequence, range(3, 5)), 3)
    differs = inside(outline, 96, 72) != rendered(mask, 96, 72, tmp_path)
    assert differs.mean() < 0.003


def inside(outline: tuple[float, ...], width: int, height: int) -> np.ndarray:
    """(H,W) bool: centers of pixels inside a polygon, by the number of sides that lie to their right."""
    x, y = np.array(outline[::2]) * width, np.array(outline[1::2]) * height
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    result = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        if y0 != y1:
            result ^= ((y0 > rows) != (y1 > rows)) & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
    return result


# --- When ------------------------------------------------------------------------------------------------------

def test_keys_of_the_timeline_meet_frames_of_the_clip(mattes, mask, layer, sequence):
    """The clip begins at frame 101 of the timeline, and the square slides a tenth from 101 to 105."""
    sequence.frame_start = 101
    spline = add_polygon(layer, square(0.2, 0.4, 0.2))
    key_shapes(mask, spline, [(101, square(0.2, 0.4, 0.2)), (105, square(0.3, 0.4, 0.2))])
    shapes = mattes.mask_shapes(mask, sequence, range(1, 7))
    assert outline_at(shapes, 1)[0] == pytest.approx(0.2, abs=1e-5)
    assert outline_at(shapes, 3)[0] == pytest.approx(0.25, abs=1e-5)
    assert outline_at(shapes, 5)[0] == outline_at(shapes, 6)[0] == pytest.approx(0.3, abs=1e-5)
    assert [drawing.frame for drawing in shapes.drawings] == [1, 2, 3, 4, 5]


def test_the_artists_file_stays_as_it_is(mattes, mask, layer, sequence):
    """Also a change that has not been keyed yet, which going through the timeline would lose."""
    spline = add_polygon(layer, square(0.2, 0.4, 0.2))
    key_shapes(mask, spline, [(1, square(0.2, 0.4, 0.2)), (5, square(0.3, 0.4, 0.2))])
    scene = bpy.context.scene
    scene.frame_set(3)
    spline.points[0].co = (0.11, 0.22)
    seen = []
    bpy.app.handlers.frame_change_post.append(watch := lambda changed, *_: seen.append(changed == scene))
    shapes = mattes.mask_shapes(mask, sequence, range(1, 7))
    bpy.app.handlers.frame_change_post.remove(watch)
    assert len(shapes.drawings) == 5
    assert scene.frame_current == 3 and tuple(spline.points[0].co) == pytest.approx((0.11, 0.22))
    assert bpy.context.scene == scene and len(bpy.data.scenes) == 1
    assert not any(seen), "the artist's own timeline was moved"


def test_a_mask_that_stands_still_is_drawn_once(mattes, mask, layer, sequence):
    add_circle(layer, (0.5, 0.5), 0.2)
    assert len(mattes.mask_shapes(mask, sequence, range(1, 7)).drawings) == 1


# --- Layers ----------------------------------------------------------------------------------------------------

def test_layers_keep_what_they_are_told(mattes, mask, layer, sequence, contract):
    add_polygon(layer, square(0.2, 0.4, 0.2))
    cut = mask.layers.new(name="Cut")
    cut.blend, cut.invert, cut.alpha, cut.use_fill_holes = "MERGE_SUBTRACT", True, 0.75, True
    add_polygon(cut, square(0.3, 0.4, 0.1))
    hidden = mask.layers.new(name="Hidden")
    hidden.hide_render = True
    add_polygon(hidden, square(0.0, 0.0, 1.0))
    below, above = mattes.mask_shapes(mask, sequence, range(1, 3)).at(1).layers
    assert (below.blend, below.invert, below.opacity) == ("merge_add", False, 1.0)
    assert (above.blend, above.invert, above.opacity) == ("merge_subtract", True, 0.75)
    holes_by_sense = getattr(cut, "fill_solver", "") == "CDT"
    assert (below.fill, above.fill) == ("union", "winding" if holes_by_sense else "even_odd")


def test_every_blend_of_this_blender_is_known(mattes, mask, layer, sequence):
    add_polygon(layer, square(0.2, 0.4, 0.2))
    for blend in bpy.types.MaskLayer.bl_rna.properties["blend"].enum_items:
        layer.blend = blend.identifier
        mattes.mask_shapes(mask, sequence, range(1, 3)).validate()


def test_only_closed_filled_splines_count(mattes, mask, layer, sequence):
    add_polygon(layer, square(0.2, 0.4, 0.2))
    add_polygon(layer, square(0.3, 0.4, 0.2), closed=False)
    add_polygon(layer, square(0.4, 0.4, 0.2)).use_fill = False
    assert len(mattes.mask_shapes(mask, sequence, range(1, 3)).at(1).layers[0].outlines) == 1


def test_a_mask_without_a_closed_spline(mattes, mask, layer, sequence):
    add_polygon(layer, square(0.2, 0.4, 0.2), closed=False)
    error = refused(mattes.mask_shapes, mask, sequence, range(1, 3))
    assert error.code == "matte_invalid" and "no closed, filled spline" in error.message


def test_points_on_a_track_are_refused_by_name(mattes, mask, layer, sequence):
    spline = add_polygon(layer, square(0.2, 0.4, 0.2))
    spline.points[2].parent.id = sequence
    error = refused(mattes.mask_shapes, mask, sequence, range(1, 3))
    assert error.code == "matte_invalid" and "layer Body of Roto" in error.message
    assert len(bpy.data.scenes) == 1


# --- What the scene names --------------------------------------------------------------------------------------

@pytest.fixture
def footage(tmp_path) -> bpy.types.MovieClip:
    """Eight pictures, files 0001 to 0008."""
    return bpy.data.movieclips.load(str(write_sequence(tmp_path / "matte", stem="matte_", count=8)))


def test_no_matte(mattes, sequence):
    assert mattes.chosen_matte(bpy.context.scene, sequence, 1, 6) == (None, None)


def test_mask_of_the_scene(mattes, mask, layer, sequence, settings):
    add_polygon(layer, square(0.2, 0.4, 0.2))
    settings.matte, settings.matte_mask, settings.matte_invert = "MASK", mask, True
    matte, shapes = mattes.chosen_matte(bpy.context.scene, sequence, 2, 4)
    assert (matte.kind, matte.footage, matte.invert) == ("shapes", None, True)
    assert shapes.drawings[0].frame == 2


def test_footage_of_the_scene(mattes, sequence, footage, settings, tmp_path):
    """The clip begins at frame 11 of the timeline, the matte's footage two frames earlier."""
    settings.matte, settings.matte_clip = "CLIP", footage
    sequence.frame_start, footage.frame_start = 11, 9
    matte, shapes = mattes.chosen_matte(bpy.context.scene, sequence, 1, 6)
    assert shapes is None
    assert (matte.kind, matte.first_frame, matte.footage.first_number) == ("pictures", -1, 1)
    assert matte.footage.path == str(tmp_path / "matte" / "matte_0001.png")


def test_offset_of_the_footage(mattes, sequence, footage, settings):
    settings.matte, settings.matte_clip, footage.frame_offset = "CLIP", footage, 2
    matte, _ = mattes.chosen_matte(bpy.context.scene, sequence, 1, 6)
    assert (matte.first_frame, matte.footage.first_number) == (1, 3)


def test_footage_that_ends_early(mattes, sequence, footage, settings):
    settings.matte, settings.matte_clip, footage.frame_start = "CLIP", footage, -2
    error = refused(mattes.chosen_matte, bpy.context.scene, sequence, 1, 6)
    assert error.code == "matte_incomplete" and "covers -2 to 5" in error.message


@pytest.mark.parametrize(("kind", "code"), [("MASK", "matte_missing"), ("CLIP", "matte_missing")])
def test_nothing_chosen(mattes, sequence, settings, kind, code):
    settings.matte = kind
    assert refused(mattes.chosen_matte, bpy.context.scene, sequence, 1, 6).code == code


def test_the_clip_is_not_its_own_matte(mattes, sequence, settings):
    settings.matte, settings.matte_clip = "CLIP", sequence
    assert refused(mattes.chosen_matte, bpy.context.scene, sequence, 1, 6).code == "matte_invalid"


def test_footage_that_went_away(mattes, sequence, footage, settings, tmp_path):
    settings.matte, settings.matte_clip = "CLIP", footage
    (tmp_path / "matte" / "matte_0001.png").unlink()
    assert refused(mattes.chosen_matte, bpy.context.scene, sequence, 1, 6).code == "matte_missing"
