"""What a solved lens does beside the pinhole's focal length and principal point, and the one check of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from .errors import StereoDiffError

LENS_MODELS = ("pinhole", "radial", "brown", "fisheye")
MOST_COEFFICIENT = 100.0
MOST_OVERSCAN_PX = 1_000_000
MOST_FISHEYE_DEG = 85.0
"""Off the axis: no plane shows what lies farther out, and at 90 degrees it would have to be endless."""
_FOLD_STEPS, _FOLD_REACH = 2000, 10.0


@dataclass(frozen=True)
class Distortion:
    """How far a lens bends the picture, in the meaning that OpenCV and COLMAP give to these coefficients.

    With x = (X - cx) / fx and y = (Y - cy) / fy of an ideal (pinhole) pixel, and r^2 = x^2 + y^2, the plate shows it at
    x_d = x (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2) and
    y_d = y (1 + k1 r^2 + k2 r^4 + k3 r^6) + p1 (r^2 + 2 y^2) + 2 p2 x y (Brown 1966, "Decentering distortion of
    lenses"). y points down. A negative k1 is a barrel.

    is_fisheye: with the angle off the axis t = atan(r), the plate shows it at the radius t (1 + k1 t^2 + k2 t^4 +
    k3 t^6 + k4 t^8), in the same direction (Kannala and Brandt 2006, "A generic camera model and calibration method for
    conventional, wide-angle, and fish-eye lenses"; OpenCV's cv2.fisheye, COLMAP's OPENCV_FISHEYE). p1 and p2 are 0. k4
    is a fisheye's alone.
    """

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k4: float = 0.0
    is_fisheye: bool = False

    @property
    def is_radial(self) -> bool:
        return self.p1 == self.p2 == 0.0

    @property
    def bends(self) -> bool:
        """Whether the plate differs from the ideal picture. That of a fisheye does, whatever its coefficients."""
        return self.is_fisheye or any(self.coefficients)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """As Settings has them: (k1, k2, k3, k4) of a fisheye, (k1, k2, k3, p1, p2) of any other lens."""
        last = (self.k4,) if self.is_fisheye else (self.p1, self.p2)
        return (self.k1, self.k2, self.k3, *last)

    @property
    def model(self) -> str:
        """The one of LENS_MODELS that has these coefficients."""
        if not self.bends:
            return "pinhole"
        if self.is_fisheye:
            return "fisheye"
        return "brown" if self.k3 != 0.0 or not self.is_radial else "radial"

    def radius(self, ideal: float) -> float:
        """Radius on the plate of an ideal radius, both over the focal length."""
        base = math.atan(ideal) if self.is_fisheye else ideal
        return base * self.scale(base * base)

    def scale(self, squared):
        """1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4 of a number or an array: the squared ideal radius or, of a fisheye, the
        squared angle off the axis in radians."""
        return 1.0 + squared * (self.k1 + squared * (self.k2 + squared * (self.k3 + squared * self.k4)))

    def slope(self, squared):
        """Derivative of the plate's radius by what its square is given of, as for scale."""
        return 1.0 + squared * (3.0 * self.k1 + squared * (5.0 * self.k2 + squared * (
            7.0 * self.k3 + squared * 9.0 * self.k4)))

    def fold_radius(self) -> float:
        """Radius on the plate, over the focal length, at which the picture folds back upon itself; infinite if never.

        Of the radial part; beyond it nothing on the plate comes from anywhere. That of a fisheye is never infinite: it
        ends at MOST_FISHEYE_DEG.
        """
        ideal = self.ideal_fold_radius()
        return self.radius(ideal) if math.isfinite(ideal) else math.inf

    def ideal_fold_radius(self) -> float:
        """The ideal radius, over the focal length, that the plate shows at fold_radius; infinite if it never folds."""
        return _ideal_fold_radius(self)


@lru_cache(maxsize=64)
def _ideal_fold_radius(distortion: Distortion) -> float:
    """It is asked for at every step of an adjustment, and for every picture."""
    reach = math.radians(MOST_FISHEYE_DEG) if distortion.is_fisheye else _FOLD_REACH
    for step in range(1, _FOLD_STEPS + 1):
        if distortion.slope((reach * step / _FOLD_STEPS) ** 2) <= 0.0:
            before = reach * (step - 1) / _FOLD_STEPS
            return math.tan(before) if distortion.is_fisheye else before
    return math.tan(reach) if distortion.is_fisheye else math.inf


@dataclass(frozen=True)
class LensResult:
    """The lens of a solved clip, beyond the focal lengths and principal points of its frames.

    model: "pinhole", "radial" (k1, k2), "brown" (with k3, p1, p2; only of lenses that were given) or "fisheye".
    distortion: None of a pinhole. Depth, confidence and masks lie on the plate as it was shot, so each of their pixels
        sees along the ray of its undistorted place; cameras are the ideal ones.
    is_given: the artist or a file gave it; it was not solved.
    k1_std, k2_std: standard deviations where it was solved.
    zooms: the frames' focal lengths differ, because the lens zooms.
    readout: of a rolling shutter, first row to last, in frames; 0 if all rows are taken at once; below 0 if the last
        row comes first. The frames' cameras are those of the middle row; a pixel's depth is along the axis that
        the camera has when its row is read (engine/shutter.py). readout_std: its standard deviation.
    undistort, redistort: ST maps for the clip's own size, relative POSIX paths of EXRs; None of a pinhole, and in
        results of earlier versions. Undistort has the size of the plate with overscan as the ideal camera sees it, and
        says where the plate shows each pixel; redistort has the plate's, and says where the ideal camera with overscan
        sees it. Of a lens that zooms they are those of the middle frame; where others differ from them by more than
        anybody sees, each frame has its own, too.
    overscan: pixels of the clip, at the left, right, top and bottom, by which the undistorted plate is larger.
    """

    model: str = "pinhole"
    distortion: Distortion | None = None
    is_given: bool = False
    k1_std: float | None = None
    k2_std: float | None = None
    zooms: bool = False
    readout: float = 0.0
    readout_std: float | None = None
    undistort: str | None = None
    redistort: str | None = None
    overscan: tuple[int, int, int, int] = (0, 0, 0, 0)

    @classmethod
    def as_given(cls, distortion: Distortion | None) -> LensResult:
        """The lens of a clip whose distortion is known; of one whose is not, that of a pinhole.

        Parameters
        ----------
        distortion : Distortion or None
            All 0 where the picture is known to have none.

        Returns
        -------
        LensResult
            With is_given, unless nothing was.
        """
        if distortion is None or not distortion.bends:
            return cls(is_given=distortion is not None)
        return cls(distortion.model, distortion, is_given=True)

    def validate(self, width: int, height: int, intrinsics: tuple[float, float, float, float]) -> None:
        """Raises StereoDiffError "result_invalid" for a lens that none can be, or that folds the picture over.

        width, height, intrinsics (fx, fy, cx, cy): of one raster.
        """
        if self.model not in LENS_MODELS or (self.model == "pinhole") != (self.distortion is None):
            raise StereoDiffError("result_invalid", f"The lens model {self.model!r} does not go with its distortion.")
        if self.distortion is not None and (self.model == "fisheye") != self.distortion.is_fisheye:
            raise StereoDiffError("result_invalid", f"The lens model {self.model!r} does not go with its distortion.")
        if not -1.0 <= self.readout <= 1.0:
            raise StereoDiffError("result_invalid", f"A readout of {self.readout} frames is longer than a frame.")
        if (self.undistort is None) != (self.redistort is None) or (self.undistort and self.distortion is None):
            raise StereoDiffError("result_invalid", "A lens with distortion has two ST maps, any other none.")
        if not all(0 <= side <= MOST_OVERSCAN_PX for side in self.overscan):
            raise StereoDiffError("result_invalid", f"An overscan of {self.overscan} pixels is beyond measure.")
        if self.distortion is not None:
            fault = distortion_fault(self.distortion, width, height, intrinsics)
            if fault:
                raise StereoDiffError("result_invalid", fault)


def distortion_fault(distortion: Distortion, width: float, height: float,
                     intrinsics: tuple[float, float, float, float]) -> str:
    """Why a picture of this size cannot have been shot through such a lens.

    Parameters
    ----------
    distortion : Distortion
        Of the lens.
    width, height : float
        Of the picture, in pixels.
    intrinsics : tuple of float
        (fx, fy, cx, cy) in those pixels.

    Returns
    -------
    str
        A sentence; "" if it can.
    """
    values = (distortion.k1, distortion.k2, distortion.k3, distortion.p1, distortion.p2, distortion.k4)
    if not all(math.isfinite(value) and abs(value) < MOST_COEFFICIENT for value in values):
        return f"The lens distortion {values} is beyond measure."
    if not distortion.is_radial if distortion.is_fisheye else distortion.k4:
        return "A fisheye has K1 to K4, any other lens K1 to K3, P1 and P2."
    fx, fy, cx, cy = intrinsics
    corner = math.hypot(max(cx, width - cx) / fx, max(cy, height - cy) / fy)
    if corner >= distortion.fold_radius():
        return _fold_fault(distortion)
    if not distortion.is_radial and _folds_in_plane(distortion, corner):
        return f"A lens with P1 {distortion.p1:.3g} and P2 {distortion.p2:.3g} would fold the picture over."
    return ""


def _fold_fault(distortion: Distortion) -> str:
    if distortion.is_fisheye and distortion.ideal_fold_radius() >= math.tan(math.radians(MOST_FISHEYE_DEG)):
        return (f"This fisheye shows more than {2 * MOST_FISHEYE_DEG:.0f} degrees across the picture's corners, and no "
                "plane can: crop the clip.")
    return (f"A lens with K1 {distortion.k1:.3g} and K2 {distortion.k2:.3g} would fold the picture's corners over "
            "at this focal length.")


def _folds_in_plane(distortion: Distortion, corner: float) -> bool:
    """Whether the tangential part turns the picture over anywhere within so far from the axis, on the plate."""
    ideal = next((ideal for ideal in (corner * step / 50 for step in range(1, 500))
                  if distortion.radius(ideal) >= corner), 10.0 * corner)
    spots = ((ideal * reach / 16 * math.cos(math.pi * turn / 24), ideal * reach / 16 * math.sin(math.pi * turn / 24))
             for reach in range(1, 17) for turn in range(48))
    return any(_magnification(distortion, x, y) <= 0.0 for x, y in spots)


def _magnification(distortion: Distortion, x: float, y: float) -> float:
    """The determinant of the derivative of the place on the plate by the ideal place: how much areas grow."""
    squared, p1, p2 = x * x + y * y, distortion.p1, distortion.p2
    scale = 1.0 + squared * (distortion.k1 + squared * (distortion.k2 + squared * distortion.k3))
    slope = 2.0 * (distortion.k1 + squared * (2.0 * distortion.k2 + squared * 3.0 * distortion.k3))
    across = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y
    return ((scale + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x)
            * (scale + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x) - across * across)
