"""The guide for a browser: every page of Markdown as a page of HTML that needs nothing else, neither net nor script.

The guide keeps to a part of Markdown: headings, paragraphs, lists, tables, blocks of code, pictures, links, bold,
italic and code. Anything else is refused, so that no page looks wrong unseen.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

HEADING = re.compile(r"(#{1,4}) (.+)")
ITEM = re.compile(r"(- |\d+\. )(.*)")
TABLE_RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+")
FENCE = "```"
REFUSED = re.compile(r"(> |\t| {4,}\S|<[a-zA-Z!/]|[*+] |\[[^\]]*\]: |={3,}|-{3,})")

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} - StereoDiff</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #8882; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1.2rem; font: 1rem/1.55 system-ui, sans-serif; }}
nav {{ font-size: 0.9rem; }}
h1, h2, h3 {{ line-height: 1.25; }}
h2 {{ margin-top: 2rem; border-bottom: 1px solid var(--line); }}
img {{ max-width: 100%; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.92rem; }}
th, td {{ border: 1px solid var(--line); padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }}
th {{ background: var(--soft); }}
code {{ background: var(--soft); padding: 0 0.25em; border-radius: 3px; }}
pre {{ background: var(--soft); padding: 0.8rem; overflow-x: auto; }}
pre code {{ background: none; padding: 0; }}
</style>
</head>
<body>
<nav><a href="{contents}">Contents of the guide</a></nav>
{body}</body>
</html>
"""


class GuideError(ValueError):
    """A page says something that cannot be shown; which page, which line."""


def guide_pages(guide: Path) -> dict[str, bytes]:
    """Pages by their names below the guide's folder, such as "artists/solve.html". Raises GuideError."""
    return {path.relative_to(guide).with_suffix(".html").as_posix(): page(path, guide)
            for path in sorted(guide.rglob("*.md"))}


def page(path: Path, guide: Path) -> bytes:
    relative = path.relative_to(guide)
    text = path.read_text(encoding="utf-8")
    title = HEADING.match(text)
    if title is None:
        raise GuideError(f"{relative.as_posix()} does not begin with a heading")
    try:
        body = render(text)
    except GuideError as error:
        raise GuideError(f"{relative.as_posix()}: {error}") from error
    contents = posixpath.relpath("README.html", relative.parent.as_posix())
    return PAGE.format(title=html.escape(plain(title[2])), contents=contents, body=body).encode()


# --- Blocks ----------------------------------------------------------------------------------------------------

def render(text: str) -> str:
    """Raises GuideError for a line that is none of what the guide may hold."""
    lines, position, blocks = text.splitlines(), 0, []
    while position < len(lines):
        if not lines[position].strip():
            position += 1
            continue
        take = kind_of(lines[position], position)
        block, position = take(lines, position)
        blocks.append(block)
    return "".join(f"{block}\n" for block in blocks)


def kind_of(line: str, position: int) -> Callable[[list[str], int], tuple[str, int]]:
    """What takes a block that begins with this line. It gets all lines and where to begin, and says where it ends."""
    if line.startswith(FENCE):
        return take_code
    if HEADING.fullmatch(line):
        return take_heading
    if line.startswith("|"):
        return take_table
    if ITEM.match(line):
        return take_list
    if REFUSED.match(line) or line.startswith(("#", " ")):
        raise GuideError(f"line {position + 1} is not understood: {line[:60]}")
    return take_paragraph


def take_heading(lines: list[str], start: int) -> tuple[str, int]:
    marks, text = HEADING.fullmatch(lines[start]).groups()
    return f'<h{len(marks)} id="{anchor(text)}">{inline(text)}</h{len(marks)}>', start + 1


def take_code(lines: list[str], start: int) -> tuple[str, int]:
    end = next((at for at in range(start + 1, len(lines)) if lines[at].startswith(FENCE)), None)
    if end is None:
        raise GuideError(f"line {start + 1} begins code that does not end")
    return f"<pre><code>{html.escape(chr(10).join(lines[start + 1:end]))}</code></pre>", end + 1


def take_table(lines: list[str], start: int) -> tuple[str, int]:
    end = start
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    if end - start < 2 or not TABLE_RULE.fullmatch(lines[start + 1]):
        raise GuideError(f"line {start + 2} does not underline the table's head")
    head, rows = cells_of(lines[start]), [cells_of(line) for line in lines[start + 2:end]]
    odd = [start + 3 + at for at, row in enumerate(rows) if len(row) != len(head)]
    if odd:
        raise GuideError(f"line {odd[0]} has not as many cells as the table's head")
    top = "<tr>" + "".join(f"<th>{inline(cell)}</th>" for cell in head) + "</tr>\n" if any(head) else ""
    below = "".join("<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="wide"><table>\n{top}{below}</table></div>', end


def cells_of(line: str) -> list[str]:
    """Of one row; a bar in code divides no cells."""
    parts = re.split(r"(`[^`]*`)", line.strip().removeprefix("|").removesuffix("|"))
    marked = "".join(part if part.startswith("`") else part.replace("|", "\0") for part in parts)
    return [cell.strip() for cell in marked.split("\0")]


def take_list(lines: list[str], start: int) -> tuple[str, int]:
    """Items are not nested; what is indented below one goes on with it, as do lines after an empty one."""
    is_numbered, items, at = lines[start][0].isdigit(), [], start
    while at < len(lines):
        item = ITEM.match(lines[at])
        if item and item[1][0].isdigit() == is_numbered:
            items.append(item[2])
        elif items and re.match(r" {2,3}\S", lines[at]):
            items[-1] += " " + lines[at].strip()
        else:
            break
        at += 1
    name = "ol" if is_numbered else "ul"
    return f"<{name}>\n" + "".join(f"<li>{inline(item)}</li>\n" for item in items) + f"</{name}>", at


def take_paragraph(lines: list[str], start: int) -> tuple[str, int]:
    """A list needs an empty line before it: a number at the beginning of a line may be one by accident."""
    end = start + 1
    while end < len(lines) and lines[end].strip() and not lines[end].startswith(("|", "#", FENCE)):
        if ITEM.match(lines[end]):
            raise GuideError(f"line {end + 1} begins a list without an empty line before it: {lines[end][:60]}")
        end += 1
    return f"<p>{inline(' '.join(line.strip() for line in lines[start:end]))}</p>", end


# --- In a line -------------------------------------------------------------------------------------------------

def inline(text: str) -> str:
    """Code is taken out first, as nothing in it means anything."""
    return "".join(f"<code>{html.escape(part[1:-1])}</code>" if part.startswith("`") else marked(part)
                   for part in re.split(r"(`[^`]+`)", text) if part)


def marked(text: str) -> str:
    text = html.escape(text, quote=False).replace("\\*", "&#42;")
    text = re.sub(r"!\[([^\]]*)\]\(([^)\s]+)\)",
                  lambda found: f'<img src="{found[2]}" alt="{html.escape(found[1])}">', text)
    text = re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", lambda found: f'<a href="{target(found[2])}">{found[1]}</a>', text)
    text = re.sub(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"\*(?=\S)([^*]+?)(?<=\S)\*", r"<em>\1</em>", text)


def target(link: str) -> str:
    """A page of the guide is its HTML; everything else is left."""
    name, mark, place = link.partition("#")
    is_page = name.endswith(".md") and "://" not in name
    return name.removesuffix(".md") + ".html" + mark + place if is_page else link


def plain(text: str) -> str:
    """Without marks: for titles and anchors."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text).replace("*", "").replace("`", "")


def anchor(heading: str) -> str:
    """What the heading's place is called, as GitHub calls it."""
    return re.sub(r"[^\w\- ]", "", plain(heading).lower()).replace(" ", "-")
