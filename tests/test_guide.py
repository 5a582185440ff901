"""The guide and the pages beside the code: links that lead somewhere, pages that can be shown, no unused picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools import guide_html

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "stereodiff_blender" / "guide"
PAGES = sorted(GUIDE.rglob("*.md"))
BESIDE = [ROOT / name for name in ("README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md", "findings/README.md")]


def links_of(path: Path) -> list[tuple[Path, str]]:
    """What the page links to, other than addresses: (file, place in it)."""
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = [link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    return [((path.parent / name).resolve() if name else path, place) for name, _, place in found]


def anchors_of(path: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {guide_html.anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", [*PAGES, *BESIDE], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    links = links_of(path)
    assert [str(file.relative_to(ROOT)) for file, _ in links if not file.exists()] == []
    assert [f"{file.name}#{place}" for file, place in links if place and place not in anchors_of(file)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(GUIDE).as_posix())
def test_links_of_the_guide_stay_inside_it(path):
    """It is shipped without the rest of the repository."""
    assert [str(file) for file, _ in links_of(path) if not file.is_relative_to(GUIDE)] == []


def test_every_page_is_in_the_contents():
    contents = {file for file, _ in links_of(GUIDE / "README.md")}
    assert {path for path in PAGES if path.name != "README.md"} == contents


def test_every_picture_is_used():
    used = {file for path in [*PAGES, *BESIDE] for file, _ in links_of(path) if file.suffix == ".png"}
    assert used == set((GUIDE / "pictures").iterdir())


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_every_finding_is_listed():
    scripts = {path.name for path in (ROOT / "findings").glob("*.sh")}
    listed = set(re.findall(r"^\| `(.+\.sh)` \|", (ROOT / "findings" / "README.md").read_text(), re.MULTILINE))
    assert scripts == listed and scripts


# --- As pages for a browser ------------------------------------------------------------------------------------

def test_the_whole_guide_can_be_shown():
    pages = guide_html.guide_pages(GUIDE)
    assert set(pages) == {path.relative_to(GUIDE).with_suffix(".html").as_posix() for path in PAGES}
    for name, page in pages.items():
        links = re.findall(r'(?:href|src)="([^"#]+)', page.decode())
        local = [((GUIDE / name).parent / link).resolve().relative_to(GUIDE) for link in links if "://" not in link]
        assert [str(link) for link in local if link.as_posix() not in pages and not (GUIDE / link).is_file()] == []
        assert "**" not in re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", page.decode(), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("## A *b* `c`", '<h2 id="a-b-c">A <em>b</em> <code>c</code></h2>\n'),
        ("one\ntwo\n\nthree", "<p>one two</p>\n<p>three</p>\n"),
        ("- a\n  b\n- c\n", "<ul>\n<li>a b</li>\n<li>c</li>\n</ul>\n"),
        ("1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>\n"),
        ("```\n<a> **b**\n```", "<pre><code>&lt;a&gt; **b**</code></pre>\n"),
        ("a < b & `x|*y*`", "<p>a &lt; b &amp; <code>x|*y*</code></p>\n"),
        ("[a](b.md#c) [d](https://e.org/f.md)",
         '<p><a href="b.html#c">a</a> <a href="https://e.org/f.md">d</a></p>\n'),
        ('![a "b"](c.png)', '<p><img src="c.png" alt="a &quot;b&quot;"></p>\n'),
        ("**a *b* c** 700 * 2 \\* 3", "<p><strong>a <em>b</em> c</strong> 700 * 2 &#42; 3</p>\n"),
        ("| a | b |\n|---|---|\n| `x|y` | *2* |",
         '<div class="wide"><table>\n<tr><th>a</th><th>b</th></tr>\n'
         "<tr><td><code>x|y</code></td><td><em>2</em></td></tr>\n</table></div>\n"),
        ("| | |\n|---|---|\n| a | b |", '<div class="wide"><table>\n<tr><td>a</td><td>b</td></tr>\n</table></div>\n'),
    ],
)
def test_what_markdown_becomes(text, shown):
    assert guide_html.render(text) == shown


@pytest.mark.parametrize("text", ["<b>raw</b>", "> quoted", "    code", "* item", "```\nopen", "[a]: b", "##### deep",
                                  "| a | b |\n| c | d |", "| a |\n|---|\n| b | c |", "text\n\n---", "about\n1. and"])
def test_other_markdown_is_refused(text):
    with pytest.raises(guide_html.GuideError, match="line"):
        guide_html.render(text)


def test_a_page_that_cannot_be_shown_is_named(tmp_path):
    (tmp_path / "artists").mkdir()
    (tmp_path / "artists" / "solve.md").write_text("# Solve\n\n> quoted\n")
    with pytest.raises(guide_html.GuideError, match=r"artists/solve\.md: line 3"):
        guide_html.guide_pages(tmp_path)
    (tmp_path / "artists" / "solve.md").write_text("Solve\n")
    with pytest.raises(guide_html.GuideError, match="does not begin with a heading"):
        guide_html.guide_pages(tmp_path)
