"""What lies in the repository: no outputs, nothing huge, no path of somebody's machine, and links that lead somewhere.

Each rule is a function from names and texts to findings, so that what it refuses can be shown without a repository.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

import build

ROOT = build.ROOT

LARGEST_BYTES = 4_000_000
MAY_BE_LARGER: frozenset[str] = frozenset()

# A home, a temporary folder or the place of a checkout, on whatever machine it was written.
MACHINE_PATH = re.compile(
    r"(?:(?<![\w.~/\\>})-])|(?<=file://))/(?:home|root|work|tmp|Users|private/var|var/folders)/[\w.-]"
    r"|[A-Za-z]:[\\/]+Users[\\/]+\w")
SPEAK_OF_SUCH_PATHS = {
    "tests/engine/contract/test_redaction.py": "what a report hides, by people who do not exist",
    "tests/test_repository.py": "what this rule refuses",
}

LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:")


# --- What is tracked -----------------------------------------------------------------------------------------------

def git(*arguments: str, given: str | None = None) -> list[str]:
    """The names git answers with; it ends them with a NUL."""
    done = subprocess.run(["git", "-C", ROOT, *arguments], input=given, capture_output=True, text=True, timeout=60)
    return [name for name in done.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is a copy without git: nothing is tracked in it")
    names = git("ls-files", "-z")
    assert "build.py" in names
    return [name for name in names if (ROOT / name).is_file()]  # not what is deleted and not committed yet


def text_of(path: Path) -> str | None:
    """A text file's content; None for any other kind of file."""
    content = path.read_bytes()
    try:
        return None if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        return None


# --- Size and outputs ----------------------------------------------------------------------------------------------

def too_large(sizes: dict[str, int]) -> list[str]:
    return [name for name, size in sizes.items() if size > LARGEST_BYTES and name not in MAY_BE_LARGER]


def among_outputs(names: Iterable[str]) -> list[str]:
    folders = {folder.as_posix() for folder in build.DEFAULT_OUTPUTS.values()}
    return [name for name in names if name.partition("/")[0] in folders]


def test_no_tracked_file_is_huge(tracked):
    assert too_large({name: (ROOT / name).stat().st_size for name in tracked}) == []


def test_nothing_is_tracked_where_build_writes(tracked):
    assert among_outputs(tracked) == []


def test_git_ignores_every_default_output(tracked):
    """A name in it, too: `git add .` after a demo must find nothing."""
    inside = [(folder / "jobs" / "depth" / "0001.exr").as_posix() for folder in build.DEFAULT_OUTPUTS.values()]
    assert git("check-ignore", "-z", "--stdin", given="\0".join(inside)) == inside


@pytest.mark.parametrize("command", ["demo", "package", "bench"])
def test_the_outputs_named_are_those_of_the_commands(command):
    assert build.parser().parse_args([command]).out == build.DEFAULT_OUTPUTS[command]


def test_size_and_outputs_are_refused():
    assert too_large({"small.bin": LARGEST_BYTES, "large.bin": LARGEST_BYTES + 1}) == ["large.bin"]
    assert among_outputs(["dist/job/depth.exr", "distances.py", "tests/dist/a.txt", "demo_out/demo.blend"]) == [
        "dist/job/depth.exr", "demo_out/demo.blend"]


# --- Machines ------------------------------------------------------------------------------------------------------

def machine_paths(text: str) -> list[int]:
    """Numbers of the lines that name an absolute path of some machine."""
    return [number for number, line in enumerate(text.splitlines(), 1) if MACHINE_PATH.search(line)]


def test_no_tracked_text_names_a_path_of_a_machine(tracked):
    texts = {name: text_of(ROOT / name) or "" for name in tracked if name not in SPEAK_OF_SUCH_PATHS}
    assert [f"{name}:{line}" for name, text in texts.items() for line in machine_paths(text)] == []


@pytest.mark.parametrize("name", SPEAK_OF_SUCH_PATHS)
def test_whoever_may_name_such_a_path_does(name):
    assert machine_paths((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("line", [
    '"path": "/home/ann/shots/clip.mp4"', "see /root/stereo/x.py", "cd /tmp/main", "file:///tmp/pytest-of-ann/clip.mp4",
    r'"C:\\Users\\ann\\clip.mp4"', r"C:\Users\ann", "c:/Users/ann", "PYTHON=/Users/ann/bin/python",
])
def test_a_path_of_a_machine_is_refused(line):
    assert machine_paths(f"first\n{line}") == [2]


@pytest.mark.parametrize("line", [
    "/proc/self/status", "/usr/bin/python3", "~/shots/clip.mp4", "https://example.org/home/ann", "jobs/home/x",
    "<jobs>/tmp/x", "D:/shots/clip.mp4", "../tmp/x", "the folders /home and /tmp",
])
def test_what_is_no_path_of_a_machine(line):
    assert machine_paths(line) == []


# --- Links ---------------------------------------------------------------------------------------------------------

def anchor_of(heading: str) -> str:
    """As GitHub makes it: lower case, words joined by hyphens, without marks and other signs."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """Every anchor of a document; a heading that comes again gets a number."""
    found: set[str] = set(ANCHOR.findall(text))
    for line in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        if heading := HEADING.match(line):
            name = anchor_of(heading[1])
            copies = sum(1 for other in found if re.fullmatch(re.escape(name) + r"(-\d+)?", other))
            found.add(f"{name}-{copies}" if copies else name)
    return found


def broken_links(document: Path, root: Path) -> list[str]:
    """Links of a document that lead to no file or heading in the repository."""
    text = document.read_text(encoding="utf-8")
    return [link for pair in LINK.findall(without_code(text)) for link in pair
            if link and not OUTSIDE.match(link) and not leads_somewhere(link, document, root)]


def leads_somewhere(link: str, document: Path, root: Path) -> bool:
    name, _, anchor = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    if not target.exists() or not target.is_relative_to(root):
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target.read_text(encoding="utf-8")))


def test_every_link_of_every_document_leads_somewhere(tracked):
    documents = [name for name in tracked if name.endswith(".md")]
    assert "README.md" in documents
    assert [f"{name}: {link}" for name in documents for link in broken_links(ROOT / name, ROOT)] == []


@pytest.fixture
def document(tmp_path) -> Path:
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide" / "solve.md").write_text("# Solve it: *step* by `step`\n## Limits\n## Limits\n")
    (tmp_path / "picture.png").write_bytes(b"")
    return tmp_path / "README.md"


@pytest.mark.parametrize("link", [
    "[x](guide/solve.md)", "[x](guide/solve.md#limits)", "[x](guide/solve.md#limits-1)", "![x](picture.png)",
    "[x](guide/solve.md#solve-it-step-by-step)", "[x](#here-it-is)", '<img src="picture.png">', "[x](guide)",
    "[x](https://example.org/none.md)", "`[x](none.md)`", "```\n[x](none.md)\n```", '[x](picture.png "a picture")',
])
def test_links_that_lead_somewhere(document, link):
    document.write_text(f"# Here it is\n\n{link}\n")
    assert broken_links(document, document.parent) == []


@pytest.mark.parametrize("link", [
    "[x](none.md)", "[x](guide/solve.md#none)", "[x](guide/solve.md#limits-2)", "![x](none.png)", "[x](#nowhere)",
    '<img width="3" src="none.png">', "[x](../outside.md)", "[x](picture.png#limits)",
])
def test_links_that_lead_nowhere(document, link):
    (document.parent.parent / "outside.md").write_text("outside")
    document.write_text(f"# Here it is\n\n```\n# nowhere\n```\n{link}\n")
    assert len(broken_links(document, document.parent)) == 1


# --- Types ---------------------------------------------------------------------------------------------------------

FIRST_WITH_TYPES = frozenset({
    "stereodiff_blender/engine/contract", "stereodiff_blender/engine/geometry.py",
    "stereodiff_blender/engine/solution.py", "stereodiff_blender/engine/storage",
    "stereodiff_blender/engine/stereo/mapping", "stereodiff_blender/engine/stereo/sfm",
    "stereodiff_blender/engine/stereo/tracking", "stereodiff_blender/jobs", "stereodiff_blender/runtime",
})


@pytest.fixture(scope="module")
def type_settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["basedpyright"]


def test_no_room_leaves_whose_types_are_checked(type_settings):
    assert set(type_settings["include"]) >= FIRST_WITH_TYPES
    assert not {"exclude", "ignore", "strict"}.intersection(type_settings)  # besides include, what else chooses files


def test_every_room_whose_types_are_checked_is_there(type_settings):
    """A name that leads nowhere is passed over in silence."""
    assert [name for name in type_settings["include"] if not (ROOT / name).exists()] == []
