"""Faults of footage, put into real pictures by code: what is found, what is not, and how it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_scenes import texture
from clips import movie_source, native_raster, write_movie
from recording_report import RecordingReport
from tiny_jobs import render_boards

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.footage.inspection import Footage, inspect_footage
from stereodiff_blender.engine.footage.warnings import refuse_cuts, warn_of_faults
from stereodiff_blender.engine.media.frames import read_frames

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample" / "clip.mp4"


@pytest.fixture(scope="module")
def courtyard() -> np.ndarray:
    """(48,180,320,3): the sample clip at half size."""
    source = movie_source(SAMPLE)
    raster = replace(native_raster(source), width=320, height=180)
    return np.stack(list(read_frames(source, range(1, 49), raster)))


@pytest.fixture(scope="module")
def boards() -> np.ndarray:
    """(24,180,320,3): another shot."""
    return np.stack([cv2.resize(frame, (320, 180)) for frame in render_boards(24)])


@pytest.fixture
def compressed(tmp_path):
    """compressed(frames) -> the frames as a movie file gives them back."""

    def there_and_back(frames: np.ndarray) -> np.ndarray:
        height, width = frames.shape[1:3]
        pictures = [np.ascontiguousarray(frame) for frame in frames]
        path = write_movie(tmp_path / "clip.mp4", size=(width, height), pictures=pictures, options={"crf": "21"})
        source = movie_source(path)
        return np.stack(list(read_frames(source, range(1, len(frames) + 1), native_raster(source))))

    return there_and_back


def with_grain(frames: np.ndarray, levels: float) -> np.ndarray:
    grain = np.random.default_rng(1).normal(0, levels, (*frames.shape[:3], 1))
    return np.clip(frames + grain, 0, 255).astype(np.uint8)


def wide_view(courtyard: np.ndarray) -> np.ndarray:
    """A large still to move a window over: (360,1280,3)."""
    return cv2.resize(np.concatenate([courtyard[0], courtyard[40][:, ::-1]], axis=1), (1280, 360))


def window_moving(still: np.ndarray, lefts, top: float = 60) -> np.ndarray:
    """What a 320 x 180 window sees whose left edge is at these positions, to a fraction of a pixel."""
    centers = [(float(left) + 160, top + 90) for left in lefts]
    return np.stack([cv2.getRectSubPix(still, (320, 180), center) for center in centers])


def assert_clean(footage: Footage) -> None:
    count = len(footage.shown_in)
    assert footage.shots == ((0, count - 1),)
    assert (len(footage.repeats), footage.has_bars, footage.overlays, footage.flashes) == (0, False, (), ())
    assert not footage.flickers


# --- Nothing wrong ---------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_clean_shots_are_clean(courtyard, boards, compressed):
    assert_clean(inspect_footage(courtyard))
    assert_clean(inspect_footage(boards))
    assert_clean(inspect_footage(compressed(courtyard)))
    assert_clean(inspect_footage(with_grain(courtyard, 8)))
    assert_clean(inspect_footage(courtyard[::5]))


def test_a_camera_that_stands_still_is_clean(courtyard):
    assert_clean(inspect_footage(with_grain(np.repeat(courtyard[:1], 20, axis=0), 3)))


@pytest.mark.slow
def test_a_camera_that_sways_and_rests_is_clean(courtyard):
    time = np.arange(40)
    sway = 400 + 9 * np.sin(2 * np.pi * time / 8)
    assert_clean(inspect_footage(with_grain(window_moving(wide_view(courtyard), sway), 4)))
    come_to_rest = 300 + 120 * (1 - np.exp(-time / 6))
    assert_clean(inspect_footage(with_grain(window_moving(wide_view(courtyard), come_to_rest), 1)))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="T >= 2"):
        inspect_footage(np.zeros((1, 90, 160, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        inspect_footage(np.zeros((2, 90, 160, 3), np.float32))


# --- Cuts ------------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_cut_is_found_to_the_frame(courtyard, boards, compressed):
    edit = np.concatenate([courtyard[:23], boards[:12], courtyard[30:48]])
    expected = ((0, 22), (23, 34), (35, 52))
    assert inspect_footage(edit).shots == expected
    assert inspect_footage(compressed(edit)).shots == expected
    assert inspect_footage(with_bars(with_grain(edit, 6), 24, 24)).shots == expected


def test_a_cut_back_to_another_angle_of_the_same_place(courtyard):
    turned = np.ascontiguousarray(courtyard[20:, :, ::-1])
    assert inspect_footage(np.concatenate([courtyard[:20], turned])).shots == ((0, 19), (20, 47))


@pytest.mark.slow
def test_a_flash_a_blackout_and_a_dark_start_are_no_cuts(courtyard):
    for length in (1, 3):
        for level in (255, 0):
            spoilt = courtyard.copy()
            spoilt[20:20 + length] = level
            assert len(inspect_footage(spoilt).shots) == 1
    fade = np.clip(np.arange(48) / 20, 0, 1)[:, None, None, None]
    assert len(inspect_footage((courtyard * fade).astype(np.uint8)).shots) == 1


def test_a_whip_pan_is_no_cut(courtyard):
    speed = np.array([0, 2, 4, 9, 20, 45, 90, 150, 180, 150, 90, 45, 20, 9, 4, 2, 2, 2])
    lefts = np.cumsum(speed)
    frames = window_moving(wide_view(courtyard), lefts)
    blurred = [cv2.blur(frame, (max(int(pace) // 2, 1), 1)) for frame, pace in zip(frames, speed, strict=True)]
    assert len(inspect_footage(np.stack(blurred)).shots) == 1


@pytest.mark.slow
def test_cuts_are_refused_with_the_shots_as_clip_frames(courtyard, boards):
    footage = inspect_footage(np.concatenate([courtyard[:23], boards[:13]]))
    with pytest.raises(StereoDiffError) as caught:
        refuse_cuts(footage, first_frame=101, told_from=1001)
    assert caught.value.code == "cut_in_range" and caught.value.shots == ((101, 123), (124, 136))
    assert "frames 1001-1023, 1024-1036" in caught.value.message
    refuse_cuts(inspect_footage(courtyard), first_frame=1, told_from=1)


# --- Repeated frames -------------------------------------------------------------------------------------------

PULLDOWN = np.array([k for k in range(32) for _ in range(2 if k % 4 == 3 else 1)])
TWELVE = np.arange(48) // 2 * 2
HICCUP = np.where(np.isin(np.arange(48), (20, 33)), np.arange(48) - 1, np.arange(48))


@pytest.mark.slow
@pytest.mark.parametrize("shown", [PULLDOWN, TWELVE, HICCUP], ids=["pulldown", "twelve", "hiccup"])
def test_repeats_are_found_under_compression(courtyard, compressed, shown):
    footage = inspect_footage(compressed(courtyard[shown]))
    np.testing.assert_array_equal(footage.shown_in, np.searchsorted(shown, shown))


def test_repeats_are_found_under_grain(courtyard):
    footage = inspect_footage(with_grain(courtyard[PULLDOWN], 4))
    expected = np.flatnonzero(np.diff(PULLDOWN) == 0) + 1
    # A repeat at the very end has nothing after it to be told by.
    np.testing.assert_array_equal(footage.repeats, expected[expected < len(PULLDOWN) - 1])


# --- Bars ------------------------------------------------------------------------------------------------------

def with_bars(frames: np.ndarray, top=0, bottom=0, left=0, right=0, level=0) -> np.ndarray:
    height, width = frames.shape[1:3]
    barred = np.full_like(frames, level)
    barred[:, top:height - bottom, left:width - right] = frames[:, top:height - bottom, left:width - right]
    return barred


@pytest.mark.slow
@pytest.mark.parametrize("bars", [(22, 22, 0, 0), (0, 0, 40, 40), (12, 12, 20, 20), (0, 30, 0, 0)],
                         ids=["letterbox", "pillarbox", "windowbox", "one"])
@pytest.mark.parametrize("level", [0, 16])
def test_bars_are_measured(courtyard, compressed, bars, level):
    top, bottom, left, right = inspect_footage(compressed(with_bars(courtyard, *bars, level=level))).picture
    found = np.array([top, 180 - bottom, left, 320 - right])
    assert (found >= bars).all() and (found <= np.array(bars) + 3).all(), found


def test_bars_with_writing_in_them(courtyard):
    frames = with_bars(courtyard, 26, 26)
    for index, frame in enumerate(frames):
        cv2.putText(frame, f"TAKE 3 {index:04d}", (20, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1)
    top, bottom, *_ = inspect_footage(frames).picture
    assert 26 <= top <= 29 and 151 <= bottom <= 154


def test_a_black_sky_is_no_bar(courtyard):
    """Night: all above the roofs is exactly black in all frames, and so is a part of the ground."""
    night = courtyard.copy()
    night[:, :70][night[:, :70].max(axis=3) > 90] = 0
    night[:, 150:, 60:200] = 0
    assert (night[:, :8] == 0).mean() > 0.6
    assert not inspect_footage(night).has_bars


def test_a_bright_border_is_no_bar(courtyard):
    assert not inspect_footage(with_bars(courtyard, 22, 22, level=255)).has_bars


# --- Lettering -------------------------------------------------------------------------------------------------

def with_title(frames: np.ndarray) -> np.ndarray:
    written = np.ascontiguousarray(frames.copy())
    for frame in written:
        cv2.putText(frame, "DAILIES 7", (200, 110), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
    return written


def with_timecode(frames: np.ndarray) -> np.ndarray:
    written = np.ascontiguousarray(frames.copy())
    for index, frame in enumerate(written):
        cv2.rectangle(frame, (90, 152), (205, 172), (0, 0, 0), -1)
        cv2.putText(frame, f"01:00:{index // 24:02d}:{index % 24:02d}", (96, 167), cv2.FONT_HERSHEY_SIMPLEX, 0.5,
                    (255, 255, 255), 1, cv2.LINE_AA)
    return written


@pytest.mark.slow
@pytest.mark.parametrize("write", [with_title, with_timecode])
def test_lettering_is_boxed(courtyard, compressed, write):
    written = write(courtyard)
    drawn = (written.astype(int) - courtyard != 0).any(axis=(0, 3))
    footage = inspect_footage(compressed(written))
    mask = footage.overlay_mask()
    assert (mask & drawn).sum() > 0.95 * drawn.sum()
    _, _, across, down = cv2.boundingRect(drawn.astype(np.uint8))
    assert mask.sum() < (across + 20) * (down + 20)


def test_a_wall_behind_what_moves_is_no_lettering():
    """A locked camera; a board that covers two thirds of the picture moves on and leaves the wall's right part free."""
    wall, board = texture(5)[:180, :320], texture(6)[:180, :228]
    frames = np.repeat(wall[None], 14, axis=0)
    for index, frame in enumerate(frames):
        shift = 7 * index - 55
        left, right = max(shift, 0), min(shift + 228, 320)
        frame[:, left:right] = board[:, left - shift:right - shift]
    assert inspect_footage(with_grain(frames, 1)).overlays == ()


def test_lettering_on_a_still_picture_cannot_be_told_from_the_scene(courtyard):
    still = with_grain(np.repeat(with_title(courtyard[:1]), 16, axis=0), 2)
    assert inspect_footage(still).overlays == ()


# --- Light -----------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_flicker_is_measured_and_drift_is_not(courtyard):
    true_gain = 1 + 0.15 * np.sin(2 * np.pi * np.arange(48) / 2.7)
    flickering = np.clip(courtyard * 0.8 * true_gain[:, None, None, None], 0, 255).astype(np.uint8)
    found = inspect_footage(flickering)
    assert found.flickers
    inner = slice(4, -4)
    assert np.abs(np.log(found.gain / true_gain))[inner].mean() < 0.25 * np.abs(np.log(true_gain))[inner].mean()
    drifting = (courtyard * np.linspace(0.4, 1.0, 48)[:, None, None, None]).astype(np.uint8)
    assert not inspect_footage(drifting).flickers


@pytest.mark.slow
def test_an_exposure_that_adapts_is_no_flicker(courtyard):
    """A camera that turns from a window to a wall, and back: a third of a second up, and down again; twice."""
    level = np.interp(np.arange(48), [0, 6, 14, 16, 24, 30, 38, 40, 48], [0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.0])
    adapting = np.clip(courtyard * 0.5 * np.exp(level)[:, None, None, None], 0, 255).astype(np.uint8)
    assert not inspect_footage(adapting).flickers


@pytest.mark.slow
def test_strong_flicker_is_not_a_row_of_flashes(courtyard):
    gain = 1 + 0.3 * np.sin(2 * np.pi * np.arange(48) / 2.7)
    footage = inspect_footage(np.clip(courtyard * 0.7 * gain[:, None, None, None], 0, 255).astype(np.uint8))
    assert footage.flickers and footage.flashes == ()


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 3])
def test_a_flash_is_named_and_is_no_flicker(courtyard, length):
    lit = courtyard.copy()
    lit[20:20 + length] = np.clip(lit[20:20 + length].astype(int) * 3 + 90, 0, 255)
    footage = inspect_footage(lit)
    assert footage.flashes == tuple(range(20, 20 + length)) and not footage.flickers
    lit[20:20 + length] = 255
    assert inspect_footage(lit).flashes == tuple(range(20, 20 + length))
    lit[20:20 + length] = 0
    assert inspect_footage(lit).flashes == tuple(range(20, 20 + length))


# --- In words --------------------------------------------------------------------------------------------------

def test_every_fault_is_named():
    gain = np.where(np.arange(12) % 2, 1.1, 1 / 1.1).astype(np.float32)
    shown_in = np.array([0, 1, 1, 1, 4, 5, 5, 7, 8, 9, 10, 11])
    footage = Footage((100, 200), ((0, 11),), shown_in, (10, 88, 0, 200), ((12, 20, 10, 60), (70, 80, 80, 120)), (8,),
                      gain)
    report = RecordingReport()
    warn_of_faults(footage, 31, report)
    assert report.warnings == {
        "repeated_frames": "Frames 33-34, 37 repeat the picture before; 9 of 12 frames are distinct.",
        "black_bars": "The picture has black bars of 10 % at the top, 12 % at the bottom.",
        "burnt_in_text": "Something is written on the picture, at the top left, bottom center.",
        "flash_frames": "The light is another at frame 39.",
        "flickering_light": "Brightness swings by about 10 %.",
    }


def test_clean_footage_is_not_spoken_of(courtyard):
    report = RecordingReport()
    warn_of_faults(inspect_footage(courtyard), 1, report)
    assert report.warnings == {}
