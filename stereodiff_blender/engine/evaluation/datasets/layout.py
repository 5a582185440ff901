"""What the data sets' folders have in common: names that stay inside, tables of numbers, depth in PNG.

Everything here comes from outside and is checked before it is used.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from ...contract import StereoDiffError
from ...contract.numbered_files import numbered_name

MAX_TEXT_BYTES = 64 * 2**20
MAX_PIXELS = 2**26  # 8192 x 8192; a header that claims more is damaged or hostile
MAX_DEFLATION = 1100  # bytes of picture that one byte of a PNG can stand for
RIGID = 1e-3
_CLIP_NAME = re.compile(r"\w[\w .+-]*")


def missing(what: str) -> StereoDiffError:
    return StereoDiffError("dataset_missing", what)


def invalid(path: Path, reason: object) -> StereoDiffError:
    return StereoDiffError("dataset_invalid", f"{path}: {reason}.")


# --- Names -----------------------------------------------------------------------------------------------------

def inside(folder: Path, relative: str) -> Path:
    """A name that a file of the data set gives, as a path inside folder. Raises "dataset_invalid" if it leads out."""
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or re.search(r"[\\:\x00]", relative):
        raise invalid(folder, f"{relative!r} is not a name inside it")
    return folder / pure


def folder_of(path: Path, layout: str) -> Path:
    """path, if it is a folder. layout: what should be there, in words. Raises "dataset_missing"."""
    if not path.is_dir():
        raise missing(f"There is no folder {path} ({layout}).")
    return path


def clip_names(folder: Path, has_clip) -> list[str]:
    """Names of the folders in folder for which has_clip(path) holds, ascending.

    Raises "dataset_invalid" for one whose name could not name a folder of results.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and has_clip(path))
    for name in names:
        check_clip_name(name, folder)
    return names


def check_clip_name(name: str, folder: Path) -> None:
    if not _CLIP_NAME.fullmatch(name):
        raise invalid(folder, f"{name!r} cannot be a clip's name; letters, digits, '_', '-', '+', '.' and spaces can")


def numbered_files(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    """Files of these suffixes by the last number in their name, ascending; none if there is no such folder.

    Raises "dataset_invalid" if two have the same number.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = numbered_name(path)
        if path.suffix.lower() not in suffixes or name is None:
            continue
        if name.number in found:
            raise invalid(folder, f"{found[name.number].name} and {path.name} have the same number")
        found[name.number] = path
    return dict(sorted(found.items()))


# --- Texts -----------------------------------------------------------------------------------------------------

def read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and words of every line that is neither empty nor a comment (#).

    Raises "dataset_missing" or "dataset_invalid".
    """
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise invalid(path, f"a table of more than {MAX_TEXT_BYTES // 2**20} MB")
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise missing(f"There is no {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(path, error) from error
    words = ((number, line.partition("#")[0].replace(",", " ").split()) for number, line in enumerate(lines, 1))
    return [(number, found) for number, found in words if found]


def read_table(path: Path, columns: int) -> np.ndarray:
    """(n, columns) float64. Raises "dataset_missing", or "dataset_invalid" naming the line that is no such row."""
    rows = []
    for number, words in read_lines(path):
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise invalid(path, f"line {number} is not numbers") from error
        if len(words) != columns:
            raise invalid(path, f"line {number} has {len(words)} numbers, not {columns}")
    if not rows:
        raise invalid(path, "it holds no numbers")
    return np.array(rows)


def read_matrix(path: Path, rows: int, columns: int) -> np.ndarray:
    """(rows, columns) float64, may hold infinities. Raises as read_table."""
    table = read_table(path, columns)
    if len(table) != rows:
        raise invalid(path, f"it has {len(table)} rows, not {rows}")
    return table


def read_stamped_names(path: Path) -> tuple[np.ndarray, list[Path]]:
    """Times (n,) in seconds and files of a list of "stamp name" lines, ascending in time.

    Raises "dataset_missing", or "dataset_invalid" also for a name that leads out of the list's folder.
    """
    entries = []
    for number, words in read_lines(path):
        try:
            stamp, name = float(words[0]), words[1]
        except (ValueError, IndexError) as error:
            raise invalid(path, f"line {number} is not a time and a file's name") from error
        if not np.isfinite(stamp):
            raise invalid(path, f"line {number} has no finite time")
        entries.append((stamp, inside(path.parent, name)))
    if not entries:
        raise invalid(path, "it names no files")
    entries.sort(key=lambda entry: entry[0])
    return np.array([stamp for stamp, _ in entries]), [file for _, file in entries]


# --- Pictures --------------------------------------------------------------------------------------------------

def read_depth_png(path: Path, per_unit: float) -> np.ndarray:
    """(H,W) float32 depth of a 16-bit PNG that stores `per_unit` for one unit of length; 0 is not known.

    Raises "dataset_missing" or "dataset_invalid".
    """
    image = read_png(path)
    if image.ndim != 2 or image.dtype != np.uint16:
        raise invalid(path, "depth has to be one channel of 16 bits")
    return image.astype(np.float32) / np.float32(per_unit)


def read_png(path: Path) -> np.ndarray:
    """The picture as it is stored. Raises "dataset_missing" or "dataset_invalid"."""
    data = read_bytes(path)
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33:
        raise invalid(path, "it is no PNG")
    width, height = (int.from_bytes(data[at:at + 4], "big") for at in (16, 20))
    if not 0 < width * height <= min(MAX_PIXELS, MAX_DEFLATION * len(data)):
        raise invalid(path, f"it claims {width} x {height} pixels, which its {len(data)} bytes cannot hold")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise invalid(path, "it cannot be read as a PNG")
    return image


def read_bytes(path: Path) -> bytes:
    """Raises "dataset_missing" or "dataset_invalid"."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise missing(f"There is no {path}.") from error
    except OSError as error:
        raise invalid(path, error.strerror or error) from error


# --- Cameras ---------------------------------------------------------------------------------------------------

def poses_from_quaternions(numbers: np.ndarray, path: Path) -> np.ndarray:
    """camera_to_world (n,4,4) of rows x y z qx qy qz qw. Raises "dataset_invalid" for a row that is no rotation."""
    norms = np.linalg.norm(numbers[:, 3:7], axis=1)
    if not (np.isfinite(numbers).all() and (np.abs(norms - 1) < 0.1).all()):
        raise invalid(path, "a quaternion in it is not of length 1")
    x, y, z, w = (numbers[:, 3:7] / norms[:, None]).T
    poses = np.tile(np.eye(4), (len(numbers), 1, 1))
    poses[:, :3, :3] = np.stack([
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=-1),
        np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=-1),
        np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=-1)], axis=1)
    poses[:, :3, 3] = numbers[:, :3]
    return poses


def check_rigid(pose: np.ndarray, path: Path) -> np.ndarray:
    """The (4,4) pose. Raises "dataset_invalid" if it is no rotation and shift."""
    rotation = pose[:3, :3]
    is_rigid = (np.isfinite(pose).all() and np.allclose(rotation @ rotation.T, np.eye(3), atol=RIGID)
                and np.linalg.det(rotation) > 0 and np.allclose(pose[3], (0, 0, 0, 1), atol=RIGID))
    if not is_rigid:
        raise invalid(path, "the camera in it is not a rotation and a shift")
    return pose


def lens_of(fx: float, fy: float, cx: float, cy: float, path: Path, *, from_first_center: bool = True) -> np.ndarray:
    """(4,) fx, fy, cx, cy with the picture's corner at 0. from_first_center: they count from the first pixel's center,
    as OpenCV does. Raises "dataset_invalid" if they are no lens."""
    lens = np.array([fx, fy, cx, cy], np.float64)
    if not (np.isfinite(lens).all() and fx > 0 and fy > 0):
        raise invalid(path, "the lens in it has no positive focal length")
    lens[2:] += 0.5 if from_first_center else 0.0
    return lens
