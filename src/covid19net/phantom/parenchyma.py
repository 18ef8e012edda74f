"""One noiseless axial plane of a patient: body, lungs with vessels, airways and disease, the true masks."""

from dataclasses import dataclass

import numpy as np

from covid19net.phantom.anatomy import Patient
from covid19net.phantom.body import Regions, outline, paint_airways, paint_body
from covid19net.phantom.fields import Plane, cover, paint, texture
from covid19net.phantom.lesions import fissures, paint_lesions
from covid19net.phantom.thorax import lungs
from covid19net.phantom.tree import hilum, paint_airway_tree, paint_tree, pieces

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
    pleura, wall, under = lungs(shape, plane)
    body = outline(patient.build, shape, plane)
    regions = Regions(pleura, wall, under, body)
    hu = paint_body(patient.build, shape, plane, regions, enhancement)
    empty = np.zeros(hu.shape, np.uint8)
    if not (pleura < 2).any():
        paint_airways(plane, hu)
        return Picture(hu, body, empty, empty)
    room = cover(pleura, plane.pixel)
    tissue = _tissue(patient, plane)
    found = paint_lesions(patient.disease, shape, plane, tissue, pleura)
    paint(hu, room, tissue)
    blood = patient.build.blood + 0.9 * enhancement[0]
    for tree in patient.vessels:
        paint_tree(tree, plane, hu, blood, room)
    if patient.disease.buds is not None:
        found = np.where(_buds(patient, plane, hu, room) & (found == 0), 3, found)
    for tree in patient.airways:
        paint_airway_tree(tree, plane, hu, patient.disease.wall, room)
    fluid = _effusion(patient, plane, wall, pleura)
    paint(hu, cover(fluid, plane.pixel) * room, FLUID)
    paint_airways(plane, hu)
    inside = (pleura < 0) & (fluid >= 0) & (hilum((*patient.vessels, *patient.airways), plane) > 0)
    masks = np.where(inside, np.where(_is_left(patient, plane), LEFT, RIGHT), 0).astype(np.uint8)
    return Picture(hu, body, masks, np.where(inside, found, 0).astype(np.uint8))


def _tissue(patient: Patient, plane: Plane) -> np.ndarray:
    """Lung without visible vessels: denser toward the back, mottled, fissures as faint lines."""
    shape = patient.shape
    fine = texture(shape.mottle.transpose(0, 2, 1), 1.6, plane)
    broad = texture(shape.coarse.transpose(1, 0, 2), 22.0, plane)
    hu = patient.parenchyma + patient.gravity * np.clip((plane.y + 50) / 110, -1.2, 1)
    hu = hu + patient.mottle * (0.9 * fine + 0.6 * broad)
    oblique, horizontal = fissures(plane.x, plane.y, plane.t)
    wavy = 5 * broad
    middle = (plane.x < 0) & (oblique + wavy < 0)
    line = np.maximum(
        cover(np.abs(oblique + wavy) - 0.8, 1.5), 0.5 * middle * cover(np.abs(horizontal + wavy) - 0.8, 2.0)
    )
    return np.asarray(np.maximum(hu, -990) + 90 * line, np.float32)


def _buds(patient: Patient, plane: Plane, hu: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Paint centrilobular nodules; return where they are."""
    before = hu.copy()
    buds = patient.disease.buds
    if buds is not None and len(pieces(buds, plane)):
        paint_tree(buds, plane, hu, -60.0, room)
    return np.asarray(hu - before > 150)


def _effusion(patient: Patient, plane: Plane, wall: np.ndarray, pleura: np.ndarray) -> np.ndarray:
    """Distance to pleural fluid: a layer along the back wall, thicker toward the base."""
    right, left = patient.disease.effusion
    if not (right or left):
        return np.full(wall.shape, 1e3, np.float32)
    depth = np.where(plane.x < 0, right, left)
    low = float(np.clip((plane.t - 90) / 120, 0, 1.5))
    thick = depth * low * np.clip((plane.y + 45) / 80, 0, 1) - 0.5
    return np.asarray(np.maximum(-wall - thick, pleura))


def _is_left(patient: Patient, plane: Plane) -> np.ndarray:
    """The lungs meet in front of the heart at the junction line, not at the spine's middle."""
    line = patient.shape.septum[0] + 0.04 * plane.t
    return np.asarray(plane.x > np.where(plane.y < -40, line, 0))
