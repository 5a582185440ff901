"""Wheels small enough to install in tests, and locks of them: pure Python, written by hand in the published format."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def write_wheel(folder: Path, name: str, version: str = "1.0", body: str = "VALUE = 1\n") -> Path:
    """A wheel with one module, and the list of its files with their hashes."""
    information = f"{name}-{version}.dist-info"
    files = {f"{name}/__init__.py": body, f"{name}/data.txt": "numbers\n" * 50,
             f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
             f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    rows = [f"{path},sha256={_record_hash(text)},{len(text)}" for path, text in files.items()]
    files[f"{information}/RECORD"] = "\n".join([*rows, f"{information}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def write_lock(path: Path, wheels: list[Path]) -> Path:
    """A lock that asks for exactly these wheels."""
    lines = ["# of the tests"]
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines += [f"{name}=={version} --hash=sha256:{digest}", f"    # bytes: {wheel.stat().st_size}"]
    path.write_text("\n".join([*lines, f"# total-bytes: {sum(wheel.stat().st_size for wheel in wheels)}"]) + "\n")
    return path


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
