"""Lenses as COLMAP has them: its camera models, as far as ours can be them. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import StereoDiffError
from ..lens import Distortion

__all__ = ["MODEL_NUMBERS", "colmap_lens", "parameters_of", "refuse_more"]

_MODELS = {  # how many focal lengths it has, and what follows the principal point; a fisheye's numbers by the angle
    "SIMPLE_PINHOLE": (1, ""), "PINHOLE": (2, ""), "SIMPLE_RADIAL": (1, "k1"), "RADIAL": (1, "k1 k2"),
    "OPENCV": (2, "k1 k2 p1 p2"), "OPENCV_FISHEYE": (2, "k1 k2 k3 k4"), "FULL_OPENCV": (2, "k1 k2 p1 p2 k3 k4 k5 k6"),
    "SIMPLE_RADIAL_FISHEYE": (1, "k1"), "RADIAL_FISHEYE": (1, "k1 k2"),
    "THIN_PRISM_FISHEYE": (2, "k1 k2 p1 p2 k3 k4 sx1 sy1"),
}
MODEL_NUMBERS = {0: "SIMPLE_PINHOLE", 1: "PINHOLE", 2: "SIMPLE_RADIAL", 3: "RADIAL", 4: "OPENCV", 5: "OPENCV_FISHEYE",
                 6: "FULL_OPENCV", 8: "SIMPLE_RADIAL_FISHEYE", 9: "RADIAL_FISHEYE", 10: "THIN_PRISM_FISHEYE"}
"""As its binary files number them."""


def parameters_of(model: str) -> int:
    """How many numbers a lens has.

    Parameters
    ----------
    model : str
        As COLMAP names it.

    Returns
    -------
    int
        0 of a model that is none of ours.
    """
    focals, names = _MODELS.get(model, (-2, ""))
    return focals + 2 + len(names.split())


def colmap_lens(model: str, parameters: Sequence[float], *, code: str
                ) -> tuple[tuple[float, float, float, float], Distortion]:
    """A lens by its numbers.

    Parameters
    ----------
    model : str
        As COLMAP names it.
    parameters : sequence of float
        In its order.
    code : str
        Of the refusal of a lens that ours cannot be.

    Returns
    -------
    tuple
        fx, fy, cx, cy in pixels, whose edges are whole numbers; and the distortion, all 0 if it has none.

    Raises
    ------
    StereoDiffError
        With that code.
    ValueError
        It has more or fewer numbers than its model.
    """
    if model not in _MODELS:
        raise StereoDiffError(code, f"The lens is of COLMAP's kind {model[:40]}.")
    if len(parameters) != parameters_of(model):
        raise ValueError(f"a lens {model} has {len(parameters)} numbers")
    focals, names = _MODELS[model][0], _MODELS[model][1].split()
    named = dict(zip(names, parameters[focals + 2:], strict=True))
    is_fisheye = model.endswith("FISHEYE")
    own = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "k3", "p1", "p2")
    refuse_more([value for name, value in named.items() if name not in own], is_fisheye=is_fisheye, code=code)
    distortion = Distortion(**{name: value for name, value in named.items() if name in own}, is_fisheye=is_fisheye)
    fx, fy, (cx, cy) = parameters[0], parameters[focals - 1], parameters[focals:focals + 2]
    return (fx, fy, cx, cy), distortion


def refuse_more(coefficients: Sequence[float], *, is_fisheye: bool, code: str) -> None:
    """Refuse a lens that does more than ours can.

    Parameters
    ----------
    coefficients : sequence of float
        Those that ours has not.
    is_fisheye : bool
        Whether ours would be one.
    code : str
        Of the refusal.

    Raises
    ------
    StereoDiffError
        With that code, if one of them is not 0.
    """
    if any(coefficients):
        own = "K1 to K4" if is_fisheye else "K1, K2, K3, P1 and P2"
        raise StereoDiffError(code, f"Beside {own} the lens has the coefficients "
                                    f"{' '.join(f'{value:.4g}' for value in coefficients[:8])}.")
