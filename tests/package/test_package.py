"""The zip as a file: the same every time, complete, nothing in it that an artist has no use for."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

import build


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return build.write_package(tmp_path_factory.mktemp("package"))


@pytest.fixture
def checkout(tmp_path, repository) -> Path:
    """A copy of what is packaged, to change."""
    for name in ("blender_manifest.toml", "LICENSE"):
        shutil.copy(repository / name, tmp_path / name)
    for folder, _ in build.PACKAGED:
        shutil.copytree(repository / folder, tmp_path / folder)
    return tmp_path


def test_same_input_gives_same_bytes(package, checkout):
    for path in checkout.rglob("*.py"):
        path.touch()
    again = build.write_package(checkout / "elsewhere", checkout)
    assert again.read_bytes() == package.read_bytes()


def test_a_changed_source_gives_other_bytes(package, checkout):
    (checkout / "stereodiff_blender" / "__init__.py").write_text("VALUE = 1\n")
    assert build.write_package(checkout / "elsewhere", checkout).read_bytes() != package.read_bytes()


def test_contents_are_the_sources_and_nothing_else(package, repository):
    with zipfile.ZipFile(package) as archive:
        packaged = archive.namelist()
        modes = {entry.external_attr >> 16 for entry in archive.infolist()}
        root_init = archive.read("__init__.py").decode()
    sources = [p.relative_to(repository).as_posix() for p in (repository / "stereodiff_blender").rglob("*")
               if p.suffix in (".py", ".md", ".png")]
    pages = [name.removesuffix(".md") + ".html" for name in sources if name.endswith(".md")]
    pins = [p.relative_to(repository).as_posix() for p in (repository / "vendor").rglob("*.t*")
            if p.suffix in (".txt", ".toml")]
    assert packaged == sorted(["LICENSE", "__init__.py", "blender_manifest.toml", *sources, *pages, *pins])
    assert modes == {0o100644}
    assert root_init == "from .stereodiff_blender import register, unregister\n"
    assert [n for n in packaged if re.search(r"test|__pycache__|\.pyc|wheels|\.venv|\.git", n)] == []


def test_the_package_is_small(package):
    assert package.stat().st_size < 8_000_000


def test_the_help_button_finds_its_pages(package):
    """Each of them as text, too, for a Blender that finds no browser."""
    with zipfile.ZipFile(package) as archive:
        packaged = archive.namelist()
        source = archive.read("stereodiff_blender/ui/operators/help.py").decode()
    pages = re.findall(r'^    \("([\w/]+)", "', source, re.MULTILINE)
    assert len(pages) > 5
    for page in pages:
        assert {f"stereodiff_blender/guide/{page}.html", f"stereodiff_blender/guide/{page}.md"} <= set(packaged)


def test_a_page_that_cannot_be_shown_is_refused(checkout):
    (checkout / "stereodiff_blender" / "guide" / "artists" / "solve.md").write_text("# Solve\n\n> quoted\n")
    with pytest.raises(build.BuildError, match=r"artists/solve\.md: line 3"):
        build.package_contents(checkout)


def test_caches_stay_out_and_unknown_files_are_refused(checkout):
    before = set(build.package_contents(checkout))
    cache = checkout / "stereodiff_blender" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "jobs.cpython-311.pyc").write_bytes(b"\0")
    (checkout / "vendor" / "wheels").mkdir(exist_ok=True)
    (checkout / "vendor" / "wheels" / "thing-1-py3-none-any.whl").write_bytes(b"\0")
    assert set(build.package_contents(checkout)) == before
    (checkout / build.GUIDE / "picture.png").write_bytes(b"\x89PNG")
    assert set(build.package_contents(checkout)) == before | {f"{build.GUIDE}/picture.png"}
    (checkout / build.GUIDE / "page.html").write_text("")
    with pytest.raises(build.BuildError, match=r"guide/page\.html"):
        build.package_contents(checkout)
    (checkout / build.GUIDE / "page.html").unlink()
    (checkout / "stereodiff_blender" / "jobs.py.orig").write_text("")
    with pytest.raises(build.BuildError, match=r"stereodiff_blender/jobs\.py\.orig"):
        build.package_contents(checkout)


def test_blenders_validator_accepts_the_package(package):
    validated = build.validate_package(package, Path(sys.executable))
    assert validated.status == 0, validated.output + validated.errors


@pytest.mark.parametrize(("old", "new"), [('"Camera"', '"Cinematography"'), ('version = "0.1.0"', 'version = "one"')])
def test_validator_refuses_a_bad_manifest(checkout, old, new):
    path = checkout / "blender_manifest.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    package = build.write_package(checkout / "out", checkout)
    assert build.validate_package(package, Path(sys.executable)).status != 0


def test_version_is_the_engines(repository):
    from stereodiff_blender.engine.contract import ENGINE_VERSION
    assert build.manifest()["version"] == ENGINE_VERSION


def test_licence_is_the_whole_gpl(repository):
    text = (repository / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE\n                       Version 3, 29 June 2007" in text
    assert "END OF TERMS AND CONDITIONS" in text
