"""An evaluation's report: figures of every clip and their means, with the paper's rows beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..contract.strict_json import to_dict
from ..quality.spectrum import BANDS
from .clip_scores import ClipScores
from .datasets import DATASETS
from .paper import BANDS as PAPER_BANDS
from .paper import PAPER_DATASETS, TABLE_1
from .solving import Request

COLUMNS = {
    "absrel": ("AbsRel", "{:.4f}"), "rmse": ("RMSE", "{:.4f}"), "delta1": ("δ1", "{:.4f}"),
    "delta2": ("δ2", "{:.4f}"), "absrel_static": ("AbsRel still", "{:.4f}"),
    "absrel_moving": ("AbsRel moving", "{:.4f}"), "coverage": ("covered", "{:.1%}"), "ate": ("ATE", "{:.4f}"),
    "ate_percent": ("of path", "{:.2f} %"), "rpe_translation": ("RPE", "{:.4f}"),
    "rpe_rotation_deg": ("RPE turn", "{:.3f}°"), "flicker2": ("flicker", "{:.4f}"),
    "truth_flicker2": ("truth's", "{:.4f}"), "tae": ("TAE", "{:.2%}"), "opw": ("OPW", "{:.4f}"),
}
OTHER_DATA = "measured by the paper's authors on its own data, not on these clips"
SAME_SET = "measured by the paper's authors, with the published weights and on their choice of clips"


@dataclass(frozen=True)
class Report:
    request: Request
    scores: tuple[ClipScores, ...]

    @property
    def runs(self) -> int:
        return max(scores.run for scores in self.scores)

    def means(self) -> dict[str, float | None]:
        """Of every figure over the runs and clips that have it."""
        return {name: mean_of([getattr(scores, name) for scores in self.scores]) for name in COLUMNS}

    def spreads(self) -> dict[str, float | None]:
        """Standard deviation over the runs of the mean over the clips; None with a single run."""
        return {name: _deviation([mean_of([getattr(s, name) for s in self.scores if s.run == run])
                                  for run in range(1, self.runs + 1)]) for name in COLUMNS}

    def bands(self) -> tuple[float | None, ...] | None:
        """Means of F0..F10 over the clips and runs that have each; None if none has any."""
        known = [scores.bands for scores in self.scores if scores.bands is not None]
        return tuple(mean_of(values) for values in zip(*known, strict=True)) if known else None


def mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _deviation(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    mean = sum(known) / len(known)
    return (sum((value - mean) ** 2 for value in known) / len(known)) ** 0.5


def engine_words(request: Request) -> str:
    """The engines and what changes their result, in a few words."""
    settings = request.settings
    words = [f"{settings.stereo} + {settings.refine}", settings.quality]
    words += [f"{settings.max_side_px} px"] if settings.max_side_px else []
    words += ["cameras refined"] if settings.refine_cameras else []
    if settings.refine == "depthcrafter":
        diffusion = settings.diffusion
        words.append(f"{diffusion.preset}, {diffusion.schedule}")
        words += [f"noise level {diffusion.noise_level:g}"] if diffusion.schedule == "free" else []
        words += [f"{diffusion.ensemble} draws"] if diffusion.ensemble > 1 else []
        words += [f"still things kept {diffusion.keep_static:g}"] if diffusion.keep_static else []
    return ", ".join(words)


# --- As data ---------------------------------------------------------------------------------------------------

def as_data(report: Report) -> dict[str, object]:
    """For report.json."""
    return {"request": to_dict(report.request), "engine": engine_words(report.request),
            "protocol": protocol(report), "runs": report.runs, "mean": report.means(),
            "spread_over_runs": report.spreads(), "bands": report.bands(),
            "clips": [to_dict(scores) for scores in report.scores],
            "paper": {"note": _paper_note(report.request), "absrel_rmse_delta1": TABLE_1, "bands_on_bonn": PAPER_BANDS}}


def protocol(report: Report) -> list[str]:
    """How the figures came about, in sentences."""
    request, dataset = report.request, DATASETS[report.request.dataset]
    lines = [
        "One scale and one shift of disparity for each clip, by least squares over all its pixels with truth; depth "
        "brought to the truth's raster by the nearest pixel; measured per frame, then per clip, then over the clips.",
        f"True depth from {request.farthest:g} on is not scored, nor are pixels without depth (see covered).",
        "ATE and RPE after one similarity (Umeyama), root mean squares, in the data set's unit of length. flicker: "
        "mean second difference of ln depth at fixed pixels, with what the truth itself has beside it. OPW: of "
        "disparity, in shares of its range."]
    lines += [_source(report, "motion_from", "Still and moving pixels are told apart by",
                      "the data set's own mask", "the solve's own motion mask, as the data set has none")]
    lines += [_source(report, "cameras_from", "TAE: of still pixels, by", "the data set's cameras",
                      "the solve's own cameras and depth, as the data set lacks what it takes")]
    if request.frames:
        lines.append(f"At most the first {request.frames} frames of each clip.")
    if dataset.remark:
        lines.append(dataset.remark)
    return [sentence for sentence in lines if sentence]


def _source(report: Report, name: str, begin: str, truth: str, own: str) -> str:
    kinds = {getattr(scores, name) for scores in report.scores} - {None}
    if not kinds:
        return ""
    if len(kinds) == 1:
        return f"{begin} {truth if kinds == {'truth'} else own}."
    names = ", ".join(sorted({scores.clip for scores in report.scores if getattr(scores, name) == "own"}))
    return f"{begin} {truth}; in {names} by {own}."


def _paper_note(request: Request) -> str:
    return SAME_SET if request.dataset in PAPER_DATASETS else OTHER_DATA


# --- As Markdown -----------------------------------------------------------------------------------------------

def as_markdown(report: Report) -> str:
    """For report.md."""
    title = DATASETS[report.request.dataset].title
    runs = f"Means of {report.runs} runs.\n\n" if report.runs > 1 else ""
    parts = [f"# {title}: {engine_words(report.request)}", runs + depth_table(report), *_failures(report),
             "## The paper's figures", paper_table(report.request), "## Error by frequency", bands_table(report),
             "## How it was measured", "\n".join(f"- {sentence}" for sentence in protocol(report))]
    return "\n\n".join(part for part in parts if part) + "\n"


def depth_table(report: Report) -> str:
    """A row for every clip, its mean over the runs, and one for all."""
    clips = list(dict.fromkeys(scores.clip for scores in report.scores))
    used = [name for name in COLUMNS if any(getattr(scores, name) is not None for scores in report.scores)]
    rows = [["clip", "frames", *(COLUMNS[name][0] for name in used)]]
    for clip in clips:
        own = [scores for scores in report.scores if scores.clip == clip]
        rows.append([clip, str(own[0].frames), *_cells(used, lambda name, own=own: mean_of(
            [getattr(scores, name) for scores in own]))])
    if len(clips) > 1:
        means = report.means()
        rows.append(["**mean**", "", *_cells(used, means.get)])
    if report.runs > 1:
        spreads = report.spreads()
        rows.append(["± over the runs", "", *_cells(used, spreads.get)])
    return markdown(rows)


def _cells(names: list[str], value_of) -> list[str]:
    return ["-" if (value := value_of(name)) is None else COLUMNS[name][1].format(value) for name in names]


def _failures(report: Report) -> list[str]:
    lines = [f"- {scores.clip}, run {scores.run}: failed ({scores.failure})" for scores in report.scores
             if scores.failure]
    lines += [f"- {scores.clip}, run {scores.run}: no depth, because the camera was found to be {scores.camera_kind}"
              for scores in report.scores if scores.camera_kind in ("rotation", "static")]
    return ["Not in the means:\n\n" + "\n".join(lines)] if lines else []


def paper_table(request: Request) -> str:
    """The rows of the data set, or of all four where it is none of the paper's."""
    sets = (request.dataset,) if request.dataset in PAPER_DATASETS else PAPER_DATASETS
    rows = [["method (paper)", *(f"{DATASETS[name].title}: {measure}" for name in sets
                                 for measure in ("AbsRel", "RMSE", "δ1"))]]
    for method, figures in TABLE_1.items():
        if any(name in figures for name in sets):
            rows.append([method, *(text for name in sets for text in _paper_cells(figures.get(name)))])
    return f"These rows were {_paper_note(request)}.\n\n{markdown(rows)}"


def _paper_cells(figures: tuple[float, ...] | None) -> list[str]:
    return ["-"] * 3 if figures is None else [f"{value:.4f}" for value in figures]


def bands_table(report: Report) -> str:
    rows = [["AbsRel in band", *(f"F{band}" for band in range(BANDS))]]
    if (own := report.bands()) is not None:
        rows.append([engine_words(report.request), *("-" if value is None else f"{value:.4f}" for value in own)])
    rows += [[f"{method} (paper, Bonn)", *(f"{value:.4f}" for value in values)]
             for method, values in PAPER_BANDS.items()]
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))
