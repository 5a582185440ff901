"""An import that stands somewhere, and the modules that place it."""

from __future__ import annotations

import importlib

import bpy
import pytest
from job_folder import write_job_folder
from placed_import import EXAMPLE, MOVED


@pytest.fixture
def parts(addon):
    """The modules under test, as the registered package knows them."""
    names = ("scene", "scene.placing.orientation", "scene.placing.floor", "scene.placing.picking", "scene.data.imports")
    return {name.rpartition(".")[2]: importlib.import_module(f"{addon.__name__}.{name}") for name in names}


@pytest.fixture
def imported(parts, tmp_path):
    write_job_folder(tmp_path, EXAMPLE)
    made = parts["scene"].import_result(bpy.context.scene, tmp_path)
    made.root.matrix_world = MOVED
    bpy.context.view_layer.update()
    return made
