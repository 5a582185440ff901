"""Plots of an evaluation: error by frequency, and error of every frame."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..quality.plots import AFTER, BEFORE, DPI, FONT, INK, PAPER, QUIET
from ..quality.spectrum import BANDS, CUTOFF, frequencies, magnitude_spectrum
from ..storage import write_bytes
from .clip_scores import ClipScores
from .paper import BANDS as PAPER_BANDS

WIDTH_IN, HEIGHT_IN = 10.0, 4.6
PAPER_STYLES = {"StereoDiff": (BEFORE, "-"), "MonST3R": (QUIET, "--"), "DepthCrafter": (QUIET, ":")}
FLOOR = 1e-5
LEGEND_ROOM = 0.8
"""The upper end of the bands' axis: no method has such an error, and the legend stands clear of the curves."""


def write_bands_plot(path: Path, own: tuple[float | None, ...], label: str, *, is_bonn: bool) -> None:
    """A PNG of AbsRel in F0..F10, ours and the paper's. is_bonn: ours was measured on the paper's data set.

    Raises StereoDiffError "disk_full" or "output_not_writable".
    """
    with style.context("default"):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=PAPER)
        axes = figure.add_axes((0.09, 0.13, 0.88, 0.68))
        _dress(axes, "Error by frequency", "AbsRel in each band: F0 does not change, F10 changes from frame to frame"
               + ("" if is_bonn else "; the paper's are of other data"), "AbsRel")
        bands = np.arange(BANDS)
        for method, values in PAPER_BANDS.items():
            color, dashes = PAPER_STYLES[method]
            axes.plot(bands, values, color=color, linestyle=dashes, linewidth=1.6, marker="o", markersize=3.5,
                      label=f"{method} (paper, Bonn)")
        # A band that no clip is long enough for stays a gap.
        axes.plot(bands, [np.nan if value is None else max(value, FLOOR) for value in own], color=AFTER, linewidth=2.2,
                  marker="o", markersize=5, label=label)
        _as_log(axes)
        axes.set_ylim(top=LEGEND_ROOM)
        axes.set_xticks(bands, [f"F{band}" for band in bands])
        axes.legend(frameon=False, loc="upper right", ncols=2, labelcolor=INK, prop={"family": FONT, "size": 9.5})
        picture = _as_png(figure)
    write_bytes(path, picture)


def write_clip_plot(path: Path, scores: ClipScores) -> None:
    """A PNG of one clip's AbsRel by frame, and of how much of it there is at each frequency. Raises as above."""
    known = [(index, value) for index, value in enumerate(scores.absrel_per_frame) if value is not None]
    places, absrel = (np.array(values) for values in zip(*known, strict=True))
    with style.context("default"):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=PAPER)
        left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.08, "right": 0.98, "bottom": 0.13, "top": 0.81,
                                                         "wspace": 0.22})
        _dress(left, scores.clip, f"AbsRel of each frame; mean {scores.absrel:.4f}", "AbsRel")
        left.plot(places + 1, absrel, color=AFTER, linewidth=1.8)
        left.set_ylim(bottom=0.0)
        left.set_xlabel("frame", family=FONT, color=INK)
        left.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        _draw_spectrum(right, np.interp(np.arange(places[0], places[-1] + 1), places, absrel))
        picture = _as_png(figure)
    write_bytes(path, picture)


def _draw_spectrum(axes: Axes, absrel: np.ndarray) -> None:
    _dress(axes, "By frequency", "How much AbsRel changes; right of the line it flickers", "AbsRel")
    amplitude = 2.0 * magnitude_spectrum(absrel)[1:] / len(absrel)
    if len(amplitude):
        axes.plot(frequencies(len(absrel))[1:], np.maximum(amplitude, FLOOR), color=AFTER, linewidth=1.8)
        _as_log(axes)
    axes.axvline(CUTOFF, color=QUIET, linewidth=1.2, linestyle=":")
    axes.set_xlim(0.0, 0.5)
    axes.set_xlabel("cycles per frame", family=FONT, color=INK)


def _as_log(axes: Axes) -> None:
    """Powers of ten and their halves and fifths, in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _dress(axes: Axes, title: str, subtitle: str, y_label: str) -> None:
    axes.set_title(title, loc="left", pad=26, fontweight="bold", family=FONT, fontsize=12, color=INK)
    axes.annotate(subtitle, (0.0, 1.0), xytext=(0, 9), xycoords="axes fraction", textcoords="offset points",
                  family=FONT, fontsize=9, color=QUIET)
    axes.set_ylabel(y_label, family=FONT, color=INK)
    axes.grid(axis="y", color=QUIET, alpha=0.22, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelcolor=INK, labelsize=9, labelfontfamily=FONT)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(QUIET)


def _as_png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture, metadata={"Software": None})
    return picture.getvalue()
