"""What made a result, as a short hash: two runs with the same hash leave the same, so one can go on from the other.

In it goes everything that the result depends on: the footage, the frames, the settings that the stage looks at, the
weights, and the engine's own code: the rooms that the stage imports, and no others. A change to what only looks at
results, or at this machine, leaves what is kept as good as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ..contract import ClipSource, Job, JobFolder, StereoDiffError
from ..contract.strict_json import to_dict
from ..media.color import needs_config
from ..media.frames import Raster, footage_files
from ..pipeline import DEPTHCRAFTER, MONST3R
from ..weights.cards import ENGINE_CARDS, read_card
from ..weights.records import model_folder

SAMPLE_BYTES, SAMPLES = 65_536, 3
"""What is read of a large file, besides its size and time: so much in so many places."""
DIGEST_BYTES = 8
ENGINE = Path(__file__).parents[1]
INPUT_CODE = ("contract/settings.py", "contract/matte_shapes.py", "contract/numbered_files.py",
              "contract/picture_size.py", "contract/sizes.py", "storage", "report.py", "parallel.py", "media",
              "worker/reading.py")
"""What reads footage: rooms and modules, below the engine's folder. What comes of it is worked on by the rest.

Of the contract, what computes. Its words, its files and its version have no part in any array.
"""
STEREO_CODE = ("pipeline/pipeline.py", "pipeline/stages.py", "pipeline/stereo_steps.py", "footage", "imaging",
               "geometry.py", "lens.py", "shutter.py", "solution.py", "contract/lens.py", "contract/cameras/given.py",
               "worker/known_cameras.py", "stereo/tracking", "stereo/mapping", "stereo/sfm", "stereo/mvs",
               "stereo/dynamic", "stereo/boundaries", "torch_support")
MONST3R_CODE = ("pipeline/networks.py", "stereo/monst3r")
REFINE_CODE = ("pipeline/networks.py", "pipeline/refine_steps.py", "diffusion", "worker/products.py",
               "worker/mesh_depth.py")
PLATE_CODE = ("pipeline/plate_steps.py", "stereo/plate")
"""Of the products, too: stage 2's folder says which of them are written."""
OF_STAGE_2 = ("refine", "diffusion", "depth_size")
OF_THE_DOOR = ("max_megapixels",)
"""What lets footage in or not, and changes nothing of what comes of it."""


def input_key(job: Job, folder: JobFolder, raster: Raster) -> str:
    """Of the pictures, mattes and given cameras that the solve looks at."""
    matte = None
    if job.matte is not None:
        own, of_matte = job.matte.footage, job.matte.footage_frames(job.frame_numbers)
        footage = [] if own is None else [str(of_matte), *_color_identity(own), *_identities(own, of_matte)]
        shapes = _sample(folder.matte_file) if folder.matte_file.is_file() else ""
        matte = [to_dict(job.matte) | {"footage": footage}, shapes]
    clip, numbers = list(_identities(job.clip, job.frame_numbers)), str(job.frame_numbers)
    parts = [clip, numbers, to_dict(raster), job.settings.exposure_ev, _color_identity(job.clip), matte]
    return _hash("input", _code(INPUT_CODE), *parts, *([_given_cameras(folder)] if job.cameras else []))


def _given_cameras(folder: JobFolder) -> str:
    """Of cameras.json, all of it; of one that is not there: nothing, as reading it will tell."""
    try:
        data = folder.files.read_bytes(folder.cameras_file.name)
    except OSError:
        data = b""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def stereo_key(job: Job, of_input: str) -> str:
    """Of stage 1."""
    settings = {name: value for name, value in to_dict(job.settings).items() if name not in OF_STAGE_2 + OF_THE_DOOR}
    if job.settings.stereo != MONST3R:
        del settings["device"]  # it takes no part
    code, weights = _code(STEREO_CODE), []
    if job.settings.stereo == MONST3R:
        code, weights = _code(STEREO_CODE + MONST3R_CODE), list(_weights(job, MONST3R))
    return _hash("stereo", of_input, code, settings, weights)


def refine_key(job: Job, of_stereo: str) -> str:
    """Of stage 2."""
    settings, weights = [job.settings.refine], []
    if job.settings.refine == DEPTHCRAFTER:
        settings += [to_dict(job.settings.diffusion), job.settings.device, job.settings.seed]
        weights = list(_weights(job, DEPTHCRAFTER))
    plate = [] if job.settings.depth_size == "working" else [job.settings.depth_size, _code(PLATE_CODE)]
    return _hash("refine", of_stereo, _code(REFINE_CODE), settings, weights, *plate)


def refuse_changed_footage(job: Job, folder: JobFolder, raster: Raster, expected: str) -> None:
    """Raises StereoDiffError "clip_changed" if the footage is not what it was when input_key was taken."""
    if input_key(job, folder, raster) != expected:
        raise StereoDiffError("clip_changed", f"{job.clip.path} or its matte was written to while it was read.")


def _hash(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=DIGEST_BYTES).hexdigest()


@cache
def _code(parts: tuple[str, ...]) -> str:
    """Of every module of these parts of the engine: a result is not mixed from two versions of it."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for path in sorted(path for part in parts for path in _modules(ENGINE / part)):
        digest.update(path.relative_to(ENGINE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _modules(part: Path) -> Iterator[Path]:
    return part.rglob("*.py") if part.is_dir() else iter([part])


def _identities(source: ClipSource, frame_numbers: range) -> Iterator[list]:
    """Of the files of some footage. Their folder is left out, so that footage may move."""
    for path in footage_files(source, frame_numbers):
        yield _identity(path)


def _color_identity(source: ClipSource) -> list:
    """Of the color space, and of the configuration that says what it is; another version of Blender has its own."""
    config = source.ocio_config
    return [source.color_space, *(_identity(Path(config)) if config and needs_config(source.color_space) else [])]


def _identity(path: Path) -> list:
    """Of a file that is gone, or is none: that it is gone."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return [path.name]
        return [path.name, status.st_size, status.st_mtime_ns, _sample(path)]
    except OSError:
        return [path.name]


def _sample(path: Path) -> str:
    """Hash of a small file, or of the beginning, middle and end of a large one."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= SAMPLES * SAMPLE_BYTES:
            digest.update(stream.read())
        else:
            for place in range(SAMPLES):
                stream.seek((size - SAMPLE_BYTES) * place // (SAMPLES - 1))
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _weights(job: Job, engine: str) -> Iterator[list]:
    for name in ENGINE_CARDS[engine]:
        root = model_folder(Path(job.models_folder), read_card(name))
        for path in sorted(path for path in root.rglob("*") if path.suffix in (".safetensors", ".pth", ".json")):
            yield _identity(path)
