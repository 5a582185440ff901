"""Windows over a clip, and putting them together again."""

from __future__ import annotations

import numpy as np
import pytest
from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.diffusion.depthcrafter.windows import (
    fade_in,
    first_window_of,
    merge,
    plan_windows,
    settled,
    shares,
)

CASES = [(count, size, overlap) for count in (1, 2, 5, 12, 13, 110, 111, 200, 438) for size, overlap in
         ((5, 2), (5, 0), (110, 25), (110, 0), (7, 6))]


def test_windows_golden():
    for case in golden_json("depthcrafter", "tables.json")["windows"]:
        for tail in ("short", "shift"):
            found = plan_windows(case["N"], case["W"], case["O"], tail)
            assert [list(window) for window in found] == case[tail], (case, tail)


def put_together(parts, windows, count: int, kind: str) -> np.ndarray:
    merged = np.full((count, *parts[0].shape[2:]), np.nan, np.float32)
    for k, part in enumerate(parts):
        merge(merged, windows, k, part[0], kind)
    return merged


@pytest.mark.parametrize("name", ["paper_window_overlap", "x0_single_window", "no_overlap_shift", "no_overlap_short",
                                  "latent_sharing", "overlap_shift", "percentile_noconf", "sigma700", "sigma14p6"])
def test_the_single_steps_merging_golden(name):
    said = tensors(golden_file("depthcrafter", f"s2_{name}.safetensors"))
    params = golden_json("depthcrafter", "index.json")["checks"][f"s2_{name}"]["params"]
    count = said["latents"].shape[1]
    windows = plan_windows(count, params["W"], params["O"], params.get("tail", "short"))
    assert [list(window) for window in windows] == said["windows"].tolist()
    parts = [said[f"win{k}/x_end"] for k in range(len(windows))]
    merged = put_together(parts, windows, count, params.get("merge", "crossfade"))
    np.testing.assert_allclose(merged, said["latents"][0], atol=3e-5)


def test_the_originals_merging_golden():
    said = tensors(golden_file("depthcrafter", "upstream_5step.safetensors"))
    params = golden_json("depthcrafter", "index.json")["checks"]["upstream_5step"]["params"]
    windows = plan_windows(params["n"], params["W"], params["O"], "short")
    parts = [said[f"win{k}/step{params['steps'] - 1}/latents_out"] for k in range(len(windows))]
    merged = put_together(parts, windows, params["n"], "crossfade")
    np.testing.assert_allclose(merged, said["latents"][0], atol=3e-5)


@pytest.mark.parametrize(("count", "size", "overlap"), CASES)
@pytest.mark.parametrize("tail", ["short", "shift"])
def test_windows_cover_every_frame_in_order(count, size, overlap, tail):
    windows = plan_windows(count, size, overlap, tail)
    assert windows[0].start == 0 and windows[-1].end == count
    for before, after in zip(windows, windows[1:], strict=False):
        assert before.start < after.start <= before.end < after.end
        assert before.end - before.start == size and before.end - after.start >= overlap
    lengths = {window.end - window.start for window in windows}
    assert tail == "short" or lengths == {min(size, count)}
    assert min(lengths) > overlap or len(windows) == 1


def test_an_overlap_must_fit():
    with pytest.raises(ValueError, match="overlap of 5 frames"):
        plan_windows(20, 5, 5, "short")


def test_a_fade_includes_both_ends():
    assert fade_in(5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0] and len(fade_in(0)) == 0


@pytest.mark.parametrize(("count", "size", "overlap"), CASES)
@pytest.mark.parametrize(("tail", "kind"), [("short", "crossfade"), ("shift", "crossfade"), ("shift", "cut")])
def test_what_all_windows_agree_on_comes_out_whole(count, size, overlap, tail, kind):
    truth = np.random.default_rng(0).standard_normal((count, 2))
    windows, merged = plan_windows(count, size, overlap, tail), np.full((count, 2), np.nan)
    for k, (start, end) in enumerate(windows):
        merge(merged, windows, k, truth[start:end], kind)
    np.testing.assert_allclose(merged, truth, atol=1e-12)


def test_shared_frames_go_over_from_one_window_to_the_next():
    windows, merged = plan_windows(8, 5, 2, "short"), np.zeros((8, 1))
    merge(merged, windows, 0, np.zeros((5, 1)), "crossfade")
    merge(merged, windows, 1, np.ones((5, 1)), "crossfade")
    assert merged[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]  # of two shared frames one is all of either
    merge(merged, windows, 0, np.zeros((5, 1)), "cut")
    merge(merged, windows, 1, np.ones((5, 1)), "cut")
    assert merged[:, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("count", "size", "overlap"), CASES)
def test_settled_frames_never_change(count, size, overlap):
    windows, merged = plan_windows(count, size, overlap, "shift"), np.zeros((count, 1))
    generator, kept = np.random.default_rng(1), np.zeros((0, 1))
    for k, (start, end) in enumerate(windows):
        merge(merged, windows, k, generator.standard_normal((end - start, 1)), "crossfade")
        np.testing.assert_array_equal(merged[:len(kept)], kept)
        kept = merged[:settled(windows, k, count)].copy()
    assert len(kept) == count


@pytest.mark.parametrize(("count", "size", "overlap"), CASES)
@pytest.mark.parametrize("kind", ["crossfade", "cut"])
def test_shares_say_what_merging_does(count, size, overlap, kind):
    windows, merged = plan_windows(count, size, overlap, "shift"), np.zeros(count)
    levels = np.random.default_rng(3).standard_normal(len(windows))
    for k, (start, end) in enumerate(windows):
        merge(merged, windows, k, np.full(end - start, levels[k]), kind)
    found = shares(windows, count, kind)
    np.testing.assert_allclose(found @ levels, merged, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found >= 0).all() and (kind == "crossfade" or set(np.unique(found)) <= {0.0, 1.0})


def test_each_frame_has_the_first_window_that_holds_it():
    assert first_window_of(plan_windows(12, 5, 2, "short"), 12).tolist() == [0] * 5 + [1] * 3 + [2] * 3 + [3]
