"""What is wrong with footage, found before it is solved: cuts, repeated frames, black bars, lettering, flicker.

Found are hard cuts, not dissolves; dark bars with straight edges; opaque lettering that stands still for the whole
range while the picture behind it moves; and changes of brightness of the picture as a whole, not bands that run
through it. Thresholds are where clean footage of many kinds and spoilt copies of it lie far apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..imaging import Regions, find_regions
from .scan import Evidence, Pair, Scanner

Box = tuple[int, int, int, int]
"""top, bottom, left, right in raster pixels; bottom and right excluded."""

LOST, HEALTHY = 0.15, 0.5
"""Matched shares of a pair of frames: across a cut below 0.05, within a shot hardly ever below 0.7."""
SAME_PLACE = 0.4
FAST_MOTION = 0.06
INTERRUPTION_FRAMES = 6
"""Longest flash or blackout that is not taken for a shot of its own; the tracker waits as long."""

LONGEST_HOLD = 4
REPEAT_CHANGE = 0.12
REPEAT_MOTION = 0.2
MIN_MOTION = 0.001
NOISY_CHANGE = 0.8
SAME_DIRECTION = 0.2

DARK_LEVELS = 40
BAR_DEVIATION = 10
MIN_BAR_PX = 3
EDGE_TOLERANCE_PX = 2
RINGING_PX = 7
"""How far into a bar compression lets the picture shine: just short of one block."""
STRAIGHT_SHARE, PAIRED_SHARE = 0.3, 0.15
CLEAR_SHARE, WRITTEN_SHARE = 0.01, 0.45
MAX_BAR = 0.35

DRAWN_STEADINESS, PART_STEADINESS = 6.0, 1.2
DRAWN_EDGE, DRAWN_CORNER = 10.0, 100.0
MIN_SURROUNDINGS = 1.0 / 40
"""How far the surroundings of lettering must have moved in all, as a share of the longest side."""
MIN_WITNESSED_FRAMES = 8
LETTER_GAP = 0.03
LETTER_DENSITY = 0.15
MIN_DRAWN_PX = 25
PLATE_LEVELS = 30
MIN_PLATE, MAX_PLATE = 0.2, 0.06
MAX_OVERLAY = 0.15
MAX_LETTERING_HEIGHT = 1.0 / 3
BOX_MARGIN_PX = 4

FLASH_GAIN = 0.3
LONGEST_FLASH = 5
MAX_FLASH_SHARE = 0.25
FLICKER_REACH = 2.0
"""Frames: lamps swing within 2 to 6 of them; what takes longer is an exposure that adapts."""
STRONG_FLICKER = 0.04
"""Share of brightness, RMS: automatic exposure of real cameras stays below 0.02."""


@dataclass(frozen=True)
class Footage:
    """What was found in T frames.

    shots: first and last index of each shot, in order; one if there is no cut.
    shown_in: (T,) int, the index of the first frame of the same picture; its own where a frame is no repetition.
    picture: box of the picture inside dark bars; the whole raster without bars.
    overlays: boxes of what is drawn onto the picture. flashes: indices of frames that are lit up, or black, alone.
    gain: (T,) float32, how much brighter a frame is than in steady light; 1 in flashes.
    """

    size: tuple[int, int]
    shots: tuple[tuple[int, int], ...]
    shown_in: np.ndarray
    picture: Box
    overlays: tuple[Box, ...]
    flashes: tuple[int, ...]
    gain: np.ndarray

    @property
    def repeats(self) -> np.ndarray:
        """Indices of the frames that show the picture of the one before."""
        return np.flatnonzero(self.shown_in != np.arange(len(self.shown_in)))

    @property
    def measured_in(self) -> np.ndarray:
        """(T,) int: the frame in which each frame's depth can be measured; for a flash, the last one before it."""
        measured_in = self.shown_in.copy()
        for index in self.flashes:
            measured_in[index] = measured_in[index - 1]
        return measured_in

    @property
    def has_bars(self) -> bool:
        return self.picture != (0, self.size[0], 0, self.size[1])

    @property
    def flickers(self) -> bool:
        return bool((self.gain != 1.0).any())

    def overlay_mask(self) -> np.ndarray:
        """(H,W) bool: true inside the overlays' boxes."""
        mask = np.zeros(self.size, bool)
        for top, bottom, left, right in self.overlays:
            mask[top:bottom, left:right] = True
        return mask

    def outside_scene(self) -> np.ndarray:
        """(H,W) bool: true where no scene is seen at all, in bars and overlays."""
        mask = np.ones(self.size, bool)
        top, bottom, left, right = self.picture
        mask[top:bottom, left:right] = False
        return mask | self.overlay_mask()


def inspect_footage(frames: np.ndarray) -> Footage:
    """Look at every frame once, at a reduced size.

    If there is a cut, only the shots are looked for, as nothing else can be told of several shots at once.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8 RGB, T >= 2, an array or memory map; read one at a time.

    Returns
    -------
    Footage
        What was found: shots, repeats, bars, lettering, flashes, flicker.

    Raises
    ------
    ValueError
        If frames have another shape or type, or are fewer than two.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or len(frames) < 2:
        raise ValueError(f"frames must be (T,H,W,3) uint8 with T >= 2, got {frames.shape} {frames.dtype}")
    scanner = Scanner(frames)
    scan = scanner.scan()
    size, count = frames.shape[1:3], len(frames)
    cuts = find_cuts(scan.pairs, scanner)
    if cuts:
        starts, ends = [0, *cuts], [*cuts, count]
        shots = tuple((start, end - 1) for start, end in zip(starts, ends, strict=True))
        return Footage(size, shots, np.arange(count), (0, size[0], 0, size[1]), (), (), np.ones(count, np.float32))
    picture = find_picture(scan.evidence)
    overlays = find_overlays(scan.evidence, picture) if count >= MIN_WITNESSED_FRAMES else ()
    flashes = find_flashes(scan.pairs, scanner)
    return Footage(size, ((0, count - 1),), find_repeats(scan.pairs), picture, overlays, flashes,
                   find_flicker(scan.pairs, flashes))


# --- Cuts ------------------------------------------------------------------------------------------------------

def find_cuts(pairs: list[Pair], scanner: Scanner) -> list[int]:
    """Indices of the frames that begin a new shot.

    A cut is one pair of frames of which nothing can be matched, between pairs that can: a flash breaks two pairs, a
    whip pan many, and next to it things move fast. Nor do the frames some way before and after it match, as they
    would across a flash of several frames. What fades in from black or ends there is one shot with it.
    """
    breaks = [index for index in range(len(pairs)) if _breaks(pairs, index)]
    return [index + 1 for index in breaks if not _is_bridged(scanner, pairs, index)]


def _breaks(pairs: list[Pair], index: int) -> bool:
    beside = [pairs[k] for k in (index - 1, index + 1) if 0 <= k < len(pairs)]
    calm = bool(beside) and all(pair.matched > HEALTHY and pair.motion < FAST_MOTION for pair in beside)
    return calm and pairs[index].matched < LOST and not pairs[index].is_blank


def _is_bridged(scanner: Scanner, pairs: list[Pair], index: int) -> bool:
    last, first, count = index, index + 1, len(pairs) + 1
    later = [(last, k) for k in range(first + 1, min(first + INTERRUPTION_FRAMES, count))]
    earlier = [(k, first) for k in range(max(last - INTERRUPTION_FRAMES + 1, 0), last)]
    return any(scanner.match(i, j).matched > SAME_PLACE for i, j in later + earlier)


# --- Repeated frames -------------------------------------------------------------------------------------------

def find_repeats(pairs: list[Pair]) -> np.ndarray:
    """Footage.shown_in: which frames show the picture of one before, up to noise and compression.

    A hold of up to LONGEST_HOLD pairs is one if the picture hardly changes in it and goes on abruptly on both sides: a
    camera that comes to rest slows down first. Under noise it is the motion that must be missing, and that goes on in
    the same direction, as a camera that sways may stand still for a moment where it turns back.
    """
    still = np.zeros(len(pairs), bool)
    for length in range(1, LONGEST_HOLD + 1):
        for start in range(len(pairs) - length + 1):
            if _is_hold(pairs, start, start + length):
                still[start:start + length] = True
    shown_in = np.arange(len(pairs) + 1)
    for index in np.flatnonzero(still):
        shown_in[index + 1] = shown_in[index]
    return shown_in


def _is_hold(pairs: list[Pair], start: int, end: int) -> bool:
    beside = [pairs[k] for k in (start - 1, end) if 0 <= k < len(pairs)]
    around_motion = min((pair.motion for pair in beside), default=0.0)
    if around_motion < MIN_MOTION:
        return False
    change = max(pair.change for pair in pairs[start:end]) / min(pair.change for pair in beside)
    motion = max(pair.motion for pair in pairs[start:end]) / around_motion
    if change < REPEAT_CHANGE:
        return True
    return len(beside) == 2 and motion < REPEAT_MOTION and change < NOISY_CHANGE and _goes_on(*beside)


def _goes_on(before: Pair, after: Pair) -> bool:
    lengths = np.linalg.norm(before.flow) * np.linalg.norm(after.flow)
    return bool(float((before.flow * after.flow).sum()) > SAME_DIRECTION * lengths)


# --- Bars ------------------------------------------------------------------------------------------------------

def find_picture(evidence: Evidence) -> Box:
    """The picture's box inside dark bars that never change, at the top and bottom, the sides, or both."""
    height, width = evidence.darkest.shape
    top, bottom = _bars(evidence.darkest, evidence.brightest)
    rows = slice(top, height - bottom)
    left, right = _bars(evidence.darkest[rows].T, evidence.brightest[rows].T)
    return top, height - bottom, left, width - right


def _bars(darkest: np.ndarray, brightest: np.ndarray) -> tuple[int, int]:
    """Heights of the bars at the top and the bottom; 0 where there is none."""
    first, second = (_bar(darkest[::step], brightest[::step], STRAIGHT_SHARE, CLEAR_SHARE) for step in (1, -1))
    if first and second:
        return first, second
    # Bars that carry lettering, or border on darkness, vouch for each other by being equal.
    pair = [_bar(darkest[::step], brightest[::step], PAIRED_SHARE, WRITTEN_SHARE) for step in (1, -1)]
    if all(pair) and abs(pair[0] - pair[1]) <= EDGE_TOLERANCE_PX:
        return pair[0], pair[1]
    return first, second


def _bar(darkest, brightest, straight_share: float, interrupted_share: float) -> int:
    """Height of the bar at the top. Darkness in a picture has no edge so straight, nor is it even from side to side.

    straight_share: of the columns that must end at the edge. interrupted_share: that may have something in the bar.
    """
    height = darkest.shape[0]
    corners = np.r_[darkest[0, :8], darkest[0, -8:]]
    level = float(np.median(corners))
    if level > DARK_LEVELS:
        return 0
    differs = (brightest > level + BAR_DEVIATION) | (darkest + float(BAR_DEVIATION) < level)
    reach = np.where(differs.any(0), differs.argmax(0), height)
    counts = np.bincount(reach, minlength=height + 1)[:int(MAX_BAR * height) + 1]
    edge = int(counts.argmax())
    near = np.abs(reach - edge) <= EDGE_TOLERANCE_PX
    above = reach < edge - RINGING_PX
    if edge < MIN_BAR_PX or near.mean() < straight_share or above.mean() > interrupted_share:
        return 0
    # The blur of scaling and compression beside the edge belongs to neither.
    return int(reach[near].max()) + 1


# --- Lettering -------------------------------------------------------------------------------------------------

def find_overlays(evidence: Evidence, picture: Box) -> tuple[Box, ...]:
    """Boxes of what is drawn onto the picture: steady edges in both directions while the surroundings move.

    Edges in one direction are not enough: the picture may move along them. Letters of one line share a box, which
    covers digits that change as long as some of their strokes stay.
    """
    top, bottom, left, right = picture
    inside = np.zeros(evidence.edge.shape, bool)
    inside[top:bottom, left:right] = True
    inside &= evidence.edge > DRAWN_EDGE
    drawn = inside & (evidence.steadiness > DRAWN_STEADINESS) & (evidence.corner > DRAWN_CORNER)
    drawn &= evidence.surroundings_px > MIN_SURROUNDINGS * max(inside.shape)
    part = inside & (evidence.steadiness > PART_STEADINESS)
    constant = cv2.subtract(evidence.brightest, evidence.darkest) < PLATE_LEVELS
    mask = np.zeros(drawn.shape, np.uint8)
    groups = _groups(drawn)
    if any(bottom - top > MAX_LETTERING_HEIGHT * drawn.shape[0] for top, bottom, _, _ in groups):
        return ()  # a part of the scene that stands still behind what moves; lettering cannot be told from it
    for box in groups:
        top, bottom, left, right = _with_plate(_along_the_line(box, part), constant)
        mask[max(top - BOX_MARGIN_PX, 0):bottom + BOX_MARGIN_PX, max(left - BOX_MARGIN_PX, 0):right + BOX_MARGIN_PX] = 1
    regions = find_regions(mask)
    return tuple(_boxes_of(regions, regions.areas > 0)) if mask.mean() < MAX_OVERLAY else ()


def _groups(drawn: np.ndarray) -> list[Box]:
    """The boxes of what lies a letter's width apart at most, and is more than a speck."""
    gap = _letter_gap(drawn)
    joined = cv2.morphologyEx(drawn.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((gap // 2 | 1, gap), np.uint8))
    regions = find_regions(joined)
    return _boxes_of(regions, regions.counts(drawn) >= MIN_DRAWN_PX)


def _letter_gap(image: np.ndarray) -> int:
    return max(3, round(LETTER_GAP * image.shape[1]) | 1)


def _boxes_of(regions: Regions, chosen: np.ndarray) -> list[Box]:
    """The boxes around the chosen regions, (n,) bool; the rest, number 0, has none."""
    return [tuple(box) for box in regions.boxes[1:][chosen[1:]].tolist()]


def _along_the_line(box: Box, part: np.ndarray) -> Box:
    """The box, longer by the letters on both sides of it that are less surely drawn."""
    top, bottom, left, right = box
    is_letter = part[top:bottom].mean(axis=0) > LETTER_DENSITY
    gap = _letter_gap(part)
    for column in range(right, len(is_letter)):
        if column > right + gap:
            break
        right = column + 1 if is_letter[column] else right
    for column in range(left - 1, -1, -1):
        if column < left - gap:
            break
        left = column if is_letter[column] else left
    return top, bottom, left, right


def _with_plate(box: Box, constant: np.ndarray) -> Box:
    """The box and the even ground it is written on, unless that is rather a part of the scene, for its size."""
    top, bottom, left, right = box
    written = np.zeros(constant.shape, bool)
    written[top:bottom, left:right] = True
    regions = find_regions(constant)
    is_behind = regions.counts(written) > MIN_PLATE * (bottom - top) * (right - left)
    plates = [plate for plate in _boxes_of(regions, is_behind) if _area(plate) < MAX_PLATE * constant.size]
    tops, bottoms, lefts, rights = zip(box, *plates, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def _area(box: Box) -> int:
    top, bottom, left, right = box
    return (bottom - top) * (right - left)


# --- Light -----------------------------------------------------------------------------------------------------

def find_flashes(pairs: list[Pair], scanner: Scanner) -> tuple[int, ...]:
    """Indices of the frames in which the light, or the picture itself, is another for a moment."""
    flashes: list[int] = []
    for start in range(1, len(pairs)):
        if start in flashes or not _is_abrupt(pairs[start - 1]):
            continue
        ends = [end for end in range(start, min(start + LONGEST_FLASH, len(pairs))) if _is_abrupt(pairs[end])]
        if ends and scanner.match(start - 1, ends[0] + 1).matched > HEALTHY:
            flashes += range(start, ends[0] + 1)
    # What happens all the time is flicker.
    return tuple(flashes) if len(flashes) <= max(MAX_FLASH_SHARE * len(pairs), 1) else ()


def _is_abrupt(pair: Pair) -> bool:
    return pair.matched < LOST or abs(pair.log_gain) > FLASH_GAIN


def find_flicker(pairs: list[Pair], flashes: tuple[int, ...]) -> np.ndarray:
    """Footage.gain: brightness of each frame against its surroundings in time; all 1 unless that is strong.

    What drifts, as when the camera adapts to the dark, is no flicker and stays. A flash is no flicker either.
    """
    steps = np.nan_to_num([pair.log_gain for pair in pairs])
    beside_flash = {index + side for index in flashes for side in (-1, 0)}
    steps[[index for index in beside_flash if index < len(steps)]] = 0.0
    levels = np.cumsum(np.r_[0.0, steps])
    excess = levels - _smooth(levels, FLICKER_REACH)
    if np.sqrt(np.mean(excess**2)) < STRONG_FLICKER:
        return np.ones(len(levels), np.float32)
    excess[list(flashes)] = 0.0
    return np.exp(excess).astype(np.float32)


def _smooth(values: np.ndarray, reach: float) -> np.ndarray:
    """Gaussian mean over time; beyond the ends the values go on point-symmetrically, so that a drift stays one."""
    pad = min(round(3 * reach), len(values) - 1)
    longer = np.r_[2 * values[0] - values[pad:0:-1], values, 2 * values[-1] - values[-2:-pad - 2:-1]]
    weights = np.exp(-0.5 * (np.arange(-pad, pad + 1) / reach) ** 2)
    return np.convolve(longer, weights / weights.sum(), "same")[pad:len(longer) - pad]
