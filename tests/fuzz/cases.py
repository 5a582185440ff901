"""Damaged files given to the readers, in a process of its own: python cases.py TARGET SEED FIRST COUNT FOLDER

Says "begin N" before each case and one of "ok N", "refused N CODE" and "WRONG N WHAT" after it, so that whoever listens
knows which case hung or brought the process down.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mutations import damaged, damaged_json

from stereodiff_blender.engine.cli.lens_file import with_lens_file
from stereodiff_blender.engine.contract import (
    ClipSource,
    JobFolder,
    Settings,
    StereoDiffError,
    messages,
    read_colmap_cameras,
)
from stereodiff_blender.engine.contract import matte_shapes as shapes
from stereodiff_blender.engine.contract.cameras import given
from stereodiff_blender.engine.contract.guarded_files import GuardedFile, GuardedFolder
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.media.frames import ClipInfo, plan_raster, probe_clip, read_frames
from stereodiff_blender.engine.storage import journal as keeping
from stereodiff_blender.engine.weights import cards
from stereodiff_blender.jobs.worker_process import FollowedJob

MEMORY_BYTES = 1_500_000_000


@dataclass(frozen=True)
class Target:
    """name: of the file in the samples' folder that is damaged. damage: how. read: with the reader's own errors."""

    name: str
    damage: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path], object]
    may_raise: tuple[type[Exception], ...] = ()


def _job(path: Path) -> object:
    return JobFolder(path.parent).read_job()


def _result(path: Path) -> object:
    """A result that is taken names nothing outside its folder."""
    result = JobFolder(path.parent).read_result()
    names = [name for frame in result.frames for name in (frame.depth, frame.confidence, frame.motion_mask,
                                                          frame.undistort, frame.redistort)]
    for name in [*names, result.points, result.preview_image, result.preview_movie, result.plot, result.camera_plot,
                 result.lens.undistort, result.lens.redistort]:
        if name is not None and not (path.parent / name).resolve().is_relative_to(path.parent.resolve()):
            raise AssertionError(f"{name!r} leaves the job's folder")
    return result


def _events(path: Path) -> object:
    JobFolder(path.parent).read_events()
    return FollowedJob(path.parent).poll()


def _clip(path: Path) -> object:
    source = ClipSource("movie", str(path))
    info = probe_clip(source)
    frames = range(1, min(info.frame_count, 3) + 1)
    return list(read_frames(source, frames, plan_raster(info, 128)))


def _still(path: Path) -> object:
    source = ClipSource("sequence", str(path), first_number=1)
    return list(read_frames(source, range(1, 2), plan_raster(probe_clip(source), 128)))


def _colmap(path: Path) -> object:
    return read_colmap_cameras(path.parent, ClipSource("movie", "/walk.mp4"), range(1, 5))


def _lens(path: Path) -> object:
    settings = Settings(focal_mm=36.0, sensor_mm=36.0)
    found = with_lens_file(settings, path, ClipInfo(64, 36, 1.0, 24.0, 4))
    found.validate()
    return found


def _card(path: Path) -> object:
    return cards.read_card(path.stem, path.parent)


def _kept(path: Path) -> object:
    return keeping.load_arrays(GuardedFile(GuardedFolder(path.parent), path.name))


TARGETS = {
    "job": Target("job.json", damaged_json, _job),
    "result": Target("result.json", damaged_json, _result),
    "events": Target("events.jsonl", damaged, _events),
    "matte": Target("matte.json", damaged_json, shapes.read_shapes),
    "cameras": Target("cameras.json", damaged_json, given.read_cameras),
    "colmap_text": Target("text/images.txt", damaged, _colmap),
    "colmap_lenses": Target("binary/cameras.bin", damaged, _colmap),
    "colmap": Target("binary/images.bin", damaged, _colmap),
    "lens_yaml": Target("lens.yml", damaged, _lens),
    "lens_xml": Target("lens.xml", damaged, _lens),
    "lens_json": Target("lens.json", damaged_json, _lens),
    "lens_colmap": Target("text/cameras.txt", damaged, _lens),
    "lens_map": Target("redistort.exr", damaged, _lens),
    "card": Target("monst3r.toml", damaged, _card),
    "exr": Target("depth/0001.exr", damaged, exr.read_exr, (ValueError, OSError)),
    "exr_header": Target("depth/0001.exr", damaged, exr.read_pixel_aspect, (ValueError, OSError)),
    "exr_clip": Target("exr_0001.exr", damaged, _still),
    "png": Target("png_0001.png", damaged, _still),
    "jpg": Target("jpg_0001.jpg", damaged, _still),
    "tif": Target("tif_0001.tif", damaged, _still),
    "dpx": Target("dpx_0001.dpx", damaged, _still),
    "cin": Target("cin_0001.cin", damaged, _still),
    "webp": Target("webp_0001.webp", damaged, _still),
    "tga": Target("tga_0001.tga", damaged, _still),
    "mp4": Target("clip.mp4", damaged, _clip),
    "mov": Target("clip.mov", damaged, _clip),
    "mkv": Target("clip.mkv", damaged, _clip),
    "avi": Target("clip.avi", damaged, _clip),
    "kept": Target("kept.npz", damaged, _kept),
}


def run(target: Target, seed: str, number: int, folder: Path) -> str:
    """One case: what it came to."""
    rng = random.Random(f"{seed}/{number}")
    path = folder / target.name
    original = path.read_bytes()
    path.write_bytes(target.damage(original, rng))
    try:
        target.read(path)
        return f"ok {number}"
    except StereoDiffError as error:
        messages.explain(error.code)
        return f"refused {number} {error.code}" if error.code != "internal_error" else f"WRONG {number} {error.message}"
    except target.may_raise as error:
        return f"refused {number} {type(error).__name__}"
    except Exception as error:  # noqa: BLE001 - what it is, is the finding
        return f"WRONG {number} {type(error).__name__}: {str(error)[:200]}"
    finally:
        path.write_bytes(original)


def limit_memory() -> None:
    """A header that lies about its size must not get what it asks for."""
    with suppress(ImportError):
        import resource
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))


def main(name: str, seed: str, first: int, count: int, folder: Path) -> None:
    target = TARGETS[name]
    target.read(folder / target.name)  # whole, it is readable; and what is loaded only now counts before the limit
    limit_memory()
    for number in range(first, first + count):
        sys.stdout.write(f"begin {number}\n")
        sys.stdout.flush()
        sys.stdout.write(run(target, f"{seed}/{name}", number, folder) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
