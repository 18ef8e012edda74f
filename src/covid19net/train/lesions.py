"""Disease painted into healthy slices, so that a lung network learns to keep it inside the lungs.

Hand-drawn lung masks often leave dense disease out, because it looks like the chest wall it touches. Here the
healthy lung is known, disease is laid over it, and the mask stays. Gas painted into the belly is the
opposite: dark, round, and not lung.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from covid19net.train.augment import Stack

Kind = Literal["crescent", "wedge", "lobe", "mass", "patches", "diffuse"]
KINDS: tuple[Kind, ...] = ("crescent", "wedge", "lobe", "mass", "patches", "diffuse")
CHANCES = (0.26, 0.14, 0.16, 0.16, 0.18, 0.10)
SMALLEST_LUNG = 150  # pixels; smaller cross-sections are left healthy
LUNG = 1


@dataclass(frozen=True)
class Lesion:
    """The numbers of one lesion; lengths are shares of the picture's side.

    Attributes:
        kind: its shape.
        where: angle of the pleural point it grows from, radians, 0 at the patient's left, pi / 2 at the back.
        side: 0 or 1, one lung or the other, in the order of their size.
        reach: depth from the pleura, or radius.
        width: extent along the pleura.
        ragged: amplitude of the irregular edge.
        hu: of its tissue; vessels and anything denser stay.
        opacity: 1 replaces aerated lung wholly, less is ground glass.
        bronchi: number of air-filled bronchi left in it.
        seed: of edge, texture and bronchi.
    """

    kind: Kind
    where: float
    side: int
    reach: float
    width: float
    ragged: float
    hu: float
    opacity: float
    bronchi: int
    seed: int


def draw_lesions(rng: np.random.Generator) -> list[Lesion]:
    """Choose one to five lesions of one patient, dense more often than not."""
    dense = rng.random() < 0.65
    return [
        draw_lesion(rng, dense=dense if rng.random() < 0.8 else not dense) for _ in range(rng.integers(1, 6))
    ]


def draw_lesion(rng: np.random.Generator, *, dense: bool, kind: Kind | None = None) -> Lesion:
    """Choose one lesion; two in three grow from the back of the lung, where gravity and COVID-19 put them."""
    kind = KINDS[rng.choice(len(KINDS), p=CHANCES)] if kind is None else kind
    behind = rng.random() < 0.66
    reach = {"lobe": rng.uniform(0.15, 0.95), "mass": rng.uniform(0.02, 0.15)}.get(
        kind, rng.uniform(0.015, 0.12)
    )
    return Lesion(
        kind=kind,
        where=float(rng.normal(np.pi / 2, 0.7) if behind else rng.uniform(-np.pi, np.pi)),
        side=int(rng.integers(2)),
        reach=float(reach),
        width=float(rng.uniform(0.05, 0.35)),
        ragged=float(rng.uniform(0.1, 0.8)),
        hu=float(rng.uniform(-100, 80)) if dense else float(rng.uniform(-650, -250)),
        opacity=float(rng.uniform(0.9, 1.0)) if dense else float(rng.uniform(0.5, 1.0)),
        bronchi=int(rng.choice(np.array([0, rng.integers(1, 8)]))) if dense else 0,
        seed=int(rng.integers(2**32)),
    )


def paint_lesion(stack: Stack, lesion: Lesion) -> Stack:
    """Lay a lesion over the aerated lung; the mask stays, since inflamed lung is lung.

    A lung that is too small in this slice is returned as it came.
    """
    part = _lung_part(stack.mask == LUNG, lesion.side)
    if part is None:
        return stack
    window, lung = part
    rng = np.random.default_rng(lesion.seed)
    shape = _strength(lung, lesion, rng, side=stack.mask.shape[0])
    alpha = np.where(lung, np.clip(shape, 0, 1) * lesion.opacity, 0).astype(np.float32)
    if lesion.bronchi:
        alpha *= 1 - _bronchi(lung, lesion.bronchi, rng)
    texture = ndimage.gaussian_filter(rng.standard_normal((3, *lung.shape), np.float32), (0, 0.7, 0.7)) * 40
    hu = stack.hu.copy()
    inner = hu[(slice(None), *window)]
    dense = np.maximum(lesion.hu + texture, inner)  # vessels and walls stay as bright as they are
    inner += alpha * (dense - inner)
    return Stack(hu, stack.mask)


def _lung_part(lungs: np.ndarray, side: int) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """The window and mask of one lung cross-section, two pixels of margin; the larger one for side 0."""
    labels, count = ndimage.label(lungs)
    if not count:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    order = np.argsort(-sizes)
    chosen = order[side] if side < count and sizes[order[side]] >= SMALLEST_LUNG else order[0]
    if sizes[chosen] < SMALLEST_LUNG:
        return None
    y, x = ndimage.find_objects(labels)[chosen]
    window = (slice(max(y.start - 2, 0), y.stop + 2), slice(max(x.start - 2, 0), x.stop + 2))
    return window, labels[window] == chosen + 1


def _strength(lung: np.ndarray, lesion: Lesion, rng: np.random.Generator, side: int) -> np.ndarray:
    """How far a pixel lies inside the lesion: at or above 1 fully, at or below 0 not at all."""
    reach, width = lesion.reach * side, lesion.width * side
    wave = _waves(lung.shape, rng, cell=max(4.0, 0.04 * side))
    y, x = np.mgrid[: lung.shape[0], : lung.shape[1]].astype(np.float32)
    anchor = _anchor(lung, lesion.where)
    away = np.hypot(y - anchor[0], x - anchor[1])
    soft = 1.5 if lesion.opacity > 0.85 else 4.0  # pixels over which the edge fades
    if lesion.kind == "diffuse":
        return np.asarray(0.7 + 0.3 * wave)
    if lesion.kind == "patches":
        return np.asarray((wave - 0.8 + 0.5 * lesion.reach / 0.12) * 6 / soft)
    if lesion.kind == "lobe":
        along = -(np.cos(lesion.where) * x + np.sin(lesion.where) * y)
        cut = np.quantile(along[lung], lesion.reach)
        return np.asarray((cut - along + 0.05 * side * lesion.ragged * wave) / soft)
    if lesion.kind == "mass":
        centre = np.argwhere(lung)[rng.integers(lung.sum())]
        away = np.hypot((y - centre[0]) * rng.uniform(0.8, 1.25), (x - centre[1]) * rng.uniform(0.8, 1.25))
        return np.asarray((reach * (1 + 0.3 * lesion.ragged * wave) - away) / soft)
    depth = ndimage.distance_transform_edt(np.pad(lung, 1))[1:-1, 1:-1]
    fade = np.sqrt(np.clip(1 - (away / width) ** 2, 0, 1))
    if lesion.kind == "wedge":
        reach, fade = 2.5 * reach, np.clip(1 - away / (2.5 * reach), 0, 1) * (depth < 2.5 * reach)
    return np.asarray((reach * fade * (1 + lesion.ragged * wave) - depth) / soft + (fade > 0) * 0.5)


def _anchor(lung: np.ndarray, where: float) -> np.ndarray:
    """The lung pixel farthest out in a direction from the lung's centre; ties go to the first."""
    points = np.argwhere(lung)
    from_centre = points - points.mean(0)
    radius = np.hypot(*from_centre.T)
    turn = np.arctan2(from_centre[:, 0], from_centre[:, 1]) - where
    return np.asarray(points[np.argmax(radius * np.cos(turn) - 3 * radius * (np.cos(turn) < 0.97))])


def _waves(shape: tuple[int, ...], rng: np.random.Generator, cell: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation about 1, features `cell` pixels wide."""
    coarse = rng.standard_normal([int(n / cell) + 4 for n in shape], np.float32) * 1.6
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) / cell + 1 for n in shape), indexing="ij")
    return np.asarray(ndimage.map_coordinates(coarse, [y, x], order=2, prefilter=False), np.float32)


def _bronchi(lung: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Air-filled tubes running from near the lung's middle outward, 1 where there is air."""
    points = np.argwhere(lung)
    hilum = points.mean(0) + rng.normal(0, 0.1, 2) * np.ptp(points, axis=0)
    y, x = np.mgrid[: lung.shape[0], : lung.shape[1]].astype(np.float32)
    air = np.zeros(lung.shape, np.float32)
    for _ in range(count):
        end = points[rng.integers(len(points))]
        start = hilum + rng.uniform(0, 0.7) * (end - hilum)
        d = end - start
        s = np.clip(((y - start[0]) * d[0] + (x - start[1]) * d[1]) / max(float(d @ d), 1.0), 0, 1)
        away = np.hypot(y - start[0] - s * d[0], x - start[1] - s * d[1])
        air = np.maximum(air, np.clip(rng.uniform(0.8, 1.8) - away, 0, 1) * (0.9 - 0.5 * s))
    return air


def paint_gas(stack: Stack, rng: np.random.Generator) -> Stack:
    """Put one to six pockets of bowel or stomach gas into soft tissue at a distance from lung and skin.

    Pockets are round or flat-bottomed (gas over fluid), some with the mottled content of the colon.
    """
    from_lung = ndimage.binary_dilation(stack.mask != 0, iterations=3)
    body = ndimage.binary_opening((stack.hu[1] > -250) & (stack.hu[1] < 200), iterations=3)
    room = ndimage.binary_erosion(ndimage.binary_fill_holes(body), iterations=6) & ~from_lung
    points = np.argwhere(room)
    if len(points) < 400:
        return stack
    hu = stack.hu.copy()
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]].astype(np.float32)
    for _ in range(rng.integers(1, 7)):
        centre, radius = points[rng.integers(len(points))], rng.uniform(0.008, 0.08) * hu.shape[1]
        stretch, wave = np.exp(rng.normal(0, 0.3)), _waves(hu.shape[1:], rng, cell=8.0)
        inside = (
            radius - np.hypot((y - centre[0]) * stretch, (x - centre[1]) / stretch) + 0.15 * radius * wave
        )
        if rng.random() < 0.4:
            inside = np.minimum(inside, centre[0] + rng.uniform(-0.3, 0.6) * radius - y)
        content = rng.uniform(-1000, -850) + (rng.uniform(100, 400) * wave if rng.random() < 0.3 else 0)
        alpha = np.clip(inside, 0, 1) * ~from_lung * body
        hu += alpha * (content - hu)
    return Stack(hu, stack.mask)
