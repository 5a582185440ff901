"""Sharper depth borders, for the "high" preset: each pixel near a depth edge chooses between its neighbors' depths.

Optical flow straddles object borders, so measured depth is some pixels fat there. Here every pixel of the border band
tries the farther disparities found a few pixels away in eight directions (as in PatchMatch stereo, Bleyer et al. 2011);
each hypothesis is judged by how well the picture, carried by it into the source frames, agrees with them, with the
costs aggregated along the picture's own edges (cost-volume filtering, Rhemann et al. 2011). The best hypothesis wins.
Nearer disparities are not tried: windowed matching errs by making the foreground fat, and beside a strong contour the
windowed cost makes the same error again.

PyTorch, on CPU and CUDA by the same code; this module is imported only when the preset asks for it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional

from ...imaging import BEHIND_CAMERA, PlaneParallax, Warp, pixel_axes, warp_between
from ...solution import CameraSolution, StereoResult
from ...storage import RunContext
from ...torch_support.device import torch_device

__all__ = ["refine_edges"]

REACHES_PX = (2, 4, 8, 12)
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
MAX_SOURCES = 6
BATCH = 8
EDGE_RANGE = 0.08
"""Relative disparity range inside the window below that makes an edge."""
EDGE_WINDOW_PX = 9
BAND_PX = 8
MAX_FEATURE_DIFFERENCE = 0.08
MARGIN = 0.004
"""A hypothesis must be cheaper by this much than the depth there already, so that plain surfaces stay untouched."""
GUIDE_RADIUS_PX, GUIDE_EPSILON = 8, 1e-5


def refine_edges(frames: np.ndarray, stereo: StereoResult, sources: list[tuple[int, ...]], *, device: str,
                 context: RunContext) -> np.ndarray:
    """Depth with sharper borders.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8.
    stereo : StereoResult
        Of these frames; what moves keeps its depth.
    sources : list of tuple of int
        Frames that each frame is compared with.
    device : str
        As in contract.Settings.
    context : RunContext
        Depth comes from its scratch, where a later run goes on. Its report is told the stage "edges".

    Returns
    -------
    ndarray
        (T,H,W) float32 > 0, scene units.

    Raises
    ------
    StereoDiffError
        "device_unavailable".

    References
    ----------
    Bleyer et al. 2011, PatchMatch stereo; Rhemann et al. 2011, cost-volume filtering; He et al. 2010, guided filter.
    """
    cameras, depth, motion_mask = stereo.cameras, stereo.depth, stereo.motion_mask
    scratch, report = context.scratch, context.report
    chosen = torch_device(device)
    report.stage("edges", len(depth))
    sharp = scratch.open_array("edges", depth.shape, np.float32)
    journal = scratch.journal("edges", lambda index: [sharp[index]])
    with torch.no_grad():
        for index in range(journal.done, len(depth)):
            near = _nearest_sources(index, sources[index])
            static = torch.from_numpy(np.asarray(motion_mask[index]) == 0).to(chosen)
            sharp[index] = (_refine_frame(frames, cameras, depth[index], static, index, near, chosen) if near
                            else depth[index])
            journal.note(index)
            report.progress(index + 1)
    return sharp


def _nearest_sources(index: int, sources: tuple[int, ...]) -> list[int]:
    """The nearest in time: fewest occlusions, and parallax enough to tell a border's two sides apart."""
    return sorted(sources, key=lambda j: (abs(j - index), j))[:MAX_SOURCES]


def _boundary_band(disparity: torch.Tensor) -> torch.Tensor:
    """(H,W) bool: within reach of a depth edge."""
    plane = disparity[None, None]
    highest, lowest = _window_maximum(plane, EDGE_WINDOW_PX), -_window_maximum(-plane, EDGE_WINDOW_PX)
    edge = ((highest - lowest) / highest > EDGE_RANGE).float()
    return _window_maximum(edge, 2 * BAND_PX + 1)[0, 0] > 0.5


def _window_maximum(plane: torch.Tensor, size: int) -> torch.Tensor:
    return functional.max_pool2d(plane, size, stride=1, padding=size // 2)


def _refine_frame(frames, cameras, depth, static, index: int, sources: list[int], device) -> np.ndarray:
    """static: (H,W) bool; other pixels neither change nor lend their depth, which is not one of the still scene."""
    disparity = torch.from_numpy(1.0 / depth).to(device)
    band = static & _boundary_band(disparity)
    if not bool(band.any()):
        return depth
    photometric = _PhotometricCost(frames, cameras, index, sources, device)
    best, lowest_cost = disparity.clone(), photometric.cost(disparity[None])[0] - MARGIN
    offsets = [(reach * dy, reach * dx) for reach in REACHES_PX for dy, dx in DIRECTIONS]
    for start in range(0, len(offsets), BATCH):
        batch = torch.stack([_hypothesis(disparity, static,
                                         *offset) for offset in offsets[start:start + BATCH]])  # (B,H,W)
        cost, which = photometric.cost(batch).min(dim=0)
        better = band & (cost < lowest_cost)
        best = torch.where(better, batch.gather(0, which[None])[0], best)
        lowest_cost = torch.where(better, cost, lowest_cost)
    return (1.0 / best).cpu().numpy()


def _hypothesis(disparity: torch.Tensor, static: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """Disparity (H,W) of the pixel so far away, where that one is static and farther; else the pixel's own."""
    there = torch.where(_shifted(static, rows, cols), _shifted(disparity, rows, cols), disparity)
    return torch.minimum(there, disparity)


def _shifted(image: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """(H,W) image whose pixel (r,c) holds image (r + rows, c + cols), the border repeated."""
    height, width = image.shape
    row = torch.arange(height, device=image.device).add(rows).clamp(0, height - 1)
    col = torch.arange(width, device=image.device).add(cols).clamp(0, width - 1)
    return image[row][:, col]


class _PhotometricCost:
    """How badly disparities of one frame agree with what its source frames show."""

    def __init__(self, frames, cameras: CameraSolution, index: int, sources: list[int], device):
        self._own = _features(frames[index], device)
        self._others = [_features(frames[j], device) for j in sources]
        self._guide = _GuidedFilter(_picture(frames[index], device))
        height, width = frames.shape[1:3]
        rows, cols = torch.meshgrid(torch.arange(height, device=device) + 0.5,
                                    torch.arange(width, device=device) + 0.5, indexing="ij")
        pixels = torch.stack([cols, rows, torch.ones_like(cols)])  # (3,H,W)
        self._size = torch.tensor([2.0 / width, 2.0 / height], device=device)
        self._warps = [_on_device(warp_between(cameras, index, j), pixels) for j in sources]

    def cost(self, disparity: torch.Tensor) -> torch.Tensor:
        """disparity: (B,H,W). Returns (B,H,W): mean truncated feature difference in the better half of the sources,
        aggregated along the picture's edges."""
        pairs = zip(self._warps, self._others, strict=True)
        costs = torch.stack([self._source_cost(disparity, *pair) for pair in pairs])
        better_half = costs.topk((len(costs) + 1) // 2, dim=0, largest=False).values.mean(dim=0)
        return self._guide(better_half)

    def _source_cost(self, disparity, warp, other) -> torch.Tensor:
        point = warp(disparity)  # (B,3,H,W)
        depth = point[:, 2].clamp_min(BEHIND_CAMERA)
        grid = torch.stack([point[:, 0] / depth, point[:, 1] / depth], dim=-1) * self._size - 1.0
        seen = functional.grid_sample(other.expand(len(disparity), -1, -1, -1), grid, mode="bilinear",
                                      padding_mode="border", align_corners=False)
        difference = (seen - self._own).abs().sum(dim=1).clamp_max(MAX_FEATURE_DIFFERENCE)
        is_outside = (grid.abs() > 1).any(dim=-1) | (point[:, 2] <= BEHIND_CAMERA)
        return torch.where(is_outside, torch.full_like(difference, MAX_FEATURE_DIFFERENCE), difference)


def _on_device(warp: Warp, pixels: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """From disparity (B,H,W) to homogeneous pixels (B,3,H,W) of the other frame: on the pixels' device."""
    if not isinstance(warp, PlaneParallax):
        return lambda disparity: torch.from_numpy(np.stack(warp.grid(
            *pixel_axes(*disparity.shape[1:]), disparity.cpu().numpy()), axis=1)).to(pixels.device)
    homography, epipole = (torch.tensor(part, dtype=torch.float32, device=pixels.device)
                           for part in (warp.infinite_homography, warp.epipole))
    base = torch.einsum("ij,jhw->ihw", homography, pixels)
    return lambda disparity: base[None] + disparity[:, None] * epipole[None, :, None, None]


def _picture(frame: np.ndarray, device) -> torch.Tensor:
    """(1,3,H,W) in 0..1."""
    return torch.from_numpy(np.array(frame, np.float32)).to(device).permute(2, 0, 1)[None] / 255.0


def _features(frame: np.ndarray, device) -> torch.Tensor:
    """(1,3,H,W): gray with most of its local mean removed, and its gradients; little touched by changes of light."""
    gray = _picture(frame, device).mean(dim=1, keepdim=True)
    detail = gray - 0.7 * _box_mean(gray, 6)
    across = functional.pad(detail[..., 2:] - detail[..., :-2], (1, 1, 0, 0), mode="replicate")
    down = functional.pad(detail[..., 2:, :] - detail[..., :-2, :], (0, 0, 1, 1), mode="replicate")
    return torch.cat([detail, across, down], dim=1)


def _box_mean(planes: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean over a square window of (B,C,H,W), the border repeated."""
    size = 2 * radius + 1
    wide = functional.avg_pool2d(functional.pad(planes, (radius, radius, 0, 0), mode="replicate"), (1, size), stride=1)
    return functional.avg_pool2d(functional.pad(wide, (0, 0, radius, radius), mode="replicate"), (size, 1), stride=1)


class _GuidedFilter:
    """Smooths planes along the edges of a color picture (He et al. 2010): locally a linear function of color."""

    def __init__(self, picture: torch.Tensor):
        self._picture = picture
        self._mean = _box_mean(picture, GUIDE_RADIUS_PX)
        products = picture[:, :, None] * picture[:, None, :]  # (1,3,3,H,W)
        shape = products.shape[-2:]
        second = _box_mean(products.reshape(1, 9, *shape), GUIDE_RADIUS_PX).reshape(3, 3, *shape)
        covariance = (second - self._mean[0, :, None] * self._mean[0, None, :]).permute(2, 3, 0, 1)
        self._inverse = torch.linalg.inv(covariance + GUIDE_EPSILON * torch.eye(3, device=picture.device))

    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """planes: (B,H,W). Returns the same, filtered."""
        planes = planes[:, None]
        mean = _box_mean(planes, GUIDE_RADIUS_PX)
        covariance = _box_mean(self._picture * planes, GUIDE_RADIUS_PX) - self._mean * mean  # (B,3,H,W)
        slope = torch.einsum("hwij,bjhw->bihw", self._inverse, covariance)
        offset = mean - (slope * self._mean).sum(dim=1, keepdim=True)
        return ((_box_mean(slope, GUIDE_RADIUS_PX) * self._picture).sum(dim=1, keepdim=True)
                + _box_mean(offset, GUIDE_RADIUS_PX))[:, 0]
