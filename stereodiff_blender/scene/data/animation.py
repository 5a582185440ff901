"""Keyframes in bulk, one linear key per frame, on every Blender since 4.2."""

from __future__ import annotations

import bpy
import numpy as np


def animate(block: bpy.types.ID, data_path: str, scene_frames, values) -> None:
    """Key a property of a datablock on every frame, with linear interpolation.

    Values that never change are set once and get no keys.

    Parameters
    ----------
    block : bpy.types.ID
        Takes the keys; it gets an action if it has none.
    data_path : str
        Of the property, from the datablock. It must have no keys yet, see clear_curves().
    scene_frames : array_like
        (T,), frames of the scene.
    values : array_like
        (T,) for a single number, (T,C) for one with C components, in the property's own units.
    """
    values = np.asarray(values, dtype=np.float64)
    if np.ptp(values, axis=0).max() == 0:
        _assign(block, data_path, values[0])
        return
    columns = values.reshape(len(values), -1).T
    curves = _curves(block)
    for index, column in enumerate(columns):
        _fill(curves.new(data_path, index=index), scene_frames, column)


def clear_curves(block: bpy.types.ID, *data_paths: str) -> None:
    """Take away the keys of these properties; keys that an artist put on others stay.

    If no keys are left at all, the animation goes, as by clear_animation().

    Parameters
    ----------
    block : bpy.types.ID
        Whose keys are meant.
    *data_paths : str
        Of the properties, from the datablock; all their components lose their keys.
    """
    animation = block.animation_data
    if animation is None or animation.action is None:
        return
    curves = _curves(block)
    for curve in [c for c in curves if c.data_path in data_paths]:
        curves.remove(curve)
    if not len(curves):
        clear_animation(block)


def clear_animation(block: bpy.types.ID) -> None:
    """Take away a datablock's animation, and its action if nothing else plays it.

    Drivers are animation, too.

    Parameters
    ----------
    block : bpy.types.ID
        Of a kind that can be animated; one without animation stays as it is.
    """
    action = block.animation_data.action if block.animation_data else None
    block.animation_data_clear()
    if action is not None and action.users == 0:
        bpy.data.actions.remove(action)


def _assign(block: bpy.types.ID, data_path: str, value) -> None:
    owner_path, _, name = data_path.rpartition(".")
    owner = block.path_resolve(owner_path) if owner_path else block
    setattr(owner, name, value.tolist())


def _curves(block: bpy.types.ID):
    """The collection that takes a datablock's F-curves: of its action in 4.2, of the action's slot later."""
    animation = block.animation_data or block.animation_data_create()
    if animation.action is None:
        animation.action = bpy.data.actions.new(block.name)
    action = animation.action
    if not hasattr(action, "slots"):
        return action.fcurves
    slot = animation.action_slot or action.slots.new(id_type=block.id_type, name=block.name)
    animation.action_slot = slot
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True).fcurves


def _fill(curve, scene_frames, values) -> None:
    linear = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value
    curve.keyframe_points.add(len(values))
    curve.keyframe_points.foreach_set("co", np.column_stack([scene_frames, values]).astype(np.float32).ravel())
    curve.keyframe_points.foreach_set("interpolation", np.full(len(values), linear, dtype=np.int32))
    curve.update()
