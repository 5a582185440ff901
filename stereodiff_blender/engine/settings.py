"""How to solve: the part of a job that the artist chooses. Standard library only, as contract.py, which hands it on."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import StereoDiffError

STEREO_ENGINES = ("geometric", "monst3r")
REFINE_ENGINES = ("guided", "depthcrafter", "none")
QUALITIES = ("draft", "standard", "high")
MAX_SIDE_PX = {"draft": 480, "standard": 640, "high": 960}
MAX_ENLARGEMENT = {"draft": 1.0, "standard": 1.0, "high": 2.0}
MIN_SIDE_PX = 64


@dataclass(frozen=True)
class Settings:
    """How to solve.

    max_side_px: longest side of the working raster; 0 = MAX_SIDE_PX of the quality preset. A smaller
        clip is enlarged up to it by MAX_ENLARGEMENT at most: matched between its pixels, borders come out sharper.
    focal_mm, sensor_mm: the known lens and sensor width; both or neither.
    exposure_ev: stops added to scene-linear footage (EXR) before it is exposed to display.
    refine_cameras: after stage 1, adjust cameras, lens and depth to points tracked in the still parts.
    device: "auto", "cpu", "cuda", "cuda:N" or "mps"; only learned stages and the "high" preset use it.
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

    def validate(self) -> None:
        """Raises StereoDiffError "settings_invalid" naming the first field that is out of range."""
        choices = (("stereo", STEREO_ENGINES), ("refine", REFINE_ENGINES), ("quality", QUALITIES))
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise _invalid_setting(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.max_side_px != 0 and not MIN_SIDE_PX <= self.max_side_px <= 4096:
            raise _invalid_setting(f"max_side_px must be 0 or {MIN_SIDE_PX} to 4096, got {self.max_side_px}")
        if (self.focal_mm is None) != (self.sensor_mm is None):
            raise _invalid_setting("focal_mm and sensor_mm are given together or not at all")
        if self.focal_mm is not None and not (0.1 < self.focal_mm < 10000 and 0.1 < self.sensor_mm < 1000):
            raise _invalid_setting(f"no lens has focal_mm {self.focal_mm} on sensor_mm {self.sensor_mm}")
        if not -20 <= self.exposure_ev <= 20:
            raise _invalid_setting(f"exposure_ev must be -20 to 20, got {self.exposure_ev}")
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
            raise _invalid_setting(f"device must be auto, cpu, cuda, cuda:N or mps, got {self.device!r}")

    @property
    def working_side_px(self) -> int:
        """Longest side of the working raster that these settings ask for."""
        return self.max_side_px or MAX_SIDE_PX[self.quality]

    @property
    def max_enlargement(self) -> float:
        """How many times larger than the clip's the working raster's sides may be."""
        return MAX_ENLARGEMENT[self.quality]


def _invalid_setting(message: str) -> StereoDiffError:
    return StereoDiffError("settings_invalid", message)
