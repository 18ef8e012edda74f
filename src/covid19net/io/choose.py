"""Which slices make the scan: the axial CT series among all that a folder or CD holds."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from covid19net.errors import InputError, NotChestCTError
from covid19net.io.geometry import COSINE, Planes, doubled, is_orientation, make_planes, stack
from covid19net.io.header import CT_CLASSES, Slice
from covid19net.io.identity import safe_uid
from covid19net.volume import Finding

HOUNSFIELD = {"", "HU", "US", "HU_MOD"}  # RescaleType; US is "unspecified" (PS3.3 C.11.1.1.2)
NO_SLICES = {"LOCALIZER", "MIP", "MINIP", "MIN IP", "AVERAGE", "MPR_MIP", "PROJECTION IMAGE"}  # of ImageType
AXIAL = 0.7  # cosine between the slices' normal and the body's long axis, at least (45 degrees)
FEWEST_SLICES = 3
SPACING_RATIO = 1e-3  # between pixel spacings of one series; 0.3 mm over a chest
SHARE_OF_HEIGHT = 0.8  # of the tallest series: a finer but shorter one is a detail, not the scan
# What can tell two reconstructions or phases apart that share one series UID, the likeliest first.
SPLITTERS = ("ConvolutionKernel", "SliceThickness", "AcquisitionNumber", "ImageType", "Manufacturer")


@dataclass(frozen=True)
class Series:
    """Slices of one series with one orientation, size and pixel spacing.

    Attributes:
        uid: series instance UID, empty when the files have none.
        slices: not yet in order.
        extent: height from the first to the last slice, mm; 0 where positions are absent.
        spacing: median distance between neighbouring slices, mm; infinite for a single one.
        axial: whether the slices lie across the body.
    """

    uid: str
    slices: list[Slice]
    extent: float
    spacing: float
    axial: bool


def ct_slices(slices: Sequence[Slice]) -> tuple[list[Slice], list[Finding]]:
    """Keep CT images, drop localizers and pictures of screens.

    Raises:
        NotChestCTError: there are images but none is CT; names the modality.
    """
    ct = [s for s in slices if s.tag("SOPClassUID") in CT_CLASSES and s.tag("Modality") in ("CT", "")]
    grey = [s for s in ct if not _is_colour(s)]
    if not grey:
        raise NotChestCTError(_not_ct(slices))
    dense = [s for s in grey if s.tag("RescaleType").upper() in HOUNSFIELD]
    if not dense:
        raise NotChestCTError("no CT slices in Hounsfield units: their RescaleType names another quantity")
    kept = [s for s in dense if not NO_SLICES & set(s.tag("ImageType").upper().split("\\"))]
    findings = []
    if not kept:
        raise NotChestCTError("only localizer (scout) images or projections were found, no CT slices")
    if len(kept) < len(slices):
        findings.append(
            Finding(
                "images-skipped", f"{len(slices) - len(kept)} images that are not CT slices were left out"
            )
        )
    return kept, findings


def _is_colour(plane: Slice) -> bool:
    return plane.tag("PhotometricInterpretation").upper() not in ("MONOCHROME1", "MONOCHROME2", "")


def _not_ct(slices: Sequence[Slice]) -> str:
    kinds = Counter(s.tag("Modality") or "unknown" for s in slices)
    known = [kind for kind in kinds if kind.isascii() and kind.isalnum() and len(kind) <= 16]
    named = (
        ", ".join(f"{kinds[kind]} of modality {kind}" for kind in known) or f"{len(slices)} of unknown kind"
    )
    screens = " (screen captures or colour pictures)" if set(kinds) <= {"CT", "unknown"} else ""
    return f"no CT slices: the images found are {named}{screens}"


def choose_series(slices: Sequence[Slice], wanted: str | None) -> tuple[Series, list[Finding]]:
    """Pick the finest axial CT series.

    Args:
        slices: CT slices of any number of series.
        wanted: series instance UID to choose instead.

    Raises:
        InputError: two patients or studies; nothing fits `wanted`; no axial series.
        NotChestCTError: fewer than three slices.
    """
    every = group_series(slices)
    if wanted is not None:
        slices = [s for s in slices if s.tag("SeriesInstanceUID") == wanted]
        if not slices:
            raise InputError(f"there is no CT series {wanted}; found are {list_series(every)}")
        every = group_series(slices)
    _refuse_mixed(slices)
    axial = [s for s in every if s.axial]
    if not axial:
        raise InputError("no axial CT series: " + _counts(every))
    thick = [s for s in axial if len(s.slices) >= FEWEST_SLICES]
    if not thick and len(axial) > FEWEST_SLICES and all(len(s.slices) == 1 for s in axial):
        raise NotChestCTError(f"{len(axial)} CT series of one slice each: their SeriesInstanceUID differ")
    if not thick:
        raise NotChestCTError(f"a CT volume needs {FEWEST_SLICES} slices or more: {_counts(axial)}")
    tallest = max(s.extent for s in thick)
    tall = [s for s in thick if s.extent >= SHARE_OF_HEIGHT * tallest]
    best = min(tall, key=lambda s: (round(s.spacing, 2), -len(s.slices), s.uid))
    return best, _choice_findings(best, every)


def _choice_findings(best: Series, every: list[Series]) -> list[Finding]:
    others = [s for s in every if s is not best]
    if not others:
        return []
    return [
        Finding(
            "series-chosen",
            f"of {len(every)} CT series or parts the finest axial one was read: {len(best.slices)} slices "
            f"{best.spacing:.2f} mm apart; left out: {_counts(others)}",
        )
    ]


def list_series(every: Sequence[Series]) -> str:
    """Each series with UID, slices, distance."""
    return "; ".join(f"{safe_uid(s.uid) or '(no UID)'}: {_counts([s])}" for s in every)


def _counts(every: Sequence[Series]) -> str:
    def count(series: Series) -> str:
        n = len(series.slices)
        if n == 1:
            return "1 slice"
        apart = f" {series.spacing:.2f} mm apart" if np.isfinite(series.spacing) else ""
        return f"{n} slices{apart}{'' if series.axial else ' (not axial)'}"

    shown = ", ".join(count(s) for s in every[:8])
    return shown + (f" and {len(every) - 8} more" if len(every) > 8 else "")


def _refuse_mixed(slices: Sequence[Slice]) -> None:
    studies = sorted({s.tag("StudyInstanceUID") for s in slices} - {""})
    if len(studies) > 1:
        raise InputError(
            f"{len(studies)} studies in one place, give one of them: {', '.join(map(safe_uid, studies[:4]))}"
        )
    persons = {s.tag("PatientID") for s in slices} - {""} or {s.tag("PatientName") for s in slices}
    if len(persons) > 1:
        raise InputError(
            f"files of more than one patient in study {safe_uid(studies[0]) if studies else '(no UID)'}"
        )


def group_series(slices: Sequence[Slice]) -> list[Series]:
    """Series by UID, orientation, size and pixel spacing, the same in any order of files.

    Slices without orientation or spacing go with the others of their series and size: one file that lacks
    them is a damaged series, not another one.
    """

    def key(plane: Slice) -> tuple[str, int, int]:
        return plane.tag("SeriesInstanceUID"), plane.stored.rows, plane.stored.columns

    def numbers(plane: Slice) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return plane.orientation or (), plane.spacing or ()

    ordered = sorted(slices, key=lambda p: (key(p), numbers(p), p.source.name, p.frame))
    found = []
    for (uid, _, _), members in groupby(ordered, key):
        parts: list[list[Slice]] = []
        lacking = []
        for plane in members:
            if not plane.orientation or not plane.spacing:
                lacking.append(plane)
                continue
            same = next((part for part in parts if _same_grid(part[0], plane)), None)
            if same is None:
                parts.append([plane])
            else:
                same.append(plane)
        if lacking:
            max(parts, key=len, default=lacking).extend(lacking if parts else [])
            parts = parts or [lacking]
        found += [_series(uid, part) for part in parts]
    return found


def _same_grid(one: Slice, other: Slice) -> bool:
    """Whether orientation and pixel spacing agree, as far as the rounding in headers goes."""
    turned = np.abs(np.subtract(one.orientation or (), other.orientation or ())).max()
    return bool(turned < 5 * COSINE and np.allclose(one.spacing or (), other.spacing or (), SPACING_RATIO, 0))


def _series(uid: str, slices: list[Slice]) -> Series:
    positions = [s.position for s in slices if s.position is not None]
    orientation = slices[0].orientation
    cosines = np.array(orientation or (), float)
    if len(cosines) != 6 or not is_orientation(cosines) or not positions:
        return Series(uid, slices, 0.0, np.inf, axial=True)  # refused by name of the element, if it is chosen
    normal = np.cross(cosines[:3], cosines[3:])
    heights = np.sort(np.array(positions, float) @ normal)
    apart = np.diff(heights)
    apart = apart[apart > 1e-3]
    spacing = float(np.median(apart)) if len(apart) else np.inf
    return Series(uid, slices, float(np.ptp(heights)), spacing, axial=bool(abs(normal[2]) >= AXIAL))


def split_reconstructions(slices: list[Slice]) -> tuple[list[Slice], Finding | None]:
    """Separate reconstructions or phases that share a series UID, where a header element tells them apart.

    Args:
        slices: of one series; perhaps several images at one position, or one set's between those of another.

    Returns:
        One complete set, and the finding that says so; the slices unchanged where no element tells.
    """
    for keyword in SPLITTERS:
        parts = _split(slices, lambda s, keyword=keyword: s.tag(keyword))  # type: ignore[misc]
        if len(parts) < 2 or not _are_reconstructions(parts):
            continue
        best = max(parts, key=len)
        message = (
            f"the series holds {len(parts)} sets of images ({', '.join(str(len(p)) for p in parts)}) that "
            f"differ in {keyword}; the {'largest' if len({len(p) for p in parts}) > 1 else 'first'} was read"
        )
        return best, Finding("reconstruction-chosen", message)
    return slices, None


def _split(slices: list[Slice], key: Callable[[Slice], str]) -> list[list[Slice]]:
    ordered = sorted(slices, key=key)
    return [list(members) for _, members in groupby(ordered, key)]


def _are_reconstructions(parts: list[list[Slice]]) -> bool:
    """Whether each part is a stack of its own, and all show the same height: not a chest in two halves."""
    if any(len(part) < FEWEST_SLICES for part in parts):
        return False
    planes = [planes_of(part) for part in parts]
    if any(doubled(each) or not stack(each).regular for each in planes):
        return False
    ends = np.array([(each.heights.min(), each.heights.max()) for each in planes])
    return bool(np.ptp(ends, axis=0).max() <= (1 - SHARE_OF_HEIGHT) * (ends[:, 1].max() - ends[:, 0].min()))


def planes_of(slices: Sequence[Slice]) -> Planes:
    """Geometry of the slices of one series.

    Args:
        slices: each with position, orientation and spacing.

    Raises:
        VolumeError: orientation or spacing are none.
    """
    first = slices[0]
    positions = np.array([s.position for s in slices], float)
    return make_planes(positions, np.array(first.orientation), first.spacing or ())
