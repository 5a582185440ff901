"""Names: words that the field has better ones for do not come back, and there is one spelling, Blender's.

The glossary in CONTRIBUTING says what is used instead. Only names count, not prose: a metaphor may explain a term.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RETIRED = {
    "Shot": "ImportedResult", "_Shot": "_SolveInput", "read_shot": "read_imported_result",
    "Plate": "PreparedFootage, NetworkInput", "make_plate": "prepare_footage",
    "Transfer": "PlaneParallax", "transfer_between": "warp_between", "carry": "warp_pixels",
           "_reproject": "warp_pixels",
    "likeness": "matching_cost, photometric_cost", "unlikeness": "photometric_cost", "features_of": "cost_features",
    "offer": "hypothesis", "opinion": "prior", "ballot": "votes", "Ballot": "Votes", "witness": "source view",
    "is_witness": "is_sampled", "favour": "preference",
    "measure_depth": "estimate_depth_maps", "_Survey": "RawDepth", "survey": "raw", "_heed_matte": "_apply_matte",
    "_expose": "_add_occlusion_conflicts", "_settle_sky": "_set_sky_to_far", "Assessment": "DepthFilter",
    "carry_surfaces": "project_surfaces", "find_impossible": "find_occlusion_conflicts",
    "background_of": "median_background",
    "Movers": "DynamicObjects", "movers": "objects", "mover": "object", "mover_tracks": "object tracks",
    "label_movers": "label_objects", "link_movers": "link_objects", "Standing": "GroundContact",
    "standings": "contacts", "stand": "place_on_ground", "measure_standing": "measure_contact",
    "settle_tracks": "fit_tracks", "nearness": "inverse_ground_distance", "facing": "distance_per_depth",
    "settle_borders": "refine_boundaries",
    "vote_on_borders": "vote_on_boundaries", "run_turn": "run_pass", "_run_turn": "_run_pass",
    "choose_sides": "select_sides", "_choose_all_sides": "_select_all_sides",
    "FittedClip": "CameraFit", "fit_all_frames": "register_all_frames", "_believable": "_plausible_frames",
    "adjust_frames": "adjust_on_anchors", "_forget_misfits": "_filter_points", "Freedom": "BundleOptions",
    "focal_deviation": "focal_rel_std", "is_lens_contradicted": "is_focal_unreliable",
    "focal_disagreement": "focal_jackknife_ratio", "sum_by_index": "scatter_add", "balance": "solve_path",
    "smooth_along_surfaces": "fast_global_smoother",
    "Ledger": "ProgressJournal", "ledger": "journal", "kept_stereo": "stages", "remember": "save", "recall": "load",
    "files_of": "array_names", "Witness": "RecordingReport", "Workplace": "Workspace", "writing": "translated_errors",
    "error_with_code": "error_from_exception", "WeightsDesk": "WeightsManager", "weights_desk": "weights",
    "Errand": "WeightsTask", "errand": "task", "readiness": "preflight", "verdicts": "grades", "job_views": "views",
    "panel_text": "text", "finish_operators": "placing", "comp_operators": "compositing",
    "Diary": "RecordingReport", "Noted": "RecordingReport", "Warnings": "RecordingReport",
    "Counted": "RecordingReport",
    "SURE": "MIN_CONFIDENCE", "ENOUGH": "MIN_...", "FEW": "MIN_...", "ROW": "ROW_LENGTH", "OFFSETS": "FRAME_OFFSETS",
    "ROUNDS": "what the rounds are of",
}
RETIRED_IN_CAMERAS = {"seen": "observations, observed", "only": "select", "grow": "register_frames",
                      "fitting": "inliers", "Scene": "BundleState", "scene": "state", "spread": "what it is of"}
RETIRED_IN = {
    "engine/stereo/tracking": RETIRED_IN_CAMERAS,
    "engine/stereo/mapping": RETIRED_IN_CAMERAS,
    "engine/stereo/sfm": RETIRED_IN_CAMERAS,
    "engine/stereo/mvs": {"even": "textureless", "carried": "projected", "spread": "pull_push"},
    "engine/stereo/dynamic": {"standing": "contact"},
    "engine/stereo/boundaries": {"say": "weight", "settle": "refine", "spread": "smoothed"},
    "engine/pipeline": {"scene": "measurable", "plate": "prepared"},
    "engine/storage": {"keep": "open_array", "Place": "Target"},
}
"""In these rooms and their tests; elsewhere the words mean something else."""
RETIRED_FUNCTIONS = {"look", "of", "take", "only"}
"""Too short to be searched for: a verb and a noun."""
BRITISH = re.compile(r"colour|grey|centre|neighbour|behaviour|favour|honour|metre|labelled|travell|modell|catalogue"
                     r"|(?:normal|minim|maxim|optim|initial|recogn|summar|organ|stabil|raster|linear|serial|visual)is")


def sources() -> list[Path]:
    folders = ("stereodiff_blender", "tests", "vendor")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "data" not in path.parts]
    return [ROOT / "build.py", *sorted(found)]


@lru_cache
def named(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """Every name of a file with its line; True for a function that is defined there."""
    return tuple(names_in(path.read_text(encoding="utf-8")))


def names_in(text: str) -> Iterator[tuple[str, int, bool]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno, not isinstance(node, ast.ClassDef)
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno, False
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno, False
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg, getattr(node, "lineno", 0), False
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name.rpartition(".")[2]), 0, False


def retired_for(place: str) -> dict[str, str]:
    """place: a file, below stereodiff_blender/ or tests/."""
    return RETIRED | {word: better for room, words in RETIRED_IN.items() if place.startswith(f"{room}/")
                      for word, better in words.items()}


def faults(path: Path) -> list[str]:
    place = path.relative_to(ROOT).as_posix().partition("/")[2]
    retired = retired_for(place)
    found = []
    for name, line, is_function in named(path):
        if name in retired:
            found.append(f"{place}:{line}: {name}, better {retired[name]}")
        elif is_function and name in RETIRED_FUNCTIONS:
            found.append(f"{place}:{line}: {name}() cannot be searched for")
        elif BRITISH.search(name.lower()):
            found.append(f"{place}:{line}: {name} is not spelled as Blender spells it")
    return found


def test_no_retired_word_is_a_name():
    assert [fault for path in sources() for fault in faults(path)] == []


@pytest.mark.parametrize(("text", "name"), [
    ("class FittedClip: pass", "FittedClip"), ("def f(offer): return f'{opinion}'", "opinion"),
    ("from a import recall as load", "load"), ("import a.ledger", "ledger"), ("f(witness=1)", "witness"),
])
def test_names_are_found_wherever_they_stand(text, name):
    assert name in {found for found, *_ in names_in(text)}


def test_retired_words_are_better_said():
    better = {word.strip() for words in RETIRED.values() for word in words.split(",")}
    assert not better & set(RETIRED)
