"""Telling the sky from what travels along with the camera."""

from __future__ import annotations

import numpy as np
from camera_scenes import texture

from stereodiff_blender.engine.stereo.mvs.far import judge_far
from stereodiff_blender.engine.stereo.mvs.filtering import texture_of

HEIGHT, WIDTH = 108, 192
PANEL = (slice(0, 60), slice(60, 110))
NOTHING = np.zeros((HEIGHT, WIDTH), bool)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A bright even sky over dark detail, a panel before both; and where no parallax is seen: sky and panel."""
    frame = texture(2)[:HEIGHT, :WIDTH] // 3
    frame[:50] = 225
    frame[PANEL] = texture(77)[:60, :50] // 2 + 20
    far = np.zeros((HEIGHT, WIDTH), bool)
    far[:50] = True
    far[PANEL] = True
    return frame, far


def judged(hides=NOTHING, below=NOTHING):
    frame, far = picture()
    return judge_far(frame, texture_of(frame), far, hides & far, below & far)


def of_panel() -> np.ndarray:
    panel = NOTHING.copy()
    panel[PANEL] = True
    return panel


def test_what_hides_nearer_things_is_no_sky_as_far_as_its_surface_goes():
    """A part of the panel was seen to hide something; the rest of it follows, the sky beside it does not."""
    hides = NOTHING.copy()
    hides[20:55, 62:100] = True
    found, panel = judged(hides=hides), of_panel()
    inner = NOTHING.copy()
    inner[3:57, 63:107] = True
    assert found.doubtful[inner].mean() > 0.9 and found.traveling[inner].mean() > 0.85
    assert found.doubtful[~panel].mean() < 0.05 and not (found.sky & found.doubtful).any()
    beside = NOTHING.copy()
    beside[:42, :50] = beside[:42, 120:] = True
    assert found.sky[beside].all()


def test_what_reaches_below_the_horizon_is_no_sky():
    below = NOTHING.copy()
    below[50:] = True
    found = judged(below=below)
    assert found.doubtful[50:60, 60:110].all() and found.sky[:42, :50].all()
    assert not found.doubtful[:45, :50].any()


def test_without_contradiction_all_stays_far_but_detail_and_darkness_are_no_sign_of_the_sky():
    found, panel = judged(), of_panel()
    assert not found.doubtful.any() and not found.traveling.any()
    assert found.sky[:40, :50].all() and found.sky[panel].mean() < 0.15


def test_a_frame_in_which_nothing_is_far_has_no_sky():
    frame, _ = picture()
    found = judge_far(frame, texture_of(frame), NOTHING, NOTHING, NOTHING)
    assert not (found.sky | found.doubtful | found.traveling).any()


def test_specks_are_doubted_but_are_no_things():
    hides = NOTHING.copy()
    hides[30:34, 80:84] = True
    frame, _ = picture()
    found = judge_far(frame, texture_of(frame), hides, hides, NOTHING)
    assert (found.doubtful == hides).all() and not found.traveling.any()
