"""One noiseless axial plane of a patient: body, lungs with vessels, airways and disease, the true masks."""

from dataclasses import dataclass

import numpy as np

from covid19net.phantom.anatomy import Patient
from covid19net.phantom.body import Regions, outline, paint_airways, paint_body
from covid19net.phantom.fields import Plane, cover, extent, paint, texture
from covid19net.phantom.lesions import fissures, paint_lesions
from covid19net.phantom.thorax import lungs, organs
from covid19net.phantom.tree import at_hilum, join, paint_airway_tree, paint_tree

RIGHT, LEFT = 1, 2
FLUID = 8.0  # HU of pleural effusion


@dataclass(frozen=True, eq=False)
class Picture:
    """One plane: HU (float32), body distance, lung, lobe and lesion labels (uint8), axes (row, column)."""

    hu: np.ndarray
    body: np.ndarray
    lungs: np.ndarray
    lobes: np.ndarray
    lesions: np.ndarray


def picture(patient: Patient, plane: Plane, enhancement: tuple[float, float]) -> Picture:
    """Evaluate a patient on a plane.

    Args:
        patient: who.
        plane: where.
        enhancement: HU that contrast medium adds to arterial and to venous blood.
    """
    shape = patient.shape
    middle = organs(shape, plane)
    pleura, wall, under = lungs(shape, plane, middle)
    body = outline(patient.build, shape, plane)
    hu = paint_body(patient.build, shape, plane, Regions(wall, under, body, middle), enhancement)
    shot = Picture(hu, body, *np.zeros((3, *hu.shape), np.uint8))
    window = extent(pleura < 2)
    if window is not None:
        near = plane.cut(window)
        part = Picture(*(values[window] for values in (hu, body, shot.lungs, shot.lobes, shot.lesions)))
        _paint_lungs(patient, near, part, (pleura[window], wall[window]), enhancement[0])
    paint_airways(middle, plane, hu)
    return shot


def _paint_lungs(
    patient: Patient, plane: Plane, shot: Picture, inside: tuple[np.ndarray, np.ndarray], arterial: float
) -> None:
    """Fill the lungs, in place: tissue, lesions, vessels, bronchi, fluid, and the masks.

    Args:
        patient: who.
        plane: the part of a plane that holds its lungs.
        shot: what to paint.
        inside: distances to the pleural space and to the chest wall's inside.
        arterial: HU that contrast medium adds to arterial blood.
    """
    pleura, wall = inside
    hu = shot.hu
    room = cover(pleura, plane.pixel)
    folds = _fissures(patient, plane)
    tissue = _tissue(patient, plane, folds)
    found = paint_lesions(patient.disease, patient.shape, plane, tissue, pleura)
    paint(hu, room, tissue)
    paint_tree(join(patient.vessels), plane, hu, patient.build.blood + 0.9 * arterial, room)
    if patient.disease.buds is not None:
        found[_buds(patient, plane, hu, room) & (found == 0)] = 3
    for tree in patient.airways:
        paint_airway_tree(tree, plane, hu, patient.disease.wall, room)
    lung = pleura < 0
    lung &= ~at_hilum((*patient.vessels, *patient.airways), plane)
    if any(patient.disease.effusion):
        fluid = _effusion(patient, plane, wall, pleura)
        paint(hu, cover(fluid, plane.pixel) * room, FLUID)
        lung &= fluid >= 0
    shot.lungs[...] = np.where(folds.is_left, np.uint8(LEFT), np.uint8(RIGHT)) * lung
    shot.lobes[...] = folds.lobes() * lung
    shot.lesions[...] = found * lung


@dataclass(frozen=True, eq=False)
class _Folds:
    """What divides the lungs of a plane, which the drawn lines and the masks share.

    Attributes:
        waves: smooth field, about standard normal, that makes the fissures wavy.
        oblique: distance below the oblique fissure, mm.
        horizontal: distance below the right lung's horizontal fissure, mm.
        is_left: whose lung a place would belong to.
    """

    waves: np.ndarray
    oblique: np.ndarray
    horizontal: np.ndarray
    is_left: np.ndarray

    def line(self) -> np.ndarray:
        """Strength of the fissures in the picture, 0 to 1."""
        middle = (self.oblique < 0) & ~self.is_left
        faint = cover(np.abs(self.horizontal) - 0.8, 2.0)
        faint *= 0.5
        faint *= middle
        return np.asarray(np.maximum(faint, cover(np.abs(self.oblique) - 0.8, 1.5), out=faint))

    def lobes(self) -> np.ndarray:
        """Labels of the lobes (uint8): 1 to 3 right upper, middle, lower, 4 and 5 left upper, lower."""
        lower = self.oblique > 0
        right = 1 + (self.horizontal > 0).astype(np.uint8)
        right[lower] = 3
        return np.where(self.is_left, lower + np.uint8(4), right)


def _fissures(patient: Patient, plane: Plane) -> _Folds:
    waves = texture(patient.shape.coarse.transpose(1, 0, 2), 22.0, plane)
    oblique, horizontal = fissures(plane.x, plane.y, plane.t)
    bend = 5 * waves
    # The lungs meet in front of the heart at the junction line, not at the spine's middle.
    line = np.float32(patient.shape.septum[0] + 0.04 * plane.t)
    is_left = plane.x > np.where(plane.y < -40, line, np.float32(0))
    return _Folds(waves, oblique + bend, horizontal + bend, is_left)


def _tissue(patient: Patient, plane: Plane, folds: _Folds) -> np.ndarray:
    """Lung without visible vessels: denser toward the back, mottled, fissures as faint lines."""
    fine = texture(patient.shape.mottle.transpose(0, 2, 1), 1.6, plane)
    hu = plane.y + 50
    hu *= 1 / 110
    hu.clip(-1.2, 1, out=hu)
    hu *= patient.gravity
    hu += patient.parenchyma
    fine *= 0.9 * patient.mottle
    hu += fine
    hu += (0.6 * patient.mottle) * folds.waves
    np.maximum(hu, -990, out=hu)
    hu += 90 * folds.line()
    return np.asarray(hu)


def _buds(patient: Patient, plane: Plane, hu: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Paint centrilobular nodules; return where they are."""
    before = hu.copy()
    if patient.disease.buds is not None:
        paint_tree(patient.disease.buds, plane, hu, -60.0, room)
    return np.asarray(hu - before > 150)


def _effusion(patient: Patient, plane: Plane, wall: np.ndarray, pleura: np.ndarray) -> np.ndarray:
    """Distance to pleural fluid: a layer along the back wall, thicker toward the base."""
    right, left = patient.disease.effusion
    low = float(np.clip((plane.t - 90) / 120, 0, 1.5))
    thick = np.where(plane.x < 0, np.float32(right * low), np.float32(left * low))
    thick *= np.clip((plane.y + 45) / 80, 0, 1)
    return np.asarray(np.maximum(0.5 - wall - thick, pleura))
