"""What a folder, archive or file holds, and what reading it would choose, skip or refuse."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covid19net.errors import Covid19netError, ResourceError
from covid19net.io.choose import Series, group_series
from covid19net.io.dicom import Contents, survey
from covid19net.io.files import is_image_name
from covid19net.io.identity import safe_uid
from covid19net.io.read import open_path, read_ct
from covid19net.volume import Finding, Scan


@dataclass(frozen=True)
class Examination:
    """What was found at a path.

    Attributes:
        files: regular files.
        skipped: files that are no DICOM image, links and pipes included.
        damaged: one line for each DICOM file whose header cannot be read.
        image_files: NIfTI, NRRD and MetaImage files.
        modalities: number of image planes by modality.
        series: every CT series or part of one: UID, slices, distance and height in mm, whether axial.
        scan: what reading gave, None when it was refused.
        fault: why it was refused, None when it was not.
    """

    files: int
    skipped: int
    damaged: tuple[str, ...]
    image_files: int
    modalities: dict[str, int]
    series: tuple[dict[str, Any], ...]
    scan: Scan | None = None
    fault: Covid19netError | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What reading chose, skipped or doubted."""
        return self.scan.findings if self.scan else ()

    def lines(self) -> list[str]:
        """The examination as text, one fact a line; a refusal is left to whoever shows `fault`."""
        found = [
            f"files: {self.files}, of them {self.skipped} no DICOM image, {self.image_files} image files"
        ]
        found += [f"damaged: {line}" for line in self.damaged]
        found += [f"{count} images of modality {name}" for name, count in sorted(self.modalities.items())]
        for series in self.series:
            distance = f"{series['spacing_mm']} mm apart" if series["spacing_mm"] else "distance unknown"
            kind = "axial" if series["axial"] else "not axial"
            found.append(
                f"CT series {series['uid'] or '(no UID)'}: {series['slices']} slices, {distance}, {kind}"
            )
        if self.scan:
            volume = self.scan.volume
            size = " x ".join(str(n) for n in volume.shape)
            spacing = " x ".join(f"{s:.3f}" for s in volume.spacing)
            found.append(
                f"read: {size} voxels of {spacing} mm (z, y, x), {volume.hu.min()} to {volume.hu.max()} HU"
            )
        return found + [f"{finding.code}: {finding.message}" for finding in self.findings]


def examine(path: str | Path) -> Examination:
    """Look at everything a path holds and try to read a CT from it; never raises for what is found there.

    Args:
        path: as for `covid19net.read_ct`.
    """
    path = Path(path)
    files, images, contents = 0, 0, Contents([], 0, [])
    scan, fault = None, None
    try:
        with open_path(path) as found:
            files, images = len(found.sources), sum(is_image_name(s.name) for s in found.sources)
            contents = survey(found)
        scan = read_ct(path)
    except Covid19netError as refusal:
        fault = refusal
    except MemoryError:
        fault = ResourceError(f"{path.name}: not enough memory to read the scan")
    modalities: dict[str, int] = {}
    for plane in contents.slices:
        name = plane.tag("Modality")
        name = name if name.isascii() and name.isalnum() and len(name) <= 16 else "unknown"
        modalities[name] = modalities.get(name, 0) + 1
    ct = [plane for plane in contents.slices if plane.tag("Modality") in ("CT", "")]
    return Examination(
        files=files,
        skipped=contents.skipped,
        damaged=tuple(contents.damaged),
        image_files=images,
        modalities=modalities,
        series=tuple(_summary(series) for series in group_series(ct)),
        scan=scan,
        fault=fault,
    )


def _summary(series: Series) -> dict[str, Any]:
    apart = round(series.spacing, 3) if series.spacing < float("inf") else None
    return {
        "uid": safe_uid(series.uid),
        "slices": len(series.slices),
        "spacing_mm": apart,
        "height_mm": round(series.extent, 1),
        "axial": series.axial,
    }
