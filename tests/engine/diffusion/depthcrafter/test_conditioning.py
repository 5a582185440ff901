"""Pictures as the image encoder takes them: against reference vectors, and by what blurring and resizing must keep."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from golden import golden_file, tensors  # noqa: E402

from stereodiff_blender.engine.diffusion.depthcrafter.conditioning import (  # noqa: E402
    CLIP_MEAN,
    CLIP_STD,
    clip_pictures,
    resized,
)

PART = "depthcrafter"


# --- Against reference vectors -----------------------------------------------------------------------------------

def formula_picture(height: int, width: int) -> torch.Tensor:
    """(1,3,H,W), as the reference vectors' README lays down."""
    y, x = (torch.arange(count, dtype=torch.float32) for count in (height, width))
    waves = [0.8 * torch.sin(0.9 * x / (channel + 1) + 0.35 * y[:, None]) for channel in range(3)]
    return torch.stack(waves)[None]


def test_resized_golden():
    expected = tensors(golden_file(PART, "clip_resize.safetensors"))
    assert expected
    for key, values in expected.items():
        height, width, every = map(int, re.fullmatch(r"h(\d+)_w(\d+)_every(\d+)", key).groups())
        found = resized(formula_picture(height, width), every * values.shape[-1])[0, :, ::every, ::every]
        np.testing.assert_allclose(found, values, atol=1e-5)


def test_clip_pixel_values_golden():
    expected = tensors(golden_file(PART, "upstream_5step.safetensors"))["clip_pixel_values_frame0"]
    frames = torch.from_numpy(tensors(golden_file(PART, "inputs.safetensors"))["frames"][:1])
    found = clip_pictures(2.0 * frames - 1.0, 4 * expected.shape[-1])[..., ::4, ::4]  # every fourth pixel is kept
    np.testing.assert_allclose(found, expected, atol=2e-5)


# --- Properties --------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(64, 64), (576, 1024), (100, 40), (28, 300)])
@pytest.mark.parametrize("value", [-1.0, 0.25, 1.0])
def test_an_even_picture_stays_even(height, width, value):
    found = clip_pictures(torch.full((2, 3, height, width), value), 28)
    assert found.shape == (2, 3, 28, 28) and found.dtype == torch.float32
    for channel in range(3):
        expected = ((value + 1) / 2 - CLIP_MEAN[channel]) / CLIP_STD[channel]
        torch.testing.assert_close(found[:, channel], torch.full((2, 28, 28), expected), atol=1e-5, rtol=0)


def test_a_picture_of_the_right_size_is_not_touched():
    picture = torch.rand(1, 3, 56, 56) * 2 - 1
    torch.testing.assert_close(resized(picture, 56), picture, atol=1e-6, rtol=0)


def test_what_is_too_fine_is_blurred_away_along_its_own_axis():
    stripes = (torch.arange(448) % 2 * 2.0 - 1.0).expand(1, 3, 40, 448)
    lines = stripes.transpose(2, 3)
    assert resized(stripes, 56).abs().max() < 0.05 and resized(lines, 56).abs().max() < 0.05
    torch.testing.assert_close(resized(lines, 56), resized(stripes, 56).transpose(2, 3), atol=1e-6, rtol=0)


def test_corners_stay_corners():
    """Positions are matched corner to corner, also where the picture grows."""
    picture = torch.rand(1, 3, 20, 30)
    found = resized(picture, 61)
    for row in (0, -1):
        torch.testing.assert_close(found[:, :, row, [0, -1]], picture[:, :, row, [0, -1]], atol=1e-6, rtol=0)


def test_a_mirrored_picture_gives_a_mirrored_one():
    picture = torch.rand(1, 3, 90, 200)
    torch.testing.assert_close(resized(picture.flip(3), 28), resized(picture, 28).flip(3), atol=1e-5, rtol=0)


def test_pictures_and_channels_do_not_mix():
    pictures = torch.rand(3, 3, 80, 120)
    for index in range(3):
        torch.testing.assert_close(resized(pictures, 28)[index], resized(pictures[index:index + 1], 28)[0])
    alone = torch.zeros_like(pictures)
    alone[1, 2] = pictures[1, 2]
    found = resized(alone, 28)
    torch.testing.assert_close(found[1, 2], resized(pictures, 28)[1, 2])
    assert found.count_nonzero() == found[1, 2].count_nonzero()


def test_half_precision_pictures_are_widened_first():
    pictures = (torch.rand(1, 3, 80, 120) * 2 - 1).half()
    assert torch.equal(clip_pictures(pictures, 28), clip_pictures(pictures.float(), 28))
