"""The Help buttons: every panel leads to a page of the guide that exists, in the browser or in the Text Editor."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import bpy
import pytest

HEADERS = {"SolvePanel": "artists/solve", "AdvancedPanel": "method/how_it_works", "ResultsPanel": "artists/jobs",
           "FinishPanel": "artists/finish"}


@pytest.fixture
def guide(addon):
    return addon.ui.operators.help


def test_every_page_is_in_the_guide(guide):
    pages = [page for page, _, _ in guide.PAGES]
    assert len(pages) > 5
    assert [page for page in pages if not (guide.GUIDE / f"{page}.md").is_file()] == []


def test_the_page_is_shown_as_text_where_there_is_no_browser(guide):
    assert bpy.ops.stereodiff.help(page="artists/matte") == {"FINISHED"}
    assert bpy.data.texts["StereoDiff matte.md"].as_string().startswith("# Matte\n")
    bpy.ops.stereodiff.help(page="artists/matte")
    assert [text.name for text in bpy.data.texts] == ["StereoDiff matte.md"]


def test_a_guide_that_was_deleted_is_named(guide, tmp_path, monkeypatch):
    monkeypatch.setattr(guide, "GUIDE", tmp_path)
    with pytest.raises(RuntimeError, match="Install the extension again"):
        bpy.ops.stereodiff.help(page="artists/matte")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the stand-in for a browser is a shell script")
def test_the_browser_gets_the_address_of_the_page(guide, tmp_path):
    """In a process of its own, because Python looks for browsers once."""
    page, seen, browser = tmp_path / "a page.html", tmp_path / "seen", tmp_path / "browser"
    page.write_text("<p>")
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{seen}"\n')
    browser.chmod(0o755)
    script = ("import sys; from pathlib import Path; from stereodiff_blender.ui.operators.help import open_in_browser; "
              "print(open_in_browser(Path(sys.argv[1])))")
    done = subprocess.run([sys.executable, "-c", script, page], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "BROWSER": f"{browser} %s", "PYTHONPATH": str(guide.GUIDE.parents[1])})
    assert done.stdout.split()[-1:] == ["True"], done.stderr
    assert seen.read_text() == page.as_uri()


def test_a_page_that_is_not_there_opens_no_browser(guide, tmp_path):
    assert not guide.open_in_browser(tmp_path / "none.html")


@pytest.mark.parametrize("name", HEADERS)
def test_the_header_leads_to_the_page_of_its_panel(addon, guide, name):
    panel = next(getattr(module, name) for module in (addon.ui.panels.solve, addon.ui.panels.jobs,
                                                      addon.ui.panels.scene)
                 if hasattr(module, name))
    button = SimpleNamespace()
    drawn = []
    layout = SimpleNamespace(operator=lambda idname, **_: drawn.append(idname) or button)
    panel.draw_header_preset(SimpleNamespace(layout=layout), bpy.context)
    assert drawn == ["stereodiff.help"] and button.page == HEADERS[name]
    assert button.page in bpy.ops.stereodiff.help.get_rna_type().properties["page"].enum_items
