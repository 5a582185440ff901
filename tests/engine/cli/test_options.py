"""What the command line makes of options."""

from __future__ import annotations

import argparse

import pytest

from stereodiff_blender.engine.cli.options import add_engine_options, engine_settings


@pytest.mark.parametrize(("words", "size"), [
    ([], "plate"), (["--quality", "high"], "plate"), (["--quality", "draft"], "working"),
    (["--quality", "draft", "--depth-size", "plate"], "plate"), (["--depth-size", "working"], "working")])
def test_depth_has_the_plates_size_but_for_a_draft_unless_it_is_chosen(words, size):
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    assert engine_settings(parser.parse_args(words)).depth_size == size
