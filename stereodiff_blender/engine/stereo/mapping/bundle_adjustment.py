"""Bundle adjustment: cameras, points and lens that together explain the observations best. NumPy only.

Levenberg-Marquardt on the normal equations reduced to the cameras (Schur complement); Cauchy loss by iterative
reweighting. Points are sorted by the first camera that sees them and eliminated in chunks: tracks in a clip span few
frames, so each chunk is one small dense product on the few cameras that see it: a short range, unless a place is seen
again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...geometry import exp_so3, nearest_rotation
from .bundle_state import MIN_DEPTH, BundleState, Observations, Shutter
from .normal_equations import BEHIND_CAMERA_PX, Fit, Layout, Normal

CHUNK_POINTS = 192
DAMPING_TRIALS = 8
SUREST_PX = 0.1


@dataclass(frozen=True)
class BundleOptions:
    """What may move. fixed_cameras hold pose; free_positions False holds every translation (with zeros that is a
    camera on a tripod, whose points are mere directions). points False, which needs focal False, holds every point:
    each camera is then on its own, and time and memory are linear in cameras.

    radial: how many of k1, k2 are free. zoom: (C,K), the ways in which the cameras' zoom may change; together they
    include that of the focal length, which has to be held then. readout: the shutter's, of a state that has one.
    """

    focal: bool = True
    radial: int = 0
    zoom: np.ndarray | None = None
    readout: bool = False
    positions: bool = True
    points: bool = True
    fixed_cameras: tuple[int, ...] = (0,)


def bundle_adjust(initial: BundleState, observations: Observations, *, free: BundleOptions = BundleOptions(),
                  loss_px: float = 1.0,
                  iterations: int = 30, tolerance: float = 1e-3,
                  focal_prior: tuple[float, float] | None = None) -> tuple[BundleState, float]:
    """Minimize the robust reprojection error.

    Parameters
    ----------
    initial : BundleState
        The start; every point is observed at least once. World to camera, OpenCV axes.
    observations : Observations
        Square pixels from the principal point.
    free : BundleOptions
        What may move.
    loss_px : float
        Width of the Cauchy loss, in pixels.
    iterations : int
        At most so many.
    tolerance : float
        Stop when an iteration lowers the cost by less than this share.
    focal_prior : tuple of float or None
        (focal, weight in px^2) adds weight * log(focal / prior)^2 to the cost; None adds nothing.

    Returns
    -------
    tuple of BundleState and float
        The adjusted state and its cost in px^2.

    Raises
    ------
    ValueError
        If the lens is free, but not the points.

    References
    ----------
    Triggs et al. 2000, "Bundle adjustment - a modern synthesis".
    """
    if (free.focal or free.radial or free.zoom is not None) and not free.points:
        raise ValueError("the lens can only be free together with the points")
    problem = _Problem(observations, initial, free, loss_px, focal_prior)
    state = replace(initial, points=initial.points[problem.point_order], focal=float(initial.focal))
    fit = problem.fit(state)
    damping = 1e-3
    for _ in range(iterations):
        step = problem.improve(state, fit, damping)
        if step is None:
            break
        before = fit.cost
        state, fit, damping = step
        damping = max(0.3 * damping, 1e-8)
        if before - fit.cost < tolerance * max(before, 1e-12):
            break
    points = np.empty_like(state.points)
    points[problem.point_order] = state.points
    return replace(state, rotations=nearest_rotation(state.rotations), points=points), fit.cost


def focal_rel_std(initial: BundleState, observations: Observations, *, free: BundleOptions = BundleOptions(),
                  loss_px: float = 1.0) -> float:
    """Relative standard deviation of the focal length, from the curvature of the cost at the state.

    It supposes independent, unbiased errors and is therefore too small.

    Parameters
    ----------
    initial : BundleState
        An adjusted state; every point is observed at least once.
    observations : Observations
        Those it was adjusted to: square pixels from the principal point.
    free : BundleOptions
        What could move.
    loss_px : float
        Width of the Cauchy loss, in pixels.

    Returns
    -------
    float
        As a share of the focal length; infinite where the curvature vanishes.
    """
    covariance = lens_covariance(initial, observations, free=free, loss_px=loss_px)
    return float(np.sqrt(covariance[0, 0]) / initial.focal)


def lens_covariance(initial: BundleState, observations: Observations, *, free: BundleOptions = BundleOptions(),
                    loss_px: float = 1.0) -> np.ndarray:
    """How uncertain the lens of an adjusted state is, from the curvature of the cost there.

    As if errors were independent and unbiased, and therefore too small.

    Parameters
    ----------
    initial : BundleState
        An adjusted state; every point is observed at least once.
    observations : Observations
        Those it was adjusted to: square pixels from the principal point.
    free : BundleOptions
        What could move.
    loss_px : float
        Width of the Cauchy loss, in pixels.

    Returns
    -------
    ndarray
        (S,S) covariance of focal (pixels), k1, k2, readout (frames) and the ways of zoom; of focal alone where all this
        is neither free nor there. 0 of what is held; infinite variance where the curvature vanishes.
    """
    problem = _Problem(observations, initial, free, loss_px, None)
    state = replace(initial, points=initial.points[problem.point_order])
    fit = problem.fit(state)
    matrix, _ = problem.reduced(problem.normal_equations(state, fit), damping=1e-9)[:2]
    unknowns = problem.unknowns
    shared = problem.first_shared + np.arange(problem.shared)
    picks = (unknowns[:, None] == shared).astype(float)
    try:
        covariance = picks.T @ np.linalg.solve(matrix[np.ix_(unknowns, unknowns)], picks) * _noise_px2(fit)
    except np.linalg.LinAlgError:
        covariance = np.zeros((problem.shared,) * 2)
    is_flat = np.isin(shared, unknowns) & ~(np.diag(covariance) > 0.0)
    covariance[is_flat, is_flat] = np.inf
    return covariance


def center_deviations(initial: BundleState, observations: Observations, directions: np.ndarray, *,
                      free: BundleOptions = BundleOptions(), loss_px: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """How uncertain sums over the camera centers are, of an adjusted state, in two ways.

    Parameters
    ----------
    initial : BundleState
        An adjusted state; every point is observed at least once.
    observations : Observations
        Those it was adjusted to: square pixels from the principal point.
    directions : ndarray
        (K,C,3), the sums' factors, in the axes of the world; sums that the gauge moves tell nothing.
    free : BundleOptions
        What could move.
    loss_px : float
        Width of the Cauchy loss, in pixels.

    Returns
    -------
    tuple of ndarray
        How far each sum would move without each observation, to first order, (K,N); and the sums' covariance (K,K) from
        the curvature of the cost, as if errors were independent and unbiased.

    References
    ----------
    Jaeckel 1972, "The infinitesimal jackknife".
    """
    problem = _Problem(observations, initial, free, loss_px, None)
    state = replace(initial, points=initial.points[problem.point_order])
    fit = problem.fit(state)
    matrix, _, (factors, _, _) = problem.reduced(problem.normal_equations(state, fit), damping=1e-9)
    turned = np.einsum("nij,knj->kni", state.rotations, directions)
    by_pose = np.concatenate([np.cross(state.translations, turned), -turned], axis=2).reshape(len(directions), -1)
    sums = np.column_stack([by_pose, np.zeros((len(directions), problem.shared))])
    moves = problem.solved(matrix, sums)
    influences = np.empty((len(directions), len(problem.order)))
    influences[:, problem.order] = [problem.pull(state, fit, factors, move) for move in moves]
    return influences, (sums @ moves.T) * _noise_px2(fit)


def _noise_px2(fit: Fit) -> float:
    """Variance of an observation. Points seen few times swallow the noise of theirs, so small residuals do not prove
    exact ones."""
    return max(float(np.median((fit.residuals**2).sum(1))) / (2.0 * np.log(2.0)), SUREST_PX**2)


def _rolled(shutter: Shutter | None, change: float) -> Shutter | None:
    """Held to a readout between the two whole frames."""
    return None if shutter is None else replace(shutter, readout=float(np.clip(shutter.readout + change, -1.0, 1.0)))


def _pose_columns(cameras: np.ndarray) -> slice | np.ndarray:
    """The columns of the cameras (C,), ascending: a slice if none is left out between, as that is quicker."""
    if cameras[-1] - cameras[0] == len(cameras) - 1:
        return slice(6 * cameras[0], 6 * cameras[-1] + 6)
    return (6 * cameras[:, None] + np.arange(6)).ravel()


class _Problem:
    """The fixed parts of one adjustment: observations in elimination order, and who may move."""

    def __init__(self, observations: Observations, initial: BundleState, free: BundleOptions, loss_px: float,
                 focal_prior):
        cameras = len(initial.rotations)
        self.cameras, self.points = cameras, len(initial.points)
        self.zoom = np.zeros((cameras, 0)) if free.zoom is None else free.zoom
        is_plain = initial.is_pinhole and not free.radial and free.zoom is None and initial.shutter is None
        self.shared = 1 if is_plain else 4 + self.zoom.shape[1]
        self.loss_px, self.focal_prior = loss_px, focal_prior
        self._sort(observations)
        self.first_shared = 6 * cameras
        movable = np.ones(6 * cameras + self.shared, bool)
        poses = movable[:self.first_shared].reshape(cameras, 6)
        poses[list(free.fixed_cameras)] = False
        if not free.positions:
            poses[:, 3:] = False
        has_shutter = initial.shutter is not None and free.readout
        lens = [free.focal, free.radial > 0, free.radial > 1, has_shutter][:self.shared]
        movable[self.first_shared:][:len(lens)] = lens
        self.unknowns = np.flatnonzero(movable)
        self.points_move = free.points
        focals = np.ones(cameras) if initial.zoom is None else np.exp(initial.zoom)
        squared = (observations.pixels**2).sum(1) / focals[observations.camera] ** 2
        self.farthest_px = float(np.sqrt(squared.max(initial=0.0)))

    def _sort(self, observations: Observations) -> None:
        first = np.full(self.points, self.cameras)
        last = np.zeros(self.points, np.int64)
        np.minimum.at(first, observations.point, observations.camera)
        np.maximum.at(last, observations.point, observations.camera)
        self.point_order = np.lexsort((last, first))
        rank = np.empty(self.points, np.int64)
        rank[self.point_order] = np.arange(self.points)
        self.order = order = np.lexsort((observations.camera, rank[observations.point]))
        self.observations = Observations(observations.camera[order], rank[observations.point[order]],
                                         observations.pixels[order])
        self.layout = Layout(self.observations, self.cameras, self.points, self.zoom, min(self.shared, 4))
        self.point_starts = self.layout.point_starts

    def fit(self, state: BundleState) -> Fit:
        in_camera = state.in_camera(self.observations)
        behind = in_camera[:, 2] <= MIN_DEPTH
        depth = np.where(behind, 1.0, in_camera[:, 2])
        residuals = state.projected(in_camera[:, :2] / depth[:, None], self.observations.camera)
        residuals -= self.observations.pixels
        residuals[behind] = BEHIND_CAMERA_PX
        squared = (residuals**2).sum(1) / self.loss_px**2
        cost = float(self.loss_px**2 * np.log1p(squared).sum())
        if self.focal_prior is not None:
            cost += self.focal_prior[1] * np.log(state.focal / self.focal_prior[0]) ** 2
        return Fit(residuals, in_camera, 1.0 / (1.0 + squared), cost)

    def improve(self, state: BundleState, fit: Fit, damping: float) -> tuple[BundleState, Fit, float] | None:
        """A state of lower cost, its fit and the damping that led there; None if none was found."""
        normal = self.normal_equations(state, fit)
        for _ in range(DAMPING_TRIALS):
            candidate = (self._step if self.points_move else self._step_of_poses)(state, normal, damping)
            if candidate is not None:
                candidate_fit = self.fit(candidate)
                if candidate_fit.cost < fit.cost:
                    return candidate, candidate_fit, damping
            damping *= 5.0
        return None

    def normal_equations(self, state: BundleState, fit: Fit) -> Normal:
        return self.layout.normal(state, fit, self._prior_terms(state.focal))

    def _prior_terms(self, focal: float) -> tuple[float, float]:
        if self.focal_prior is None:
            return 0.0, 0.0
        prior, weight = self.focal_prior
        return weight / focal**2, weight * np.log(focal / prior) / focal

    def reduced(self, normal: Normal, damping: float):
        """The system of cameras and lens after the points are eliminated: matrix, gradient, and the whitened point
        blocks (inverse factors (P,3,3), point columns (P,3,S+1), coupling (6,3,N)) for substituting back."""
        size = self.first_shared + self.shared
        matrix, gradient = np.zeros((size, size)), np.zeros(size)
        self._add_frames(normal, matrix, gradient)
        diagonal = np.einsum("nii->ni", normal.points[:, :, :3])
        damped = normal.points[:, :, :3].copy()
        floor = 1e-9 * diagonal.max(1, keepdims=True) + 1e-12
        damped[:, [0, 1, 2], [0, 1, 2]] += damping * diagonal + floor
        factors = np.linalg.inv(np.linalg.cholesky(damped))
        columns = factors @ normal.points[:, :, 3:]
        coupling = self._whitened(normal.coupling, factors)
        for start in range(0, self.points, CHUNK_POINTS):
            self._eliminate(start, coupling, columns, matrix, gradient)
        return matrix, gradient, (factors, columns, coupling)

    def _whitened(self, coupling: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """coupling (6,3,N) with each point's factors (P,3,3), which are lower triangular."""
        factors = np.ascontiguousarray(factors.reshape(-1, 9).T)[:, self.observations.point].reshape(3, 3, -1)
        whitened = coupling * np.stack([factors[0, 0], factors[1, 1], factors[2, 2]])
        whitened[:, 1] += coupling[:, 0] * factors[1, 0]
        whitened[:, 2] += coupling[:, 0] * factors[2, 0] + coupling[:, 1] * factors[2, 1]
        return whitened

    def solved(self, matrix: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """(K,6C+S) solutions of the reduced system; zero for what is held. The scale, which nothing holds, stays."""
        system = matrix[np.ix_(self.unknowns, self.unknowns)]
        np.einsum("ii->i", system)[:] *= 1.0 + 1e-9
        solutions = np.zeros_like(sides)
        solutions[:, self.unknowns] = np.linalg.solve(system, sides[:, self.unknowns].T).T
        return solutions

    def pull(self, state: BundleState, fit: Fit, factors: np.ndarray, move: np.ndarray) -> np.ndarray:
        """(N,) share of each observation in the pull along a move of poses and lens, the points following it."""
        by, camera = self.layout.derivatives(state, fit), self.observations.camera
        poses = np.ascontiguousarray(move[:self.first_shared].reshape(-1, 6).T)[:, camera]
        lens = move[self.first_shared:]
        shift = (by.pose * poses[:, None]).sum(0) + np.tensordot(lens[:len(by.lens)], by.lens, 1)
        shift += state.focal * (self.zoom @ lens[len(by.lens):])[camera] * by.lens[0]
        back = np.add.reduceat((by.point * (shift * fit.weights)).sum(1), self.point_starts, axis=1).T
        following = -np.einsum("nji,njk,nk->in", factors, factors, back)
        shift += (by.point * following[:, None, self.observations.point]).sum(0)
        return (shift * fit.residuals.T).sum(0) * fit.weights

    def _add_frames(self, normal: Normal, matrix: np.ndarray, gradient: np.ndarray) -> None:
        first, lens = self.first_shared, slice(6, 6 + self.shared)
        poses = np.arange(first).reshape(-1, 6)
        matrix[poses[:, :, None], poses[:, None, :]] = normal.frames[:, :6, :6]
        matrix[:first, first:] = normal.frames[:, :6, lens].reshape(first, self.shared)
        matrix[first:, :first] = matrix[:first, first:].T
        matrix[first:, first:] = normal.frames[:, lens, lens].sum(0)
        gradient[:first] = normal.frames[:, :6, -1].ravel()
        gradient[first:] = normal.frames[:, lens, -1].sum(0)
        matrix[first, first] += normal.prior[0]
        gradient[first] += normal.prior[1]

    def _eliminate(self, start: int, coupling, columns, matrix, gradient) -> None:
        """Subtract a chunk of points from the system: one product of [poses; lens; gradient] with itself."""
        stop = min(start + CHUNK_POINTS, self.points)
        first = self.point_starts[start]
        last = self.point_starts[stop] if stop < self.points else len(self.observations.point)
        camera, point = self.observations.camera[first:last], self.observations.point[first:last] - start
        is_among = np.bincount(camera, minlength=self.cameras) > 0
        among, position = np.flatnonzero(is_among), np.cumsum(is_among) - 1
        coupled = np.zeros((len(among), 6, stop - start, 3))
        coupled[position[camera], :, point] = coupling[:, :, first:last].transpose(2, 0, 1)
        tail = columns[start:stop].transpose(2, 0, 1).reshape(self.shared + 1, -1)
        rows = np.concatenate([coupled.reshape(6 * len(among), -1), tail])
        product = rows @ rows.T
        poses, lens, end = _pose_columns(among), slice(self.first_shared, None), 6 * len(among)
        square = poses if isinstance(poses, slice) else poses[:, None]
        matrix[square, poses] -= product[:end, :end]
        matrix[poses, lens] -= product[:end, end:-1]
        matrix[lens, poses] -= product[end:-1, :end]
        matrix[lens, lens] -= product[end:-1, end:-1]
        gradient[poses] -= product[:end, -1]
        gradient[lens] -= product[end:-1, -1]

    def _step(self, state: BundleState, normal: Normal, damping: float) -> BundleState | None:
        matrix, gradient, (factors, columns, coupling) = self.reduced(normal, damping)
        diagonal = np.einsum("nii->ni", normal.frames)
        undamped = np.concatenate([diagonal[:, :6].ravel(), diagonal[:, 6:6 + self.shared].sum(0)])
        system = matrix[np.ix_(self.unknowns, self.unknowns)]
        np.einsum("ii->i", system)[:] += damping * undamped[self.unknowns] + 1e-9
        change = np.zeros(len(gradient))
        try:
            change[self.unknowns] = -np.linalg.solve(system, gradient[self.unknowns])
        except np.linalg.LinAlgError:
            return None
        pose_change, lens_change = change[:self.first_shared].reshape(-1, 6), change[self.first_shared:]
        lens_change = np.pad(lens_change, (0, max(4 - self.shared, 0)))
        focal, k1, k2 = np.array([state.focal, state.k1, state.k2]) + lens_change[:3]
        lens = replace(state, focal=float(focal), k1=float(k1), k2=float(k2))
        if not np.isfinite(change).all() or focal <= 0 or self._folds(lens):
            return None
        moved = np.ascontiguousarray(pose_change.T)[:, self.observations.camera]
        pulled = np.add.reduceat((coupling * moved[:, None]).sum(0), self.point_starts, axis=1)
        whitened = pulled.T + columns[:, :, :-1] @ lens_change[:self.shared]
        whitened += columns[:, :, -1]
        points = state.points - np.einsum("nij,ni->nj", factors, whitened)
        return replace(lens, rotations=exp_so3(pose_change[:, :3]) @ state.rotations,
                       translations=state.translations + pose_change[:, 3:], points=points,
                       zoom=self._zoomed(state, lens_change[4:]), shutter=_rolled(state.shutter, lens_change[3]))

    def _folds(self, state: BundleState) -> bool:
        """Whether such a lens would fold the picture within what was observed, or see it at right angles."""
        is_bent = self.shared > 1 and (state.k1 < 0.0 or state.k2 < 0.0)
        return (is_bent or state.is_fisheye) and state.focal * state.distortion.fold_radius() < self.farthest_px

    def _zoomed(self, state: BundleState, change: np.ndarray) -> np.ndarray | None:
        if not len(change):
            return state.zoom
        return (np.zeros(self.cameras) if state.zoom is None else state.zoom) + self.zoom @ change

    def _step_of_poses(self, state: BundleState, normal: Normal, damping: float) -> BundleState | None:
        """Every camera by its own six equations, points and lens as they are."""
        moves = np.zeros(6 * self.cameras)
        moves[self.unknowns] = 1.0
        moves = moves.reshape(-1, 6)
        systems = normal.frames[:, :6, :6] * moves[:, :, None] * moves[:, None, :]
        diagonal = np.einsum("nii->ni", systems)
        diagonal += damping * diagonal + 1e-9
        change = -np.linalg.solve(systems, (normal.frames[:, :6, -1] * moves)[:, :, None])[:, :, 0]
        if not np.isfinite(change).all():
            return None
        return replace(state, rotations=exp_so3(change[:, :3]) @ state.rotations,
                       translations=state.translations + change[:, 3:])
