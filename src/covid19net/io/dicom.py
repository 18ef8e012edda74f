"""DICOM files of any kind of folder or archive to one CT volume."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import hashlib
import os

import numpy as np

from covid19net.errors import InputError, NotChestCTError, ResourceError, VolumeError
from covid19net.io import geometry
from covid19net.io.choose import (
    FEWEST_SLICES,
    Series,
    choose_series,
    ct_slices,
    planes_of,
    split_reconstructions,
)
from covid19net.io.damage import odd_slices
from covid19net.io.encapsulated import split_frames
from covid19net.io.files import DICOM_SUFFIXES, LARGEST_VOLUME, Found, Source, is_shadow
from covid19net.io.header import FIRST_READ, Slice, looks_like_dicom, read_slices
from covid19net.io.identity import headers_of
from covid19net.io.origins import origin_of
from covid19net.io.pixels import AIR, LOSSY, NATIVE, is_whole, read_hu, stored_pixels
from covid19net.volume import CTVolume, Finding, Scan

MOST_THREADS = 8
MOST_SLICES = 5000
LARGEST_RESCALE = 1e5  # of slope and intercept; CT scanners use 1 and -1024, -8192 at most


@dataclass(frozen=True)
class Contents:
    """What the files of a folder or archive are.

    Attributes:
        slices: image planes of every kind.
        skipped: files that are no DICOM image, links and pipes included.
        damaged: one line for each DICOM file whose header cannot be read: name and reason.
    """

    slices: list[Slice]
    skipped: int
    damaged: list[str]


@dataclass(frozen=True)
class Options:
    """How to read.

    Attributes:
        series: series instance UID to read; None: the finest axial CT.
        allow_irregular: interpolate over missing or unevenly spaced slices, and read slices that look
            damaged, instead of refusing.
    """

    series: str | None = None
    allow_irregular: bool = False


def survey(found: Found) -> Contents:
    """Read the header of every file, once."""
    slices: list[Slice] = []
    damaged: list[str] = []
    skipped = found.irregular
    for source in found.sources:
        head = source.read(0, FIRST_READ)
        if not looks_like_dicom(head):
            skipped += 1
            if source.name.lower().endswith(DICOM_SUFFIXES) and not is_shadow(source.name):
                damaged.append(f"{source.name}: named like a DICOM file, but damaged or none")
            continue
        try:
            planes = read_slices(source, head)
        except InputError as error:
            damaged.append(str(error))
            continue
        slices += planes
        skipped += not planes
    return Contents(slices, skipped, damaged)


def read_dicom(contents: Contents, options: Options) -> Scan:
    """The CT volume that the files hold, axes (slice, row, column) as acquired, slices rising.

    Raises:
        InputError: files damaged, ambiguous, or without what geometry or Hounsfield units need.
        VolumeError: slices missing or not on a regular grid.
        NotChestCTError: no CT, or fewer than three slices.
        ResourceError: more voxels than `LARGEST_VOLUME`.
    """
    if contents.damaged:
        raise InputError(f"{contents.damaged[0]}{_and_more(contents.damaged)}")
    kept, findings = ct_slices(contents.slices)
    if contents.skipped:
        findings.append(
            Finding("files-skipped", f"{contents.skipped} files that are no DICOM image were skipped")
        )
    series, chosen = choose_series(kept, options.series)
    findings += chosen
    slices, planes, more = _one_per_position(series)
    findings += more + _slope_findings(slices)
    found = geometry.stack(planes)
    if not found.regular and not options.allow_irregular:
        raise VolumeError(
            f"{geometry.describe_gaps(planes, found)}. Export the series again, or allow irregular slices to "
            "have them interpolated"
        )
    ordered = [slices[i] for i in found.order]
    hu, more = decode(ordered)
    doubts = _check_damage(hu, ordered, float(found.step @ planes.normal), allow=options.allow_irregular)
    volume, places, placed = _on_grid(hu, planes, found)
    origin = origin_of(ordered, planes, volume.affine, places)
    return Scan(volume, headers_of(ordered), (*findings, *more, *doubts, *placed), origin)


def _and_more(names: Sequence[object]) -> str:
    return f"; {len(names) - 1} more files are damaged" if len(names) > 1 else ""


def _one_per_position(series: Series) -> tuple[list[Slice], geometry.Planes, list[Finding]]:
    """Slices with geometry, repeated ones removed."""
    slices = series.slices
    if len(slices) > MOST_SLICES:
        raise ResourceError(f"the series has {len(slices)} slices, more than {MOST_SLICES}")
    _check_geometry(slices)
    slices, split = split_reconstructions(slices)
    findings = [split] if split else []
    planes = planes_of(slices)
    if geometry.doubled(planes):
        slices, dropped = _drop_copies(slices, geometry.doubled(planes_of(slices)))
        if dropped:
            findings.append(Finding("duplicates-dropped", f"{dropped} repeated slices were dropped"))
        planes = planes_of(slices)
    if len(slices) < FEWEST_SLICES:
        raise NotChestCTError(f"a CT volume needs {FEWEST_SLICES} slices or more, found {len(slices)}")
    return slices, planes, findings


def _check_geometry(slices: Sequence[Slice]) -> None:
    """Raise, naming file and element, when a slice lacks its place or size."""
    bad = next((s for s in slices if s.unreadable), None)
    if bad:
        raise InputError(f"{bad.source.name}: {bad.unreadable} does not hold the numbers it should")
    for what in ("position", "orientation", "spacing"):
        lacking = next((s for s in slices if getattr(s, what) is None), None)
        if lacking:
            raise InputError(
                f"{lacking.source.name}: {TAG_OF[what]} is absent; the size of the scan is unknown"
            )


TAG_OF = {
    "position": "ImagePositionPatient",
    "orientation": "ImageOrientationPatient",
    "spacing": "PixelSpacing",
}


def _drop_copies(slices: list[Slice], groups: list[np.ndarray]) -> tuple[list[Slice], int]:
    """Drop slices equal in place and pixels; UIDs are not asked, bad anonymisers give all files one."""
    drop: set[int] = set()
    conflicts = 0
    for group in groups:
        prints = {_fingerprint(slices[i]) for i in group}
        conflicts += len(prints) > 1
        drop |= set(group[1:].tolist())
    if conflicts:
        most = max(len(group) for group in groups)
        raise VolumeError(
            f"{conflicts} {'positions have' if conflicts > 1 else 'position has'} 2 "
            f"{'or more ' if most > 2 else ''}different images: two "
            "reconstructions or phases share one series; export one of them"
        )
    return [s for i, s in enumerate(slices) if i not in drop], len(drop)


def _fingerprint(plane: Slice) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(stored_pixels(plane)).tobytes())
    digest.update(repr((plane.slope, plane.intercept)).encode())
    return digest.hexdigest()


def _slope_findings(slices: list[Slice]) -> list[Finding]:
    findings = []
    lacking = [s for s in slices if s.slope is None or s.intercept is None]
    if 0 < len(lacking) < len(slices):
        raise InputError(
            f"{lacking[0].source.name}: RescaleSlope or RescaleIntercept is absent; other slices have it"
        )
    if lacking:
        findings.append(
            Finding(
                "rescale-absent",
                "the files do not say how to get Hounsfield units; values were taken as such",
            )
        )
    for each in slices:
        if each.slope == 0 or max(abs(each.slope or 1), abs(each.intercept or 0)) > LARGEST_RESCALE:
            raise InputError(f"{each.source.name}: RescaleSlope or RescaleIntercept is not plausible")
    if len({(s.slope, s.intercept) for s in slices}) > 1:
        findings.append(
            Finding("rescale-varies", "slices have different rescale values; each was used for its own")
        )
    if any(s.stored.syntax in LOSSY or s.tag("LossyImageCompression") == "01" for s in slices):
        findings.append(Finding("lossy-compression", "the pixels were compressed with loss"))
    if any(s.tag("BodyPartExamined").upper() not in ("", "CHEST", "THORAX", "LUNG") for s in slices):
        findings.append(Finding("body-part", "the header names another body part than the chest"))
    return findings


def decode(slices: Sequence[Slice]) -> tuple[np.ndarray, list[Finding]]:
    """Decode slices in the given order into one array, a few at a time.

    Returns:
        HU, axes (slice, row, column), int16 where the rescale values are whole numbers, else float32.
    """
    shape = (len(slices), slices[0].stored.rows, slices[0].stored.columns)
    whole = all(is_whole(s) for s in slices)
    if int(np.prod(shape, dtype=np.int64)) * (2 if whole else 4) > LARGEST_VOLUME:
        raise ResourceError(f"{shape[0]} x {shape[1]} x {shape[2]} voxels are more than a CT scan has")
    hu = np.empty(shape, np.int16 if whole else np.float32)
    slices = split_frames(slices)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        ranges = list(pool.map(read_hu, slices, hu))
    findings = []
    if any(r.padded for r in ranges):
        findings.append(
            Finding("padding", f"values below {AIR} HU or marked as padding were set to {AIR} HU (air)")
        )
    clipped = sum(r.clipped for r in ranges)
    if clipped:
        findings.append(Finding("values-clipped", f"{clipped} values above 32767 HU were set to 32767 HU"))
    return hu, findings


def _check_damage(hu: np.ndarray, slices: Sequence[Slice], spacing: float, *, allow: bool) -> list[Finding]:
    """Refuse or doubt compressed slices that decoded to what does not fit between their neighbours."""
    if all(each.stored.syntax in NATIVE for each in slices):
        return []
    odd = [i for i in odd_slices(hu, spacing) if slices[i].stored.syntax not in NATIVE]
    if odd and not allow:
        raise InputError(
            f"{slices[odd[0]].source.name}: the compressed pixels are damaged, the slice does not fit "
            f"between its neighbours{_and_more(odd)}. Copy it again, or allow irregular slices to read it "
            "as it is"
        )
    text = f"{len(odd)} compressed slices do not fit between their neighbours and may be damaged"
    return [Finding("odd-slices", text)] if odd else []


def _on_grid(
    hu: np.ndarray, planes: geometry.Planes, found: geometry.Stack
) -> tuple[CTVolume, np.ndarray, list[Finding]]:
    """The volume, the place of each slice's first pixel on its grid, and what was done."""
    findings = []
    affine = geometry.affine_of(planes, found)
    places = np.zeros((len(hu), 3))
    places[:, 0] = np.arange(len(hu))
    if not found.regular:
        spacing = float(found.step @ planes.normal)
        heights = planes.heights[found.order]
        places[:, 0] = (heights - heights[0]) / spacing
        hu = geometry.regrid(hu, heights, spacing)
        gaps = geometry.describe_gaps(planes, found)
        findings.append(Finding("missing-slices", f"{gaps}; the scan was interpolated across them"))
    shift = geometry.drift(planes, found)
    if shift.any():
        hu, origin = geometry.straighten(hu, shift, AIR)
        affine[:3, 3] -= affine[:3, 1] * origin[0] + affine[:3, 2] * origin[1]
        places[:, 1:] = origin + places[:, :1] * shift
        findings.append(
            Finding("gantry-tilt", "the slices are tilted against the table's movement; the shear was undone")
        )
    return CTVolume(hu, affine), places, findings


def series_beside(source: Source) -> str:
    """The series UID of one file, to read the series it belongs to from its folder.

    Raises:
        InputError: the file is no CT image.
    """
    planes = read_slices(source, source.read(0, FIRST_READ))
    if not planes:
        raise InputError(f"{source.name}: a DICOM file, but not an image")
    return planes[0].tag("SeriesInstanceUID")
