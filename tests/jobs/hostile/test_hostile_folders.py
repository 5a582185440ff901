"""Job folders from strangers, real workers: nothing outside a job is written or deleted, nothing foreign believed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import engine_here
from tiny_jobs import LENS, LENS_OPTIONS, PATIENCE_S, wait_until

from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Result, Settings, StereoDiffError
from stereodiff_blender.engine.contract.user_folders import user_folder
from stereodiff_blender.engine.storage.journal import checksum
from stereodiff_blender.engine.storage.seals import SEAL, read_seal, users_key
from stereodiff_blender.jobs import worker_process as jobs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows, and pipes are POSIX")
FRAMES, QUICK = 6, ("--quality", "draft", *LENS_OPTIONS)
PRECIOUS = b"the artist's own, longer than any line of a ledger or a log that somebody might write into it\n" * 40


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder of the artist's that no job has to do with."""
    folder = tmp_path / "home"
    (folder / "Documents").mkdir(parents=True)
    (folder / "Documents" / "thesis.txt").write_bytes(PRECIOUS)
    (folder / "file").write_bytes(PRECIOUS)
    return folder


def is_untouched(home: Path) -> bool:
    files = {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    return files == {"Documents/thesis.txt": PRECIOUS, "file": PRECIOUS}


@pytest.fixture
def make(tmp_path, tiny_clip) -> Callable[..., Path]:
    """make(name, **settings) -> folder of a job of this test's own jobs folder, not started."""
    def new(name: str = "own", **settings) -> Path:
        chosen = Settings(**{"quality": "draft"} | LENS | settings)
        job = Job(name, ClipSource("movie", str(tiny_clip)), 1, FRAMES, chosen)
        return jobs.create_job(job, tmp_path / "jobs")

    return new


@pytest.fixture
def engine(worker_python, repository):
    """engine(*arguments) -> the finished process."""
    def call(*arguments) -> subprocess.CompletedProcess:
        command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, *map(str, arguments)]
        return subprocess.run(command, env=jobs.worker_environment(repository), capture_output=True, text=True,
                              check=False, timeout=PATIENCE_S)

    return call


@pytest.fixture
def solve(worker_python, repository) -> Callable[..., Result]:
    """solve(folder, ...) -> its result; further words as jobs.start has them."""
    def finish(folder: Path, **options) -> Result:
        with jobs.start(folder, worker_python, repository, **options) as process:
            status = process.wait(PATIENCE_S)
        assert status == 0, JobFolder(folder).log_file.read_text()[-2000:]
        return JobFolder(folder).read_result()

    return finish


@pytest.fixture(scope="module")
def solved(tmp_path_factory, worker_python, repository, tiny_clip) -> Path:
    """An honest job, finished."""
    job = Job("first", ClipSource("movie", str(tiny_clip)), 1, FRAMES, Settings(quality="draft", **LENS))
    folder = jobs.create_job(job, tmp_path_factory.mktemp("solved"))
    with jobs.start(folder, worker_python, repository) as process:
        assert process.wait(PATIENCE_S) == 0
    return folder


@pytest.fixture
def beside(solved, tmp_path) -> Path:
    """The honest job in this test's jobs folder."""
    return Path(shutil.copytree(solved, tmp_path / "jobs" / "first"))


def stage_of(folder: Path) -> Path:
    (stage,) = folder.glob("cache/stereo-*")
    return stage


# --- Links in a job's own folder -------------------------------------------------------------------------------

def link_in(folder: Path, name: str, target: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(target)


LINKS = {"cache": "", "depth": "", "motion_mask": "Documents", "events.jsonl": "file", "worker.log": "file",
         "cancelled": "new", "heartbeat": "new", "lock": "new", "preview.png": "file", "points.ply": "file",
         "cache/reserved": "file", "cache/input-0a/kept-frames.npy": "file", "cache/stereo-0a": "Documents",
         "depth/0001.exr": "file", "result.json.tmp": "file"}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_a_job_folder_is_refused_by_name_before_anything_is_written(make, home, worker_python,
                                                                              repository, name):
    folder = make()
    link_in(folder, name, home / LINKS[name])
    before = sorted(os.listdir(folder))
    with pytest.raises(StereoDiffError, match="is a link") as refused:
        jobs.start(folder, worker_python, repository)
    assert refused.value.code == "job_folder_unsafe" and sorted(os.listdir(folder)) == before
    done = engine_here("run", folder)
    assert done.returncode == 1 and "error job_folder_unsafe" in done.stderr and "Traceback (most" not in done.stdout
    assert is_untouched(home)


def test_a_job_that_is_a_link_is_none(make, home):
    folder = make()
    (folder / "job.json").replace(home.parent / "job.json")
    link_in(folder, "job.json", home.parent / "job.json")
    done = engine_here("run", folder)
    assert done.returncode == 1 and "error job_invalid" in done.stderr and "it is a link" in done.stderr


@pytest.mark.slow
def test_a_worker_says_in_the_events_what_is_in_its_way(make, engine, home):
    folder = make()
    link_in(folder, "cache", home)
    assert engine("run", folder).returncode == 1
    assert JobFolder(folder).read_events()[0][-1].code == "job_folder_unsafe"


@pytest.mark.parametrize("name", ["events.jsonl", "worker.log", "heartbeat", "depth/0001.exr"])
def test_a_file_that_is_written_to_may_have_no_second_name(make, home, worker_python, repository, name):
    folder = make()
    (folder / name).parent.mkdir(exist_ok=True)
    os.link(home / "file", folder / name)
    with pytest.raises(StereoDiffError, match="hard link"):
        jobs.start(folder, worker_python, repository)
    assert engine_here("run", folder).returncode == 1
    assert is_untouched(home)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["events.jsonl", "worker.log", "result.json", "cache", "cache/reserved"])
def test_a_pipe_keeps_nobody_waiting(make, engine, worker_python, repository, name):
    folder = make()
    (folder / name).parent.mkdir(exist_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(StereoDiffError, match="neither a file nor a folder"):
        jobs.start(folder, worker_python, repository)
    assert engine("run", folder).returncode == 1


@pytest.mark.slow
def test_kept_arrays_with_a_second_name_are_replaced_and_the_rest_of_a_cache_stays(make, solve, home, solved):
    """Where a resumed solve would map its arrays, its notes and its room; and beside them a folder of the artist's."""
    folder = make()
    cache, stage = folder / "cache", stage_of(solved).name
    (cache / "Documents").mkdir(parents=True)
    (cache / "Documents" / "thesis.txt").write_bytes(PRECIOUS)
    (cache / stage).mkdir()
    names = ["kept-settled_depth.npy", "kept-settled.ledger", "kept-settled.npz", "kept-survey.ledger", "flow.npy"]
    for name in names:
        os.link(home / "file", cache / stage / name)
    solve(folder)
    assert is_untouched(home)
    assert (cache / "Documents" / "thesis.txt").read_bytes() == PRECIOUS


@pytest.mark.slow
def test_a_folder_that_is_deleted_under_a_worker_does_not_come_back(make, worker_python, repository, tmp_path):
    folder = make()
    with jobs.start(folder, worker_python, repository) as process:
        wait_until(lambda: process.poll() is not None or any(
            event.stage == "track" for event in JobFolder(folder).read_events()[0]))
        folder.rename(tmp_path / "deleted")
        shutil.rmtree(tmp_path / "deleted", ignore_errors=True)
        assert process.wait(PATIENCE_S) == 1
    assert not folder.exists()


# --- Stage 1 of a neighbor ------------------------------------------------------------------------------------

@pytest.mark.slow
def test_an_honest_neighbors_stage_1_is_taken_over_and_named(make, solve, beside):
    result = solve(make(refine="none"))
    assert result.stereo_from == "first"
    assert "taken over from the job first" in JobFolder(beside.parent / "own").log_file.read_text()
    again = solve(make("third", refine="none"))
    assert again.stereo_from == "first", "who computed it, not who passed it on"


@pytest.fixture
def stranger_like(beside) -> Callable[[], Path]:
    """stranger_like() makes the neighbor's depth seven times as far, with checksums that fit."""
    def falsify() -> Path:
        stage = stage_of(beside)
        for path in stage.iterdir():  # what came out of an archive has no second names
            if path.is_file():
                path.write_bytes(path.read_bytes())
        arrays = [np.lib.format.open_memmap(stage / f"kept-settled_{part}.npy", mode="r+")
                  for part in ("depth", "confidence", "motion_mask")]
        arrays[0][:] *= 7.0
        lines = [f"{index} {checksum([array[index] for array in arrays]):08x}\n" for index in range(len(arrays[0]))]
        (stage / "kept-settled.ledger").write_text("".join(lines))
        return stage

    return falsify


@pytest.mark.slow
def test_a_strangers_stage_1_is_not_believed(make, solve, stranger_like, solved):
    stranger_like()
    result = solve(make())
    assert result.stereo_from is None
    honest = JobFolder(solved).read_result()
    assert result.depth_range == honest.depth_range


@pytest.mark.slow
@pytest.mark.parametrize("forgery", ["no seal", "another's key", "a seal of another stage", "no object"])
def test_a_seal_cannot_be_forged(stranger_like, forgery):
    from stereodiff_blender.engine.contract.guarded_files import GuardedFolder
    from stereodiff_blender.engine.storage.seals import is_unbroken, put_seal
    stage = GuardedFolder(stranger_like())
    if forgery == "no seal":
        stage.unlink(SEAL)
    elif forgery == "another's key":
        put_seal(stage, [name for name in stage.names() if name.startswith("kept-")], "first", b"k" * 32)
    elif forgery == "a seal of another stage":
        other = stage.path.with_name("stereo-0123456789abcdef")
        shutil.copytree(stage.path, other)
        put_seal(GuardedFolder(other), ["kept-settled_depth.npy"], "first", users_key(user_folder()))
        shutil.copy(other / SEAL, stage.path / SEAL)
    else:
        stage.replace(SEAL, b"[1, 2]")
    seal = read_seal(stage, users_key(user_folder()))
    assert seal is None or not is_unbroken(stage, seal)


@pytest.mark.slow
def test_a_strangers_job_that_is_resumed_here_gets_no_seal(stranger_like, make, solve, solved):
    """Its own false stage 1 is its own affair, but it must not become a neighbor's."""
    stage = stranger_like()
    stranger = stage.parents[1]
    for name in ("done", SEAL, "begun"):
        (stage / name).unlink()
    (stranger / "result.json").unlink()
    assert solve(stranger).depth_range[0] > 5 * JobFolder(solved).read_result().depth_range[0]
    result = solve(make())
    assert result.stereo_from is None and result.depth_range == JobFolder(solved).read_result().depth_range


@pytest.mark.slow
def test_a_stage_that_claims_to_be_whole_and_is_not_is_computed_again(stranger_like, solve, solved):
    stranger = stranger_like().parents[1]
    (stranger / "result.json").unlink()
    assert solve(stranger).depth_range == JobFolder(solved).read_result().depth_range


@pytest.mark.slow
def test_a_link_in_a_folder_beside_destroys_nothing(make, solve, beside, home, solved):
    depth = stage_of(beside) / "kept-settled_depth.npy"
    depth.unlink()
    depth.symlink_to(home / "file")
    (beside / "job.json").unlink()
    result = solve(make())
    assert is_untouched(home) and result.stereo_from is None
    assert result.depth_range == JobFolder(solved).read_result().depth_range


@pytest.mark.parametrize("change", ["no job.json", "another's job.json", "another name", "a link", "somebody else's"])
def test_only_jobs_of_this_user_are_looked_at(make, beside, solved, change):
    from stereodiff_blender.engine.worker.workspace import _stages_beside
    own, name = JobFolder(make()), stage_of(beside).name
    assert [stage.path for stage in _stages_beside(own, name)] == [stage_of(beside)]
    if change == "no job.json":
        (beside / "job.json").unlink()
    elif change == "another's job.json":
        (beside / "job.json").write_text('{"id": "first", "scheduler": "farm"}')
    elif change == "another name":
        beside.rename(beside.with_name("renamed"))
    elif change == "a link":
        beside.rename(solved.parent / "moved")
        beside.symlink_to(solved.parent / "moved")
    elif os.geteuid() == 0:
        os.chown(beside, 12345, -1)
    else:
        pytest.skip("only root can give a folder away")
    assert list(_stages_beside(own, name)) == []


# --- The command line ------------------------------------------------------------------------------------------

FARMS_JOB = '{"id": "room", "schema_version": "3", "scheduler": "deadline", "frames": "1-100"}'


@pytest.mark.parametrize("job", [FARMS_JOB, '{"schema_version": 1, "name": "render"}', "[]", "no json"])
@pytest.mark.parametrize("options", [["--overwrite"], []])
def test_a_folder_of_another_program_is_never_overwritten(tiny_clip, tmp_path, job, options):
    room = tmp_path / "room"
    for name in ("depth/0001.exr", "cache/houdini/sim.bgeo", "points.ply"):
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_bytes(PRECIOUS)
    (room / "job.json").write_text(job)
    done = engine_here("solve", tiny_clip, room, *options)
    assert done.returncode == 1 and "error output_in_use" in done.stderr
    assert "is not a job folder" in done.stderr and "job.json that is not ours" in done.stderr
    assert "other settings" not in done.stderr
    assert (room / "job.json").read_text() == job
    assert all((room / name).read_bytes() == PRECIOUS for name in ("depth/0001.exr", "cache/houdini/sim.bgeo",
                                                                   "points.ply"))


@pytest.mark.slow
def test_overwriting_removes_a_link_and_not_what_it_leads_to(tiny_clip, tmp_path, solved, home):
    room = shutil.copytree(solved, tmp_path / "room")
    shutil.rmtree(room / "depth")
    link_in(room, "depth", home)
    (room / "preview.png").unlink()
    link_in(room, "preview.png", home / "file")
    done = engine_here("solve", tiny_clip, room, "--frames", "1-4", *QUICK, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert is_untouched(home) and (room / "depth" / "0001.exr").is_file() and not (room / "depth").is_symlink()


@pytest.mark.slow
def test_a_new_job_in_a_strangers_folder_does_not_go_on_with_his_pictures(tiny_clip, tmp_path, solved):
    """His kept frames, of the right name, under checksums that fit."""
    room = shutil.copytree(solved, tmp_path / "room")
    shutil.rmtree(stage_of(room))
    foreign = room / "cache" / "input-0123456789abcdef"
    foreign.mkdir()
    (foreign / "kept-frames.ledger").write_text("0 00000000\n")
    before = JobFolder(room).read_result()
    done = engine_here("solve", tiny_clip, room, "--frames", f"1-{FRAMES}", *QUICK, "--refine", "none", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert not foreign.exists() and JobFolder(room).read_result().frames == before.frames


# --- Caches on another disk --------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_cache_elsewhere_is_used_and_nothing_beside_it_is_touched(make, solve, tmp_path, home):
    folder = make()
    solve(folder, caches=home)
    assert not (folder / "cache").exists()
    assert {path.name.partition("-")[0] for path in (home / "own").iterdir()} == {"stereo", "stereodiff"}
    shutil.rmtree(home / "own")
    assert is_untouched(home)


@pytest.mark.slow
def test_a_neighbor_finds_stage_1_in_a_cache_elsewhere(make, solve, tmp_path):
    solve(make("one"), caches=tmp_path / "scratch")
    assert solve(make("two", refine="none"), caches=tmp_path / "scratch").stereo_from == "one"


@pytest.mark.slow
def test_a_solve_by_hand_has_its_cache_elsewhere(tiny_clip, tmp_path):
    done = engine_here("solve", tiny_clip, tmp_path / "out", *QUICK, "--frames", "1-4", "--cache", tmp_path / "scratch")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "scratch" / "out").glob("stereo-*")) and not (tmp_path / "out" / "cache").exists()


def test_an_npz_that_is_packed_is_none_of_ours(tmp_path):
    from stereodiff_blender.engine.contract.guarded_files import GuardedFile, GuardedFolder
    from stereodiff_blender.engine.storage.journal import load_arrays, save_arrays
    file = GuardedFile(GuardedFolder(tmp_path), "kept.npz")
    packed = io.BytesIO()
    np.savez_compressed(packed, a=np.zeros(10_000_000, np.uint8))
    file.folder.write_bytes("kept.npz", packed.getvalue())
    assert load_arrays(file) is None
    save_arrays(file, {"a": np.arange(3)})
    assert load_arrays(file)["a"].tolist() == [0, 1, 2]


def test_a_result_of_its_own_stage_1_is_as_earlier_versions_read_it(solved):
    assert "stereo_from" not in json.loads((solved / "result.json").read_text())
    assert JobFolder(solved).read_result().stereo_from is None
