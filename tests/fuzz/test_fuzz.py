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
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from job_folder import Example, write_job_folder
from tiny_jobs import render_boards

from stereodiff_blender.engine import exr, keeping
from stereodiff_blender.engine.contract import Event, JobFolder, MatteDrawing, MatteLayer, MatteShapes, write_shapes
from stereodiff_blender.engine.guarded_files import GuardedFile, GuardedFolder
from stereodiff_blender.engine.models.cards import CARDS_FOLDER

SEED = os.environ.get("STEREODIFF_FUZZ_SEED", "20261123")
ROUNDS = int(os.environ.get("STEREODIFF_FUZZ_ROUNDS", "1"))
HANG_S = 10.0
HERE = Path(__file__).parent
CASES = {"job": 300, "result": 300, "events": 200, "matte": 150, "card": 150, "exr": 250, "exr_header": 100,
         "exr_clip": 60, "png": 100, "jpg": 80, "mp4": 120, "mov": 60, "mkv": 60, "avi": 60, "kept": 100}
READ_BY_THE_WORKER_ALONE = {"mp4", "mov", "mkv", "avi", "png", "jpg", "exr_clip"}
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
    exr.write_exr(folder / "exr_0001.exr", {name: pictures[0][..., k] / 255.0 for k, name in enumerate("RGB")})
    shutil.copy(CARDS_FOLDER / "monst3r.toml", folder)
    keeping.save_arrays(GuardedFile(GuardedFolder(folder), "kept.npz"),
                        {"a": np.arange(60.0).reshape(3, 20), "b": np.zeros(5, np.uint8)})
    write_shapes(folder / "matte.json", an_outline())
    return folder


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


def run_cases(name: str, first: int, count: int, folder: Path) -> tuple[Counter, list[str]]:
    """What the cases came to, and what is wrong. A case that hangs or kills its process is passed over, and told."""
    outcomes: Counter = Counter()
    findings: list[str] = []
    last = first + count
    while first < last:
        paths = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]
        command = [sys.executable, HERE / "cases.py", name, SEED, str(first), str(last - first), folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                   env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
        lines, begun = listen(process), None
        while True:
            try:
                line = lines.get(timeout=HANG_S if begun is not None else 60.0)
            except queue.Empty:
                findings.append(f"{name} {SEED} {begun}: hangs")
                break
            if line is None:
                if begun is not None:
                    process.wait()
                    outcomes["crashed"] += 1
                    if name not in READ_BY_THE_WORKER_ALONE:
                        findings.append(f"{name} {SEED} {begun}: ended with {process.returncode}")
                elif first < last:
                    findings.append(f"{name} {SEED} {first}: did not begin")
                    return outcomes, findings
                break
            said = SAID.fullmatch(line)
            if said is None:  # a library's own complaint
                continue
            word, number = said[1], said[2]
            if word == "begin":
                begun = int(number)
                continue
            outcomes[word] += 1
            first, begun = int(number) + 1, None
            if word == "WRONG":
                findings.append(f"{name} {SEED} {line}")
            if first >= last:
                break
        process.kill()
        process.wait()
        if begun is not None:
            first = begun + 1
    return outcomes, findings


@pytest.mark.parametrize("name", CASES)
def test_damage_is_refused_in_words(name, samples, tmp_path, capsys):
    folder = Path(shutil.copytree(samples, tmp_path / "samples" / "job"))
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    outcomes, findings = run_cases(name, 0, CASES[name] * ROUNDS, folder)
    with capsys.disabled():
        sys.stdout.write(f"\n  {name}: seed {SEED}, {dict(outcomes)}")
    assert not findings, "\n".join(findings)
    assert outcomes["refused"] > 0 or name in ("events", "kept"), "no damage was noticed at all"
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == before, "something was written"


def test_there_are_thousands():
    assert sum(CASES.values()) >= 2000
