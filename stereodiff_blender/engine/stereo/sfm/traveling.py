"""A camera that travels: from a few focal lengths to try, to the camera of every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...contract import StereoDiffError
from ..mapping import CameraFit, Reconstruction, pair_candidates, reconstruct, register_all_frames
from .keyframes import choose_keyframes, choose_seed_keyframes
from .lens_choice import choose_lens, choose_shutter, explains_better, hold_shutter
from .shot import MIN_FRAMES_FOR_FOCAL, MIN_SOLVED_SHARE, TrackedShot, unsolved
from .turning import carry_on_turning, lens_of_turn
from .warnings import FOCAL_SPREAD

FOCAL_SEEDS = (0.5, 0.75, 1.1, 1.8)
MIN_EXPLAINED_SHARE = 0.25
CLOSE_SURVIVING_SHARE, MORE_KEYFRAMES = 0.75, 1.3
"""Tracks left at the next keyframe where they are to be closer, and how many more of them make a difference."""
SEED_RIVAL = 2.0
OTHER_LENS = 1.03
"""Ratio from which the lens of a turn is another than that of the travel."""
FREE_FOCAL_SPREAD, FREE_FOCAL_REL_STD = 1.5, 0.05
"""Rival focal lengths this far apart, or a deviation this large, are those of a shot that any lens may explain."""
AS_GOOD = 1.1
"""Residual of a lens that is held over that of the best one, up to which both explain the shot alike."""


@dataclass(frozen=True)
class Travel:
    """A traveling camera as found.

    reconstruction: what fitted was read from. focal_spread: longest over shortest focal length of the good seeds.
    turning: (T,) bool, frames whose camera was found by its turn alone, at the place of the frame beside them.
    is_focal_assumed: any lens explains the shot, and an ordinary one was held. is_lens_from_turn: those frames tell it.
    zoom_spread: longest over shortest focal length that seeds lead to, which zoom from the beginning. is_doubtful: a
    turn on the spot explains the shot nearly as well.
    """

    reconstruction: Reconstruction
    fitted: CameraFit
    focal_spread: float
    turning: np.ndarray
    is_focal_assumed: bool = False
    is_lens_from_turn: bool = False
    zoom_spread: float = 1.0
    is_doubtful: bool = False

    @property
    def traveling(self) -> np.ndarray:
        """(T,) bool: frames whose place was measured."""
        return self.fitted.solved & ~self.turning


def focal_seeds(shot: TrackedShot) -> list[float]:
    if shot.focal is not None:
        return [shot.focal]
    if shot.square.frame_count < MIN_FRAMES_FOR_FOCAL:
        return [shot.guessed_focal]
    return [share * max(shot.square.size) for share in FOCAL_SEEDS]


def find_travel(shot: TrackedShot, keyframes: np.ndarray, step: Callable[[], None]) -> Travel:
    """The traveling camera that explains most; step is called after each of len(focal_seeds) + 1 + rounds steps.

    Where tracks are short, keyframes that are as far apart as usual share points by twos, and what two cameras see
    links no third: then closer ones are tried.

    Raises StereoDiffError "camera_unsolved" if none explains enough.
    """
    try:
        return _find_travel(shot, keyframes, step)
    except StereoDiffError:
        closer = choose_keyframes(shot.square, shot.frames, CLOSE_SURVIVING_SHARE)
        if len(closer) < MORE_KEYFRAMES * len(keyframes):
            raise
        return _find_travel(shot, closer, lambda: None)


def _find_travel(shot: TrackedShot, keyframes: np.ndarray, step: Callable[[], None]) -> Travel:
    travel, reach = _from_seeds(shot, keyframes, focal_seeds(shot), step)
    if not travel.fitted.solved[shot.frames].all():
        travel = _with_turning_frames(shot, keyframes, travel)
    if reach < MIN_SOLVED_SHARE and not travel.turning.any():
        raise unsolved(f"the camera could be followed through only {100 * reach:.0f} % of the shot")
    _check(shot, travel)
    return travel


def explained_share(shot: TrackedShot, travel: Travel) -> float:
    """Share of the observations that fit, of frames that do more than turn."""
    return len(travel.fitted.frame) / max(np.count_nonzero(~travel.turning[shot.tracks.frame]), 1)


def _check(shot: TrackedShot, travel: Travel) -> None:
    solved = travel.fitted.solved
    if solved.mean() < MIN_SOLVED_SHARE or not len(travel.fitted.points):
        raise unsolved(f"only {solved.sum()} of {len(solved)} frames fit together")
    explained = explained_share(shot, travel)
    if explained < MIN_EXPLAINED_SHARE:
        raise unsolved(f"only {100 * explained:.0f} % of the tracked points agree on one camera path; if much of the "
                       "picture moves, give a matte of it")


def _from_seeds(shot: TrackedShot, keyframes: np.ndarray, seeds: list[float],
                step: Callable[[], None] = lambda: None) -> tuple[Travel, float]:
    """All frames, from the focal seed that explains a few of them best; and the share of keyframes it reached."""
    few = choose_seed_keyframes(shot.square, keyframes)
    best, focal_spread = best_solve(try_seeds(shot, few, seeds, step))
    for half in np.array_split(shot.frames, 2) if best is None else ():
        # Widely spread keyframes can all lie in a part of the shot in which the camera stands.
        if best is None:
            best, focal_spread = best_solve(try_seeds(shot, choose_seed_keyframes(shot.square, half), seeds))
    if best is None:
        given = "" if shot.focal is None else " if the focal length given is right"
        raise unsolved(f"no two frames show the same points from clearly different places{given}")
    best.register_frames(keyframes)
    zoom_spread = 1.0
    is_assumed = shot.focal is None and seeds == [shot.guessed_focal]  # what a lens is made up to do makes it fit
    if shot.distortion is None and not is_assumed and choose_lens(best) and len(seeds) > 1:
        best, zoom_spread = _zooming(shot, keyframes, few, seeds, best)
    best.register_frames(keyframes)
    best.middle_row, best.distortion_taken_out = 0.5 * shot.tracks.size[1] - shot.principal_point[1], shot.distortion
    step()
    reach = float(best.registered[keyframes].mean())
    is_bent = best.zooms and zoom_spread > FOCAL_SPREAD
    fitted = register_all_frames(best, step, choose=_shutter_choice(shot, is_assumed, is_bent))
    return Travel(best, fitted, focal_spread, np.zeros(len(fitted.solved), bool), zoom_spread=zoom_spread), reach


def _shutter_choice(shot: TrackedShot, is_assumed: bool, is_bent: bool) -> Callable[[Reconstruction], bool] | None:
    """is_bent: as choose_shutter has it."""
    if shot.readout is not None:
        return partial(hold_shutter, readout=shot.readout)
    return None if is_assumed else partial(choose_shutter, is_bent=is_bent)


def _zooming(shot: TrackedShot, keyframes: np.ndarray, few: np.ndarray, seeds: list[float],
             best: Reconstruction) -> tuple[Reconstruction, float]:
    """A solve that zooms from the beginning, if held-out tracks prefer it: under one focal length, what zooms much is
    bent into a shape that nothing leads out of. And longest over shortest focal length that the seeds lead to."""
    solves = try_seeds(shot, few, seeds, zooms=True)
    rival, _ = best_solve(solves)
    if rival is None:
        return best, np.inf
    focals = [solve.focal * float(np.exp(solve.zoom[solve.registered].mean())) for solve in solves]
    ratio = max(focals) / min(focals)
    rival.register_frames(keyframes)
    choose_lens(rival)
    reach = best.registered[keyframes].sum()
    is_rival = rival.registered[keyframes].sum() >= reach and explains_better(rival, best)
    return (rival if is_rival else best), ratio


def try_seeds(shot: TrackedShot, few: np.ndarray, seeds: list[float],
              step: Callable[[], None] = lambda: None, *, zooms: bool = False) -> list[Reconstruction]:
    """The solves of a few frames, one from each focal seed; fewer where no pair of frames carries."""
    candidates = pair_candidates(shot.square, few, shot.seed)

    def solved_from(focal: float) -> Reconstruction | None:
        return reconstruct(shot.square, candidates, few, focal, free_focal=len(seeds) > 1, seed=shot.seed, zooms=zooms)

    solves = []
    for solve in shot.cores.map(solved_from, seeds):
        solves.append(solve)
        step()
    return [solve for solve in solves if solve is not None]


def best_solve(solves: list[Reconstruction]) -> tuple[Reconstruction | None, float]:
    """The solve that explains most; and longest over shortest focal length among it and its rivals."""
    if not solves:
        return None, 1.0
    reach = max(solve.registered.sum() for solve in solves)
    full = [solve for solve in solves if solve.registered.sum() >= reach - 1]
    most = max(solve.observation_count for solve in full)
    scores = np.array([solve.score(most) for solve in full])
    rivals = [solve.focal for solve, score in zip(full, scores, strict=True) if score < SEED_RIVAL * scores.min()]
    return full[int(np.argmin(scores))], max(rivals) / min(rivals)


def _with_turning_frames(shot: TrackedShot, keyframes: np.ndarray, travel: Travel) -> Travel:
    """Where the camera stops and turns on the spot, nothing new gets a depth, and frames are lost: they are taken by
    their turn. A turn tells the lens better than a short walk does."""
    ideal = travel.reconstruction.ideal_tracks()
    focal = None if shot.focal is not None else lens_of_turn(ideal, shot.frames, travel.fitted.solved)
    if focal is not None and max(focal, travel.fitted.focal) > OTHER_LENS * min(focal, travel.fitted.focal):
        travel, _ = _from_seeds(shot, keyframes, [focal])
        ideal = travel.reconstruction.ideal_tracks()
    fitted, turning = carry_on_turning(ideal, shot.frames, travel.fitted)
    return replace(travel, fitted=fitted, turning=turning, is_lens_from_turn=focal is not None and turning.any())


def with_ordinary_lens(shot: TrackedShot, keyframes: np.ndarray, travel: Travel,
                       is_enough: Callable[[Travel], bool] | None = None) -> Travel:
    """The same under an ordinary lens, if any would do: a flight straight over a plane, say.

    is_enough: of a travel in doubt, whether one under such a lens will do where the shot tells none; then one that
    explains the shot about as well will do even if it seems to tell another. None: the travel is in no doubt.
    """
    is_free = travel.focal_spread > FREE_FOCAL_SPREAD or travel.fitted.focal_rel_std > FREE_FOCAL_REL_STD
    if shot.focal is not None or travel.turning.any() or not (is_free or is_enough):
        return travel
    held, reach = _from_seeds(shot, keyframes, [shot.guessed_focal])
    will_do = _explains_as_well(held, travel) or (is_free and is_enough is not None and is_enough(held))
    if reach < MIN_SOLVED_SHARE or not will_do:
        return travel
    return replace(held, is_focal_assumed=True)


def _explains_as_well(held: Travel, travel: Travel) -> bool:
    return (_typical_px(held) < AS_GOOD * _typical_px(travel)
            and len(held.fitted.frame) * AS_GOOD > len(travel.fitted.frame))


def _typical_px(travel: Travel) -> float:
    return float(np.median(travel.fitted.residual_px)) if len(travel.fitted.frame) else np.inf
