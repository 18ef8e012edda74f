"""What the header of a DICOM file says of how a scan was made, and of its patient's age and sex."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covid19net.errors import InputError
from covid19net.io.archive import open_zip
from covid19net.io.files import Source, find_files, is_shadow, source_of
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


@contextmanager
def _files(place: Path) -> Iterator[list[Source]]:
    """The files of a folder, not below it, or those of a zip archive; without the shadows of macOS."""
    if place.is_dir():
        found = find_files(place, deep=False).sources
        yield [source for source in found if not source.name.startswith(".")]
        return
    with open_zip(source_of(place, place.name)) as inside:
        yield [source for source in inside.sources if not is_shadow(source.name)]


def first_slice(place: Path) -> Slice | None:
    """The first DICOM image of a folder or zip archive, by name; None where it holds none.

    Raises:
        InputError: it holds pictures instead, or its images have 8 bits: neither are Hounsfield units; or it
            is no archive that can be read.
    """
    called = f"{place.parent.name}/{place.name}" if place.is_dir() else place.name
    with _files(place) as files:
        for source in files:
            head = source.read(0, FIRST_READ)
            planes = read_slices(source, head) if looks_like_dicom(head) else []
            if planes and planes[0].stored.stored <= PICTURE_BITS:
                raise InputError(f"{called}: 8-bit images, not Hounsfield units; refused")
            if planes:
                return planes[0]
        if any(source.name.lower().endswith(PICTURES) for source in files):
            raise InputError(
                f"{called}: pictures of 8 bits, not Hounsfield units; refused. Get the DICOM form"
            )
    return None


def facts_of(plane: Slice) -> dict[str, object]:
    """Columns of the manifest that a header tells: vendor, kernel, thickness (mm), age (years) and sex."""
    told = headers_of([plane])
    found = {column: told[name] for name, column in SHOWN.items() if name in told}
    return {name: value for name, value in found.items() if (name, value) != ("sex", "O")}
