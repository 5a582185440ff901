"""Thousands of damaged files: each is read, or refused in words; nothing hangs, dies, or writes where it should not.

STEREODIFF_FUZZ_SEED and STEREODIFF_FUZZ_ROUNDS (a factor) run others and more. A finding names its target, seed and
number: `python tests/fuzz/cases.py TARGET SEED NUMBER 1 FOLDER` does it again on a folder of samples.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from colmap_folders import write_model
from job_folder import Example, write_job_folder
from stills_of_every_kind import by_oiio, cineon
from tiny_jobs import render_boards

from stereodiff_blender.engine.contract import (
    ClipSource,
    Distortion,
    Event,
    JobFolder,
    MatteDrawing,
    MatteLayer,
    MatteShapes,
    read_colmap_cameras,
    write_cameras,
    write_shapes,
)
from stereodiff_blender.engine.contract.guarded_files import GuardedFile, GuardedFolder
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.storage import journal as keeping
from stereodiff_blender.engine.weights.cards import CARDS_FOLDER
from stereodiff_blender.engine.worker.lens_maps import redistort_map

SEED = os.environ.get("STEREODIFF_FUZZ_SEED", "20261123")
FUZZ_ROUNDS = int(os.environ.get("STEREODIFF_FUZZ_ROUNDS", "1"))
START_S, HANG_S = 60.0, 30.0
HERE = Path(__file__).parent
CASES = {"job": 300, "result": 300, "events": 200, "matte": 150, "cameras": 150, "colmap_text": 150,
         "colmap_lenses": 80, "colmap": 150, "lens_yaml": 200, "lens_xml": 200, "lens_json": 200,
         "lens_colmap": 150, "lens_map": 150, "card": 150, "exr": 250, "exr_header": 100,
         "exr_clip": 60, "png": 100, "jpg": 80, "tif": 60, "dpx": 40, "cin": 40, "webp": 40, "tga": 40,
         "mp4": 120, "mov": 60, "mkv": 60, "avi": 60, "kept": 100}
READ_BY_THE_WORKER_ALONE = {"mp4", "mov", "mkv", "avi", "png", "jpg", "tif", "dpx", "cin", "webp", "tga", "exr_clip"}
"""A codec's own crash ends the worker, which Blender survives. It is counted here, and no failure."""
SAID = re.compile(r"(begin|ok|refused|WRONG) (\d+).*")
CODECS = {"mp4": "libx264", "mov": "mpeg4", "mkv": "libx264", "avi": "mjpeg"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """A whole job folder, and beside it a movie and a still of every kind."""
    folder = tmp_path_factory.mktemp("samples") / "job"
    write_job_folder(folder, Example(raster=(64, 36), clip=(64, 36), first_frame=1))
    events = [Event("started", 1.0, pid=1, plan=(("read", 0.5), ("write", 0.5))),
              Event("stage", 2.0, stage="read", total=9), Event("progress", 3.0, stage="read", done=4, total=9),
              Event("note", 4.0, message="a word")]
    for event in events:
        JobFolder(folder).append_event(event)
    pictures = render_boards(4)
    for suffix, codec in CODECS.items():
        write_movie(folder / f"clip.{suffix}", pictures, codec)
    cv2.imwrite(str(folder / "png_0001.png"), pictures[0])
    cv2.imwrite(str(folder / "jpg_0001.jpg"), pictures[0])
    for kind, depth in (("tif", "uint16"), ("dpx", "uint16"), ("webp", "uint8"), ("tga", "uint8")):
        by_oiio(folder / f"{kind}_0001.{kind}", pictures[0] / 255.0, depth)
    cineon(folder / "cin_0001.cin", pictures[0] / 255.0)
    exr.write_exr(folder / "exr_0001.exr", {name: pictures[0][..., k] / 255.0 for k, name in enumerate("RGB")})
    shutil.copy(CARDS_FOLDER / "monst3r.toml", folder)
    keeping.save_arrays(GuardedFile(GuardedFolder(folder), "kept.npz"),
                        {"a": np.arange(60.0).reshape(3, 20), "b": np.zeros(5, np.uint8)})
    write_shapes(folder / "matte.json", an_outline())
    write_known_cameras(folder)
    write_lens_files(folder)
    return folder


def write_lens_files(folder: Path) -> None:
    for ending in ("yml", "xml", "json"):
        storage = cv2.FileStorage(str(folder / f"lens.{ending}"), cv2.FILE_STORAGE_WRITE)
        storage.write("image_width", 64)
        storage.write("image_height", 36)
        storage.write("camera_matrix", np.array([[60.0, 0.0, 31.5], [0.0, 60.0, 17.5], [0.0, 0.0, 1.0]]))
        storage.write("distortion_coefficients", np.array([-0.1, 0.02, 0.001, 0.002, 0.0]))
        storage.release()
    u, v = redistort_map(Distortion(-0.1), np.array([64.0, 64.0, 32.0, 18.0]), (64, 36), (3, 3, 2, 2))
    exr.write_exr(folder / "redistort.exr", {"R": u, "G": v, "B": np.ones_like(u)})


def write_known_cameras(folder: Path) -> None:
    poses, lens = np.tile(np.eye(4), (4, 1, 1)), (60.0, 60.0, 32.0, 18.0)
    for form in ("text", "binary"):
        write_model(folder / form, [f"walk_{number}.png" for number in range(1, 5)], poses, size=(64, 36),
                    parameters=lens, binary=form == "binary")
    write_cameras(folder / "cameras.json", read_colmap_cameras(folder / "text", ClipSource("movie", "/walk.mp4"),
                                                               range(1, 5)))


def write_movie(path: Path, pictures, codec: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def an_outline() -> MatteShapes:
    layer = MatteLayer(((0.1, 0.1, 0.9, 0.1, 0.5, 0.9), (0.2, 0.2, 0.3, 0.2, 0.3, 0.3)), opacity=0.5)
    below = MatteLayer(((0.0, 0.0, 1.0, 0.0, 1.0, 1.0),))
    return MatteShapes((MatteDrawing(1, (layer,)), MatteDrawing(4, (layer, below))))


def listen(process: subprocess.Popen) -> queue.Queue:
    lines: queue.Queue = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line.strip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def start_cases(name: str, first: int, count: int, folder: Path) -> subprocess.Popen:
    paths = [str(HERE), str(HERE.parent / "support"), str(HERE.parent.parent)]
    command = [sys.executable, HERE / "cases.py", name, SEED, str(first), str(count), folder]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})


def run_cases(name: str, first: int, count: int, folder: Path) -> tuple[Counter, list[str]]:
    """What the cases came to, and what is wrong. A case that hangs or kills its process is passed over, and told."""
    outcomes: Counter = Counter()
    findings: list[str] = []
    last = first + count
    while first < last:
        first = run_process(name, first, last, folder, outcomes, findings)
    return outcomes, findings


def run_process(name: str, first: int, last: int, folder: Path, outcomes: Counter, findings: list[str]) -> int:
    """The cases in one process, as far as it comes. Returns which one to go on with."""
    process, begun, word = start_cases(name, first, last - first, folder), None, ""
    for word, line in heard(process):
        if word == "begin":
            begun = int(line.split()[1])
        elif word in ("ok", "refused", "WRONG"):
            outcomes[word] += 1
            findings += [f"{name} {SEED} {line}"] if word == "WRONG" else []
            first, begun = first + 1, None
    status = end(process, at_once=word == "hangs")
    if begun is None:
        findings += [f"{name} {SEED} {first}: did not begin"] if first < last else []
        return last
    outcomes[word] += 1
    if word == "hangs" or name not in READ_BY_THE_WORKER_ALONE:
        findings.append(f"{name} {SEED} {begun}: {word}, status {status}")
    return begun + 1


def heard(process: subprocess.Popen) -> Iterator[tuple[str, str]]:
    """(word, line) of all that is said about cases, then ("hangs", "") or ("ended", "")."""
    lines, patience_s = listen(process), START_S
    while True:
        try:
            line = lines.get(timeout=patience_s)
        except queue.Empty:
            yield "hangs", ""
            return
        if line is None:
            yield "ended", ""
            return
        if said := SAID.fullmatch(line):  # else it is a library's own complaint
            patience_s = HANG_S
            yield said[1], line


def end(process: subprocess.Popen, *, at_once: bool) -> int:
    if at_once:
        process.kill()
    return process.wait(HANG_S)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_damage_is_refused_in_words(name, samples, tmp_path, capsys):
    folder = Path(shutil.copytree(samples, tmp_path / "samples" / "job"))
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    outcomes, findings = run_cases(name, 0, CASES[name] * FUZZ_ROUNDS, folder)
    with capsys.disabled():
        sys.stdout.write(f"\n  {name}: seed {SEED}, {dict(outcomes)}")
    assert not findings, "\n".join(findings)
    assert outcomes["refused"] > 0 or name in ("events", "kept"), "no damage was noticed at all"
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == before, "something was written"


STAND_IN = """
import os, sys, time
name, _, first, count = sys.argv[1:5]
if name == "nothing":
    sys.exit(3)
for number in range(int(first), int(first) + int(count)):
    print("begin", number, flush=True)
    if number == 2 and name in ("job", "mp4"):
        os._exit(9)
    if number == 2 and name == "hangs":
        time.sleep(60)
    print("WRONG 2 words" if number == 2 and name == "wrong" else f"ok {number}", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "well", "found"), [
    ("fine", 5, ""), ("mp4", 4, ""), ("job", 4, "2: ended, status 9"), ("hangs", 4, "2: hangs"),
    ("wrong", 4, "WRONG 2 words"), ("nothing", 0, "0: did not begin"),
])
def test_whatever_goes_wrong_is_a_finding_and_the_other_cases_run(name, well, found, tmp_path, monkeypatch):
    (tmp_path / "cases.py").write_text(STAND_IN)
    monkeypatch.setattr(sys.modules[__name__], "HERE", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "HANG_S", 2.0)
    outcomes, findings = run_cases(name, 0, 5, tmp_path)
    assert outcomes["ok"] == well and len(findings) == (1 if found else 0) and all(found in item for item in findings)


def test_there_are_thousands():
    assert sum(CASES.values()) >= 2000
