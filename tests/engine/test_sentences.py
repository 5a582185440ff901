"""What the program says is said in whole sentences, in every form that a message can have."""

from __future__ import annotations

import ast
import re

import messages_in_code
import numpy as np
import pytest
from messages_in_code import GAP

from stereodiff_blender.engine.contract import ERROR_CODES, WARNING_CODES, StereoDiffError, messages
from stereodiff_blender.engine.footage import warn_of_faults
from stereodiff_blender.engine.footage.inspection import Footage
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.stereo.sfm import warnings
from stereodiff_blender.engine.stereo.sfm.scale_drift import ScaleDrift

DANGLING = re.compile(r"(It|They|He|She|Its|Their|Them|One (?!of))\b|(This|That|These|Those) "
                      r"(is|are|was|were|has|have|had|cannot|can|could|does|do|did)\b")
"""How a sentence begins whose subject is in another one, which need not be shown beside it."""
VERBS = frozenset(re.findall(r"\w+", """
    is are was were has have had cannot can could does do did must needs need would should may
    holds begins makes measures claims stands takes gave describes states differs swings show shows marks breaks fit
    moves explain misses agree lacks leads answers finds exists filled solved sees lie lies comes choose press
    enter failed rotates travels turns
    """))


def faults(text: str) -> list[str]:
    """What keeps the text from being whole sentences; GAP stands for what is filled in."""
    words = re.findall(r"[a-z]+", text.lower())
    found = [] if text[:1].isupper() or not text[:1].isalpha() else ["begins small"]
    found += [] if text.endswith((".", GAP)) else ["no full stop"]
    found += ["no subject"] if DANGLING.match(text) else []
    return found + (["no verb"] if words and not VERBS.intersection(words) else [])


@pytest.mark.parametrize(("text", "fault"), [
    ("It is seen at the top right.", "no subject"), ("They lie on one line.", "no subject"),
    ("These are beyond all measure.", "no subject"), ("no lens has that.", "begins small"),
    ("There is no lens", "no full stop"), ("Little texture: only 12 points.", "no verb"),
])
def test_what_is_no_sentence_is_told(text, fault):
    assert faults(text) == [fault]


@pytest.mark.slow
def test_every_message_in_the_code_is_a_sentence():
    found = messages_in_code.messages_in_code()
    assert len(found) > 350 and len({message.place.partition(":")[0] for message in found}) > 60
    wrong = [(message.place, faults(message.text), message.text) for message in found
             if message.text and faults(message.text)]
    assert not wrong


def test_every_form_of_a_message_is_read():
    written = ast.parse("f\"The camera{'s' if many else ''} {'are' if many else 'is'} at {place}.\"", mode="eval").body
    assert set(messages_in_code.forms(written)) == {
        "The cameras are at 1.", "The cameras is at 1.", "The camera are at 1.", "The camera is at 1."}


@pytest.mark.parametrize("code", sorted(ERROR_CODES | WARNING_CODES))
def test_every_explanation_is_a_sentence_with_a_subject(code):
    explanation = messages.explain(code)
    for text in (explanation.sentence, explanation.remedy):
        assert text.endswith(".") and text[0].isupper()
    assert not DANGLING.match(explanation.sentence)


def test_what_is_quoted_last_ends_with_one_full_stop():
    for quoted, said in (("no such file", "a.mp4 was not read: no such file."),
                         ("It is broken.", "a.mp4 was not read: It is broken."), ("Why?", "a.mp4 was not read: Why?")):
        assert StereoDiffError("clip_unreadable", f"a.mp4 was not read: {quoted}").message == said
    assert StereoDiffError("depth_missing", "").message == ""


# --- With the shortest arguments they can have -------------------------------------------------------------------

ONE = np.array([0])


class EveryWarning(Report):
    """All that is said, of one code also several times."""

    def __init__(self):
        self.warnings: list[tuple[str, str]] = []

    def warn(self, code: str, message: str) -> None:
        self.warnings.append((code, message))


def said_about_footage() -> list[tuple[str, str]]:
    """Of footage with one of each fault."""
    report = EveryWarning()
    for overlays in (((0, 9, 0, 9),), ((0, 9, 90, 99), (90, 99, 0, 9))):
        footage = Footage(size=(100, 100), shots=((0, 1),), shown_in=np.array([0, 0]), picture=(9, 100, 0, 100),
                          overlays=overlays, gain=np.array([0.5, 2.0]), flashes=(0,))
        warn_of_faults(footage, 1, report)
    return report.warnings


def said_about_cameras() -> list[tuple[str, str]]:
    report = EveryWarning()
    nothing, one = np.zeros(1, bool), np.ones(1, bool)
    warnings.warn_static(report)
    warnings.warn_covered_background(report, 1.0)
    warnings.warn_narrow_view(report, 1.0)
    warnings.warn_doubtful_lens(report, given_share=1.0, fitting_share=1.0, sensor_mm=1.0)
    warnings.warn_doubtful_rotation(report, ONE, np.ones(1), 1)
    warnings.warn_turning_frames(report, one, 1)
    warnings.warn_object_track(report)
    for is_certain in (False, True):
        warnings.warn_rotation(report, is_certain=is_certain, tracks_per_frame=1.0)
    warnings.warn_assumed_focal(report)
    warnings.warn_unsolved(report, nothing, 1)
    warnings.warn_unsolved(report, np.zeros(3, bool), 1)
    warnings.warn_not_given(report, nothing, 1)
    warnings.warn_moving_camera(report, tracks_per_frame=1.0, parallax_deg=1.0, residual_px=9.0)
    warnings.warn_scale_drift(report, ScaleDrift(1.0, 0, 1, 1), 1)
    warnings.warn_doubtful_cameras(report, explained_share=1.0, residual_px=1.0)
    for odd in ({"width_share": 9.0}, {"jackknife_ratio": 9.0}, {"halves_ratio": 9.0}, {"focal_spread": 9.0}):
        warnings.warn_weak_focal(report, **{"focal_spread": 1.0, "rel_std": 0.0, "jackknife_ratio": 1.0,
                                            "width_share": 1.0} | odd)
    return report.warnings


@pytest.mark.parametrize(("code", "text"), sorted(set(said_about_footage() + said_about_cameras())))
def test_a_warning_is_a_sentence_however_short(code, text):
    assert not faults(text) and text.endswith("."), code


def test_every_warning_of_footage_and_cameras_was_said():
    told = {code for code, _ in said_about_footage() + said_about_cameras()}
    assert {"repeated_frames", "black_bars", "burnt_in_text", "flash_frames", "flickering_light", "frames_unsolved",
            "weak_focal", "rotation_only", "rotation_doubtful", "turns_in_part", "low_texture", "scale_drift"} <= told
