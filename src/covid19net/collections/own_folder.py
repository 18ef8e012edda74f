"""A hospital's own folder: its scans as a table whose empty columns are to be filled in."""

from pathlib import Path

from covid19net.cohort import relative, write_table
from covid19net.collections.layout import entries
from covid19net.errors import InputError
from covid19net.io.files import find_files, is_image_name
from covid19net.io.header import looks_like_dicom

TEMPLATE = (  # what somebody has to fill in
    "set", "centre", "label", "type", "age", "sex", "comorbidity", "days", "discharged", "died", "icu",
    "ventilated", "severity", "thickness", "kernel", "vendor", "year", "contrast",
)  # fmt: skip
LOOKED_AT = 20  # files of a folder asked whether they are DICOM
HEAD = 256  # bytes


def write_template(folder: Path, out: Path) -> tuple[int, int]:
    """Write a table with a row for each scan of a folder: a subfolder, zip archive or image file each.

    Patients are numbered, for names of folders may be names of persons; nothing is read from headers.

    Args:
        folder: with one scan in each subfolder or file.
        out: the CSV; columns not filled in are empty.

    Returns:
        Number of scans, and of subfolders and files that hold none.

    Raises:
        InputError: no such folder, no scan in it, or the table is there already: it may be filled in.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    if out.exists():
        raise InputError(f"{out.name}: is there already and may have been filled in; give another name")
    found = [Path(entry.path) for entry in entries(folder)]
    scans = [path for path in found if _is_scan(path)]
    if not scans:
        raise InputError(f"{folder.name}: no subfolder or file of it holds a scan")
    rows: list[dict[str, object]] = [
        {"patient_id": f"p{i:04d}", "scan": relative(path, out.parent), **dict.fromkeys(TEMPLATE)}
        for i, path in enumerate(scans, start=1)
    ]
    write_table(out, rows)
    return len(scans), len(found) - len(scans)


def _is_scan(path: Path) -> bool:
    if path.is_file():
        return is_image_name(path.name) or path.suffix.lower() == ".zip"
    sources = find_files(path).sources
    if any(is_image_name(source.name) for source in sources):
        return True
    return any(looks_like_dicom(source.read(0, HEAD)) for source in sources[:LOOKED_AT])
