"""What the header of a DICOM file says of how a scan was made, and of its patient's age and sex."""

from pathlib import Path

from covid19net.collections.layout import entries
from covid19net.errors import InputError
from covid19net.io.files import source_of
from covid19net.io.header import FIRST_READ, Slice, looks_like_dicom, read_slices
from covid19net.io.identity import headers_of

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
PICTURE_BITS = 8
SHOWN = {
    "manufacturer": "vendor",
    "kernel": "kernel",
    "slice_thickness_mm": "thickness",
    "patient_age_years": "age",
    "patient_sex": "sex",
}


def first_slice(folder: Path) -> Slice | None:
    """The first DICOM image of a folder, by name; None where it holds none.

    Raises:
        InputError: it holds pictures instead, or its images have 8 bits: neither are Hounsfield units.
    """
    files = [entry for entry in entries(folder) if entry.is_file()]
    for entry in files:
        source = source_of(Path(entry.path), entry.name) if entry.stat().st_size else None
        head = source.read(0, FIRST_READ) if source else b""
        if source and looks_like_dicom(head):
            planes = read_slices(source, head)
            if planes and planes[0].stored.stored <= PICTURE_BITS:
                raise InputError(f"{folder.name}: 8-bit images, not Hounsfield units; refused")
            if planes:
                return planes[0]
    if any(entry.name.lower().endswith(PICTURES) for entry in files):
        raise InputError(
            f"{folder.parent.name}/{folder.name}: pictures of 8 bits, not Hounsfield units; refused. Get the "
            "DICOM form"
        )
    return None


def facts_of(plane: Slice) -> dict[str, object]:
    """Columns of the manifest that a header tells: vendor, kernel, thickness (mm), age (years) and sex."""
    told = headers_of([plane])
    found = {column: told[name] for name, column in SHOWN.items() if name in told}
    return {name: value for name, value in found.items() if (name, value) != ("sex", "O")}
