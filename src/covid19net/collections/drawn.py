"""Lungs that somebody drew on a scan as DICOM objects: from these to a mask on the scan's grid.

A mask has to be of the scan: the same frame of reference, every contour or frame on the scan's slices, none
of it empty, the left lung on the left, and most of it as dark as lungs are. A patient with no such mask is
left out with the reason, and the others go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from covid19net.collections.collection import Gathered
from covid19net.collections.tcia import CTSeries, Patient, finest, originals, referred, usable
from covid19net.errors import InputError, NotChestCTError
from covid19net.io import read_contours, read_ct, read_segments, write_volume
from covid19net.volume import Overlay, Scan

READERS = {"SEG": read_segments, "RTSTRUCT": read_contours}  # in this order
# HU of the median voxel. Air outside is -1000, emphysema -950, lung -900 to -500, soft tissue and
# consolidation 0 to 80: a part of the lungs may be consolidated, not most of both.
AIRY = (-980, -300)
UNKNOWN = 255  # in a mask: training leaves these voxels out


@dataclass(frozen=True)
class Names:
    """What a collection calls the lungs.

    Attributes:
        left, right: each lung.
        both: the two as one, taken where one of them is not there; empty: never drawn so.
    """

    left: str
    right: str
    both: str = ""


class UndrawnError(InputError):
    """An object in which nobody drew the lungs."""


def lungs_in(masks: Mapping[str, Overlay], names: Names, scan: Scan) -> Overlay:
    """The lungs of a scan from what an object holds.

    Args:
        masks: by name, on the scan's grid.
        names: what the lungs are called.
        scan: what they were drawn on.

    Returns:
        Mask on the scan's grid: 1 lung, 0 not, 255 in slices that lack a lung between slices that have it.

    Raises:
        UndrawnError: neither both lungs nor their union are there.
        InputError: a mask that is empty, not airy, or has the left lung on the right.
    """
    drawn = [masks[name] for name in (names.left, names.right) if name in masks]
    if len(drawn) < 2:
        drawn = [masks[names.both]] if names.both in masks else []
    if not drawn:
        raise UndrawnError("one lung is drawn" if len(masks) else "no lungs are drawn")
    if not all(each.values.any() for each in drawn):
        raise InputError("the mask of a lung is empty")
    if len(drawn) == 2 and _sideways(drawn[0]) <= _sideways(drawn[1]):
        raise InputError("the left lung lies right of the right one")
    lungs = np.maximum.reduce([each.values for each in drawn])
    if not AIRY[0] < np.median(scan.volume.hu[lungs == 1]) < AIRY[1]:
        raise InputError("most of the mask has the Hounsfield units of no lung: it is not of this scan")
    for each in drawn:
        lungs[gaps_of(each.values)] = UNKNOWN
    return Overlay(lungs, scan.volume.affine)


def _sideways(mask: Overlay) -> float:
    """How far to the patient's left the middle of a mask lies, mm."""
    from scipy.ndimage import center_of_mass

    return float((mask.affine @ [*center_of_mass(mask.values), 1])[0])


def gaps_of(mask: np.ndarray) -> np.ndarray:
    """Indices of empty slices between the lowest and the highest that are not; axes (z, y, x)."""
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    return np.setdiff1d(np.arange(filled[0], filled[-1]), filled)


@dataclass(frozen=True)
class Candidate:
    """A mask object of a patient and the scan it was drawn on.

    Attributes:
        kind: of `READERS`.
        path: the object's file.
        scan: the series.
        named: whether the object names the series.
    """

    kind: str
    path: Path
    scan: CTSeries
    named: bool

    @property
    def choice(self) -> str:
        """Why the scan is this series, in words."""
        return "the one the object refers to" if self.named else "the finest; the object names none"


def candidates(patient: Patient, kinds: tuple[str, ...]) -> list[Candidate]:
    """The mask objects of a patient, best first, each with its scan; none where there is no axial CT."""
    axial, found = usable(patient.series), []
    for kind in kinds if axial else ():
        for path in sorted(patient.masks.get(kind, [])):
            named = referred(replace(patient, masks={kind: [path]}), kind, axial)
            scan = finest(named or originals(axial) or axial)
            found.append(Candidate(kind, path, scan, bool(named)))
    return sorted(found, key=lambda each: (kinds.index(each.kind), not each.named))


@dataclass
class Masking:
    """Makes the masks of a collection, one patient after the other, and tells what became of each.

    Attributes:
        names: what the lungs are called.
        made: folder of the masks.
        found: gets gaps, notes and counts.
    """

    names: Names
    made: Path
    found: Gathered

    def row(self, patient: Patient, kinds: tuple[str, ...]) -> dict[str, object] | None:
        """A patient's scan and mask; None, and told, where there is none that can be used.

        Raises:
            InputError: the mask cannot be written.
            ResourceError: the disk is full.
        """
        tried = candidates(patient, kinds)
        if not tried:
            self.found.gaps.append(f"{patient.name}: no axial CT, or no {' or '.join(kinds)}")
        against: list[InputError | NotChestCTError] = []
        for each in tried:
            try:
                scan = read_ct(each.scan.folder)
                lungs = lungs_in(READERS[each.kind](each.path, scan, self._wanted()), self.names, scan)
            except (InputError, NotChestCTError) as error:
                against.append(type(error)(f"{each.kind}: {error}"))
                continue
            self._tell(patient, each, lungs, against)
            return {
                "patient_id": patient.name,
                **each.scan.row(),
                "lungs": self._keep(patient, lungs),
                "lung_object": each.path,
                "object_kind": each.kind,
                "choice": each.choice,
            }
        if against:
            undrawn = all(isinstance(error, UndrawnError) for error in against)
            self._count("lungs not drawn, left out" if undrawn else "mask does not fit, left out")
            self.found.notes.append(f"{patient.name} left out: {_reasons(against)}")
        return None

    def _wanted(self) -> list[str]:
        return [name for name in (self.names.left, self.names.right, self.names.both) if name]

    def _keep(self, patient: Patient, lungs: Overlay) -> Path:
        place = self.made / f"{patient.name}.nii.gz"
        self.made.mkdir(parents=True, exist_ok=True)
        write_volume(lungs, place)
        return place

    def _tell(
        self, patient: Patient, used: Candidate, lungs: Overlay, against: list[InputError | NotChestCTError]
    ) -> None:
        self._count(f"lung masks from {used.kind}")
        unknown = int((lungs.values == UNKNOWN).any(axis=(1, 2)).sum())
        if unknown:
            self.found.notes.append(
                f"{patient.name}: {unknown} slices within a lung have no contour of it; unknown in the mask"
            )
        if against:
            self.found.notes.append(f"{patient.name}: {used.kind} taken, for {_reasons(against)}")

    def _count(self, what: str) -> None:
        self.found.counts[what] = self.found.counts.get(what, 0) + 1


def _reasons(against: list[InputError | NotChestCTError]) -> str:
    return "; ".join(dict.fromkeys(str(error) for error in against))
