"""Make a release of a clean checkout: version, changelog, package, Blender's validator, commit and tag.

Usage: python release.py X.Y.Z --blender PYTHON [--out DIR], with the checkout as PYTHONPATH. Nothing is pushed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import build

VERSION_LINE = re.compile(r'^ENGINE_VERSION = "(.*)"$', re.MULTILINE)
MANIFEST_LINE = re.compile(r'^version = ".*"$', re.MULTILINE)
UNRELEASED = re.compile(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)

Version = tuple[int, int, int]


class ReleaseError(Exception):
    """Why there is no release; one sentence."""


def parse_version(text: str) -> Version:
    """Raises ReleaseError unless it is three numbers."""
    match = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", text)
    if match is None:
        raise ReleaseError(f"{text!r} is no version like 1.2.3")
    return int(match[1]), int(match[2]), int(match[3])


def version_file(root: Path) -> Path:
    """The one file of the engine that says the version, wherever it lies. Raises ReleaseError if there are more."""
    found = [path for path in sorted((root / build.PACKAGE / "engine").rglob("*.py"))
             if VERSION_LINE.search(path.read_text(encoding="utf-8"))]
    if len(found) != 1:
        raise ReleaseError(f"the version stands in {len(found)} files of the engine, not in one")
    return found[0]


def last_version(root: Path) -> Version:
    """The highest of what the engine says and what is tagged."""
    said = VERSION_LINE.search(version_file(root).read_text(encoding="utf-8"))[1]
    tags = git(root, "tag", "--list", "v[0-9]*.[0-9]*.[0-9]*").split()
    numbered = [tag for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return max(parse_version(said), *(tuple(map(int, tag[1:].split("."))) for tag in numbered), (0, 0, 0))


def changes_of(changelog: str) -> str:
    """What stands under Unreleased. Raises ReleaseError if that is nothing but headings."""
    section = UNRELEASED.search(changelog)
    if section is None:
        raise ReleaseError("CHANGELOG.md has no section ## [Unreleased]")
    if not any(line.startswith("- ") for line in section[1].splitlines()):
        raise ReleaseError("CHANGELOG.md has nothing under Unreleased")
    return section[1]


def with_release(changelog: str, version: str, day: date) -> str:
    """The changelog with its unreleased changes under a heading of their own, and an empty section for the next."""
    heading = f"## [Unreleased]\n\n## [{version}] - {day.isoformat()}\n"
    changes = changes_of(changelog)
    return UNRELEASED.sub(lambda _: heading + changes, changelog, count=1)


def refuse(root: Path, version: str) -> None:
    """Everything that speaks against a release. Raises ReleaseError; changes nothing."""
    wanted, last = parse_version(version), last_version(root)
    if git(root, "status", "--porcelain"):
        raise ReleaseError("the checkout is not clean; commit what is to be released first")
    if git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"the tag v{version} is there already")
    if wanted <= last:
        raise ReleaseError(f"{version} is not above the last version, {'.'.join(map(str, last))}")
    changes_of((root / "CHANGELOG.md").read_text(encoding="utf-8"))


def release(root: Path, version: str, blender_python: Path, out: Path, day: date) -> Path:
    """Release a checkout; returns the package. Raises ReleaseError, and then the checkout is as it was."""
    refuse(root, version)
    with undone_on_failure(root):
        write_version(root, version, day)
        package = build.write_package(out, root)
        validated = build.validate_package(package, blender_python)
        if validated.status != 0:
            package.unlink()
            words = (validated.output + validated.errors).strip()
            raise ReleaseError(f"Blender's validator refuses the package: {words}")
        git(root, "commit", "--quiet", "--all", "--message", f"Release {version}")
        git(root, "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    return package


@contextmanager
def undone_on_failure(root: Path) -> Iterator[None]:
    """Puts a clean checkout back to where it stands now unless the block ends well."""
    before, is_done = git(root, "rev-parse", "HEAD"), False
    try:
        yield
        is_done = True
    finally:
        if not is_done:
            git(root, "reset", "--quiet", "--hard", before)


def write_version(root: Path, version: str, day: date) -> None:
    """Into the engine, the manifest and the changelog."""
    engine, manifest, changelog = version_file(root), root / "blender_manifest.toml", root / "CHANGELOG.md"
    replace_line(engine, VERSION_LINE, f'ENGINE_VERSION = "{version}"')
    replace_line(manifest, MANIFEST_LINE, f'version = "{version}"')
    write_text(changelog, with_release(changelog.read_text(encoding="utf-8"), version, day))


def replace_line(path: Path, pattern: re.Pattern, line: str) -> None:
    """Raises ReleaseError unless there is exactly one such line."""
    text, count = pattern.subn(lambda _: line, path.read_text(encoding="utf-8"))
    if count != 1:
        raise ReleaseError(f"{path.name} has {count} lines that say the version, not one")
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """With the same line ends on every system, so that the package has the same bytes."""
    path.write_text(text, encoding="utf-8", newline="\n")


def git(root: Path, *arguments: str) -> str:
    """What git answers, without line ends. Raises ReleaseError with what it complains about."""
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, encoding="utf-8")
    except OSError as error:
        raise ReleaseError(f"git cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", metavar="X.Y.Z")
    parser.add_argument("--blender", type=Path, required=True, metavar="PYTHON", help="Python with bpy, to validate")
    parser.add_argument("--out", type=Path, default=build.ROOT / "dist", metavar="DIR", help="of the package")
    options = parser.parse_args(arguments)
    try:
        package = release(build.ROOT, options.version, options.blender, options.out, date.today())
    except (ReleaseError, build.BuildError) as error:
        sys.stderr.write(f"No release: {error}.\n")
        return 1
    sys.stdout.write(f"{package}\nCommitted and tagged as v{options.version}. To publish it: git push --follow-tags\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
