"""Where noise comes from: from a seed, frame by frame, so that nothing of it is held for the whole clip."""

from __future__ import annotations

import numpy as np
import torch

from .windows import Window

PICTURES, LATENTS, WINDOWS = 0, 1, 2
"""What a stream of random numbers is for; no two share numbers."""
MODES = ("per_frame", "window", "shared", "zero")


class Noise:
    """Noise of one draw. All of it is float32, of unit variance, on the host."""

    def latents(self, k: int, window: Window) -> torch.Tensor:
        """(n,4,h,w) of the n frames of window k."""
        raise NotImplementedError

    def pixels(self, frame: int) -> torch.Tensor:
        """(3,H,W) of one picture."""
        raise NotImplementedError


class SeededNoise(Noise):
    """The same numbers for the same seed, on any device.

    mode: "per_frame" (a frame has the same noise in every window), "window" (the published way: a buffer as long as a
    window, turned on so that shared frames keep theirs), "shared" (one for all frames) or "zero" (none).
    """

    def __init__(self, seed: int, mode: str, latent_shape: tuple[int, int, int],
                 picture_shape: tuple[int, int, int], windows: tuple[Window, ...]):
        if mode not in MODES:
            raise ValueError(f"noise mode must be one of {', '.join(MODES)}, got {mode!r}")
        self._seed, self._mode, self._windows = seed, mode, windows
        self._latent_shape, self._picture_shape = latent_shape, picture_shape

    def latents(self, k: int, window: Window) -> torch.Tensor:
        if self._mode == "zero":
            return torch.zeros(window.end - window.start, *self._latent_shape)
        return torch.stack([self._draw(*stream, self._latent_shape) for stream in self._streams(k, window)])

    def pixels(self, frame: int) -> torch.Tensor:
        return self._draw(PICTURES, frame, self._picture_shape)

    def _streams(self, k: int, window: Window) -> list[tuple[int, int]]:
        frames = range(window.start, window.end)
        if self._mode == "shared":
            return [(LATENTS, 0)] * len(frames)
        if self._mode == "per_frame":
            return [(LATENTS, frame) for frame in frames]
        return [(WINDOWS, place) for place in self._turned(k)[:len(frames)]]

    def _turned(self, k: int) -> list[int]:
        """Which numbers of the first window's noise stand where in window k's."""
        size = self._windows[0].end - self._windows[0].start
        places = list(range(size))
        for before, after in zip(self._windows[:k], self._windows[1:k + 1], strict=True):
            kept = max(before.end - after.start, 0)
            places = places[size - kept:] + places[:size - kept]
        return places

    def _draw(self, purpose: int, index: int, shape: tuple[int, ...]) -> torch.Tensor:
        numbers = np.random.default_rng((self._seed, purpose, index)).standard_normal(shape, np.float32)
        return torch.from_numpy(numbers)


class GivenNoise(Noise):
    """Noise that is there already: latents (T,4,h,w) by frame, pixels (T,3,H,W)."""

    def __init__(self, latents: np.ndarray, pixels: np.ndarray):
        self._latents, self._pixels = latents, pixels

    def latents(self, k: int, window: Window) -> torch.Tensor:
        return torch.from_numpy(np.array(self._latents[window.start:window.end], np.float32))

    def pixels(self, frame: int) -> torch.Tensor:
        return torch.from_numpy(np.array(self._pixels[frame], np.float32))
