"""Branching trees of arteries, veins and bronchi that fill the lungs."""

from dataclasses import dataclass

import numpy as np

from covid19net.phantom.fields import Plane, capsule, cover, paint

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


def pieces(tree: Tree, plane: Plane, extra: float = 2.0) -> np.ndarray:
    """Numbers of the pieces that the plane meets."""
    reach = tree.radius.max(axis=1) + extra * 0.5
    low = np.minimum(tree.start[:, 2], tree.end[:, 2]) - reach
    high = np.maximum(tree.start[:, 2], tree.end[:, 2]) + reach
    return np.flatnonzero((low < plane.t) & (plane.t < high))


def piece_distance(
    tree: Tree, k: int, plane: Plane, margin: float
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Distance to one piece on the part of the plane near it, None off the plane."""
    a, b = tree.start[k], tree.end[k]
    reach = float(tree.radius[k].max()) + margin
    low, high = 0.0, 1.0
    rise = b[2] - a[2]
    if abs(rise) > 1e-3:  # only the stretch of the piece that comes near the plane
        s0, s1 = sorted(((plane.t - reach - a[2]) / rise, (plane.t + reach - a[2]) / rise))
        low, high = min(max(s0, 0.0), 1.0), max(min(s1, 1.0), 0.0)
    p, q = a + low * (b - a), a + high * (b - a)
    spans = [(min(p[i], q[i]) - reach, max(p[i], q[i]) + reach) for i in (0, 1)]
    window = plane.window(spans[0], spans[1], 7.0)
    if window is None:
        return None
    radii = float(tree.radius[k, 0]), float(tree.radius[k, 1])
    return window, capsule(plane.x[window], plane.y[window], plane.t, (a, b), radii)


def paint_tree(tree: Tree, plane: Plane, hu: np.ndarray, value: float, room: np.ndarray) -> None:
    """Paint the vessels, in place, where `room` (0 to 1) allows."""
    for k in pieces(tree, plane):
        found = piece_distance(tree, k, plane, plane.pixel)
        if found is not None:
            window, f = found
            part = hu[window]
            np.maximum(part, part + cover(f, max(plane.pixel, 1.0)) * room[window] * (value - part), out=part)


def paint_airway_tree(tree: Tree, plane: Plane, hu: np.ndarray, wall: float, room: np.ndarray) -> None:
    """Paint bronchi, in place: walls `wall` times the usual thickness, then the air within."""
    for k in pieces(tree, plane):
        thick = (0.35 + 0.16 * float(tree.radius[k, 0])) * wall
        found = piece_distance(tree, k, plane, thick + plane.pixel)
        if found is None:
            continue
        window, f = found
        part, edge = hu[window], max(plane.pixel, 0.7)
        paint(part, cover(f - thick, edge) * room[window] * (part < 0), -20.0)
        paint(part, cover(f, edge) * room[window], -985.0)


def hilum(trees: tuple[Tree, ...], plane: Plane) -> np.ndarray:
    """Distance to the vessels and bronchi at the root of the lungs that do not count as lung."""
    out = np.full(plane.x.shape, 1e3, np.float32)
    for tree in trees:
        for k in pieces(tree, plane):
            if tree.level[k] == 0:
                found = piece_distance(tree, k, plane, 4.0)
                if found is not None:
                    window, f = found
                    out[window] = np.minimum(out[window], f)
    return out
