"""Clips as they come broken: every failure has its code and names its file or frame."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import (
    HEIGHT,
    WIDTH,
    error_of,
    index_of,
    movie_source,
    picture,
    read,
    write_dpx,
    write_encoded,
    write_linear_exr,
    write_movie,
    write_stills,
)
from stills_of_every_kind import by_oiio, cineon

from stereodiff_blender.engine.contract import ClipSource, Job, StereoDiffError
from stereodiff_blender.engine.media.frames import Raster, probe_clip, read_frames, source_from_path
from stereodiff_blender.engine.worker.run import examine


def test_a_missing_movie_and_a_missing_sequence(tmp_path):
    assert error_of(probe_clip, movie_source(tmp_path / "no.mp4")).code == "clip_missing"
    assert error_of(probe_clip, ClipSource("sequence", str(tmp_path / "no_1.png"), 1)).code == "clip_missing"
    raster = Raster(96, 96, 96, 96, 1.0)
    sequence = ClipSource("sequence", str(tmp_path / "no_1.png"), 1)
    assert error_of(list, read_frames(sequence, range(1, 3), raster)).code == "clip_missing"


@pytest.mark.parametrize("name, content, code", [
    ("empty.mp4", b"", "clip_empty"),
    ("text.mp4", b"I am no movie.\n" * 100, "clip_unreadable"),
    ("text.mov", b"ffconcat version 1.0\nfile real.mp4\n", "clip_unreadable"),
    ("text.avi", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nreal.mp4\n#EXT-X-ENDLIST\n", "clip_unreadable"),
    ("notes.txt", b"I am no movie.\n" * 100, "clip_unreadable"),
    ("noise.mkv", bytes(range(256)) * 40, "clip_unreadable"),
    ("empty_1.png", b"", "clip_empty"),
    ("text_1.png", b"I am no picture.\n" * 100, "clip_unreadable"),
    ("text_1.exr", b"I am no picture.\n" * 100, "clip_unreadable"),
    ("text_1.dpx", b"I am no picture.\n" * 100, "clip_unreadable"),
])
def test_files_that_are_not_what_their_name_says(name, content, code, tmp_path):
    write_movie(tmp_path / "real.mp4", 2)
    (tmp_path / name).write_bytes(content)
    error = error_of(probe_clip, source_from_path(tmp_path / name))
    assert error.code == code and name in error.message


LISTS = {
    "list.mp4": "ffconcat version 1.0\nfile other.mkv\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mkv\n#EXT-X-ENDLIST\n",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 26\n",
    "list%d.jpg": "",
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("name", LISTS)
def test_what_a_text_names_is_not_opened(name, tmp_path):
    """A pipe in its place would be waited for without end, so another process does it, within a time."""
    (tmp_path / name).write_text(LISTS[name] or "no picture", encoding="utf-8")
    for other in ("other.mkv", "list1.jpg"):
        os.mkfifo(tmp_path / other)
    done = subprocess.run([sys.executable, "-c", PROBE, str(tmp_path / name)], cwd=Path(__file__).parents[3],
                          timeout=30, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "clip_unreadable", done.stderr


PROBE = """
import sys
from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.media.movies import probe_movie
try:
    probe_movie(sys.argv[1])
except StereoDiffError as error:
    print(error.code)
"""


def test_sound_alone_is_no_clip(tmp_path):
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
    error = error_of(probe_clip, movie_source(tmp_path / "sound.mkv"))
    assert error.code == "clip_unreadable" and "video stream" in error.message


def test_a_folder_is_no_movie(tmp_path):
    assert error_of(probe_clip, movie_source(tmp_path)).code == "clip_unreadable"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_locked_file_says_so(tmp_path):
    path = write_movie(tmp_path / "locked.mp4", 2)
    path.chmod(0)
    assert error_of(probe_clip, movie_source(path)).code == "clip_unreadable"


def test_an_mp4_without_its_end_cannot_be_opened(tmp_path):
    path = write_movie(tmp_path / "cut.mp4", 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert error_of(probe_clip, movie_source(path)).code == "clip_unreadable"


@pytest.mark.parametrize("name, options", [
    ("cut.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p"}),
    ("cut.ts", {"options": {"bf": "0"}}),
    ("cut.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
])
def test_a_truncated_movie_names_what_was_asked_and_found(name, options, tmp_path):
    path = write_movie(tmp_path / name, 30, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    error, indices = _read_until_error(path, range(3, 31))
    assert error.code == "clip_truncated" and name in error.message
    held = indices.count(indices[-1]) - 1  # how long an AVI without its end is, is guessed
    assert indices[:len(indices) - held] == list(range(2, 2 + len(indices) - held)) and 3 < len(indices) < 28
    assert held == 0 or (name == "cut.avi" and held < 5)
    assert "28 frames (3 to 30)" in error.message and f"has {len(indices)} of them" in error.message


def test_the_half_picture_where_a_movie_breaks_off_is_not_used(tmp_path):
    path = write_movie(tmp_path / "download.mp4", 30, codec="mpeg4")
    _move_index_to_front(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert probe_clip(movie_source(path)).frame_count == 30  # as its header promises
    error, indices = _read_until_error(path, range(1, 31))
    assert error.code == "clip_truncated" and f"damaged at frame {len(indices) + 1}" in error.message
    assert indices == list(range(len(indices))) and 3 < len(indices) < 28


def _read_until_error(path: Path, numbers: range) -> tuple[StereoDiffError, list[int]]:
    frames, indices = read_frames(movie_source(path), numbers, Raster(WIDTH, HEIGHT, WIDTH, HEIGHT, 1.0)), []
    with pytest.raises(StereoDiffError) as caught:
        for frame in frames:
            indices.append(index_of(frame))  # noqa: PERF401 - those before the error count
    return caught.value, indices


def _move_index_to_front(path: Path) -> None:
    whole = path.with_name("whole.mp4")
    path.rename(whole)
    with av.open(str(whole)) as old, av.open(str(path), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)


def test_damage_in_the_middle_names_the_frame(tmp_path):
    path = write_movie(tmp_path / "damaged.mov", 20, codec="png", pix_fmt="rgb24")
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data)) if data.startswith(b"\x89PNG\r\n", at)]
    data[starts[11]: starts[11] + 40] = bytes(40)
    path.write_bytes(data)
    frames = read_frames(movie_source(path), range(1, 21), Raster(WIDTH, HEIGHT, WIDTH, HEIGHT, 1.0))
    error = error_of(list, frames)
    assert error.code == "clip_truncated" and "frame 12" in error.message


def test_a_recording_may_start_between_key_frames(tmp_path):
    path = write_movie(tmp_path / "tape.ts", 40, options={"g": "10", "bf": "0"})
    path.write_bytes(path.read_bytes()[188 * 20:])
    source = movie_source(path)
    indices = [index_of(frame) for frame in read(source, 1, 20)]
    missing = indices.count(indices[0]) - 1  # the first that can be decoded stands in for those before it
    assert indices[missing:] == list(range(indices[0], indices[0] + 20 - missing)) and 0 < missing < 10


def test_ranges_outside_the_clip(tmp_path):
    movie = movie_source(write_movie(tmp_path / "clip.mp4", 10))
    stills = source_from_path(write_stills(tmp_path / "shot", range(1, 11)))
    for source in (movie, stills):
        error = error_of(read, source, 11, 20)
        assert error.code == "frame_range_invalid" and "ends at frame 10" in error.message
        assert error_of(read, source, 9, 12).code == "clip_truncated"
        assert error_of(read, source, 0, 5).code == "frame_range_invalid"
        assert error_of(read, source, 5, 4).code == "frame_range_invalid"


def test_a_gap_in_a_sequence_names_the_file(tmp_path):
    first = write_stills(tmp_path / "shot", [1, 2, 3, 5, 6])
    source = source_from_path(first)
    assert probe_clip(source).frame_count == 6
    error = error_of(read, source, 2, 6)
    assert error.code == "sequence_gap" and "shot_0004.png" in error.message and "Frame 4" in error.message


def test_two_files_that_claim_millions_of_frames_are_refused_before_any_work(tmp_path):
    for number in (1, 2, 9_000_000):
        cv2.imwrite(str(tmp_path / f"shot_{number:07d}.png"), picture(0))
    source = source_from_path(tmp_path / "shot_0000001.png")
    error = error_of(examine, Job("many", source, 1, probe_clip(source).frame_count))
    assert error.code == "sequence_gap" and "Frame 3" in error.message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".exr", ".dpx", ".cin", ".tga", ".bmp", ".webp"])
def test_a_truncated_still_names_the_file(suffix, tmp_path):
    for number in (1, 2):
        path = tmp_path / f"shot_{number}{suffix}"
        if suffix == ".dpx":
            write_dpx(path, picture(number))
        elif suffix == ".cin":
            cineon(path, picture(number) / 255.0)
        elif suffix == ".tga":
            by_oiio(path, picture(number) / 255.0, "uint8")
        elif suffix == ".exr":
            write_linear_exr(path, picture(number))
        else:
            write_encoded(path, picture(number)[..., ::-1])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    error = error_of(read, source_from_path(tmp_path / f"shot_1{suffix}"), 1, 2)
    assert error.code == "clip_unreadable" and path.name in error.message


def test_a_source_that_contradicts_itself(tmp_path):
    first = write_stills(tmp_path / "shot", range(1, 3))
    assert error_of(probe_clip, ClipSource("sequence", str(first), first_number=2)).code == "job_invalid"
