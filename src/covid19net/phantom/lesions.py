"""Opacities of the lungs: what they are and how they are laid into the picture."""

from dataclasses import dataclass

import numpy as np

from covid19net.phantom.fields import Plane, cover, paint, texture
from covid19net.phantom.thorax import Shape
from covid19net.phantom.tree import Tree

GROUND_GLASS, CONSOLIDATION, NODULE = 1, 2, 3
Point = tuple[float, float, float]  # x, y, t, mm
SPIKES = 40  # spicules around a whole lesion


@dataclass(frozen=True)
class Lesion:
    """One opacity.

    Attributes:
        kind: GROUND_GLASS, CONSOLIDATION or NODULE.
        centre: x, y, t, mm.
        half: half axes along x, y, t, mm.
        hu: mean of the opacified lung without vessels.
        edge: how far the border wanders, mm.
        grain: size of the border's waves, mm.
        soft: width of the border, mm.
        paving: strength of the crazy-paving net, 0 to 1.
        rind: if positive, the opacity thins out at this depth under the pleura, mm.
        lobe: the side's lobe that bounds it (0 upper, 1 lower, 2 middle), None for no bound.
        hollow: radius of a cavity, mm.
        spicules: length of the spikes that stand out of the border, mm.
    """

    kind: int
    centre: Point
    half: Point
    hu: float
    edge: float = 4.0
    grain: float = 9.0
    soft: float = 5.0
    paving: float = 0.0
    rind: float = 0.0
    lobe: int | None = None
    hollow: float = 0.0
    spicules: float = 0.0


@dataclass(frozen=True, eq=False)
class Disease:
    """What is wrong with the lungs.

    Attributes:
        name: what it is called, or None for healthy lungs.
        pattern: what the picture shows: the name, or the disease it passes for.
        severity: how much of the usual extent and density is reached, 0 to 1.
        lesions: opacities, painted in this order.
        buds: centrilobular nodules and tree-in-bud as short thick tubes.
        wall: thickness of the bronchial walls, times the usual.
        effusion: greatest depth of pleural fluid right and left, mm.
        log_odds: natural logarithm of how much likelier the planted numbers are with the mutation than
            without; 0 but for lung cancer.
    """

    name: str | None = None
    pattern: str | None = None
    severity: float = 0.0
    lesions: tuple[Lesion, ...] = ()
    buds: Tree | None = None
    wall: float = 1.0
    effusion: tuple[float, float] = (0.0, 0.0)
    log_odds: float = 0.0


def fissures(x: np.ndarray | float, y: np.ndarray | float, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance below the oblique fissure and below the right lung's horizontal one, mm (negative above)."""
    x, y = np.asarray(x), np.asarray(y)
    oblique = (t - 66 - 0.86 * (48 - y) + 0.05 * (np.abs(x) - 80)) * 0.76
    return oblique, t - 126 + 0.1 * (np.abs(x) - 80)


def lobe_of(point: Point) -> int:
    """Lobe of a point: 0 upper, 1 lower, 2 middle (right side only)."""
    oblique, horizontal = fissures(point[0], point[1], float(point[2]))
    return 1 if oblique > 0 else 2 if horizontal > 0 and point[0] < 0 else 0


def _within(lesion: Lesion, plane: Plane) -> np.ndarray:
    """Distance to the lesion's side and lobe."""
    side = float(np.sign(lesion.centre[0]))
    f = np.asarray(-side * plane.x)
    if lesion.lobe is None:
        return f
    oblique, horizontal = fissures(plane.x, plane.y, plane.t)
    if lesion.lobe == 1:
        return np.asarray(np.maximum(f, -oblique))
    f = np.maximum(f, oblique)
    if side < 0:
        f = np.maximum(f, -horizontal if lesion.lobe == 2 else horizontal)
    return np.asarray(f)


def paint_lesions(
    disease: Disease, shape: Shape, plane: Plane, hu: np.ndarray, pleura: np.ndarray
) -> np.ndarray:
    """Lay the opacities into the lung, in place; return their labels (uint8).

    Args:
        disease: what to paint.
        shape: the chest, for its textures.
        plane: where.
        hu: the picture, lung tissue without vessels.
        pleura: distance to the pleural space, negative inside.
    """
    labels = np.zeros(plane.x.shape, np.uint8)
    for k, lesion in enumerate(disease.lesions):
        spread = 2.5 * lesion.edge + lesion.soft + lesion.spicules + 5
        (x, y, t), (wide, deep, high) = lesion.centre, (h + spread for h in lesion.half)
        window = plane.window((x - wide, x + wide), (y - deep, y + deep))
        if abs(plane.t - t) > high or window is None:
            continue
        near = plane.cut(window)
        part = _part(lesion, shape, near, pleura[window], 5.3 * k)
        cloud = texture(shape.mottle.transpose(1, 2, 0), 7.0, near)
        lines = cover(np.abs(texture(shape.mottle.transpose(2, 0, 1), 4.5, near)) * 4 - 0.8, 2.0)
        target = lesion.hu + 45 * cloud * (lesion.kind == GROUND_GLASS) + 130 * lesion.paving * lines
        paint(hu[window], part, np.maximum(hu[window], target))  # an opacity never thins what lies under it
        if lesion.hollow:
            _hollow(lesion, near, hu[window])
        seen = (part > 0.4) & (pleura[window] < 0)
        labels[window][seen] = np.maximum(labels[window][seen], lesion.kind)
    return labels


def _part(lesion: Lesion, shape: Shape, plane: Plane, pleura: np.ndarray, shift: float) -> np.ndarray:
    """How much of the lung the opacity replaces, 0 to 1."""
    (x, y, t), (wide, deep, high) = lesion.centre, lesion.half
    rho = np.sqrt(((plane.x - x) / wide) ** 2 + ((plane.y - y) / deep) ** 2 + ((plane.t - t) / high) ** 2)
    waves = texture(shape.mottle, lesion.grain, plane, shift)
    ripples = texture(shape.mottle.transpose(2, 1, 0), 3.0, plane, shift)
    f = (rho - 1) * min(lesion.half) + lesion.edge * (waves + 0.5 * ripples)
    if lesion.spicules:
        f = f - lesion.spicules * _spikes(shape, lesion, plane)
    if lesion.rind:
        f = f + 0.6 * np.maximum(-pleura - lesion.rind, 0)
    return cover(np.maximum(f, _within(lesion, plane)), lesion.soft)


def _spikes(shape: Shape, lesion: Lesion, plane: Plane) -> np.ndarray:
    """1 along thin rays out of the lesion's centre, 0 between them; the patient's numbers aim the rays."""
    x, y, t = lesion.centre
    away = np.stack([plane.x - x, plane.y - y, np.full(plane.x.shape, plane.t - t, np.float32)])
    away /= np.sqrt((away * away).sum(0)) + np.float32(1e-3)
    rays = shape.mottle.ravel()[: 3 * SPIKES].reshape(SPIKES, 3)
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    nearest = np.einsum("kd,dij->kij", rays, away).max(0)  # cosine of the angle to the nearest ray
    return np.asarray(np.clip((nearest - 0.94) * 25, 0, 1))


def _hollow(lesion: Lesion, plane: Plane, hu: np.ndarray) -> None:
    """A crescent of air at the upper (anterior) side of the nodule."""
    x, y, t = lesion.centre
    away = np.sqrt((plane.x - x) ** 2 + (plane.y - y + 1.5) ** 2 + (plane.t - t) ** 2)
    core = np.sqrt((plane.x - x) ** 2 + (plane.y - y - 1.5) ** 2 + (plane.t - t) ** 2)
    paint(hu, cover(np.maximum(away - lesion.hollow, lesion.hollow * 0.8 - core), plane.pixel), -950.0)
