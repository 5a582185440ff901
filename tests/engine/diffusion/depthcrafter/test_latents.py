"""Decoding in chunks with a halo: every frame once, whatever the span, and no seam that a halo should hide."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from golden import golden_file, golden_json, tensors  # noqa: E402
from tiny_depthcrafter import write_tiny_depthcrafter  # noqa: E402

from stereodiff_blender.engine.contract import StereoDiffError  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.checkpoint import load_depthcrafter, load_folders  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.latents import decode_span  # noqa: E402

PART = "depthcrafter"
PUBLISHED_CHUNK = 8
COUNT = 11
MEANS = ("upstream_1step", "upstream_cfg")
DISPARITIES = ("paper_window_overlap", "no_overlap_shift", "no_overlap_short", "overlap_shift", "sigma700")


# --- Against reference vectors -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def golden_networks():
    folder = golden_file(PART, "model/unet/config.json").parents[1]
    return load_folders(folder / "unet", folder / "vae", folder / "image_encoder", device=torch.device("cpu"),
                        precision=torch.float32)


def golden_pictures(networks, name: str, expected) -> np.ndarray:
    """(T,3,H,W): all frames of a file's latents, decoded without a halo."""
    chunk = golden_json(PART, "index.json")["checks"][name]["params"].get("chunk", PUBLISHED_CHUNK)
    latents = expected["latents"][0]
    found = list(decode_span(networks, latents, 0, len(latents), len(latents), chunk, 0))
    assert [frame for frame, _ in found] == list(range(len(latents)))
    return np.stack([picture for _, picture in found])


def mean_of(pictures: np.ndarray, clamp: bool = True) -> np.ndarray:
    unit = pictures / 2 + 0.5
    return (unit.clip(0, 1) if clamp else unit).mean(axis=1)


def test_decoded_golden(golden_networks):
    name = "s2_paper_window_overlap"
    expected = tensors(golden_file(PART, f"{name}.safetensors"))
    np.testing.assert_allclose(golden_pictures(golden_networks, name, expected), expected["decoded"], atol=1e-4)


@pytest.mark.parametrize("name", MEANS)
def test_mean_disparity_golden(golden_networks, name):
    expected = tensors(golden_file(PART, f"{name}.safetensors"))
    found = mean_of(golden_pictures(golden_networks, name, expected))
    np.testing.assert_allclose(found, expected["disp_mean"], atol=5e-5)


@pytest.mark.parametrize("name", [f"s2_{name}" for name in DISPARITIES])
def test_disparity_golden(golden_networks, name):
    expected = tensors(golden_file(PART, f"{name}.safetensors"))
    clamp = golden_json(PART, "index.json")["checks"][name]["params"].get("clamp", True)
    found = mean_of(golden_pictures(golden_networks, name, expected), clamp)
    np.testing.assert_allclose(found, expected["disp_stage2"], atol=5e-5)


# --- Properties --------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = write_tiny_depthcrafter(tmp_path_factory.mktemp("models"))
    return load_depthcrafter(folder, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((COUNT, 4, 4, 4)).astype(np.float32)


def decoded(networks, latents, start=0, stop=COUNT, chunk=4, halo=2) -> dict[int, np.ndarray]:
    return dict(decode_span(networks, latents, start, stop, len(latents), chunk, halo))


def by_hand(networks, latents, begin, end, frame) -> np.ndarray:
    """A frame of the chunk begin <= f < end, decoded in one go."""
    chunk = networks.decode(torch.from_numpy(latents[begin:end]) / networks.scaling_factor)
    return chunk[frame - begin].numpy()


def test_every_frame_once_and_in_order(networks, latents):
    found = list(decode_span(networks, latents, 0, COUNT, COUNT, 4, 2))
    assert [frame for frame, _ in found] == list(range(COUNT))
    assert all(picture.shape == (3, 32, 32) and picture.dtype == np.float32 for _, picture in found)


@pytest.mark.parametrize(("frame", "begin", "end"), [(0, 0, 6), (3, 0, 6), (4, 2, 10), (7, 2, 10), (8, 6, 11),
                                                     (10, 6, 11)])
def test_a_chunk_sees_its_halo_and_no_more(networks, latents, frame, begin, end):
    np.testing.assert_array_equal(decoded(networks, latents)[frame], by_hand(networks, latents, begin, end, frame))


@pytest.mark.parametrize("cuts", [(4, 8), (8,), (3, 5, 9), (1,)])
def test_spans_do_not_matter(networks, latents, cuts):
    whole, pieces = decoded(networks, latents), {}
    for start, stop in zip((0, *cuts), (*cuts, COUNT), strict=True):
        piece = decoded(networks, latents, start, stop)
        assert list(piece) == list(range(start, stop))
        pieces |= piece
    for frame, picture in whole.items():
        np.testing.assert_array_equal(pieces[frame], picture)


def test_what_lies_beyond_the_halo_is_not_looked_at(networks, latents):
    unsettled = latents.copy()
    unsettled[6:] = np.nan
    for frame, picture in decoded(networks, unsettled, 0, 4).items():
        np.testing.assert_array_equal(picture, decoded(networks, latents)[frame])


def test_a_halo_brings_chunks_nearer_to_the_whole(networks, latents):
    whole = decoded(networks, latents, chunk=COUNT, halo=0)

    def error(halo: int) -> float:
        found = decoded(networks, latents, chunk=4, halo=halo)
        return max(float(np.abs(found[frame] - whole[frame]).max()) for frame in (3, 4, 7, 8))
    assert error(4) < error(2) < error(0) and error(COUNT) < 1e-6


def test_nothing_to_decode(networks, latents):
    assert decoded(networks, latents, 4, 4) == {}


def test_the_error_tells_the_frames(networks, latents):
    spoilt = latents.copy()
    spoilt[9] = np.inf
    with pytest.raises(StereoDiffError, match="Frames 3 to 10 of the range: The VAE's answer") as raised:
        decoded(networks, spoilt)
    assert raised.value.code == "network_not_finite"


@pytest.mark.slow
def test_latents_may_be_read_only_and_mapped(networks, latents, tmp_path):
    np.save(tmp_path / "latents.npy", latents)
    mapped = np.load(tmp_path / "latents.npy", mmap_mode="r")
    for frame, picture in decoded(networks, mapped).items():
        np.testing.assert_array_equal(picture, decoded(networks, latents)[frame])
