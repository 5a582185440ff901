"""Clips as cameras write them, through frames.py: exact pictures, shape, color, raster."""

from __future__ import annotations

import struct
import tracemalloc
from fractions import Fraction
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
    native_raster,
    picture,
    read,
    write_encoded,
    write_movie,
    write_stills,
)

from stereodiff_blender.engine.contract import QUALITIES, Settings
from stereodiff_blender.engine.media.frames import (
    ClipInfo,
    check_not_frozen,
    plan_raster,
    probe_clip,
    read_frames,
    source_from_path,
)

CODECS = {
    "h264.mp4": {"options": {"bf": "3", "g": "12"}},
    "h264.mkv": {"options": {"bf": "3"}},
    "h264.ts": {"options": {"bf": "2", "g": "8"}},
    "hevc10.mp4": {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "0"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8"}},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p10le"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "late_start.mkv": {"first_pts": 500},
    "gray.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
}


# --- Exact frames, one picture a frame; for others see test_movie_clock.py --------------------------------------

@pytest.mark.parametrize("name", CODECS)
def test_every_frame_is_the_picture_of_its_number(name, tmp_path):
    source = movie_source(write_movie(tmp_path / name, 30, **CODECS[name]))
    assert probe_clip(source).frame_count == 30
    assert [index_of(frame) for frame in read(source, 1, 30)] == list(range(30))
    assert [index_of(frame) for frame in read(source, 17, 23)] == list(range(16, 23))
    assert [index_of(frame) for frame in read(source, 30, 30)] == [29]


def test_a_movie_may_start_at_a_later_picture(tmp_path):
    source = movie_source(write_movie(tmp_path / "clip.mp4", 30), first_number=10)
    assert probe_clip(source).frame_count == 20
    assert [index_of(frame) for frame in read(source, 1, 5)] == [10, 11, 12, 13, 14]


def test_an_edit_list_decides_which_picture_is_first(tmp_path):
    path = write_movie(tmp_path / "trimmed.mov", 30, options={"bf": "2", "g": "12"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12
    duration, media_time = struct.unpack_from(">Ii", data, entry)
    with av.open(str(path)) as container:
        ticks = int(Fraction(1, 25) / container.streams.video[0].time_base)
    struct.pack_into(">Ii", data, entry, duration * 20 // 30, media_time + 7 * ticks)
    path.write_bytes(data)
    source = movie_source(path)
    count = probe_clip(source).frame_count
    assert [index_of(frame) for frame in read(source, 1, count)] == list(range(7, 7 + count))
    assert count == 20


def test_stepped_ranges_and_first_frames_are_exact_in_sequences(tmp_path):
    source = source_from_path(write_stills(tmp_path / "shot", range(98, 110)))
    raster = native_raster(source)
    assert [index_of(f) for f in read_frames(source, range(1, 13, 4), raster)] == [98, 102, 106]


@pytest.mark.parametrize("kind", ["movie", "sequence"])
def test_memory_does_not_grow_with_the_clip(kind, tmp_path):
    movie = movie_source(write_movie(tmp_path / "clip.mp4", 60))
    source = movie if kind == "movie" else source_from_path(write_stills(tmp_path / "shot", range(60)))
    raster = native_raster(source)
    tracemalloc.start()
    for frame in read_frames(source, range(1, 61), raster):
        assert frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8 and frame.flags.c_contiguous
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * frame.nbytes


def test_frames_may_be_kept(tmp_path):
    frames = read(movie_source(write_movie(tmp_path / "clip.mp4", 4)), 1, 4)
    assert not any(np.shares_memory(frames[0], later) for later in frames[1:])
    assert [index_of(frame) for frame in frames] == [0, 1, 2, 3]


# --- What cameras write ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_metadata_is_honored(degrees, tmp_path):
    source = movie_source(write_movie(tmp_path / "phone.mp4", 3, rotation=degrees, size=(WIDTH, 96)))
    info, expected = probe_clip(source), np.rot90(picture(1), degrees // 90)
    assert (info.height, info.width) == expected.shape[:2]
    assert np.abs(read(source, 2, 2)[0].astype(int) - expected).mean() < 8


def test_the_picture_stays_unturned_for_a_program_that_shows_it_so(tmp_path):
    """Blender 4.2 ignores rotation metadata and says so by the size it gives."""
    path = write_movie(tmp_path / "phone.mp4", 3, rotation=90)
    source = movie_source(path, width=WIDTH, height=HEIGHT)
    info = probe_clip(source)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert index_of(read(source, 2, 2)[0]) == 1
    turned = probe_clip(movie_source(path, width=HEIGHT, height=WIDTH))
    assert (turned.width, turned.height) == (HEIGHT, WIDTH)


def test_pixel_aspect_is_read_and_turns_with_the_picture(tmp_path):
    wide = movie_source(write_movie(tmp_path / "anamorphic.mp4", 2, pixel_aspect=Fraction(2)))
    assert probe_clip(wide).pixel_aspect == 2.0
    upright = movie_source(write_movie(tmp_path / "upright.mp4", 2, pixel_aspect=Fraction(2), rotation=90))
    assert probe_clip(upright).pixel_aspect == 0.5


def test_what_the_caller_knows_wins_over_the_file(tmp_path):
    path = write_movie(tmp_path / "clip.mp4", 2, pixel_aspect=Fraction(2), rate=Fraction(24000, 1001))
    assert probe_clip(movie_source(path)).fps == pytest.approx(24000 / 1001)
    info = probe_clip(movie_source(path, pixel_aspect=1.5, fps=50.0))
    assert (info.pixel_aspect, info.fps) == (1.5, 50.0)


def test_odd_sizes_are_read_whole(tmp_path):
    source = movie_source(write_movie(tmp_path / "odd.mkv", 2, codec="ffv1", pix_fmt="yuv444p", size=(161, 97)))
    frame = read(source, 2, 2)[0]
    assert frame.shape == (97, 161, 3)
    assert np.abs(frame.astype(int) - picture(1, 161, 97)).max() <= 3


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le"])
@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colors_follow_the_tags(pix_fmt, matrix, full_range, tmp_path):
    red, green, blue = 200, 60, 30
    kr, kb = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    levels = [luma, *chroma] if full_range else [luma * 219 / 255 + 16, *(c * 224 / 255 for c in chroma)]
    values = [levels[0], levels[1] + 128, levels[2] + 128]
    _write_planes(tmp_path / "color.mkv", pix_fmt, values, {"bt709": 1, "bt601": 5}[matrix], 2 if full_range else 1)
    frame = read(movie_source(tmp_path / "color.mkv"), 1, 1)[0]
    assert np.abs(frame.astype(int) - (red, green, blue)).max() <= 2


def _write_planes(path: Path, pix_fmt: str, values: list[float], colorspace: int, color_range: int) -> None:
    dtype, scale = (np.uint16, 4) if pix_fmt.endswith("10le") else (np.uint8, 1)
    frame = av.VideoFrame(96, 96, pix_fmt)
    for plane, value in zip(frame.planes, values, strict=True):
        samples = plane.buffer_size // np.dtype(dtype).itemsize
        plane.update(np.full(samples, round(value * scale), dtype).tobytes())
    frame.colorspace, frame.color_range, frame.pts = colorspace, color_range, 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 96, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, color_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_alpha_of_a_movie_is_flattened_over_black(tmp_path):
    image = np.dstack([picture(5), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    image[:, : WIDTH // 2, 3] = 0
    path = write_movie(tmp_path / "cutout.mov", codec="qtrle", pix_fmt="argb", pictures=[image])
    frame = read(movie_source(path), 1, 1)[0]
    assert frame[:, : WIDTH // 2].max() == 0
    assert np.array_equal(frame[:, WIDTH // 2:], image[:, WIDTH // 2:, :3])


def test_cover_art_is_no_footage(tmp_path):
    path = write_encoded(tmp_path / "cover.png", picture(3))
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(cv2.imread(str(path)), format="rgb24")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    error = error_of(probe_clip, movie_source(tmp_path / "song.mp4"))
    assert error.code == "clip_unreadable"


# --- The raster ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size, aspect, side, expected", [
    ((1920, 1080), 1.0, 640, (640, 360)),
    ((1080, 1920), 1.0, 640, (360, 640)),
    ((320, 240), 1.0, 640, (320, 240)),
    ((720, 576), 64 / 45, 640, (640, 360)),
    ((1920, 1080), 2.0, 4096, (1920, 540)),
    ((1000, 1000), 0.5, 4096, (500, 1000)),
    ((1279, 719), 1.0, 480, (480, 270)),
])
def test_the_raster_has_square_pixels_and_is_never_larger(size, aspect, side, expected):
    raster = plan_raster(ClipInfo(*size, aspect, 24.0, 10), side)
    assert (raster.width, raster.height) == expected
    assert raster.pixel_aspect == pytest.approx(1.0, abs=0.01)
    assert raster.pixel_aspect == pytest.approx(size[0] * aspect / size[1] * expected[1] / expected[0])


@pytest.mark.parametrize("size, aspect, side, expected", [
    ((480, 270), 1.0, 960, (960, 540)),
    ((320, 240), 1.0, 960, (640, 480)),
    ((640, 360), 1.0, 960, (960, 540)),
    ((1920, 1080), 1.0, 960, (960, 540)),
    ((720, 576), 64 / 45, 960, (960, 540)),
])
def test_a_raster_may_be_larger_where_that_is_asked_for(size, aspect, side, expected):
    raster = plan_raster(ClipInfo(*size, aspect, 24.0, 10), side, 2.0)
    assert (raster.width, raster.height) == expected
    assert raster.pixel_aspect == pytest.approx(1.0, abs=0.01)


def test_only_the_high_preset_enlarges():
    assert [Settings(quality=quality).max_enlargement for quality in QUALITIES] == [1.0, 1.0, 2.0]


def test_growing_keeps_places(tmp_path):
    """A pixel-wide ramp, twice as large, is the same ramp: nothing shifts by half a pixel."""
    ramp = np.tile(np.arange(128, dtype=np.uint8) * 2, (96, 1))
    write_encoded(tmp_path / "ramp_1.png", ramp)
    source = source_from_path(tmp_path / "ramp_1.png")
    frame = next(read_frames(source, range(1, 2), plan_raster(probe_clip(source), 256, 2.0)))
    expected = (np.arange(256) + 0.5) / 2 - 0.5
    assert frame.shape == (192, 256, 3)
    assert np.abs(frame[96, 8:-8, 0] / 2.0 - expected[8:-8]).max() < 0.6


@pytest.mark.parametrize("size, side", [((8, 8), 640), ((63, 640), 640), ((4000, 300), 640)])
def test_a_raster_too_small_to_match_is_refused(size, side):
    assert error_of(plan_raster, ClipInfo(*size, 1.0, 24.0, 10), side).code == "clip_too_small"


def test_shrinking_averages_areas(tmp_path):
    fine = np.indices((192, 192)).sum(0) % 2 * 255  # a chequerboard of single pixels
    write_encoded(tmp_path / "fine_1.png", fine.astype(np.uint8))
    source = source_from_path(tmp_path / "fine_1.png")
    frame = next(read_frames(source, range(1, 2), plan_raster(probe_clip(source), 96)))
    assert frame.shape == (96, 96, 3) and np.abs(frame.astype(int) - 127.5).max() <= 1


def test_a_picture_of_another_size_is_refused(tmp_path):
    first = write_stills(tmp_path / "shot", range(1, 3))
    write_encoded(first.with_name("shot_0002.png"), picture(2, 200, 100))
    error = error_of(read, source_from_path(first), 1, 2)
    assert error.code == "clip_unreadable" and "Frame 2" in error.message and "200 x 100" in error.message


# --- Frozen clips ----------------------------------------------------------------------------------------------

def test_a_clip_of_one_picture_is_called_frozen():
    frames = np.repeat(picture(3)[None], 5, axis=0)
    frames[3] += 2  # noise of a codec
    assert error_of(check_not_frozen, frames).code == "clip_frozen"
    frames[4, 0, 0, 1] += 3
    check_not_frozen(frames)
    check_not_frozen(frames[:1])


def test_the_frozen_check_stops_at_the_first_difference(tmp_path):
    frames = np.lib.format.open_memmap(tmp_path / "f.npy", mode="w+", dtype=np.uint8, shape=(50, HEIGHT, WIDTH, 3))
    frames[1] = 200
    looked_at = []

    class Watched:
        def __len__(self):
            return len(frames)

        def __getitem__(self, index):
            looked_at.append(index)
            return frames[index]

    check_not_frozen(Watched())
    assert looked_at == [0, 1]
