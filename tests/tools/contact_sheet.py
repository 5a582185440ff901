"""What a job made of its clip, beside the truth, for looking: python contact_sheet.py JOB TRUTH OUT.png [--frames 1,20]

JOB and TRUTH are those of accuracy.py. A row per frame:
    frame | true depth | estimated depth | error | motion
Depth is colored by disparity, with one range for the whole sheet, yellow the nearest; black has none. Error is the
relative error of depth, from black (0) over red and yellow to white (25 % or more). Motion is the job's motion mask,
red over the gray frame, inside the outline of the true one, green; what the job trusts no depth for is dark.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from truth import Compared, compare, newest_finished, read_truth

from stereodiff_blender.engine.contract import JobFolder, Result
from stereodiff_blender.engine.media.frames import Raster, read_frames
from stereodiff_blender.engine.solution import TRUSTED
from stereodiff_blender.engine.worker.preview import depth_colors, disparity_limits

TITLES = ("frame {}", "true depth", "estimated depth", "error 0-25 %", "motion over truth")
CELL_WIDTH = 384
WORST_ERROR = 0.25
RED, GREEN, WHITE, BLACK = (255, 40, 40), (60, 255, 60), (255, 255, 255), (0, 0, 0)


def contact_sheet(folder: Path, truth_path: Path, numbers: list[int] | None = None) -> np.ndarray:
    """(H,W,3) uint8 RGB. numbers: frames of the clip; None: five, evenly spread over the solve.

    Raises StereoDiffError "result_invalid" if the folder holds no finished job, "job_missing" without a truth;
    ValueError if the job or the truth has none of the frames, or the truth no depth.
    """
    result, truth = JobFolder(folder).read_result(), read_truth(truth_path)
    if truth.depth is None:
        raise ValueError(f"{truth_path} has no depth to show")
    at_hand = [frame.frame for frame in result.frames if frame.frame <= len(truth.camera_to_world)]
    chosen = [number for number in numbers or spread(at_hand) if number in at_hand]
    if not chosen:
        raise ValueError(f"none of the frames {numbers} is in both the job and the truth")
    compared = dict(zip(at_hand, compare(folder, result, truth)[0], strict=True)) if result.depth_range else {}
    true = {number: truth.depth(number - 1) for number in chosen}
    limits = disparity_limits(np.stack([drawable(depth) for depth in true.values()]))
    rows = [row(number, plate(result, number), true[number], compared.get(number), limits) for number in chosen]
    return np.vstack(rows)


def spread(numbers: list[int], count: int = 5) -> list[int]:
    places = np.linspace(0, len(numbers) - 1, min(count, len(numbers)))
    return [numbers[round(place)] for place in places]


def plate(result: Result, number: int) -> np.ndarray:
    """One frame of the clip, (H,W,3) uint8, on the job's raster."""
    raster = Raster(result.width, result.height, result.clip_width, result.clip_height, result.clip_pixel_aspect)
    (picture,) = read_frames(result.clip, range(number, number + 1), raster)
    return picture


def row(number: int, picture: np.ndarray, true: np.ndarray, compared: Compared | None,
        limits: tuple[float, float]) -> np.ndarray:
    """The cells of one frame; compared None: the job has no depth, which three of them say."""
    cells = [picture, depth_colors(drawable(true), limits)]
    if compared is None:
        cells += [np.zeros_like(picture)] * 3
        titles = (*TITLES[:2], *["no depth in this solve"] * 3)
    else:
        cells += [depth_colors(compared.depth.astype(np.float32), limits), error_colors(compared),
                  motion_overlay(picture, compared)]
        titles = TITLES
    size = (CELL_WIDTH, round(CELL_WIDTH * picture.shape[0] / picture.shape[1]))
    return np.hstack([labeled(fitted(cell, size), title.format(number))
                      for cell, title in zip(cells, titles, strict=True)])


def drawable(depth: np.ndarray) -> np.ndarray:
    """Depth in which the sky, like what is not known, is 0, so that it does not take part in the range."""
    return np.where(np.isfinite(depth), depth, 0).astype(np.float32)


def error_colors(compared: Compared) -> np.ndarray:
    levels = np.clip(compared.error / WORST_ERROR, 0, 1)
    hot = cv2.applyColorMap(np.rint(255 * levels).astype(np.uint8), cv2.COLORMAP_HOT)[..., ::-1]
    return np.where(compared.both[..., None], hot, np.uint8(70))


def motion_overlay(picture: np.ndarray, compared: Compared) -> np.ndarray:
    """(H,W,3) uint8 on the picture's raster."""
    height, width = picture.shape[:2]
    marked, trusted, moving = (cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
                               for mask in (compared.motion_mask, compared.confidence > TRUSTED, compared.dynamic))
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) * np.where(trusted | marked, 1.0, 0.4)
    image = np.repeat(gray[..., None], 3, axis=2)
    image = np.where(marked[..., None] > 0, 0.5 * image + 0.5 * np.array(RED), image).astype(np.uint8)
    outlines, _ = cv2.findContours(moving, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(image), outlines, -1, GREEN, 1)


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    smaller = image.shape[1] > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST)


def labeled(image: np.ndarray, text: str) -> np.ndarray:
    image = np.ascontiguousarray(image)
    for color, thickness in ((BLACK, 3), (WHITE, 1)):
        cv2.putText(image, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, thickness, cv2.LINE_AA)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=lambda text: [int(part) for part in text.split(",")])
    options = parser.parse_args()
    sheet = contact_sheet(newest_finished(options.job), options.truth, options.frames)
    if not cv2.imwrite(str(options.out), sheet[..., ::-1]):
        raise SystemExit(f"{options.out} cannot be written")


if __name__ == "__main__":
    main()
