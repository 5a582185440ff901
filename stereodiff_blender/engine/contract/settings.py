"""How to solve: the part of a job that the artist chooses. Standard library only. The contract hands it on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from .errors import StereoDiffError
from .lens import Distortion

STEREO_ENGINES = ("geometric", "monst3r")
REFINE_ENGINES = ("guided", "depthcrafter", "none")
QUALITIES = ("draft", "standard", "high")
DEPTH_SIZES = ("working", "plate")
MAX_SIDE_PX = {"draft": 480, "standard": 640, "high": 960}
MAX_ENLARGEMENT = {"draft": 1.0, "standard": 1.0, "high": 2.0}
MIN_SIDE_PX = 64
DIFFUSION_PRESETS = ("standard", "paper", "fast")
NOISE_SCHEDULES = ("karras", "trailing", "free")
NOISE_LEVELS = (0.05, 700.0)
PAPER_NOISE_LEVEL = 2.26912
MAX_ENSEMBLE = 16
MAX_MEGAPIXELS, MOST_MEGAPIXELS = 135, 1000
"""Million pixels of a picture of the footage: the limit unless it is set, up to 16384 x 8192, and the highest limit."""
MOST_PRINCIPAL_PX = 1e6
MAX_PIXELS = MAX_MEGAPIXELS * 1_000_000


@dataclass(frozen=True)
class DiffusionSettings:
    """How DepthCrafter refines; only refine = "depthcrafter" looks at it.

    preset: "paper" is what the paper ran; "standard" the same step, with outliers, short last windows and the seams
        of decoding taken care of; "fast" drops the overlap of windows and works at 640 pixels at most.
    schedule: where the one step begins. "karras": where the published scheduler has it, noise level 2.269, which
        ZeroSNR does not change. "trailing": where the plain schedule with trailing spacing, which the paper calls
        ZeroSNR, has it, 1.613. "free": at noise_level.
    noise_level: standard deviation of the noise against that of the latents, of schedule "free" only. Less keeps more
        of stage 1 and of its flicker, more is smoother and invents more.
    ensemble: how many draws of noise are averaged.
    keep_static: 0..1, how far depth that stage 1 measured on still things is kept as it is.
    compile: compile the network first. Takes minutes, for long clips only.
    """

    preset: str = "standard"
    schedule: str = "karras"
    noise_level: float = PAPER_NOISE_LEVEL
    ensemble: int = 1
    keep_static: float = 0.0
    compile: bool = False

    def validate(self) -> None:
        """Raises StereoDiffError "settings_invalid" naming the first field that is out of range."""
        for name, allowed in (("preset", DIFFUSION_PRESETS), ("schedule", NOISE_SCHEDULES)):
            if getattr(self, name) not in allowed:
                raise _invalid_setting(f"The diffusion {name} must be one of {', '.join(allowed)}, got "
                                       f"{getattr(self, name)!r}.")
        if not NOISE_LEVELS[0] <= self.noise_level <= NOISE_LEVELS[1]:
            raise _invalid_setting(f"The noise_level must be {NOISE_LEVELS[0]} to {NOISE_LEVELS[1]}, got "
                                   f"{self.noise_level}.")
        if not 1 <= self.ensemble <= MAX_ENSEMBLE:
            raise _invalid_setting(f"The ensemble must be 1 to {MAX_ENSEMBLE}, got {self.ensemble}.")
        if not 0.0 <= self.keep_static <= 1.0:
            raise _invalid_setting(f"The share keep_static must be 0 to 1, got {self.keep_static}.")


def depth_size_of(quality: str) -> str:
    """The size of depth where nobody chose one: a draft is to be quick.

    Parameters
    ----------
    quality : str
        One of QUALITIES.

    Returns
    -------
    str
        One of DEPTH_SIZES.
    """
    return "working" if quality == "draft" else "plate"


@dataclass(frozen=True)
class Settings:
    """How to solve.

    max_side_px: longest side of the working raster; 0 = MAX_SIDE_PX of the quality preset. A smaller
        clip is enlarged up to it by MAX_ENLARGEMENT at most: matched between its pixels, borders come out sharper.
    focal_mm, sensor_mm: the known lens and sensor width; both or neither.
    principal_point_px: (x, y) where the known lens's axis meets the picture, in pixels of the clip from its top left
        corner; None: the picture's center. Only with a known lens.
    distortion: coefficients (k1, k2, k3, p1, p2) of the known lens, as of Distortion, or only the first three; all 0
        where the picture is known to have no distortion; None where it is not known.
    is_fisheye: the known lens is a fisheye, and distortion has its (k1, k2, k3, k4).
    readout: of a known rolling shutter, as of LensResult: share of the time from frame to frame that passes between the
        first row and the last, -1 to 1, below 0 from the bottom up; 0: all rows at once; None: the shot tells.
    depth_size: "plate": pictures of depth at the plate's size, too, with its edges where the plate has them, for
        compositing; where the plate is larger than the working raster. Up to 4096 pixels across.
    exposure_ev: stops added to scene-linear footage (EXR) before it is exposed to display; 0 = none, or chosen where
        the footage is far too dark or bright.
    max_megapixels: million pixels; a larger picture of the clip or of its matte is refused before it is decoded.
    diffusion: how DepthCrafter refines.
    refine_cameras: after stage 1, adjust cameras, lens and depth to points tracked in the still parts.
    device: "auto", "cpu", "cuda", "cuda:N" or "mps"; only learned stages use it.
    seed: of every random draw.
    """

    stereo: str = "geometric"
    refine: str = "guided"
    quality: str = "standard"
    max_side_px: int = 0
    focal_mm: float | None = None
    sensor_mm: float | None = None
    exposure_ev: float = 0.0
    device: str = "auto"
    seed: int = 0
    refine_cameras: bool = False
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    max_megapixels: int = MAX_MEGAPIXELS
    principal_point_px: tuple[float, float] | None = None
    distortion: tuple[float, ...] | None = None
    readout: float | None = None
    depth_size: str = "working"
    is_fisheye: bool = False

    def validate(self) -> None:
        """Raises StereoDiffError "settings_invalid" naming the first field that is out of range."""
        choices = (("stereo", STEREO_ENGINES), ("refine", REFINE_ENGINES), ("quality", QUALITIES),
                   ("depth_size", DEPTH_SIZES))
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise _invalid_setting(f"The {name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}.")
        if self.max_side_px != 0 and not MIN_SIDE_PX <= self.max_side_px <= 4096:
            raise _invalid_setting(f"The side max_side_px must be 0 or {MIN_SIDE_PX} to 4096, got {self.max_side_px}.")
        if (self.focal_mm is None) != (self.sensor_mm is None):
            raise _invalid_setting("The focal_mm and sensor_mm are given together or not at all.")
        if self.focal_mm is not None and self.sensor_mm is not None:
            _check_lens(self.focal_mm, self.sensor_mm)
        self._check_axis_and_distortion()
        self._check_readout()
        if not -20 <= self.exposure_ev <= 20:
            raise _invalid_setting(f"The exposure_ev must be -20 to 20, got {self.exposure_ev}.")
        if not 1 <= self.max_megapixels <= MOST_MEGAPIXELS:
            raise _invalid_setting(f"The max_megapixels must be 1 to {MOST_MEGAPIXELS}, got "
                                   f"{self.max_megapixels}.")
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
            raise _invalid_setting(f"The device must be auto, cpu, cuda, cuda:N or mps, got {self.device!r}.")
        self.diffusion.validate()

    def _check_axis_and_distortion(self) -> None:
        if self.is_fisheye and self.distortion is None:
            raise _invalid_setting("A fisheye is given with its distortion, K1 to K4; all 0 are those of an "
                                   "equidistant one.")
        for name, counts in (("principal_point_px", (2,)), ("distortion", (4,) if self.is_fisheye else (3, 5))):
            values = getattr(self, name)
            if values is None:
                continue
            if self.focal_mm is None:
                raise _invalid_setting(f"The {name} is given with focal_mm and sensor_mm only.")
            sane = all(math.isfinite(value) and abs(value) < MOST_PRINCIPAL_PX for value in values)
            if len(values) not in counts or not sane:
                raise _invalid_setting(f"The {name} must be {' or '.join(map(str, counts))} finite numbers, got "
                                       f"{values}.")

    def _check_readout(self) -> None:
        if self.readout is not None and not -1.0 <= self.readout <= 1.0:
            raise _invalid_setting(f"A readout of {self.readout:.4g} is longer than the time from frame to frame, "
                                   "which is 1.")
        if self.readout and self.stereo != "geometric":
            raise _invalid_setting("MonST3R takes all rows of a picture at once: leave the readout out, or solve with "
                                   "Geometric.")

    @property
    def known_distortion(self) -> Distortion | None:
        """That of the known lens, all 0 where the picture has none; None where it is not known."""
        if self.distortion is None:
            return None
        if self.is_fisheye:
            k1, k2, k3, k4 = self.distortion
            return Distortion(k1, k2, k3, k4=k4, is_fisheye=True)
        k1, k2, k3, p1, p2 = (*self.distortion, 0.0, 0.0)[:5]
        return Distortion(k1, k2, k3, p1, p2)

    def with_distortion(self, distortion: Distortion | None) -> Settings:
        """The same, with this distortion as that of the known lens.

        Parameters
        ----------
        distortion : Distortion or None
            All 0 where the picture is known to have none; None where it is not known.

        Returns
        -------
        Settings
            Not validated.
        """
        if distortion is None:
            return replace(self, distortion=None, is_fisheye=False)
        return replace(self, distortion=distortion.coefficients, is_fisheye=distortion.is_fisheye)

    @property
    def working_side_px(self) -> int:
        """Longest side of the working raster that these settings ask for."""
        return self.max_side_px or MAX_SIDE_PX[self.quality]

    @property
    def max_pixels(self) -> int:
        """Pixels that a picture of the footage may have."""
        return self.max_megapixels * 1_000_000

    @property
    def max_enlargement(self) -> float:
        """How many times larger than the clip's the working raster's sides may be."""
        return MAX_ENLARGEMENT[self.quality]


def _check_lens(focal_mm: float, sensor_mm: float) -> None:
    if not (0.1 < focal_mm < 10000 and 0.1 < sensor_mm < 1000):
        raise _invalid_setting(f"No lens has focal_mm {focal_mm} on sensor_mm {sensor_mm}.")


def _invalid_setting(message: str) -> StereoDiffError:
    return StereoDiffError("settings_invalid", message)
