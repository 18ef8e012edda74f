"""What the scans of a manifest say themselves: can they be used, which are they, how were they made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from covid19net.cohort import Member
from covid19net.errors import Covid19netError, VolumeError
from covid19net.gate import SATURATED, check_hounsfield
from covid19net.io import read_ct
from covid19net.study.fingerprint import fingerprint, near
from covid19net.study.guard import ScanNotes
from covid19net.volume import CTVolume, Scan

HEADERS = {  # of `Scan.headers` -> name of the fact
    "format": "file format",
    "manufacturer": "maker in the file",
    "model": "model in the file",
    "kernel": "kernel in the file",
    "kvp": "kV in the file",
    "slice_thickness_mm": "thickness in the file",
}
NOTED = ("odd-slices", "rescale-absent", "rescale-varies", "values-clipped", "lossy-compression")
EIGHT_BIT = 256  # values that 8 bits can tell apart; a CT has more than a thousand
CUT_OFF = 0.002  # of all voxels at the largest value: more is the upper end of a window


@dataclass(frozen=True, eq=False)
class ScanFacts:
    """What one scan says.

    Attributes:
        content: hash of voxels and grid, the same whatever the format; None where it cannot be read.
        mark: fingerprint, see `fingerprint`; None where no lungs are found.
        facts: of the acquisition.
        faults: why it cannot be used, or must be looked at; one sentence each.
    """

    content: str | None = None
    mark: np.ndarray | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def read_scans(
    members: Sequence[Member], progress: Callable[[str, float], None] | None = None
) -> list[ScanFacts]:
    """Read the scan of each row; one that cannot be read is a fault of its own and stops nothing.

    Args:
        members: rows; those without a scan have no facts.
        progress: called with the row and the share that is done.
    """
    found = []
    for done, member in enumerate(members, start=1):
        scan = member.patient.values.get("scan")
        found.append(ScanFacts() if scan is None else scan_facts(Path(str(scan))))
        if progress:
            progress(f"row {member.patient.row}", done / len(members))
    return found


def scan_facts(path: Path) -> ScanFacts:
    """Read a scan, across missing slices too, and say what is wrong with it."""
    faults: list[str] = []
    try:
        scan = _read(path, faults)
    except (Covid19netError, OSError) as error:
        return ScanFacts(faults=(*faults, str(error)))
    faults += [finding.message for finding in scan.findings if finding.code in NOTED]
    try:
        check_hounsfield(scan.volume)
        faults += windowed(scan.volume)
    except Covid19netError as error:
        faults.append(str(error))
    facts = {name: scan.headers[key] for key, name in HEADERS.items() if key in scan.headers}
    z, y, _ = scan.volume.spacing
    facts |= {"slice distance": round(z, 2), "pixel size": round(y, 2)}
    facts["matrix"] = " x ".join(map(str, scan.volume.shape[1:]))
    return ScanFacts(scan.headers["scan_sha256"], fingerprint(scan.volume), facts, tuple(faults))


def _read(path: Path, faults: list[str]) -> Scan:
    try:
        return read_ct(path)
    except VolumeError as error:
        scan = read_ct(path, allow_irregular=True)
        faults.append(str(error))
        return scan


def windowed(volume: CTVolume) -> list[str]:
    """Whether Hounsfield units went through a picture: 256 values at most, or all above a limit cut off."""
    highest = volume.hu.max()
    values = len(np.unique(volume.hu))
    if values <= EIGHT_BIT:
        return [f"only {values} different values: an 8-bit picture scaled back to Hounsfield units"]
    share = float(np.count_nonzero(volume.hu == highest)) / volume.hu.size
    if share > CUT_OFF and highest < SATURATED:
        return [
            f"{100 * share:.1f} % of the voxels have the largest value, {highest:g} HU: cut off by a window"
        ]
    return []


def notes_of(scans: Sequence[ScanFacts]) -> ScanNotes:
    """What the scans of a cohort say together."""
    names = dict.fromkeys(name for scan in scans for name in scan.facts)
    return ScanNotes(
        [scan.content for scan in scans],
        near([scan.mark for scan in scans]),
        {name: [scan.facts.get(name) for scan in scans] for name in names},
        [(place, fault) for place, scan in enumerate(scans) for fault in scan.faults],
        sum(scan.content is not None and scan.mark is None for scan in scans),
    )
