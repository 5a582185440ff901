"""Stage 2 of a clip by DepthCrafter: stage 1's depth in, depth without flicker in the same scale out.

The step is the paper's (section 3.2); what it leaves open is answered in options.py. Everything that grows with the
clip lies in scratch arrays; on the device there is one window at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
import torch

from ...contract import Refinement, StereoDiffError
from ...report import Report
from ...solution import StereoResult
from ...storage import RunContext, Scratch
from .alignment import Alignment, Samples, align
from .denoising import Condition, draws_of, refine_window
from .encoding import EncodedClip, NetworkInput, encode_clip
from .latents import decode_span
from .memory import MemoryPlan, plan_memory, smaller_raster
from .networks import DepthCrafterNetworks
from .noise import Noise, SeededNoise
from .normalization import DisparityRange, find_range
from .options import Options
from .raster import disparity_to_plate
from .windows import Window, merge, plan_windows, settled

__all__ = ["DiffusionResult", "refine_by_diffusion"]

MAX_SAMPLES = 2_000_000
"""Pixels, over the whole clip, by which the result is fitted to stage 1."""
MAX_RESIDUAL = 0.15
"""Median relative difference of disparity to stage 1 above which the two do not show the same scene."""


@dataclass(frozen=True)
class DiffusionResult:
    """depth: (T,H,W) float32 on the plate's raster, in stage 1's scale. alignment, windows: how it came to that;
    None and empty if everything is equally far and nothing was refined. refinement: for the result's report."""

    depth: np.ndarray
    alignment: Alignment | None
    windows: tuple[Window, ...]
    refinement: Refinement | None


def refine_by_diffusion(frames: np.ndarray, stereo: StereoResult, networks: DepthCrafterNetworks, options: Options,
                        *, noises: Sequence[Noise] | None = None, context: RunContext) -> DiffusionResult:
    """Depth without flicker, by one denoising step.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, may be memory-mapped.
    stereo : StereoResult
        Stage 1's answer for these frames. Its arrays may be memory-mapped.
    networks : DepthCrafterNetworks
        Loaded; on the host again afterwards.
    options : Options
        How the step is done; window, overlap, decode_chunk and raster are made smaller where memory asks for it.
    noises : Sequence of Noise or None
        One for each draw; None: from options.seed.
    context : RunContext
        The depth comes from its scratch. Its report is told the stages "encode" and "refine".

    Returns
    -------
    DiffusionResult
        With depth (T,H,W) float32 in stage 1's scale; as it was given where everything is equally far.

    Raises
    ------
    StereoDiffError
        "out_of_memory" if not even the smallest raster fits, "network_not_finite", or "runtime_broken" if the U-Net
        cannot be compiled.

    Notes
    -----
    Warns "refinement_apart".
    """
    plan = plan_memory(networks.free_bytes(), plate=frames.shape[1:3], frames=len(frames),
                       max_side_px=options.max_side_px, window=options.window, overlap=options.overlap,
                       decode_chunk=options.decode_chunk, weights_bytes=networks.bytes)
    while True:
        context.report.note(plan.sentence())
        try:
            return _refine(frames, stereo, networks, _planned(options, plan), plan, noises, context)
        except StereoDiffError as error:
            following = smaller_raster(plan) if error.code == "out_of_memory" else None
            if following is None:
                raise
            networks.free_unused()
            plan = following


def _planned(options: Options, plan: MemoryPlan) -> Options:
    return replace(options, window=plan.window, overlap=plan.overlap, decode_chunk=plan.decode_chunk)


def _refine(frames: np.ndarray, stereo: StereoResult, networks: DepthCrafterNetworks, options: Options,
            plan: MemoryPlan, noises: Sequence[Noise] | None, context: RunContext) -> DiffusionResult:
    depth, confidence, motion_mask = stereo.depth, stereo.confidence, stereo.motion_mask
    network_input = NetworkInput(frames, depth, confidence, motion_mask, (plan.height, plan.width),
                                 options.depth_resize == "bilinear")
    count = len(frames)

    # 1. One range of disparity for the whole clip.
    span = find_range(network_input.disparity, count, options, context.cores.map)
    if span is None or span.is_flat:
        return DiffusionResult(np.array(depth, np.float32), None, (), None)

    # 2. Pictures and disparity as latents.
    windows = plan_windows(count, options.window, options.overlap, options.tail)
    noises = noises or _seeded(options, network_input.size, networks.spatial_factor, windows)
    with networks.offloaded(plan.offload):
        encoded = encode_clip(network_input, span, networks, noises[0], plan, options, context=context)

        # 3. One step for each window, and back from latents: relative disparity (T,h,w) in 0..1.
        relative = denoise_clip(encoded, windows, networks, noises, options, context=context)
    _note_retries(networks, context.report)

    # 4. Into stage 1's scale, and onto the plate.
    samples = sample_pairs(network_input, relative, context.cores.map)
    alignment = align(samples, windows, count, options.align, (span.low, span.high), options.merge)
    warn_if_apart(alignment, context.report)
    refined = context.scratch.allocate("diffusion_depth", depth.shape, np.float32)

    def finish(index: int) -> None:
        refined[index] = depth_on_plate(relative[index], alignment, span, index, depth.shape[1:], options)
        if options.keep_static > 0:
            _keep_static(refined[index], depth[index], confidence[index], motion_mask[index], options.keep_static)
    context.cores.do(finish, range(count))
    return DiffusionResult(refined, alignment, windows, _report_of(alignment, windows, networks, options, plan,
                                                                   context.first_frame))


def _seeded(options: Options, size: tuple[int, int], factor: int, windows: tuple[Window, ...]) -> list[Noise]:
    latent_shape, picture_shape = (4, size[0] // factor, size[1] // factor), (3, *size)
    return [SeededNoise(options.seed + draw, options.noise_mode, latent_shape, picture_shape, windows)
            for draw in range(options.ensemble)]


# --- Windows ---------------------------------------------------------------------------------------------------

def denoise_clip(encoded: EncodedClip, windows: tuple[Window, ...], networks: DepthCrafterNetworks,
                 noises: Sequence[Noise], options: Options, *, context: RunContext) -> np.ndarray:
    """Relative disparity (T,H,W) float32, near = large. A frame is decoded as soon as no later window can change it."""
    scratch, report = context.scratch, context.report
    count, _, rows, cols = encoded.disparity_latents.shape
    factor = networks.spatial_factor
    merged = scratch.allocate(f"diffusion_merged_{cols}", encoded.disparity_latents.shape, np.float32)
    kept = _KeptWindows(scratch, windows, (*encoded.disparity_latents.shape[1:],), options)
    report.stage("refine", 2 * count)
    decoder = _Decoder(networks, merged, (count, rows * factor, cols * factor), options, scratch)
    for k, window in enumerate(windows):
        if not kept.has(k):
            begin = _latents_of(encoded, merged, windows, k, options)
            kept.put(k, refine_window(networks, begin, draws_of(list(noises), k, window, options),
                                      _condition(encoded, window), options).numpy())
        merge(merged, windows, k, kept.end(k), options.merge)
        report.progress(window.end + decoder.done)
        decoder.decode(settled(windows, k, count), count)
        report.progress(window.end + decoder.done)
    return decoder.relative


def _name(part: str, options: Options, *size: int) -> str:
    """Of a kept array, so that it is found only by a run that cuts the clip up in the same way."""
    how = (*size, options.window, options.overlap, options.decode_chunk)
    return f"diffusion_{part}_{'_'.join(map(str, how))}"


class _KeptWindows:
    """The end latents of every window, (n,4,h,w) float32 each, as they were before they were merged."""

    def __init__(self, scratch: Scratch, windows: tuple[Window, ...], shape: tuple[int, ...], options: Options):
        ends = np.cumsum([window.end - window.start for window in windows])
        self._parts = [slice(end - (window.end - window.start), end) for window, end in zip(windows, ends, strict=True)]
        name = _name("windows", options, *shape[1:])
        self._latents = scratch.open_array(name, (int(ends[-1]), *shape), np.float32)
        self._journal = scratch.journal(name, lambda k: [self.end(k)])
        self._kept_before = self._journal.done

    def has(self, k: int) -> bool:
        return k < self._kept_before

    def put(self, k: int, latents: np.ndarray) -> None:
        self._latents[self._parts[k]] = latents
        self._journal.note(k)

    def end(self, k: int) -> np.ndarray:
        return self._latents[self._parts[k]]


def _condition(encoded: EncodedClip, window: Window) -> Condition:
    part = slice(window.start, window.end)
    return Condition(_tensor(encoded.picture_latents[part]), _tensor(encoded.embeddings[part]))


def _latents_of(encoded: EncodedClip, merged: np.ndarray, windows: tuple[Window, ...], k: int,
                options: Options) -> torch.Tensor:
    """Where window k begins: at stage 1; with latent sharing, the frames it shares at where the last window ended."""
    latents = _tensor(encoded.disparity_latents[windows[k].start:windows[k].end])
    shared = windows[k - 1].end - windows[k].start if k else 0
    if options.share_latents and shared > 0:
        latents[:shared] = _tensor(merged[windows[k].start:windows[k].start + shared])
    return latents


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))


class _Decoder:
    """Turns merged latents into relative disparity (T,H,W) float32, chunk by chunk, each with a halo that is decoded
    and dropped. done: frames that are decoded, by an earlier run too."""

    def __init__(self, networks: DepthCrafterNetworks, merged: np.ndarray, shape: tuple[int, int, int],
                 options: Options, scratch: Scratch):
        name = _name("relative", options, *shape[1:])
        self.relative = scratch.open_array(name, shape, np.float32)
        self._journal = scratch.journal(name, lambda index: [self.relative[index]])
        self.done = self._journal.done
        self._networks, self._merged = networks, merged
        self._chunk, self._halo, self._clamp = options.decode_chunk, options.decode_halo, options.clamp

    def decode(self, final: int, count: int) -> None:
        """All chunks that need no latents from frame `final` on."""
        stop = count if final >= count else max(self.done, (final - self._halo) // self._chunk * self._chunk)
        while self.done < stop:
            try:
                self._decode_until(stop, count)
            except torch.OutOfMemoryError as error:
                if self._chunk == 1:
                    raise StereoDiffError("out_of_memory", f"Not even one frame can be decoded: {error}.") from error
                self._networks.free_unused()
                self._chunk = _half(self._chunk)

    def _decode_until(self, stop: int, count: int) -> None:
        for index, picture in decode_span(self._networks, self._merged, self.done, stop, count, self._chunk,
                                          self._halo):
            self.relative[index] = relative_disparity(picture, self._clamp)
            self._journal.note(index)
            self.done = index + 1


def _half(chunk: int) -> int:
    """A divisor, so that what is left begins at the start of a chunk."""
    return chunk // 2 if chunk % 2 == 0 else 1


def relative_disparity(picture: np.ndarray, clamp: bool) -> np.ndarray:
    """A decoded picture (3,H,W), about -1..1, to its mean over channels (H,W), 0..1."""
    unit = 0.5 * picture + 0.5
    return (np.clip(unit, 0.0, 1.0) if clamp else unit).mean(axis=0)


# --- Back to stage 1 -------------------------------------------------------------------------------------------

def sample_pairs(network_input: NetworkInput, relative: np.ndarray, each: Callable = map) -> Samples:
    """Relative and stage-1 disparity of the same pixels, on a grid that keeps their number in bounds. each: as of
    find_range."""
    step = max(1, ceil(sqrt(relative.size / MAX_SAMPLES)))
    grid = (slice(step // 2, None, step),) * 2

    def of_frame(index: int) -> tuple[np.ndarray, ...]:
        disparity, weight = network_input.disparity(index)[grid], network_input.weight(index)[grid]
        use = disparity > 0
        return (np.full(int(use.sum()), index), relative[index][grid][use].astype(np.float64), disparity[use],
                weight[use].astype(np.float64))
    columns = list(each(of_frame, range(len(relative))))
    return Samples(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def depth_on_plate(relative: np.ndarray, alignment: Alignment, span: DisparityRange, index: int,
                   shape: tuple[int, int], options: Options) -> np.ndarray:
    """(H,W) relative disparity of one frame to depth of `shape`, in stage 1's scale and never far outside its range."""
    disparity = alignment.scale[index] * relative.astype(np.float64) + alignment.shift[index]
    bounded = np.clip(disparity, span.least / options.far, span.most / options.near)
    return (1.0 / disparity_to_plate(bounded, shape)).astype(np.float32)


def _note_retries(networks: DepthCrafterNetworks, report: Report) -> None:
    count = sum(networks.retries.values())
    if count:
        report.note(f"DepthCrafter: {networks.precision_name} was not enough {count} times; done again in float32.")


def warn_if_apart(alignment: Alignment, report: Report) -> None:
    """A network that answers something else than the depth it was given is not to be believed."""
    if alignment.mode == "inverse":
        report.warn("refinement_apart", "What DepthCrafter made of the depth cannot be fitted to the solve's scale.")
    elif alignment.residual > MAX_RESIDUAL:
        report.warn("refinement_apart", f"DepthCrafter's depth differs from the solve's by {alignment.residual:.0%}.")


def _keep_static(refined: np.ndarray, depth: np.ndarray, confidence: np.ndarray, motion_mask: np.ndarray,
                 share: float) -> None:
    """In place: stage 1's disparity by its share where it was measured on still things."""
    weight = share * np.clip(confidence, 0.0, 1.0) * (motion_mask == 0) * (depth > 0)
    stereo_disparity = np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)
    refined[:] = 1.0 / ((1.0 - weight) / refined + weight * stereo_disparity)


def _report_of(alignment: Alignment, windows: tuple[Window, ...], networks: DepthCrafterNetworks, options: Options,
               plan: MemoryPlan, first_frame: int) -> Refinement:
    return Refinement(
        plan.width, plan.height, options.window, options.overlap, options.sigma, options.sigma_end,
        networks.precision_name, alignment.mode, max(alignment.border_steps, default=None),
        tuple(first_frame + window.start for window in windows[1:]), networks.peak_megabytes())
