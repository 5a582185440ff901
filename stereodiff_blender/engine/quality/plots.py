"""Pictures of how well a solve went, for people. Drawn without a window and without matplotlib's global state."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..storage import Target, write_bytes
from .spectrum import CUTOFF
from .static_spectrum import MIN_BLOCK, StaticSpectrum

__all__ = ["AFTER", "BEFORE", "DPI", "FONT", "INK", "PAPER", "QUIET", "write_camera_plot", "write_refinement_plot"]

WIDTH_IN, HEIGHT_IN, CAMERA_HEIGHT_IN, DPI = 14.0, 5.4, 4.2, 100
# Vermilion and blue of Okabe and Ito's palette: told apart by every kind of color vision.
BEFORE, AFTER = "#D55E00", "#0072B2"
INK, QUIET, PAPER = "#2B2B2B", "#767676", "#FFFFFF"
FONT = "DejaVu Sans"
SEAM_DASHES = (0, (1, 2))
FLOOR, DECADES = 1e-6, 3.0
"""Less error than this share of depth is drawn as this; and the axis goes this far down from the highest point."""
MAX_MARKERS = 40
"""So many frames or fewer are drawn as points as well: a line of three would say little."""
MOST_PX = 1e5
"""Of a camera's error: what is beyond fits nothing, and is more than axes can be drawn for."""


def write_refinement_plot(path: Target, *, spectrum: StaticSpectrum | None, stereo_disparity: np.ndarray,
                          refined_disparity: np.ndarray, first_frame: int, seams: tuple[int, ...] = ()) -> None:
    """A PNG, 1400 x 540: error of still points by frequency, and mean disparity by frame, before and after stage 2.

    The same input gives the same bytes.

    Parameters
    ----------
    path : Target
        Where to; a file that is there is replaced.
    spectrum : StaticSpectrum or None
        None if none could be measured.
    stereo_disparity, refined_disparity : ndarray
        (T,) as mean_disparities returns them.
    first_frame : int
        Clip frame of index 0.
    seams : tuple of int
        Clip frames at which a window of the network begins.

    Raises
    ------
    StereoDiffError
        "disk_full", "output_not_writable" or, of a guarded file, "job_folder_unsafe".
    """
    with style.context("default"):  # whatever this person's own settings of matplotlib are
        picture = _drawn(spectrum, stereo_disparity, refined_disparity, first_frame, seams)
    write_bytes(path, picture)


def write_camera_plot(path: Target, *, reprojection_px: np.ndarray, solved: np.ndarray,
                      first_frame: int) -> None:
    """A PNG, 1400 x 420: how far tracked points lie from where the solved camera puts them, frame by frame.

    The same input gives the same bytes.

    Parameters
    ----------
    path : Target
        Where to; a file that is there is replaced.
    reprojection_px : ndarray
        (T,), pixels of the plate; nan where nothing was tracked, but not in all frames.
    solved : ndarray
        (T,) bool; the other cameras are interpolated.
    first_frame : int
        Clip frame of index 0.

    Raises
    ------
    StereoDiffError
        "disk_full", "output_not_writable" or, of a guarded file, "job_folder_unsafe".
    """
    with style.context("default"):
        figure = Figure(figsize=(WIDTH_IN, CAMERA_HEIGHT_IN), dpi=DPI, facecolor=PAPER)
        axes = figure.subplots(gridspec_kw={"left": 0.06, "right": 0.985, "bottom": 0.17, "top": 0.78})
        _draw_camera_error(axes, reprojection_px, solved, first_frame)
        picture = io.BytesIO()
        FigureCanvasAgg(figure).print_png(picture, metadata={"Software": None})
    write_bytes(path, picture.getvalue())


def _draw_camera_error(axes: Axes, error: np.ndarray, solved: np.ndarray, first_frame: int) -> None:
    frames = first_frame + np.arange(len(error))
    worst = int(np.nanargmax(error))
    beyond, error = error[worst] > MOST_PX, np.minimum(error, MOST_PX)
    _dress(axes, "Fit of the camera", f"Mean distance of tracked points from where the camera puts them; the worst is "
           f"frame {frames[worst]}, {'more than ' if beyond else ''}{error[worst]:.2f} pixels", "pixels of the plate")
    axes.set_xlabel("frame of the clip", **_words(10.5), labelpad=4)
    for index in np.flatnonzero(~np.asarray(solved, bool)):
        axes.axvspan(frames[index] - 0.5, frames[index] + 0.5, color=BEFORE, alpha=0.15, linewidth=0)
    axes.bar(frames, np.nan_to_num(error), width=0.9, color=AFTER, linewidth=0)
    axes.bar(frames[worst], error[worst], width=0.9, color=BEFORE, linewidth=0)
    axes.axhline(float(np.nanmedian(error)), color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_xlim(frames[0] - 0.5, frames[-1] + 0.5)
    axes.set_ylim(0.0, max(1.15 * float(error[worst]), 0.1))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    lines = [Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="median"),
             Line2D([], [], color=BEFORE, linewidth=6, label="worst")]
    if not np.all(solved):
        lines.append(Line2D([], [], color=BEFORE, alpha=0.25, linewidth=6, label="interpolated"))
    axes.figure.legend(handles=lines, loc="center right", bbox_to_anchor=(0.985, 0.94), ncols=len(lines), frameon=False,
                       borderaxespad=0, borderpad=0, labelcolor=INK, prop={"family": FONT, "size": 10.5})


def _drawn(spectrum: StaticSpectrum | None, stereo_disparity: np.ndarray, refined_disparity: np.ndarray,
           first_frame: int, seams: tuple[int, ...]) -> bytes:
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=PAPER)
    left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.06, "right": 0.985, "bottom": 0.155, "top": 0.75,
                                                     "wspace": 0.18})
    _head(figure, has_seams=bool(seams))
    if spectrum is None:
        _say_why_not(left, len(stereo_disparity))
    else:
        _draw_spectrum(left, spectrum)
    _draw_disparity(right, stereo_disparity, refined_disparity, first_frame, seams)
    picture = io.BytesIO()
    # Without the name of the program, the picture does not change with matplotlib's version alone.
    FigureCanvasAgg(figure).print_png(picture, metadata={"Software": None})
    return picture.getvalue()


# --- Error by frequency ----------------------------------------------------------------------------------------

LEFT_TITLE = "Flicker of the still scene"


def _draw_spectrum(axes: Axes, spectrum: StaticSpectrum) -> None:
    _dress(axes, LEFT_TITLE, _spectrum_sentence(spectrum), "error of depth (% of depth)")
    axes.set_xlabel("how fast the error changes (cycles per frame, frames per cycle)", **_words(10.5), labelpad=4)
    axes.axvspan(CUTOFF, 0.5, color=QUIET, alpha=0.07, linewidth=0)
    axes.axvline(CUTOFF, color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)))
    for color, amplitude in ((BEFORE, spectrum.before), (AFTER, spectrum.after)):
        if amplitude is not None:
            axes.plot(spectrum.frequency, 100 * np.maximum(amplitude, FLOOR), color=color, linewidth=2.0,
                      solid_joinstyle="round")
    _fit_log_axis(axes, spectrum)
    axes.set_xlim(0.0, 0.5)
    ticks = (0.1, 0.2, 0.3, 0.4, 0.5)
    axes.set_xticks((0.0, *ticks), ("0", *(f"{tick:g}\n{1 / tick:.2g} frames" for tick in ticks)))
    for x, side, words in ((CUTOFF - 0.005, "right", "slow"), (CUTOFF + 0.005, "left", "fast: seen as flicker")):
        axes.text(x, 0.975, words, transform=axes.get_xaxis_transform(), ha=side, va="top", **_words(9.5, QUIET))


def _spectrum_sentence(spectrum: StaticSpectrum) -> str:
    if spectrum.high_kept is None:
        return f"{spectrum.points} points, each followed for {spectrum.block} frames"
    slow = "" if spectrum.low_kept is None else f" and {100 * spectrum.low_kept:.0f} % of the slow"
    return f"Stage 2 left {100 * spectrum.high_kept:.0f} % of the fast error{slow}"


def _say_why_not(axes: Axes, frame_count: int) -> None:
    _dress(axes, LEFT_TITLE, "Not measured", "")
    axes.set_axis_off()
    reason = (f"It takes {MIN_BLOCK} frames or more, and these are {frame_count}." if frame_count < MIN_BLOCK else
              f"Too few trusted points of the still scene\nare in sight for {MIN_BLOCK} frames or more.")
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", linespacing=1.6,
              **_words(12, QUIET))


def _fit_log_axis(axes: Axes, spectrum: StaticSpectrum) -> None:
    """Room for the curves and the words above them: at least a decade, at most DECADES below the highest point."""
    shown = np.concatenate([part for part in (spectrum.before, spectrum.after) if part is not None])
    lowest, high = 100 * np.maximum([shown.min(), shown.max()], FLOOR)
    low = np.clip(lowest, high / 10**DECADES, high / 10)
    axes.set_ylim(low / 1.3, high * (high / low) ** 0.14)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 60 else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


# --- Mean disparity by frame -----------------------------------------------------------------------------------

def _draw_disparity(axes: Axes, before: np.ndarray, after: np.ndarray, first_frame: int,
                    seams: tuple[int, ...]) -> None:
    _dress(axes, "Nearness of the picture", "Mean disparity of each frame: 0 is the farthest thing of the clip, 1 the "
           "nearest", "mean disparity")
    axes.set_xlabel("frame of the clip", **_words(10.5), labelpad=4)
    frames = first_frame + np.arange(len(before))
    marker = "o" if len(frames) <= MAX_MARKERS else None
    for seam in seams:
        axes.axvline(seam, color=QUIET, linewidth=1.2, linestyle=SEAM_DASHES, zorder=1)
    axes.plot(frames, before, color=BEFORE, linewidth=1.6, marker=marker, markersize=3.5)
    axes.plot(frames, after, color=AFTER, linewidth=2.0, marker=marker, markersize=3.5)
    axes.set_xlim(frames[0] - 0.5, frames[-1] + 0.5)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")


# --- House style -----------------------------------------------------------------------------------------------

def _head(figure: Figure, *, has_seams: bool) -> None:
    """The picture's title, and one legend for both halves, where it hides no curve."""
    figure.text(0.06, 0.94, "Depth before and after stage 2", va="center", fontweight="bold", **_words(15))
    lines = [Line2D([], [], color=BEFORE, linewidth=2.5, label="before stage 2"),
             Line2D([], [], color=AFTER, linewidth=2.5, label="after stage 2")]
    if has_seams:
        lines.append(Line2D([], [], color=QUIET, linewidth=1.2, linestyle=SEAM_DASHES, label="a new window begins"))
    figure.legend(handles=lines, loc="center right", bbox_to_anchor=(0.985, 0.94), ncols=len(lines), frameon=False,
                  borderaxespad=0, borderpad=0, labelcolor=INK, prop={"family": FONT, "size": 10.5})


def _dress(axes: Axes, title: str, subtitle: str, y_label: str) -> None:
    axes.set_title(title, loc="left", pad=28, fontweight="bold", **_words(12))
    axes.annotate(subtitle, (0.0, 1.0), xytext=(0, 11), xycoords="axes fraction", textcoords="offset points",
                  **_words(10, QUIET))
    axes.set_ylabel(y_label, **_words(10.5), labelpad=6)
    axes.grid(axis="y", color=QUIET, alpha=0.22, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelcolor=INK, labelsize=9.5, labelfontfamily=FONT)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(QUIET)


def _words(size: float, color: str = INK) -> dict[str, object]:
    return {"family": FONT, "fontsize": size, "color": color}
