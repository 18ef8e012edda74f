"""Branching trees of arteries, veins and bronchi that fill the lungs."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from covid19net.phantom.fields import Plane, capsule, cover, paint, stretch

LEVELS = 10  # generations of branching: 1024 twigs for each tree of each lung
STRAIGHT = 7  # from this generation on, branches have no bend

# Where the trees of a lung start: artery, vein (x, y, t), right then left.
HILA = (((-46.0, -44.0, 112.0), (-44.0, -40.0, 136.0)), ((44.0, -36.0, 104.0), (42.0, -40.0, 130.0)))
BRONCHI = ((-38.0, -34.0, 113.0), (42.0, -27.0, 117.0))


@dataclass(frozen=True, eq=False)
class Tree:
    """Straight pieces of tube.

    Attributes:
        start: (pieces, 3) x, y, t of one end, mm.
        end: (pieces, 3) of the other end.
        radius: (pieces, 2) at each end, mm.
        level: (pieces,) generation, 0 at the hilum.
    """

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray
    level: np.ndarray


def grow(rng: np.random.Generator, root: np.ndarray, twigs: np.ndarray, thickest: float) -> Tree:
    """Grow a tree from a root to reach every one of 2**LEVELS points.

    The points are halved again and again across their widest direction; each branch goes part of the way to
    the centre of its half. Radii shrink more slowly than by Murray's law (exponent 3.5, not 3), so that as
    much of the lung shows vessels at each depth under the pleura as in open scans.

    Args:
        rng: random numbers.
        root: (3,) where it starts, mm.
        twigs: (1024, 3) where it ends, mm.
        thickest: radius at the root, mm.
    """
    groups = twigs[None]
    nodes = root[None]
    starts, ends, radii, levels = [], [], [], []
    directions = rng.standard_normal((8, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for level in range(LEVELS + 1):
        centre = groups.mean(axis=1)
        last = level == LEVELS
        part = 1.0 if last else rng.uniform(0.5, 0.75, (len(nodes), 1)) if level else 0.25
        bend = rng.normal(0, 0.07, (len(nodes), 3)) * np.linalg.norm(centre - nodes, axis=1, keepdims=True)
        tips = nodes + part * (centre - nodes) + bend * (not last)
        thick = 0.8 * thickest * 2.0 ** (-level / 3.5) * rng.uniform(0.8, 1.2, len(nodes))
        middle = (nodes + tips) / 2 + 0.8 * bend[:, [1, 2, 0]]
        halves = ((nodes, middle, 1.0, 0.93), (middle, tips, 0.93, 0.86))
        for a, b, r0, r1 in halves if level < STRAIGHT else ((nodes, tips, 1.0, 0.8 if last else 0.86),):
            starts.append(a)
            ends.append(b)
            levels.append(np.full(len(a), level))
            radii.append(np.stack([thick * r0, thick * r1], 1))
        if last:
            break
        spread = ((groups - centre[:, None]) @ directions.T).var(axis=1).argmax(axis=1)
        along = np.einsum("gpk,gk->gp", groups, directions[spread])
        order = np.argsort(along, axis=1)[..., None]
        groups = np.take_along_axis(groups, order, 1).reshape(2 * len(groups), -1, 3)
        nodes = np.repeat(tips, 2, axis=0)
    return Tree(*(np.concatenate(part) for part in (starts, ends, radii, levels)))


def bronchi(rng: np.random.Generator, artery: Tree, root: np.ndarray, deepest: int) -> Tree:
    """The airways that run beside an artery's first generations, from the end of the main bronchus."""
    keep = artery.level <= deepest
    radius = artery.radius[keep]
    away = rng.standard_normal(3)
    shift = 1.9 * radius * away[None, :1] / np.linalg.norm(away)
    offset = np.stack([shift[:, 0], 0.7 * np.abs(shift[:, 0]), shift[:, 0] * 0], 1)
    start, end = artery.start[keep] + offset, artery.end[keep] + offset
    start[artery.level[keep] == 0] = np.where(np.arange(2)[:, None] == 0, root, start[:2])
    return Tree(start, end, radius * 0.62, artery.level[keep])


@lru_cache(maxsize=8)
def join(trees: tuple[Tree, ...], deepest: int = LEVELS) -> Tree:
    """All pieces of some trees, down to a generation, as one; no tree gives one without pieces."""
    bare = Tree(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0, int))
    parts = zip(*(vars(_some(tree, tree.level <= deepest)).values() for tree in (bare, *trees)), strict=True)
    return Tree(*(np.concatenate(part) for part in parts))


def _some(tree: Tree, which: np.ndarray) -> Tree:
    return Tree(tree.start[which], tree.end[which], tree.radius[which], tree.level[which])


@lru_cache(maxsize=16)
def _span(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Depths (t) between which each piece is met, mm."""
    reach = tree.radius.max(axis=1) + 1.0
    a, b = tree.start[:, 2], tree.end[:, 2]
    return np.minimum(a, b) - reach, np.maximum(a, b) + reach


def met(tree: Tree, plane: Plane) -> Tree:
    """The pieces that the plane meets."""
    low, high = _span(tree)
    return _some(tree, np.flatnonzero((low < plane.t) & (plane.t < high)))


def _windows(tree: Tree, plane: Plane, margin: np.ndarray | float) -> np.ndarray:
    """Rows (first row, past the last, first column, past the last) that hold each piece and a margin (mm)."""
    low, high = stretch(plane, tree.start, tree.end, tree.radius.max(axis=1) + margin)
    x, y = ((low + high) / 2).T
    half = (high - low) * 0.6 + plane.pixel  # the warp may stretch the plane a little
    turn = np.abs(plane.back[:2])
    found = []
    for place, axis in zip(plane.locate(x, y), (1, 0), strict=True):
        room = plane.room[axis]
        step = float(room[1] - room[0]) if len(room) > 1 else 1.0
        reach = (half @ turn[:, axis]) / step
        found += [np.clip(np.ceil(place - reach), 0, len(room)), np.clip(place + reach + 1, 0, len(room))]
    return np.stack(found, 1).astype(np.int64)


def _pixels(windows: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """All pixels of all windows: number of the window, flat index into a plane `width` pixels wide."""
    columns = np.maximum(windows[:, 3] - windows[:, 2], 0)
    rows = np.maximum(windows[:, 1] - windows[:, 0], 0) * (columns > 0)
    line_of = np.repeat(np.arange(len(windows)), rows)  # a line is one row of one window
    line = np.arange(len(line_of)) - np.repeat(np.cumsum(rows) - rows, rows)
    first = (windows[line_of, 0] + line) * width + windows[line_of, 2]
    length = columns[line_of]
    flat = np.arange(length.sum()) + np.repeat(first - (np.cumsum(length) - length), length)
    return np.repeat(line_of, length), flat


def distances(tree: Tree, plane: Plane, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances to pieces of tube, all at once: flat index of a pixel, distance of one piece there (mm).

    A pixel occurs once for each piece that has it within its margin.

    Args:
        tree: the pieces.
        plane: where.
        margin: how far around each piece, mm.
    """
    owner, flat = _pixels(_windows(tree, plane, margin), plane.x.shape[1])
    along = tree.end - tree.start
    square = np.maximum((along**2).sum(axis=1), 1e-6)
    below = plane.t - tree.start[:, 2]
    each = np.stack([
        *tree.start[:, :2].T, *along.T, *(along[:, :2] / square[:, None]).T, below * along[:, 2] / square,
        below, tree.radius[:, 0], tree.radius[:, 1] - tree.radius[:, 0],
    ]).astype(np.float32)  # fmt: skip
    ax, ay, dx, dy, dt, ux, uy, s, pt, thick, taper = each.take(owner, axis=1)
    ax, ay = plane.x.take(flat) - ax, plane.y.take(flat) - ay
    s += ax * ux
    s += ay * uy
    np.clip(s, 0, 1, out=s)
    ax -= s * dx
    ay -= s * dy
    pt -= s * dt
    f = np.sqrt(ax * ax + ay * ay + pt * pt)
    f -= thick
    f -= s * taper
    return flat, f


def paint_tree(tree: Tree, plane: Plane, hu: np.ndarray, value: float, room: np.ndarray) -> None:
    """Paint the vessels, in place, where `room` (0 to 1) allows and they are denser than what is there."""
    flat, f = distances(met(tree, plane), plane, plane.pixel)
    part = cover(f, max(plane.pixel, 1.0))
    part *= room.take(flat)
    left = np.ones(hu.shape, np.float32)  # of what was there before
    np.multiply.at(left.reshape(-1), flat, 1 - part)
    gap = value - hu
    np.maximum(gap, 0, out=gap)
    gap *= np.subtract(1, left, out=left)
    hu += gap


def paint_airway_tree(tree: Tree, plane: Plane, hu: np.ndarray, wall: float, room: np.ndarray) -> None:
    """Paint bronchi, in place: walls `wall` times the usual thickness, then the air within."""
    tree = met(tree, plane)
    thick = (0.35 + 0.16 * tree.radius[:, 0]) * wall
    edge = max(plane.pixel, 0.7)
    for k, (top, bottom, left, right) in enumerate(_windows(tree, plane, thick + plane.pixel).tolist()):
        if top >= bottom or left >= right:
            continue
        window = slice(top, bottom), slice(left, right)
        ends, radii = (tree.start[k], tree.end[k]), (float(tree.radius[k, 0]), float(tree.radius[k, 1]))
        f = capsule(plane.x[window], plane.y[window], plane.t, ends, radii)
        part = hu[window]
        paint(part, cover(f - float(thick[k]), edge) * room[window] * (part < 0), -20.0)
        paint(part, cover(f, edge) * room[window], -985.0)


def at_hilum(trees: tuple[Tree, ...], plane: Plane) -> np.ndarray:
    """Where the vessels and bronchi at the root of the lungs are, which do not count as lung."""
    out = np.zeros(plane.x.shape, bool)
    roots = met(join(trees, 0), plane)
    if not len(roots.level):
        return out
    flat, f = distances(roots, plane, 0.0)
    out.reshape(-1)[flat[f <= 0]] = True
    return out
