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
    """One plane: HU (float32), body distance, lung labels and lesion labels (uint8), axes (row, column)."""

    hu: np.ndarray
    body: np.ndarray
    lungs: np.ndarray
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
    shot = Picture(hu, body, np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.uint8))
    window = extent(pleura < 2)
    if window is not None:
        near = plane.cut(window)
        part = Picture(*(values[window] for values in (hu, body, shot.lungs, shot.lesions)))
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
    tissue = _tissue(patient, plane)
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
    shot.lungs[...] = np.where(_is_left(patient, plane), np.uint8(LEFT), np.uint8(RIGHT)) * lung
    shot.lesions[...] = found * lung


def _tissue(patient: Patient, plane: Plane) -> np.ndarray:
    """Lung without visible vessels: denser toward the back, mottled, fissures as faint lines."""
    shape = patient.shape
    fine = texture(shape.mottle.transpose(0, 2, 1), 2.1, plane)
    broad = texture(shape.coarse.transpose(1, 0, 2), 22.0, plane)
    hu = plane.y + 50
    hu *= 1 / 110
    np.clip(hu, -1.2, 1, out=hu)
    hu *= patient.gravity
    hu += patient.parenchyma
    fine *= 0.9 * patient.mottle
    hu += fine
    hu += (0.6 * patient.mottle) * broad
    np.maximum(hu, -990, out=hu)
    oblique, horizontal = fissures(plane.x, plane.y, plane.t)
    broad *= 5
    oblique = oblique + broad
    middle = (plane.x < 0) & (oblique < 0)
    line = np.maximum(
        cover(np.abs(oblique) - 0.8, 1.5), 0.5 * middle * cover(np.abs(horizontal + broad) - 0.8, 2.0)
    )
    line *= 90
    hu += line
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


def _is_left(patient: Patient, plane: Plane) -> np.ndarray:
    """The lungs meet in front of the heart at the junction line, not at the spine's middle."""
    line = patient.shape.septum[0] + 0.04 * plane.t
    return np.asarray(plane.x > np.where(plane.y < -40, np.float32(line), np.float32(0)))
