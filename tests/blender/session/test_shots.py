"""A range with a cut: the shots that the engine names, kept with the job and offered as frame ranges."""

from __future__ import annotations

import bpy
import pytest

SHOTS = ((1, 2), (3, 3), (4, 6))


@pytest.fixture
def cut_worker(worker_like):
    """Solves fail as they do for a cut."""
    main = worker_like("fail") / "stereodiff_blender" / "engine" / "__main__.py"
    said = 'code="clip_truncated", message="Frame 5 is not there."'
    text = main.read_text()
    assert said in text
    shots = [list(shot) for shot in SHOTS]
    main.write_text(text.replace(said, f'code="cut_in_range", message="Frames 1-2, 3, 4-6.", shots={shots}'))


@pytest.fixture
def failed(settings, sequence, cut_worker):
    """The item of a solve that failed for a cut."""
    settings.clip = sequence
    with pytest.raises(RuntimeError, match="There is a cut in the frame range. Frames 1-2, 3, 4-6. Choose one"):
        bpy.ops.stereodiff.solve()
    return settings.jobs[-1]


def test_shots_reach_the_panel_and_the_file(session, failed):
    assert (failed.state, failed.code) == ("failed", "cut_in_range")
    assert session.status().jobs[failed.job_id].status.shots == SHOTS
    assert failed.shots == "1-2 3-3 4-6"


def test_a_later_blender_still_offers_them(addon, failed):
    addon.session.session.unregister()
    addon.session.session.register(addon.ui.preferences.find_python)
    addon.session.session.current().tick()
    addon.session.session.current().jobs.settle()
    assert addon.session.session.status().jobs[failed.job_id].status.shots == SHOTS


def test_a_shot_becomes_the_range_of_the_next_solve(failed, settings, contract):
    settings.clip = None
    assert bpy.ops.stereodiff.use_shot(first_frame=4, last_frame=6) == {"FINISHED"}
    assert settings.clip == failed.clip
    assert (settings.use_clip_range, settings.first_frame, settings.last_frame) == (False, 4, 6)
    bpy.ops.stereodiff.solve(wait=False)
    job = contract.JobFolder(settings.jobs[-1].folder).read_job()
    assert (job.first_frame, job.last_frame) == (4, 6)


def test_another_failure_names_no_shots(session, settings, sequence, worker_like):
    worker_like("fail")
    settings.clip = sequence
    with pytest.raises(RuntimeError, match="Frame 5 is not there"):
        bpy.ops.stereodiff.solve()
    item = settings.jobs[-1]
    assert item.shots == "" and session.status().jobs[item.job_id].status.shots == ()
