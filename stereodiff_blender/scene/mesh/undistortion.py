"""Nodes that take rays from where the plate shows something to where the ideal camera sees it.

The radial part goes by Newton's method on the ratio of both radii, which needs no root and no guard at the center; the
tangential part, where a lens has one, is taken off in further rounds. A fisheye's coefficients are those of the angle
off the axis in place of the ideal radius, and its tangent comes last. Coefficients are constants, the lens may zoom.
"""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np

from ...engine.contract import Distortion
from ...engine.lens import undistorted
from ..data import add_math, add_node, feed
from ..result import ImportedResult, camera_math

LARGEST_MISS = 0.002 / 1920  # of the picture's width, in the undistorted plate
MOST_ROUNDS = 12
TANGENTIAL_ROUNDS = 4
CHECKED_RADII = np.linspace(0.1, 1.0, 10)  # of the farthest corner's
ROUND_HEIGHT = 400  # in the node editor
LEAST_ANGLE = 1e-5  # radians; tangent and angle are one there


def add_undistortion(tree: bpy.types.NodeTree, shot: ImportedResult, plate: bpy.types.NodeSocket
                     ) -> bpy.types.NodeSocket:
    """Rays of the ideal camera, scaled to z = -1. plate: x right, y up, in focal lengths from the principal point."""
    lens = shot.distortion
    radial, wanted, ratio = radial_rounds(shot), plate, None
    for number in range(radial + (0 if lens.is_radial else TANGENTIAL_ROUNDS)):
        top = 700 + ROUND_HEIGHT * number
        if number >= radial:
            shift = _tangential_shift(tree, (-2600, top + 160), lens, _times(tree, (-2780, top + 160), wanted, ratio))
            moved = add_node(tree, "ShaderNodeVectorMath", (-2420, top), "Without Shift", operation="SUBTRACT")
            feed(tree, moved, plate, shift)
            wanted = moved.outputs[0]
        ratio = _newton_round(tree, (-2240, top), lens, wanted, ratio)
    if lens.is_fisheye:
        ratio = _tangent_ratio(tree, (-2240, 260), wanted, ratio)
    ray = add_node(tree, "ShaderNodeVectorMath", (-700, 520), "Undistorted Ray", operation="MULTIPLY_ADD")
    feed(tree, ray, wanted, ratio, (0.0, 0.0, -1.0))
    return ray.outputs[0]


def radial_rounds(shot: ImportedResult) -> int:
    """Newton rounds until every place of every frame's picture is where it belongs."""
    (width, height), intrinsics = shot.raster_size, shot.raster_intrinsics[:, None]
    corners = camera_math.ideal_places([(0, 0), (0, height), (width, 0), (width, height)], intrinsics, None)
    plate = np.linalg.norm(corners, axis=-1).max() * CHECKED_RADII
    lens = replace(shot.distortion, p1=0.0, p2=0.0)
    ideal = undistorted(np.stack([plate, np.zeros_like(plate)], axis=-1), lens)[:, 0]
    ratio = np.ones_like(plate)
    for count in range(1, MOST_ROUNDS):
        ratio = _newton_step(plate * plate, ratio, lens)
        reached = np.tan(plate * ratio) if lens.is_fisheye else plate * ratio
        if np.abs(reached - ideal).max() <= LARGEST_MISS * width / intrinsics[..., 0].max():
            return count
    return MOST_ROUNDS


def _newton_step(squared: np.ndarray, ratio: np.ndarray, lens: Distortion) -> np.ndarray:
    """What _newton_round builds, in numbers: for the ratio of ideal to distorted radii, whose squares are given."""
    ideal = squared * ratio * ratio
    slope, bend = (np.polynomial.polynomial.polyval(ideal, part) for part in _polynomials(lens))
    return (1.0 + ratio * bend) / slope


def _polynomials(lens: Distortion) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of the squared ideal radius, or a fisheye's angle: the slope of the distorted radius, and that less the scale."""
    terms = (lens.k1, lens.k2, lens.k3, lens.k4)
    slope, bend = (tuple((2.0 * power + more) * term for power, term in enumerate(terms, 1)) for more in (1.0, 0.0))
    return (1.0, *slope), (0.0, *bend)


def _newton_round(tree: bpy.types.NodeTree, location, lens: Distortion, wanted: bpy.types.NodeSocket,
                  ratio: bpy.types.NodeSocket | None) -> bpy.types.NodeSocket:
    """A better ratio of the ideal radius to that of the wanted place; the first one starts from 1."""
    x, y = location
    length = add_node(tree, "ShaderNodeVectorMath", (x, y), "Squared Radius", operation="DOT_PRODUCT")
    feed(tree, length, wanted, wanted)
    ideal = length.outputs["Value"]
    if ratio is not None:
        for column in (1, 2):
            ideal = add_math(tree, "MULTIPLY", (x + 180 * column, y), ideal, ratio)
    slope, bend = (_polynomial(tree, (x + 540, y - 160 * row), ideal, part)
                   for row, part in enumerate(_polynomials(lens)))
    above = add_math(tree, "MULTIPLY_ADD", (x + 1080, y - 160), bend, 1.0 if ratio is None else ratio, 1.0)
    return add_math(tree, "DIVIDE", (x + 1260, y), above, slope, label="Ideal / Distorted")


def _tangent_ratio(tree: bpy.types.NodeTree, location, wanted: bpy.types.NodeSocket, ratio: bpy.types.NodeSocket
                   ) -> bpy.types.NodeSocket:
    """Of the ideal radius to the wanted one; ratio: of the angle to it."""
    x, y = location
    length = add_node(tree, "ShaderNodeVectorMath", (x, y), "Distorted Radius", operation="LENGTH")
    feed(tree, length, wanted)
    angle = add_math(tree, "MULTIPLY", (x + 180, y), length.outputs["Value"], ratio, label="Angle off the Axis")
    angle = add_math(tree, "MAXIMUM", (x + 360, y), angle, LEAST_ANGLE)
    tangent = add_math(tree, "TANGENT", (x + 540, y), angle)
    stretch = add_math(tree, "DIVIDE", (x + 720, y), tangent, angle)
    return add_math(tree, "MULTIPLY", (x + 900, y), ratio, stretch, label="Ideal / Distorted")


def _polynomial(tree: bpy.types.NodeTree, location, argument: bpy.types.NodeSocket, coefficients: tuple[float, ...]
                ) -> bpy.types.NodeSocket:
    """By Horner's rule, from the last coefficient that is not 0."""
    degree = max([power for power, value in enumerate(coefficients) if value and power > 1], default=1)
    value = coefficients[degree]
    for power in reversed(range(degree)):
        place = (location[0] + 180 * (degree - 1 - power), location[1])
        value = add_math(tree, "MULTIPLY_ADD", place, argument, value, coefficients[power])
    return value


def _tangential_shift(tree: bpy.types.NodeTree, location, lens: Distortion, ideal: bpy.types.NodeSocket
                      ) -> bpy.types.NodeSocket:
    """(p2, -p1) (r^2 + 2 x^2, r^2 + 2 y^2) + 2 x y (-p1, p2): p1 turns its sign with y, which is up here."""
    x, y = location
    length = add_node(tree, "ShaderNodeVectorMath", (x, y), operation="DOT_PRODUCT")
    feed(tree, length, ideal, ideal)
    squares = add_node(tree, "ShaderNodeVectorMath", (x + 180, y), operation="MULTIPLY")
    feed(tree, squares, ideal, ideal)
    along = add_node(tree, "ShaderNodeVectorMath", (x + 360, y), operation="MULTIPLY_ADD")
    feed(tree, along, squares.outputs[0], (2.0, 2.0, 0.0), length.outputs["Value"])
    parts = add_node(tree, "ShaderNodeSeparateXYZ", (x + 180, y + 160))
    feed(tree, parts, ideal)
    product = add_math(tree, "MULTIPLY", (x + 360, y + 160), parts.outputs[0], parts.outputs[1])
    across = add_node(tree, "ShaderNodeVectorMath", (x + 540, y + 160), operation="MULTIPLY")
    feed(tree, across, product, (-2.0 * lens.p1, 2.0 * lens.p2, 0.0))
    shift = add_node(tree, "ShaderNodeVectorMath", (x + 720, y), "Tangential Shift", operation="MULTIPLY_ADD")
    feed(tree, shift, along.outputs[0], (lens.p2, -lens.p1, 0.0), across.outputs[0])
    return shift.outputs[0]


def _times(tree: bpy.types.NodeTree, location, vector: bpy.types.NodeSocket, ratio: bpy.types.NodeSocket
           ) -> bpy.types.NodeSocket:
    node = add_node(tree, "ShaderNodeVectorMath", location, "Ideal Place", operation="MULTIPLY")
    feed(tree, node, vector, ratio)
    return node.outputs[0]
