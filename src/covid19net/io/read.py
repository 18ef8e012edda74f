"""The doors through which a scan comes in: folder, archive, one file of a series, one image file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
import hashlib
from pathlib import Path

import numpy as np

from covid19net.errors import InputError, ResourceError, naming
from covid19net.io.archive import open_zip, refuse_other_archives
from covid19net.io.dicom import Contents, Options, read_dicom, series_beside, survey
from covid19net.io.files import Found, Source, find_files, is_image_name, is_shadow, source_of
from covid19net.io.geometry import check_field_of_view
from covid19net.io.header import looks_like_dicom
from covid19net.io.itk import read_image
from covid19net.volume import Finding, Scan, upright

MOST_LOOKED_AT = 100  # files asked whether they are archives, to word a refusal
ZIP_MAGIC = b"PK"  # also of an empty archive and of one cut at its start


def read_ct(path: str | Path, *, series: str | None = None, allow_irregular: bool = False) -> Scan:
    """Read one chest CT.

    Args:
        path: a DICOM folder, a zip archive of one, one file of a DICOM series, or a NIfTI (.nii, .nii.gz),
            NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd) file.
        series: series instance UID to read; by default the finest axial CT series.
        allow_irregular: interpolate across missing or unevenly spaced slices, and read slices that look
            damaged, instead of refusing; a finding says so.

    Returns:
        The scan: z to the head, y to the back, x to the patient's left; HU in int16 where all are whole
        numbers, else float32, at least -1024; headers without anything that names a person; findings.

    Raises:
        InputError: the path, a file in it, or the choice between series is at fault (exit code 2).
        NotChestCTError: readable, but no CT volume (exit code 3).
        ResourceError: more files or voxels than a CT scan has (exit code 5).
    """
    path = Path(path)
    options = Options(series, allow_irregular)
    try:
        with naming(path.name):
            scan = _read(path, options)
            volume = upright(scan.volume)
            check_field_of_view(volume.shape, volume.spacing)
    except MemoryError as error:
        raise ResourceError(f"{path.name}: not enough memory to read the scan") from error
    digest = hashlib.sha256(repr((volume.shape, str(volume.hu.dtype))).encode())
    digest.update(np.ascontiguousarray(np.round(volume.affine, 2) + 0.0).tobytes())
    digest.update(volume.hu.data)
    return replace(scan, volume=volume, headers={**scan.headers, "scan_sha256": digest.hexdigest()})


@contextmanager
def open_path(path: Path) -> Iterator[Found]:
    """The files of a folder or archive, or the one file itself, valid inside the `with` block.

    Raises:
        InputError: nothing there, or an archive that is damaged, encrypted or of another kind.
        ResourceError: more files than any scan has.
    """
    if _is_folder(path):
        yield find_files(path)
        return
    source = source_of(path, path.name)
    if source.read(0, 2) == ZIP_MAGIC and not is_image_name(path.name):
        with open_zip(source) as found:
            yield found
        return
    if not is_image_name(path.name):
        refuse_other_archives(source)
    yield Found([source])


def _is_folder(path: Path) -> bool:
    try:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        return path.is_dir()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be opened ({error.strerror})") from error


def _read(path: Path, options: Options) -> Scan:
    with open_path(path) as found:
        single = found.sources[0] if found.sources and found.sources[0].path == path else None
        if single is None:
            return _read_found(path.name, found, options)
        if is_image_name(single.name):
            return read_image(single)
        if looks_like_dicom(single.read(0, 132)):
            return _read_beside(single, path, options)
        raise InputError(f"{path.name}: not a file that can be read (DICOM, zip, NIfTI, NRRD or MetaImage)")


def _read_found(name: str, found: Found, options: Options) -> Scan:
    """The scan in a folder or archive: its DICOM slices, or else its only image file."""
    contents = survey(found)
    if contents.slices or contents.damaged:
        return read_dicom(contents, options)
    images = [s for s in found.sources if is_image_name(s.name) and not is_shadow(s.name)]
    if len(images) == 1:
        return read_image(images[0])
    if images:
        raise InputError(f"{name}: holds {len(images)} image files; give one of them")
    if not found.sources:
        raise InputError(f"{name}: holds no files to read")
    if any(source.read(0, 4) == b"PK\x03\x04" for source in found.sources[:MOST_LOOKED_AT]):
        raise InputError(f"{name}: holds a zip archive and no DICOM image; unpack it")
    raise InputError(f"{name}: none of its {len(found.sources)} files is a DICOM image")


def _read_beside(source: Source, path: Path, options: Options) -> Scan:
    """The series of one DICOM file, from its folder."""
    uid = series_beside(source)
    if options.series is None and uid:
        options = replace(options, series=uid)
    contents = survey(find_files(path.parent, deep=False))
    if uid:
        beside = [s for s in contents.slices if s.tag("SeriesInstanceUID") == options.series]
        contents = Contents(beside, 0, contents.damaged)
    scan = read_dicom(contents, options)
    count = len(scan.headers.get("sop_instance_uids", [])) or scan.volume.shape[0]
    if count == 1 or len({s.source.name for s in contents.slices}) == 1:
        return scan
    note = Finding("folder-read", "one file was given; the series it belongs to was read from its folder")
    return replace(scan, findings=(note, *scan.findings))
