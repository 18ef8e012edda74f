"""Zip archives: whole, broken and hostile."""

from pathlib import Path
import stat
import struct
import zipfile

import nibabel
import numpy as np
import pytest

from covid19net.errors import Covid19netError, InputError, ResourceError
from covid19net.io import read_ct
from tests import dicom_files as make

HU = make.chest()


def zipped(folder: Path, path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture
def folder(tmp_path):
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    make.write(slices[:6], tmp_path / "files" / "A")
    make.write(slices[6:], tmp_path / "files" / "B")
    (tmp_path / "files" / "viewer.exe").write_bytes(b"MZ")
    return tmp_path / "files"


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_an_archive_equals_its_folder(tmp_path, folder, compression):
    """Nested folders, equal names (row 22), any method of compression; nothing is left behind."""
    before = {p.name for p in tmp_path.iterdir()}
    scan = read_ct(zipped(folder, tmp_path / "scan.zip", compression))
    assert np.array_equal(scan.volume.hu, HU)
    assert scan.headers["scan_sha256"] == read_ct(folder).headers["scan_sha256"]
    assert {p.name for p in tmp_path.iterdir()} == before | {"scan.zip"}


def test_compressed_slices_in_an_archive(tmp_path, folder):
    """Row 8: JPEG lossless inside zip."""
    import gdcm

    for path in folder.rglob("0*"):
        make.compressed(path, gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    assert np.array_equal(read_ct(zipped(folder, tmp_path / "scan.zip")).volume.hu, HU)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_one_nifti_in_an_archive(tmp_path, name):
    place = np.diag([-1.0, -1.0, 1.0, 1.0]) @ make.affine()[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(HU.T, place), tmp_path / name)
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.write(tmp_path / name, f"case/{name}")
    assert np.array_equal(read_ct(tmp_path / "scan.zip").volume.hu, HU)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_archive(tmp_path, folder, share):
    """Row 11."""
    path = zipped(folder, tmp_path / "scan.zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"scan\.zip: not a complete zip archive"):
        read_ct(path)


def test_damaged_content(tmp_path, folder):
    """Row 11: bytes inside an entry changed; its checksum tells."""
    path = zipped(folder, tmp_path / "scan.zip", zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    at = data.index((HU[8].astype(np.int32) + 1024).astype("<u2").tobytes()[:40])
    data[at : at + 30] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(InputError, match="B/0002: cannot be read"):
        read_ct(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_under_every_compression(tmp_path, folder, compression):
    path = zipped(folder, tmp_path / "scan.zip", compression)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("B/0002")
    data = bytearray(path.read_bytes())
    at = entry.header_offset + 30 + len(entry.filename) + 20
    data[at : at + 100] = b"\xff" * 100
    path.write_bytes(data)
    with pytest.raises(InputError, match="B/0002: cannot be read"):
        read_ct(path)


def test_an_entry_without_a_name(tmp_path, folder):
    """Names begin with what a damaged table of contents calls their end (APPNOTE 4.4.17)."""
    path = zipped(folder, tmp_path / "scan.zip")
    path.write_bytes(path.read_bytes().replace(b"A/0000", b"\0/0000"))
    with pytest.raises(InputError, match="an entry of the archive points outside it"):
        read_ct(path)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"Rar!\x1a\x07\x01\x00", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
    ],
)
def test_other_archives_are_named(tmp_path, head, kind):
    """Row 29."""
    (tmp_path / "scan.zip").write_bytes(head + bytes(600))
    with pytest.raises(InputError, match=f"{kind} archives are not read"):
        read_ct(tmp_path / "scan.zip")


def test_a_tar_archive(tmp_path, folder):
    """Row 29."""
    import tarfile

    with tarfile.open(tmp_path / "scan.tar", "w") as archive:
        archive.add(folder, "files")
    with pytest.raises(InputError, match="tar archives are not read"):
        read_ct(tmp_path / "scan.tar")


def test_an_empty_archive(tmp_path):
    """Row 29."""
    zipfile.ZipFile(tmp_path / "scan.zip", "w").close()
    with pytest.raises(InputError, match="the archive is empty"):
        read_ct(tmp_path / "scan.zip")


def test_an_encrypted_archive(tmp_path, folder):
    """Row 29: the flag of PKWARE's APPNOTE 4.4.4 in every entry."""
    path = zipped(folder, tmp_path / "scan.zip")
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        read_ct(path)


def test_two_studies_in_an_archive(tmp_path):
    """Row 29."""
    make.series(HU, tmp_path / "f" / "1")
    make.series(HU, tmp_path / "f" / "2")
    with pytest.raises(InputError, match="2 studies in one place"):
        read_ct(zipped(tmp_path / "f", tmp_path / "scan.zip"))


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "/etc/evil.dcm", "a/../../evil.dcm", "..\\evil.dcm", "C:\\evil.dcm"]
)
def test_entries_that_point_outside(tmp_path, folder, name):
    """Row 48."""
    path = zipped(folder, tmp_path / "scan.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x" * 100)
    before = set(tmp_path.parent.rglob("*evil*"))
    with pytest.raises(InputError, match="points outside"):
        read_ct(path)
    assert set(tmp_path.parent.rglob("*evil*")) == before


def test_an_entry_that_is_a_link(tmp_path, folder):
    """Row 48."""
    path = zipped(folder, tmp_path / "scan.zip")
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="symbolic link"):
        read_ct(path)


def test_entries_that_overlap(tmp_path, folder):
    """Row 48: every entry of the table points to the first file (Fifield's bomb)."""
    path = zipped(folder, tmp_path / "scan.zip")
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 42 : at + 46] = bytes(4)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    with pytest.raises(InputError, match="overlap"):
        read_ct(path)


def test_an_entry_that_inflates_a_thousandfold(tmp_path):
    """Row 48: 200 MB of zeros."""
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(200 << 20))
    with pytest.raises(ResourceError, match="inflates to 200 MB"):
        read_ct(tmp_path / "scan.zip")


def test_an_archive_with_too_many_entries(tmp_path):
    """Row 48."""
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for index in range(20_001):
            archive.writestr(f"{index}", b"x")
    with pytest.raises(ResourceError, match="20001 files"):
        read_ct(tmp_path / "scan.zip")


def test_a_table_of_contents_that_is_too_long(tmp_path, folder):
    """Row 48: refused by its announced length, before it is read."""
    path = zipped(folder, tmp_path / "scan.zip")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x05\x06")
    struct.pack_into("<L", data, at + 12, 1 << 30)
    path.write_bytes(data)
    with pytest.raises(ResourceError, match="more files than a CT scan has"):
        read_ct(path)


@pytest.mark.parametrize("size", [10, 1 << 33])
def test_an_entry_that_lies_about_its_size(tmp_path, folder, size):
    """Row 48: real bytes are counted, not promised ones."""
    path = zipped(folder, tmp_path / "scan.zip")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, at + 24, min(size, 0xFFFFFFF0))
    path.write_bytes(data)
    with pytest.raises(Covid19netError) as caught:
        read_ct(path)
    assert caught.value.exit_code in (2, 5)


def test_zip64_archives(tmp_path, folder):
    """Written by streaming programs."""
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            with archive.open(str(file.relative_to(folder)), "w", force_zip64=True) as entry:
                entry.write(file.read_bytes())
    assert np.array_equal(read_ct(tmp_path / "scan.zip").volume.hu, HU)
