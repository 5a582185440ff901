"""What an artist is told when a job has ended beside other work."""

from __future__ import annotations

import importlib
import time

import bpy
import pytest


@pytest.fixture
def told(addon, session, monkeypatch) -> list:
    """Endings, as they are told."""
    endings: list = []
    monkeypatch.setattr(session.jobs, "_tell", endings.append)
    return endings


def solve_like(session, settings, sequence, worker_like, behavior: str):
    settings.clip = sequence
    worker_like(behavior)
    assert bpy.ops.stereodiff.solve(wait=False) == {"FINISHED"}
    return settings.jobs[-1]


def tick_to_the_end(session, item) -> None:
    end = time.monotonic() + 20.0
    while session.jobs.is_active(item.job_id):
        assert time.monotonic() < end
        session.tick()
        time.sleep(0.02)
    session.tick()


def test_a_solve_is_told_once_with_its_verdict(session, settings, sequence, worker_like, told):
    item = solve_like(session, settings, sequence, worker_like, "finish")
    tick_to_the_end(session, item)
    (ending,) = told
    assert ending.is_well and ending.sentence.startswith(f"{sequence.name} is solved. ")


def test_a_failure_is_told_in_words(session, settings, sequence, worker_like, told):
    item = solve_like(session, settings, sequence, worker_like, "fail")
    tick_to_the_end(session, item)
    (ending,) = told
    assert not ending.is_well
    assert ending.sentence == f"{sequence.name}: The footage ends before the last frame that was asked for."


def test_what_the_artist_ended_is_not_told(session, settings, sequence, worker_like, told):
    item = solve_like(session, settings, sequence, worker_like, "hang")
    session.tick()
    assert bpy.ops.stereodiff.cancel(job_id=item.job_id) == {"FINISHED"}
    tick_to_the_end(session, item)
    assert item.state == "cancelled" and told == []


def test_a_blender_without_windows_is_told_nothing(addon):
    ending = importlib.import_module(f"{addon.__name__}.session.endings").Ending(True, "clip is solved.")
    importlib.import_module(f"{addon.__name__}.ui.operators.notice").tell(ending)


def test_the_status_bar_has_a_bar_while_the_extension_is_there(addon):
    """The bar itself is drawn in a window only; what stands in it is here."""
    bar = importlib.import_module(f"{addon.__name__}.ui.panels.status_bar")
    assert bar.draw_jobs in bpy.types.STATUSBAR_HT_header.draw._draw_funcs
    bar.unregister()
    assert bar.draw_jobs not in bpy.types.STATUSBAR_HT_header.draw._draw_funcs
    bar.register()
