"""Movies whose pictures do not come one a frame, as phones, recorders and lossless cuts make them.

Each is small; its pictures carry their index (clips.picture). KINDS names them all. In the worker's Python:
python timed_movies.py FOLDER writes them, and into FOLDER/shown.json which picture the engine takes for each frame.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from clips import index_of, movie_source, picture, read

from stereodiff_blender.engine.media.frames import probe_clip

COUNT, SIZE = 48, (160, 96)
NTSC, NTSC_TWICE = Fraction(30000, 1001), Fraction(60000, 1001)
PLAIN = {"crf": "20", "bf": "0"}
WITH_B = {"crf": "20", "bf": "2", "g": "12"}


# --- Writing ---------------------------------------------------------------------------------------------------

def encode(path: Path, stamps: Iterable[int], time_base: Fraction, *, rate: Fraction = Fraction(30),
           codec: str = "libx264", options: dict | None = None, sound_s: float = 0.0, interlaced: bool = False) -> Path:
    """Pictures 0, 1, 2 ... with these stamps. sound_s: seconds of silence beside them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=PLAIN if options is None else options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = time_base
        sound = container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48_000) if sound_s else None
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(index, *SIZE), format="rgb24")
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_silence(container, sound, sound_s)
    return path


def _write_silence(container, stream, seconds: float) -> None:
    for start in range(0, int(seconds * 48_000), 960):
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 960), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def copy(source: Path, target: Path, *, start_s: float = 0.0, end_s: float = 1e9) -> Path:
    """The packets as they are, without those decoded after the end; what was at start_s is shown at 0."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        own = writer.add_stream_from_template(stream)
        shift = round(start_s / stream.time_base)
        for packet in reader.demux(stream):
            if packet.dts is None or packet.dts * stream.time_base >= end_s:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, own
            writer.mux(packet)
    return target


def even(rate: Fraction, time_base: Fraction, first: int = 0) -> list[int]:
    return [first + round(index / rate / time_base) for index in range(COUNT)]


# --- Kinds -----------------------------------------------------------------------------------------------------

TICK = Fraction(1, 90_000)


def variable_rate(path: Path) -> Path:
    """30 a second; every fifth picture lasts twice as long, one three times."""
    lasts = [3 if index == 22 else 2 if index % 5 == 4 else 1 for index in range(COUNT)]
    return encode(path, [3000 * sum(lasts[:index]) for index in range(COUNT)], TICK)


def jitter(path: Path) -> Path:
    """Times that are off by up to 6 ms, as recorders in hardware write them."""
    wander = random.Random(3)
    return encode(path, [round(3000 * index + (wander.uniform(-540, 540) if index else 0)) for index in range(COUNT)],
                  TICK)


def remuxed(path: Path, rate: Fraction = Fraction(30)) -> Path:
    """Matroska knows whole milliseconds; so does what is copied out of it."""
    return copy(encode(path.with_suffix(".mkv"), even(rate, TICK), TICK, rate=rate), path)


def cut(path: Path) -> Path:
    """A lossless cut in the middle of groups of pictures: an edit list hides what was before."""
    whole = encode(path.with_name(f"whole of {path.name}"), even(Fraction(30), TICK), TICK, options=WITH_B)
    return copy(whole, path, start_s=8 / 30, end_s=37 / 30)


def cut_stream(path: Path) -> Path:
    """A recording that begins in the middle of a group of pictures."""
    whole = encode(path.with_name(f"whole of {path.name}"), even(Fraction(30), TICK), TICK, options=WITH_B)
    data = whole.read_bytes()
    path.write_bytes(data[:188 * 3] + data[len(data) // 4 // 188 * 188:])
    return path


def with_b_pictures(path: Path, codec: str, options: dict) -> Path:
    return encode(path, even(Fraction(30), Fraction(1, 30)), Fraction(1, 30), codec=codec, options=options)


KINDS: dict[str, Callable[[Path], Path]] = {
    "variable.mp4": variable_rate,
    "variable.mkv": variable_rate,
    "jitter.mp4": jitter,
    "remuxed.mp4": remuxed,
    "remuxed.mov": lambda path: remuxed(path, NTSC),
    "5994.mkv": lambda path: encode(path, even(NTSC_TWICE, TICK), TICK, rate=NTSC_TWICE),
    "5994.mp4": lambda path: encode(path, even(NTSC_TWICE, TICK), TICK, rate=NTSC_TWICE, options=WITH_B),
    "23976.mp4": lambda path: encode(path, even(Fraction(24000, 1001), TICK), TICK, rate=Fraction(24000, 1001)),
    "late.mp4": lambda path: encode(path, even(Fraction(30), TICK, 21_000), TICK, options=WITH_B),
    "late.mkv": lambda path: encode(path, even(Fraction(30), TICK, 21_000), TICK),
    "long_sound.mkv": lambda path: encode(path, even(Fraction(30), TICK), TICK, sound_s=2.5),
    "long_sound.webm": lambda path: encode(path, even(Fraction(30), TICK), TICK, codec="libvpx", options={},
                                           sound_s=2.5),
    "cut.mov": cut,
    "cut.mp4": cut,
    "mpeg4_b.avi": lambda path: with_b_pictures(path, "mpeg4", {"bf": "2", "b": "2M"}),
    "vp9.mp4": lambda path: copy(encode(path.with_suffix(".webm"), even(Fraction(30), TICK), TICK, codec="libvpx-vp9",
                                        options={"crf": "20", "b": "0"}), path),
    "transport.ts": lambda path: encode(path, even(Fraction(30), TICK, 126_000), TICK, options=WITH_B),
    "cut.ts": cut_stream,
    "h264.avi": lambda path: with_b_pictures(path, "libx264", PLAIN),
    "h264_b.avi": lambda path: with_b_pictures(path, "libx264", WITH_B),
    "interlaced.mp4": lambda path: encode(path, even(Fraction(25), TICK), TICK, rate=Fraction(25),
                                          options=PLAIN | {"flags": "+ildct+ilme", "x264-params": "tff=1"}),
}


def shown(path: Path) -> list[int]:
    """Which picture the engine takes for each frame of the clip, as long as it says it is."""
    source = movie_source(path)
    return [int(index_of(frame)) for frame in read(source, 1, probe_clip(source).frame_count)]


def main(folder: Path) -> None:
    taken = {name: shown(write(folder / name)) for name, write in KINDS.items()}
    (folder / "shown.json").write_text(json.dumps(taken), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
