"""A release of a small repository that has all that is packaged, by the real git and Blender's real validator."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest
from tools import release

import build

DAY = date(2027, 1, 31)
CHANGELOG = """# Changes

## [Unreleased]

### Added

- A thing.

## [0.1.0] - 2026-11-23

- The first.
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, repository) -> Path:
    """Version 0.1.0, committed, with one change that is not released."""
    folder = tmp_path / "checkout"
    for name, _ in build.PACKAGED:
        shutil.copytree(repository / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "blender_manifest.toml"):
        shutil.copy(repository / name, folder / name)
    (folder / "CHANGELOG.md").write_text(CHANGELOG, newline="\n")
    release.replace_line(release.version_file(folder), release.VERSION_LINE, 'ENGINE_VERSION = "0.1.0"')
    release.replace_line(folder / "blender_manifest.toml", release.MANIFEST_LINE, 'version = "0.1.0"')
    git(folder, "init", "--quiet")
    for name, value in (("user.name", "Somebody"), ("user.email", "somebody@example.org"), ("core.autocrlf", "false"),
                        ("commit.gpgsign", "false"), ("tag.gpgsign", "false")):
        git(folder, "config", name, value)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Begin")
    return folder


def make(checkout: Path, version: str = "0.2.0") -> Path:
    return release.release(checkout, version, Path(sys.executable), checkout.parent / "out", DAY)


def test_a_release(checkout):
    package = make(checkout)
    assert package.name == "stereodiff-0.2.0.zip"
    with zipfile.ZipFile(package) as archive:
        assert 'version = "0.2.0"' in archive.read("blender_manifest.toml").decode()
        engine = release.version_file(checkout).relative_to(checkout).as_posix()
        assert 'ENGINE_VERSION = "0.2.0"' in archive.read(engine).decode()
    assert build.manifest(checkout)["version"] == "0.2.0"
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "log", "-1", "--format=%s") == "Release 0.2.0"
    assert git(checkout, "rev-parse", "v0.2.0^{commit}") == git(checkout, "rev-parse", "HEAD")
    assert git(checkout, "cat-file", "-t", "v0.2.0") == "tag"
    assert sorted(git(checkout, "show", "--format=", "--name-only").splitlines()) == sorted(
        ["CHANGELOG.md", "blender_manifest.toml", engine])
    assert build.write_package(checkout.parent / "again", checkout).read_bytes() == package.read_bytes()


def test_the_changelog_gets_a_section(checkout):
    make(checkout)
    assert (checkout / "CHANGELOG.md").read_text() == CHANGELOG.replace(
        "## [Unreleased]\n", "## [Unreleased]\n\n## [0.2.0] - 2027-01-31\n")


def test_nothing_new_means_no_second_release(checkout):
    make(checkout)
    with pytest.raises(release.ReleaseError, match="nothing under Unreleased"):
        make(checkout, "0.3.0")


def spoiled_dirty(checkout: Path) -> None:
    (checkout / "LICENSE").write_text("changed")


def spoiled_untracked(checkout: Path) -> None:
    (checkout / "stereodiff_blender" / "new.py").write_text("")


def spoiled_tag(checkout: Path) -> None:
    git(checkout, "tag", "v0.2.0")


def spoiled_higher_tag(checkout: Path) -> None:
    git(checkout, "tag", "v0.10.0")


def spoiled_empty(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(CHANGELOG.replace("- A thing.\n", ""))
    git(checkout, "commit", "--quiet", "--all", "--message", "Empty")


def spoiled_two_versions(checkout: Path) -> None:
    (checkout / "stereodiff_blender" / "engine" / "other.py").write_text('ENGINE_VERSION = "0.1.0"\n')
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Two")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "version", "words"),
    [
        (spoiled_dirty, "0.2.0", "not clean"),
        (spoiled_untracked, "0.2.0", "not clean"),
        (spoiled_tag, "0.2.0", "v0.2.0 is there already"),
        (spoiled_higher_tag, "0.9.0", "not above the last version, 0.10.0"),
        (spoiled_empty, "0.2.0", "nothing under Unreleased"),
        (spoiled_two_versions, "0.2.0", "stands in 2 files"),
        (lambda checkout: None, "0.1.0", "not above the last version, 0.1.0"),
        (lambda checkout: None, "0.0.9", "not above"),
        (lambda checkout: None, "1.2", "no version like"),
        (lambda checkout: None, "01.2.3", "no version like"),
        (lambda checkout: None, "v1.2.3", "no version like"),
    ],
)
def test_what_is_refused_leaves_the_checkout_alone(checkout, spoil, version, words):
    spoil(checkout)
    before = git(checkout, "status", "--porcelain"), git(checkout, "rev-parse", "HEAD"), git(checkout, "tag")
    with pytest.raises(release.ReleaseError, match=words):
        make(checkout, version)
    assert before == (git(checkout, "status", "--porcelain"), git(checkout, "rev-parse", "HEAD"), git(checkout, "tag"))
    assert not (checkout.parent / "out").exists()


def test_a_package_that_blender_refuses_is_no_release(checkout):
    manifest = checkout / "blender_manifest.toml"
    manifest.write_text(manifest.read_text().replace('"Camera"', '"Cinematography"'))
    git(checkout, "commit", "--quiet", "--all", "--message", "Spoil")
    head = git(checkout, "rev-parse", "HEAD")
    with pytest.raises(release.ReleaseError, match="validator refuses"):
        make(checkout)
    assert git(checkout, "status", "--porcelain") == "" and git(checkout, "rev-parse", "HEAD") == head
    assert git(checkout, "tag") == "" and list((checkout.parent / "out").iterdir()) == []
    assert build.manifest(checkout)["version"] == "0.1.0"


def test_a_tag_that_cannot_be_made_takes_the_commit_back(checkout):
    """Tags are to be signed, and there is no key."""
    git(checkout, "config", "tag.gpgsign", "true")
    git(checkout, "config", "gpg.program", "false")
    head = git(checkout, "rev-parse", "HEAD")
    with pytest.raises(release.ReleaseError, match="git tag"):
        make(checkout)
    assert git(checkout, "rev-parse", "HEAD") == head and git(checkout, "status", "--porcelain") == ""
    assert build.manifest(checkout)["version"] == "0.1.0"


def test_the_command_says_why_there_is_no_release(repository):
    """Of this very checkout, whose version cannot be made once more."""
    version = build.manifest()["version"]
    done = subprocess.run([sys.executable, build.TOOLS / "release.py", version, "--blender", sys.executable],
                          env=build.environ_for_worker(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("No release: ")
