"""Identity modes: a smooth random field over the face, conditioned on the published distances.

A Gaussian process with kernels of four lengths (Luethi et al. 2018, Gaussian process morphable
models), split into a symmetric and a weak antisymmetric part, gives the smooth modes. Its
covariance is then changed as little as possible (in relative entropy) so that the distances of
`anthropometry` get their published variance: a difference between men and women plus a spread
within each. Rigid motion is removed, because the pose of the head carries it.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .anthropometry import ALL, Arc, Offset, Radius, Row, population_mean
from .measure import Ruler
from .mesh import Mesh

SCALES = ((85.0, 2.3), (38.0, 1.35), (19.0, 0.75), (9.5, 0.38))
"""Kernel length and amplitude per coordinate, mm."""
ASYMMETRY = 0.16
"""Amplitude of the antisymmetric part against the symmetric one."""
DRAWING = 2.0
"""Error of the drawn face over the amplitude of the random field. Of 1, 1.25, .. 3 the published
numbers give 2 the highest evidence, 12 nats over 1."""
PITCH_SD = np.deg2rad(6.0)
"""Of the drawn head's posture against the natural one, in which depths were published, rad."""
SIZE_SD = 0.03
"""Relative SD of the overall size of the head before conditioning."""


def _kernel(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    square = ((p[:, None] - q[None]) ** 2).sum(axis=2)
    return sum(s**2 * np.exp(-0.5 * square / length**2) for length, s in SCALES)


def _nodes(mesh: Mesh, count: int) -> np.ndarray:
    """Farthest-point sample of the left half (indices), the midline included."""
    left = np.flatnonzero((mesh.vertices[:, 0] >= 0) & (mesh.inner == 0))
    # distances weighted by vertex density: fine features get their share of nodes
    p = mesh.vertices[left]
    local = cKDTree(p).query(p, k=7)[0][:, 1:].mean(axis=1)
    weight = 1.0 / np.sqrt(local)
    chosen, distance = [0], np.full(len(p), np.inf)
    for _ in range(count - 1):
        step = np.linalg.norm(p - p[chosen[-1]], axis=1) * weight
        distance = np.minimum(distance, step)
        chosen.append(int(np.argmax(distance)))
    return left[np.array(chosen)]


def _half_modes(mesh: Mesh, nodes: np.ndarray, sign: float, count: int) -> np.ndarray:
    """Modes (count, N, 3) of fields with u(mirror x) = sign * mirror u(x), Nystroem extended."""
    p, v = mesh.vertices[nodes], mesh.vertices
    flip = np.array([-1.0, 1.0, 1.0])
    direct, crossed = _kernel(p, p), _kernel(p, p * flip)
    direct_v, crossed_v = _kernel(v, p), _kernel(v, p * flip)
    pairs = []
    for axis in range(3):
        parity = sign * flip[axis]
        matrix = 0.5 * (direct + parity * crossed)
        values, vectors = np.linalg.eigh(matrix + 1e-8 * np.eye(len(p)))
        keep = np.argsort(values)[::-1][:count]
        extended = 0.5 * (direct_v + parity * crossed_v) @ vectors[:, keep]
        pairs += [
            (values[k], axis, extended[:, i] / np.sqrt(values[k])) for i, k in enumerate(keep)
        ]
    pairs.sort(key=lambda pair: -pair[0])
    modes = np.zeros((count, len(v), 3))
    for k, (_, axis, field) in enumerate(pairs[:count]):
        modes[k, :, axis] = field
    return modes


def prior_modes(mesh: Mesh, nodes: int = 420, count: int = 330) -> np.ndarray:
    """Smooth modes (M, N, 3) before conditioning, without rigid motion, mm per SD."""
    chosen = _nodes(mesh, nodes)
    centred = mesh.vertices - mesh.vertices.mean(axis=0)
    symmetric = _half_modes(mesh, chosen, 1.0, count)
    crooked = ASYMMETRY * _half_modes(mesh, chosen, -1.0, 60)
    modes = np.concatenate([SIZE_SD * centred[None], symmetric, crooked])
    return modes - _rigid_part(mesh, modes)


def _rigid_part(mesh: Mesh, modes: np.ndarray) -> np.ndarray:
    """Projection of fields (M, N, 3) on translations and rotations, over the front of the face."""
    p = mesh.vertices - mesh.vertices.mean(axis=0)
    n = len(p)
    motion = np.zeros((6, n, 3))
    for k in range(3):
        motion[k, :, k] = 1.0
        motion[3 + k] = np.cross(np.eye(3)[k], p)
    q, _ = np.linalg.qr(motion.reshape(6, -1).T)
    flat = modes.reshape(len(modes), -1)
    return ((flat @ q) @ q.T).reshape(modes.shape)


def _jacobian(vertices: np.ndarray, modes: np.ndarray, ruler: Ruler) -> np.ndarray:
    """Change of the lengths (D, M) per unit of each mode, by central differences."""
    step, used = 0.05, ruler.vertices()
    few = ruler.reindexed(used)
    plus = few(vertices[used] + step * modes[:, used])
    return ((plus - few(vertices[used] - step * modes[:, used])) / (2 * step)).T


def slack(row: Row) -> float:
    """How well the mean must meet a published number, mm: landmarks are simplified here.

    1 % of a distance, 2 % of an arc (the tape is the hull of a plane section), 1 mm of a depth.
    """
    if isinstance(row, Offset | Radius):
        return 1.0
    share = 0.02 if isinstance(row, Arc) else 0.01
    return max(0.3, share * population_mean(row.men, row.women))


def fit_mean(mesh: Mesh, modes: np.ndarray, ruler: Ruler, rounds: int = 6) -> np.ndarray:
    """Vertices (N, 3) with the published means, by the least change of the drawn face.

    The most probable shape and posture under the prior, each number known to its slack.
    """
    drawn = mesh.vertices
    moves = np.concatenate([DRAWING * modes, _pitch(drawn)])
    target, noise = _published()
    vertices, weights = drawn, np.zeros(len(moves))
    for _ in range(rounds):
        jac = _jacobian(vertices, moves, ruler)
        gap = target - ruler(vertices) + jac @ weights
        weights = jac.T @ np.linalg.solve(jac @ jac.T + noise, gap)
        vertices = drawn + np.tensordot(weights, moves, axes=1)
    return 0.5 * (vertices + vertices[mesh.mirror] * [-1, 1, 1])


def evidence(mesh: Mesh, modes: np.ndarray, ruler: Ruler, drawing: float) -> float:
    """Log probability, less a constant, of the published means if the drawing errs by `drawing`."""
    target, noise = _published()
    jac = drawing * _jacobian(mesh.vertices, modes, ruler)
    posture = _jacobian(mesh.vertices, _pitch(mesh.vertices), ruler)
    covariance = jac @ jac.T + posture @ posture.T + noise
    gap = target - ruler(mesh.vertices)
    return -0.5 * float(
        gap @ np.linalg.solve(covariance, gap) + np.linalg.slogdet(covariance).logabsdet
    )


def _pitch(vertices: np.ndarray) -> np.ndarray:
    """The posture as a mode (1, N, 3), mm per SD."""
    return PITCH_SD * np.cross([1.0, 0.0, 0.0], vertices - vertices.mean(axis=0))[None]


def _published() -> tuple[np.ndarray, np.ndarray]:
    """Means (D,) of all rows and the covariance (D, D) of how well they must be met."""
    means = np.array([population_mean(row.men, row.women) for row in ALL])
    return means, np.diag([slack(row) ** 2 for row in ALL])


def identity_basis(
    vertices: np.ndarray, modes: np.ndarray, ruler: Ruler, count: int = 80
) -> np.ndarray:
    """Modes (count, N, 3) per SD whose N(0, 1) population has the published spread.

    Each spread is met to the slack of its number: the sources contradict each other a little, and
    met exactly they would tear faces apart.
    """
    within = np.sqrt([0.5 * (row.men[1] ** 2 + row.women[1] ** 2) for row in ALL])
    sexes = np.array([0.5 * (row.men[0] - row.women[0]) for row in ALL])
    known = np.isfinite(within)
    within, sexes = within[known], sexes[known]
    jac = _jacobian(vertices, modes, ruler)[known]
    prior = jac @ jac.T
    shape = prior / np.sqrt(np.outer(np.diag(prior), np.diag(prior)))
    goal = shape * np.outer(within, within) + np.outer(sexes, sexes)
    inverse = np.linalg.inv(prior + _published()[1][known][:, known])
    flat = modes.reshape(len(modes), -1)
    gram = flat @ flat.T
    asked = goal.copy()
    for _ in range(4):
        root = _root(np.eye(len(modes)) + jac.T @ inverse @ (asked - prior) @ inverse @ jac)
        _values, vectors = np.linalg.eigh(root @ gram @ root)
        mix = (root @ vectors[:, ::-1][:, :count]).T
        reached = (jac @ mix.T) @ (jac @ mix.T).T
        scale = np.sqrt(np.diag(goal) / np.diag(reached))
        asked = asked * np.outer(scale, scale)
    mix *= np.sign(np.take_along_axis(mix, np.abs(mix).argmax(axis=1)[:, None], axis=1))
    return (mix @ flat).reshape(count, *vertices.shape)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
