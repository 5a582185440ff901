"""Bundle adjustment: cameras, points and focal length that together explain the observations best. NumPy only.

Levenberg-Marquardt on the normal equations reduced to the cameras (Schur complement); Cauchy loss by iterative
reweighting. Points are sorted by the first camera that sees them and eliminated in chunks: tracks in a clip span few
frames, so each chunk is one small dense product on a short range of cameras.

Here pixels are square and counted from the principal point; poses are world to camera, x_camera = R x + t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...geometry import exp_so3, nearest_rotation

CHUNK_POINTS = 192
BEHIND_CAMERA_PX = 50.0
MIN_DEPTH = 1e-6
DAMPING_TRIALS = 8
SUREST_PX = 0.1


@dataclass(frozen=True)
class Observations:
    """What is seen where: camera (N,) and point (N,) int, pixels (N,2) float64."""

    camera: np.ndarray
    point: np.ndarray
    pixels: np.ndarray

    def select(self, chosen: np.ndarray) -> Observations:
        """Those observations, chosen (N,) bool, with points numbered as before."""
        return Observations(self.camera[chosen], self.point[chosen], self.pixels[chosen])


@dataclass(frozen=True)
class BundleState:
    """The unknowns. rotations (C,3,3), translations (C,3), points (P,3), focal in pixels, shared by all cameras."""

    rotations: np.ndarray
    translations: np.ndarray
    points: np.ndarray
    focal: float

    def in_camera(self, observations: Observations) -> np.ndarray:
        """The observed points in the axes of the observing cameras, (N,3)."""
        turned = np.einsum("nij,nj->ni", self.rotations[observations.camera], self.points[observations.point])
        return turned + self.translations[observations.camera]

    def residual_px(self, observations: Observations) -> np.ndarray:
        """Distance from observation to projection, (N,); infinite behind the camera or where a point is nan."""
        in_camera = self.in_camera(observations)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            error = self.focal * in_camera[:, :2] / in_camera[:, 2:] - observations.pixels
            distance = np.hypot(error[:, 0], error[:, 1])
        return np.where((in_camera[:, 2] > MIN_DEPTH) & np.isfinite(distance), distance, np.inf)


@dataclass(frozen=True)
class BundleOptions:
    """What may move. fixed_cameras hold pose; free_positions False holds every translation (with zeros that is a
    camera on a tripod, whose points are mere directions). points False, which needs focal False, holds every point:
    each camera is then on its own, and time and memory are linear in cameras."""

    focal: bool = True
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
        If the focal length is free, but not the points.

    References
    ----------
    Triggs et al. 2000, "Bundle adjustment - a modern synthesis".
    """
    if free.focal and not free.points:
        raise ValueError("the focal length can only be free together with the points")
    problem = _Problem(observations, len(initial.rotations), len(initial.points), free, loss_px, focal_prior)
    state = BundleState(initial.rotations, initial.translations, initial.points[problem.point_order],
                        float(initial.focal))
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
    return BundleState(nearest_rotation(state.rotations), state.translations, points, state.focal), fit.cost


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
    problem = _Problem(observations, len(initial.rotations), len(initial.points), free, loss_px, None)
    state = BundleState(initial.rotations, initial.translations, initial.points[problem.point_order], initial.focal)
    fit = problem.fit(state)
    matrix, _ = problem.reduced(problem.normal_equations(state, fit), damping=1e-9)[:2]
    unknowns = problem.unknowns
    pick = (unknowns == problem.focal_column).astype(float)
    try:
        variance = float(np.linalg.solve(matrix[np.ix_(unknowns, unknowns)], pick) @ pick)
    except np.linalg.LinAlgError:
        return float("inf")
    return float(np.sqrt(variance * _noise_px2(fit)) / initial.focal) if variance > 0 else float("inf")


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
    problem = _Problem(observations, len(initial.rotations), len(initial.points), free, loss_px, None)
    state = BundleState(initial.rotations, initial.translations, initial.points[problem.point_order], initial.focal)
    fit = problem.fit(state)
    matrix, _, (factors, _, _) = problem.reduced(problem.normal_equations(state, fit), damping=1e-9)
    turned = np.einsum("nij,knj->kni", state.rotations, directions)
    by_pose = np.concatenate([np.cross(state.translations, turned), -turned], axis=2).reshape(len(directions), -1)
    sums = np.column_stack([by_pose, np.zeros(len(directions))])
    moves = problem.solved(matrix, sums)
    influences = np.empty((len(directions), len(problem.order)))
    influences[:, problem.order] = [problem.pull(state, fit, factors, move) for move in moves]
    return influences, (sums @ moves.T) * _noise_px2(fit)


def _noise_px2(fit: _Fit) -> float:
    """Variance of an observation. Points seen few times swallow the noise of theirs, so small residuals do not prove
    exact ones."""
    return max(float(np.median((fit.residuals**2).sum(1))) / (2.0 * np.log(2.0)), SUREST_PX**2)


@dataclass(frozen=True)
class _Fit:
    """A state's residuals (N,2), points in camera axes (N,3), robust weights (N,) and cost."""

    residuals: np.ndarray
    in_camera: np.ndarray
    weights: np.ndarray
    cost: float


@dataclass(frozen=True)
class _Normal:
    """Normal equations in blocks.

    frames (C,8,8): products of the columns pose (6), focal, residual, summed over each camera's observations.
    points (P,3,5): products of a point's columns with point (3), focal, residual, summed over its observations.
    coupling (N,6,3): pose times point columns of each observation.
    prior: curvature and gradient that the focal prior adds.
    """

    frames: np.ndarray
    points: np.ndarray
    coupling: np.ndarray
    prior: tuple[float, float]


class _Problem:
    """The fixed parts of one adjustment: observations in elimination order, and who may move."""

    def __init__(self, observations: Observations, cameras: int, points: int, free: BundleOptions, loss_px: float,
                 focal_prior):
        self.cameras, self.points = cameras, points
        self.loss_px, self.focal_prior = loss_px, focal_prior
        self._sort(observations)
        self.focal_column = 6 * cameras
        movable = np.ones(6 * cameras + 1, bool)
        poses = movable[:-1].reshape(cameras, 6)
        poses[list(free.fixed_cameras)] = False
        if not free.positions:
            poses[:, 3:] = False
        movable[-1] = free.focal
        self.unknowns = np.flatnonzero(movable)
        self.points_move = free.points

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
        self.point_starts = np.searchsorted(self.observations.point, np.arange(self.points))
        self.by_camera = np.argsort(self.observations.camera, kind="stable")
        self.camera_ends = np.searchsorted(self.observations.camera[self.by_camera], np.arange(self.cameras + 1))

    def fit(self, state: BundleState) -> _Fit:
        in_camera = state.in_camera(self.observations)
        behind = in_camera[:, 2] <= MIN_DEPTH
        depth = np.where(behind, 1.0, in_camera[:, 2])
        residuals = state.focal * in_camera[:, :2] / depth[:, None] - self.observations.pixels
        residuals[behind] = BEHIND_CAMERA_PX
        squared = (residuals**2).sum(1) / self.loss_px**2
        cost = float(self.loss_px**2 * np.log1p(squared).sum())
        if self.focal_prior is not None:
            cost += self.focal_prior[1] * np.log(state.focal / self.focal_prior[0]) ** 2
        return _Fit(residuals, in_camera, 1.0 / (1.0 + squared), cost)

    def improve(self, state: BundleState, fit: _Fit, damping: float) -> tuple[BundleState, _Fit, float] | None:
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

    def normal_equations(self, state: BundleState, fit: _Fit) -> _Normal:
        pose, point, focal = self._derivatives(state, fit)
        root = np.sqrt(fit.weights)[:, None, None]
        pose, point, focal, residual = pose * root, point * root, focal * root, fit.residuals[:, :, None] * root
        rows = np.concatenate([pose, focal, residual], axis=2)[self.by_camera]
        frames = np.zeros((self.cameras, 8, 8))
        for camera in range(self.cameras):
            block = rows[self.camera_ends[camera]:self.camera_ends[camera + 1]].reshape(-1, 8)
            frames[camera] = block.T @ block
        products = np.einsum("nai,naj->nij", point, np.concatenate([point, focal, residual], axis=2))
        return _Normal(frames, np.add.reduceat(products, self.point_starts), np.einsum("nai,naj->nij", pose, point),
                       self._prior_terms(state.focal))

    def _derivatives(self, state: BundleState, fit: _Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the projection by pose (N,2,6; left rotation, translation), point (N,2,3) and focal (N,2,1)."""
        depth = np.maximum(fit.in_camera[:, 2], MIN_DEPTH)
        direction = fit.in_camera[:, :2] / depth[:, None]
        by_camera_point = np.zeros((len(depth), 2, 3))
        by_camera_point[:, 0, 0] = by_camera_point[:, 1, 1] = state.focal / depth
        by_camera_point[:, :, 2] = -direction * (state.focal / depth)[:, None]
        turned = fit.in_camera - state.translations[self.observations.camera]
        by_rotation = np.cross(turned[:, None, :], by_camera_point)
        by_point = np.einsum("nai,nij->naj", by_camera_point, state.rotations[self.observations.camera])
        return np.concatenate([by_rotation, by_camera_point], axis=2), by_point, direction[:, :, None]

    def _prior_terms(self, focal: float) -> tuple[float, float]:
        if self.focal_prior is None:
            return 0.0, 0.0
        prior, weight = self.focal_prior
        return weight / focal**2, weight * np.log(focal / prior) / focal

    def reduced(self, normal: _Normal, damping: float):
        """The system of cameras and focal after the points are eliminated: matrix, gradient, and the whitened
        point blocks (inverse factors (P,3,3), point columns (P,3,2), coupling (N,6,3)) for substituting back."""
        size = 6 * self.cameras + 1
        matrix, gradient = np.zeros((size, size)), np.zeros(size)
        self._add_frames(normal, matrix, gradient)
        diagonal = np.einsum("nii->ni", normal.points[:, :, :3])
        damped = normal.points[:, :, :3].copy()
        floor = 1e-9 * diagonal.max(1, keepdims=True) + 1e-12
        damped[:, [0, 1, 2], [0, 1, 2]] += damping * diagonal + floor
        factors = np.linalg.inv(np.linalg.cholesky(damped))
        columns = factors @ normal.points[:, :, 3:]
        coupling = np.einsum("nij,nkj->nik", normal.coupling, factors[self.observations.point])
        for start in range(0, self.points, CHUNK_POINTS):
            self._eliminate(start, coupling, columns, matrix, gradient)
        return matrix, gradient, (factors, columns, coupling)

    def solved(self, matrix: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """(K,6C+1) solutions of the reduced system; zero for what is held. The scale, which nothing holds, stays."""
        system = matrix[np.ix_(self.unknowns, self.unknowns)]
        np.einsum("ii->i", system)[:] *= 1.0 + 1e-9
        solutions = np.zeros_like(sides)
        solutions[:, self.unknowns] = np.linalg.solve(system, sides[:, self.unknowns].T).T
        return solutions

    def pull(self, state: BundleState, fit: _Fit, factors: np.ndarray, move: np.ndarray) -> np.ndarray:
        """(N,) share of each observation in the pull along a move of poses and focal, the points following it."""
        pose, point, focal = self._derivatives(state, fit)
        shift = np.einsum("nai,ni->na", pose, move[:-1].reshape(-1, 6)[self.observations.camera])
        shift += focal[:, :, 0] * move[-1]
        back = np.add.reduceat(np.einsum("nai,na,n->ni", point, shift, fit.weights), self.point_starts)
        following = -np.einsum("nji,njk,nk->ni", factors, factors, back)
        shift += np.einsum("nai,ni->na", point, following[self.observations.point])
        return (shift * fit.residuals).sum(1) * fit.weights

    def _add_frames(self, normal: _Normal, matrix: np.ndarray, gradient: np.ndarray) -> None:
        poses = np.arange(6 * self.cameras).reshape(-1, 6)
        matrix[poses[:, :, None], poses[:, None, :]] = normal.frames[:, :6, :6]
        matrix[:-1, -1] = matrix[-1, :-1] = normal.frames[:, :6, 6].ravel()
        matrix[-1, -1] = normal.frames[:, 6, 6].sum() + normal.prior[0]
        gradient[:-1] = normal.frames[:, :6, 7].ravel()
        gradient[-1] = normal.frames[:, 6, 7].sum() + normal.prior[1]

    def _eliminate(self, start: int, coupling, columns, matrix, gradient) -> None:
        """Subtract a chunk of points from the system: one product of [poses; focal; gradient] with itself."""
        stop = min(start + CHUNK_POINTS, self.points)
        first = self.point_starts[start]
        last = self.point_starts[stop] if stop < self.points else len(self.observations.point)
        camera, point = self.observations.camera[first:last], self.observations.point[first:last] - start
        low, high = camera.min(), camera.max() + 1
        poses = np.zeros((high - low, 6, stop - start, 3))
        poses[camera - low, :, point] = coupling[first:last]
        tail = columns[start:stop].transpose(2, 0, 1).reshape(2, -1)
        rows = np.concatenate([poses.reshape(6 * (high - low), -1), tail])
        product = rows @ rows.T
        here = slice(6 * low, 6 * high)
        matrix[here, here] -= product[:-2, :-2]
        matrix[here, -1] -= product[:-2, -2]
        matrix[-1, here] -= product[:-2, -2]
        matrix[-1, -1] -= product[-2, -2]
        gradient[here] -= product[:-2, -1]
        gradient[-1] -= product[-2, -1]

    def _step(self, state: BundleState, normal: _Normal, damping: float) -> BundleState | None:
        matrix, gradient, (factors, columns, coupling) = self.reduced(normal, damping)
        undamped = np.concatenate([np.einsum("nii->ni", normal.frames[:, :6, :6]).ravel(),
                                   [normal.frames[:, 6, 6].sum()]])
        system = matrix[np.ix_(self.unknowns, self.unknowns)]
        np.einsum("ii->i", system)[:] += damping * undamped[self.unknowns] + 1e-9
        change = np.zeros(len(gradient))
        try:
            change[self.unknowns] = -np.linalg.solve(system, gradient[self.unknowns])
        except np.linalg.LinAlgError:
            return None
        pose_change, focal = change[:-1].reshape(-1, 6), state.focal + change[-1]
        if not np.isfinite(change).all() or focal <= 0:
            return None
        pulled = np.einsum("nij,ni->nj", coupling, pose_change[self.observations.camera])
        whitened = np.add.reduceat(pulled, self.point_starts) + columns[:, :, 0] * change[-1] + columns[:, :, 1]
        points = state.points - np.einsum("nij,ni->nj", factors, whitened)
        return BundleState(exp_so3(pose_change[:, :3]) @ state.rotations, state.translations + pose_change[:, 3:],
                           points,
                           focal)

    def _step_of_poses(self, state: BundleState, normal: _Normal, damping: float) -> BundleState | None:
        """Every camera by its own six equations, points and focal as they are."""
        moves = np.zeros(6 * self.cameras)
        moves[self.unknowns] = 1.0
        moves = moves.reshape(-1, 6)
        systems = normal.frames[:, :6, :6] * moves[:, :, None] * moves[:, None, :]
        diagonal = np.einsum("nii->ni", systems)
        diagonal += damping * diagonal + 1e-9
        change = -np.linalg.solve(systems, (normal.frames[:, :6, 7] * moves)[:, :, None])[:, :, 0]
        if not np.isfinite(change).all():
            return None
        return BundleState(exp_so3(change[:, :3]) @ state.rotations, state.translations + change[:, 3:], state.points,
                           state.focal)
