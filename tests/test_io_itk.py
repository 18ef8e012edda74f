"""NIfTI, NRRD and MetaImage: written by other libraries, read here; written here, read by others."""

import bz2
import errno
import gzip
from itertools import permutations, product
import os
from pathlib import Path
import stat
import struct
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK

from covid19net.errors import InputError, NotChestCTError, ResourceError, VolumeError
from covid19net.io import itk, read_ct
from covid19net.io.files import source_of
from covid19net.io.itk import write_volume
from covid19net.io.nifti import _quaternion, _rotation
from covid19net.volume import CTVolume, Overlay
from tests import dicom_files as make

HU = make.chest()
SPACING = (2.5, 0.7, 0.8)
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# All 48 ways to lay out the three axes.
LAYOUTS = [(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]


def laid_out(order, flips):
    """The scan with its array axes permuted and reversed, and the affine that says so."""
    hu, place = HU.transpose(order), make.affine()[:, [*order, 3]].copy()
    for axis in range(3):
        if flips[axis]:
            place[:3, 3] += place[:3, axis] * (hu.shape[axis] - 1)
            place[:3, axis] *= -1
            hu = np.flip(hu, axis)
    return np.ascontiguousarray(hu), place


def save_nifti(path, hu, place, dtype=None):
    """Written by nibabel; its arrays run (x, y, z), its world is RAS."""
    image = nibabel.Nifti1Image(hu.T if dtype is None else hu.T.astype(dtype), RAS @ place[:, [2, 1, 0, 3]])
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def save_itk(path, hu, place, **kwargs):
    """Written by SimpleITK."""
    spacing = np.linalg.norm(place[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(hu)
    image.SetSpacing(spacing[::-1].tolist())
    image.SetOrigin(place[:3, 3].tolist())
    image.SetDirection((place[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    SimpleITK.WriteImage(image, str(path), **kwargs)
    return path


META = [
    "ObjectType = Image",
    "NDims = 3",
    "DimSize = 40 48 12",
    "ElementSpacing = 0.8 0.7 2.5",
    "TransformMatrix = 1 0 0 0 1 0 0 0 1",
    "ElementType = MET_SHORT",
]
NRRD = ["type: int16", "dimension: 3", "sizes: 40 48 12", "endian: little"]
PLACE = ["space: LPS", "space directions: (0.8,0,0) (0,0.7,0) (0,0,2.5)", "space origin: (1,2,3)"]


def meta(path, lines, data=b"", place="LOCAL"):
    """A MetaImage file with these header lines, the data behind them."""
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {place}\n"]).encode() + data)
    return path


def nrrd(path, lines, data=None):
    """An NRRD file with these header lines, the data, by default the scan, behind them."""
    data = HU.tobytes() if data is None else data
    path.write_bytes("\n".join(["NRRD0005", *lines, "\n"]).encode() + data)
    return path


def codes(scan):
    return {finding.code for finding in scan.findings}


def assert_base(scan):
    assert scan.volume.hu.dtype == np.int16
    assert np.array_equal(scan.volume.hu, HU)
    assert np.allclose(scan.volume.affine, make.affine(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("order", "flips"), LAYOUTS)
def test_every_layout_of_nifti_gives_the_same_scan(tmp_path, order, flips):
    """Row 20: axes permuted and reversed by array and affine together."""
    scan = read_ct(save_nifti(tmp_path / "scan.nii", *laid_out(order, flips)))
    assert_base(scan)
    assert scan.findings == ()


@pytest.mark.parametrize(("order", "flips"), LAYOUTS)
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_every_layout_of_nrrd_and_metaimage(tmp_path, suffix, order, flips):
    """Row 20."""
    assert_base(read_ct(save_itk(tmp_path / f"scan{suffix}", *laid_out(order, flips))))


def test_every_door_gives_the_same_fingerprint(tmp_path):
    """One scan as DICOM, NIfTI, NRRD, MetaImage, with its header apart or not: one SHA-256."""
    place = make.affine()
    paths = [
        make.series(HU, tmp_path / "dicom"),
        save_nifti(tmp_path / "a.nii.gz", HU, place),
        save_itk(tmp_path / "a.nrrd", HU, place, useCompression=True),
        save_itk(tmp_path / "a.mhd", HU, place),
        save_itk(tmp_path / "a.nhdr", HU, place),
        save_itk(tmp_path / "a.mha", HU, place, useCompression=True),
        save_itk(tmp_path / "float.mha", HU.astype(np.float64), place),
    ]
    scans = [read_ct(path) for path in paths]
    for scan in scans:
        assert_base(scan)
    assert len({scan.headers["scan_sha256"] for scan in scans}) == 1
    changed = HU.copy()
    changed[5, 6, 7] += 1
    other = read_ct(save_itk(tmp_path / "b.mha", changed, place))
    assert other.headers["scan_sha256"] != scans[0].headers["scan_sha256"]


def test_a_folder_with_one_image_file(tmp_path):
    save_nifti(tmp_path / "a.nii.gz", HU, make.affine())
    (tmp_path / "readme.txt").write_text("x")
    assert_base(read_ct(tmp_path))
    save_nifti(tmp_path / "b.nii.gz", HU, make.affine())
    with pytest.raises(InputError, match="holds 2 image files"):
        read_ct(tmp_path)


@pytest.mark.parametrize("share", [0.2, 0.7, 0.99])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_files_cut_short_are_refused(tmp_path, suffix, share):
    """Row 11."""
    path = tmp_path / f"scan{suffix}"
    if suffix.startswith(".nii"):
        save_nifti(path, HU, make.affine())
    else:
        save_itk(path, HU, make.affine(), useCompression=True)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=path.name):
        read_ct(path)


@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_headers_of_nifti_cut_anywhere(tmp_path, version):
    """Row 11."""
    path = tmp_path / "scan.nii"
    nibabel.save(version(HU.T, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    whole = path.read_bytes()
    for length in range(1, 560):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"scan\.nii: "):
            read_ct(path)


def test_changed_bytes_of_a_compressed_file(tmp_path):
    """Row 11: the checksum is asked even where damage makes the voxels more than the header says."""
    path = save_nifti(tmp_path / "scan.nii.gz", HU, make.affine())
    whole = path.read_bytes()
    for at in range(300, len(whole), 997):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with pytest.raises(InputError, match="damaged"):
            read_ct(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.dcm", "a.zip"])
def test_files_of_zero_bytes(tmp_path, name):
    """Row 11."""
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"empty \(0 bytes\)"):
        read_ct(tmp_path / name)


def test_mhd_without_its_voxels(tmp_path):
    """Row 11."""
    path = save_itk(tmp_path / "scan.mhd", HU, make.affine())
    (tmp_path / "scan.raw").rename(tmp_path / "other.raw")
    with pytest.raises(InputError, match=r"scan\.mhd: the file with its voxels is not beside it"):
        read_ct(path)


def test_mhd_with_voxels_cut_short(tmp_path):
    """Row 11."""
    path = save_itk(tmp_path / "scan.mhd", HU, make.affine())
    raw = tmp_path / "scan.raw"
    raw.write_bytes(raw.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"scan\.mhd"):
        read_ct(path)


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../secret.raw", "sub/secret.raw", "LIST", "s%03d.raw 1 3 1"]
)
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_headers_that_point_to_other_places(tmp_path, suffix, target):
    """Row 50: nothing outside the folder is opened."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(HU.nbytes))
    path = save_itk(folder / f"scan{suffix}", HU, make.affine())
    text = path.read_text()
    data = next(p.name for p in folder.iterdir() if p.name != path.name)
    path.write_text(text.replace(data, target))
    assert target in path.read_text()
    with pytest.raises(InputError, match="in another place"):
        read_ct(path)


def test_voxels_behind_a_link(tmp_path):
    """Row 50."""
    path = save_itk(tmp_path / "scan.mhd", HU, make.affine())
    (tmp_path / "scan.raw").rename(tmp_path / "elsewhere")
    (tmp_path / "scan.raw").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="not beside it"):
        read_ct(path)


def test_a_file_without_orientation(tmp_path):
    """Row 25: both codes 0."""
    image = nibabel.Nifti1Image(HU.T, np.diag([0.8, 0.7, 2.5, 1]))
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    scan = read_ct(tmp_path / "scan.nii.gz")
    assert codes(scan) == {"orientation-unknown"}
    assert scan.volume.spacing == pytest.approx(SPACING)


def test_nrrd_without_space(tmp_path):
    """Row 25."""
    header = (
        "NRRD0004\ntype: int16\ndimension: 3\nsizes: 40 48 12\nspacings: 0.8 0.7 2.5\n"
        "endian: little\nencoding: raw\n\n"
    )
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + HU.tobytes())
    scan = read_ct(tmp_path / "scan.nrrd")
    assert codes(scan) == {"orientation-unknown"}


@pytest.mark.parametrize("shape", [(1, 48, 40), (2, 48, 40)])
def test_planes_are_no_volume(tmp_path, shape):
    """Row 28."""
    path = save_nifti(tmp_path / "scan.nii", make.chest(shape), make.affine())
    with pytest.raises(NotChestCTError, match="3 slices or more"):
        read_ct(path)


def test_values_that_are_no_numbers(tmp_path):
    """Row 39: NaN becomes air, infinity the largest value; both are counted."""
    values = HU.astype(np.float32) + np.float32(0.5)
    values[3, 4, 5], values[3, 4, 6], values[3, 4, 7] = np.nan, np.inf, -np.inf
    scan = read_ct(save_nifti(tmp_path / "scan.nii.gz", values, make.affine(), np.float32))
    assert scan.volume.hu.dtype == np.float32
    assert scan.volume.hu[3, 4, 5:8].tolist() == [-1024, 32767, -1024]
    assert np.isfinite(scan.volume.hu).all()
    assert next(f.message for f in scan.findings if f.code == "not-finite").startswith("3 values")


def test_padding_in_nifti(tmp_path):
    """Row 7."""
    hu = HU.copy()
    hu[:, :5] = -3024
    scan = read_ct(save_nifti(tmp_path / "scan.nii.gz", hu, make.affine()))
    assert (scan.volume.hu[:, :5] == -1024).all()
    assert np.array_equal(scan.volume.hu[:, 5:], HU[:, 5:])


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1e3])
def test_impossible_voxel_sizes(tmp_path, scale):
    """Row 46: zero, metres, micrometres."""
    path = save_nifti(tmp_path / "scan.nii", HU, make.affine())
    data = bytearray(path.read_bytes())
    struct.pack_into("<3f", data, 80, *(s * scale for s in SPACING[::-1]))
    struct.pack_into("<2h", data, 252, 1, 0)  # only the qform, which takes its size from there
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_ct(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, 1.1])
@pytest.mark.parametrize(
    ("version", "codes", "place", "kind"),
    [(nibabel.Nifti1Image, 252, 256, "f"), (nibabel.Nifti2Image, 344, 352, "d")],
)
def test_a_quaternion_that_is_none(tmp_path, version, codes, place, kind, value):
    """Row 46; byte places of nifti1.h and nifti2.h."""
    nibabel.save(version(HU.T, np.eye(4)), tmp_path / "scan.nii")
    data = bytearray((tmp_path / "scan.nii").read_bytes())
    struct.pack_into("<2h" if kind == "f" else "<2l", data, codes, 1, 0)
    struct.pack_into(f"<{kind}", data, place, value)
    (tmp_path / "scan.nii").write_bytes(data)
    with pytest.raises(VolumeError, match=r"scan\.nii: the axes of the volume have no length"):
        read_ct(tmp_path / "scan.nii")


def test_a_singular_affine(tmp_path):
    """Row 46: two axes of the sform are parallel."""
    path = save_nifti(tmp_path / "scan.nii", HU, make.affine())
    data = bytearray(path.read_bytes())
    struct.pack_into("<2h", data, 252, 0, 1)
    struct.pack_into("<12f", data, 280, 0.8, 0.8, 0, 0, 0, 0, 0, 0, 0, 0, 2.5, 0)
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_ct(path)


def test_colours_and_time_are_refused(tmp_path):
    """Row 19."""
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(np.zeros((4, 8, 8, 3), np.uint8), isVector=True), str(tmp_path / "a.mha")
    )
    with pytest.raises(InputError, match="colours"):
        read_ct(tmp_path / "a.mha")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8, 2), np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(InputError, match="4 dimensions"):
        read_ct(tmp_path / "a.nii")


def test_headers_that_ask_for_terabytes(tmp_path):
    """Row 49: refused before anything is allocated."""
    path = save_nifti(tmp_path / "scan.nii", HU, make.affine())
    data = bytearray(path.read_bytes())
    struct.pack_into("<8h", data, 40, 3, 32767, 32767, 32767, 1, 1, 1, 1)
    path.write_bytes(data)
    with pytest.raises(ResourceError, match="asks for 32767"):
        read_ct(path)
    text = "ObjectType = Image\nNDims = 3\nDimSize = 32767 32767 32767\nElementType = MET_SHORT\n"
    text += "ElementSpacing = 1 1 1\nElementDataFile = LOCAL\n"
    (tmp_path / "scan.mha").write_text(text)
    with pytest.raises(ResourceError, match="asks for 32767"):
        read_ct(tmp_path / "scan.mha")


def test_a_gzip_bomb(tmp_path):
    """Row 49: 1 GB of zeros in 1 MB."""
    header = bytearray(save_nifti(tmp_path / "scan.nii", HU, make.affine()).read_bytes()[:352])
    struct.pack_into("<8h", header, 40, 3, 512, 512, 2000, 1, 1, 1, 1)
    with gzip.open(tmp_path / "bomb.nii.gz", "wb", 9) as file:
        file.write(header)
        for _ in range(100):
            file.write(bytes(1 << 20))
    with pytest.raises(ResourceError, match="asks for 512 x 512 x 2000"):
        read_ct(tmp_path / "bomb.nii.gz")


def test_quaternions_are_scipys():
    from scipy.spatial.transform import Rotation

    half_turns = [np.eye(3), *(np.diag(signs) for signs in ([1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1]))]
    for turn in [*Rotation.random(300, random_state=1).as_matrix(), *half_turns]:
        for mirrored in (1, -1):
            found, handedness = _quaternion(turn * [1, 1, mirrored])
            assert handedness == mirrored
            rest = np.sqrt(max(0.0, 1 - found @ found))
            assert np.abs(Rotation.from_quat([*found, rest]).as_matrix() - turn).max() < 1e-7
            assert np.abs(_rotation(found) - turn).max() < 1e-7


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_written_volumes_are_exact_for_other_readers(tmp_path, suffix, dtype):
    """Values to the bit, geometry within 1e-4 mm, for nibabel and SimpleITK; oblique axes."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", [8, -5, 3], degrees=True).as_matrix()
    place = make.affine()
    place[:3, :3] = turn @ place[:3, :3]
    values = np.abs(HU % 200).astype(dtype) if dtype == np.uint8 else HU.astype(dtype)
    path = tmp_path / f"out{suffix}"
    write_volume(CTVolume(values, place) if dtype == np.int16 else Overlay(values, place), path)
    image = SimpleITK.ReadImage(str(path))
    theirs = SimpleITK.GetArrayFromImage(image)
    assert theirs.dtype == dtype
    assert np.array_equal(theirs, values)
    assert image.TransformIndexToPhysicalPoint((3, 4, 5)) == pytest.approx(
        (place @ [5, 4, 3, 1])[:3], abs=1e-4
    )
    if suffix.startswith(".nii"):
        image = nibabel.load(path)
        assert np.array_equal(np.asarray(image.dataobj).T, values)
        for theirs in (image.get_sform(), image.get_qform()):
            assert np.allclose(RAS @ theirs, place[:, [2, 1, 0, 3]], atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644


def test_compressed_volumes_are_ordinary_gzip(tmp_path):
    """One member that Python's gzip checks by its CRC; larger than one chunk: blocks are joined."""
    values = np.random.default_rng(0).integers(0, 50, (20, 512, 512)).astype(np.int16)
    write_volume(Overlay(values, make.affine()), tmp_path / "a.nii.gz")
    with gzip.open(tmp_path / "a.nii.gz") as file:
        data = file.read()
    assert data[352:] == values.tobytes()


@pytest.mark.parametrize(("name", "dtype"), [("a.png", np.int16), ("a.nii.gz", np.float64), ("a.mha", bool)])
def test_what_cannot_be_written_is_refused(tmp_path, name, dtype):
    with pytest.raises(InputError, match="are written as"):
        write_volume(Overlay(HU.astype(dtype), make.affine()), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_no_half_file_is_left(tmp_path, monkeypatch):
    """A missing folder is a wrong argument, a full disk a lack of resources; both leave nothing behind."""
    with pytest.raises(InputError, match=r"a\.nii\.gz: cannot be written"):
        write_volume(CTVolume(HU, make.affine()), tmp_path / "nowhere" / "a.nii.gz")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(itk, "write_nifti", full)
    with pytest.raises(ResourceError, match="No space left"):
        write_volume(CTVolume(HU, make.affine()), tmp_path / "a.nii.gz")
    monkeypatch.undo()
    place = make.affine()
    place[1, 0] = 1.0
    with pytest.raises(VolumeError, match="not perpendicular"):
        write_volume(CTVolume(HU, place), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_real_nrrd_equals_simpleitk():
    path = Path(__file__).parents[2] / "shared" / "data" / "ct" / "cip-small" / "ct-64.nrrd"
    if not path.is_file():
        pytest.skip("no real scans here")
    scan = read_ct(path)
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(scan.volume.hu, SimpleITK.GetArrayFromImage(image))
    assert scan.volume.affine[:3, 3] == pytest.approx(image.GetOrigin())
    assert scan.findings == ()


def test_written_files_heed_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        write_volume(CTVolume(HU, make.affine()), tmp_path / "a.nii.gz")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.nii.gz").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("suffix", "line"), [(".nhdr", "data file: ../b.raw"), (".mhd", "ElementDataFile = ../b.raw")]
)
def test_a_long_header_cannot_hide_where_its_voxels_are(tmp_path, suffix, line):
    """Row 50: only the beginning of a header is searched, so one without an end there is refused."""
    write_volume(CTVolume(HU, make.affine()), tmp_path / "a.mha")
    start = "NRRD0004\n" + "# comment\n" * 8000 if suffix == ".nhdr" else "Comment = x\n" * 8000
    (tmp_path / f"a{suffix}").write_text(start + line + "\n")
    with pytest.raises(InputError, match="header does not end"):
        read_ct(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), 1e30, -5.0])
def test_a_senseless_offset_of_the_voxels(tmp_path, offset):
    write_volume(CTVolume(HU, make.affine()), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", data, 108, offset)
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(InputError, match="header is damaged"):
        read_ct(tmp_path / "a.nii")


TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4",
    "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", TYPES)
def test_every_type_of_metaimage(tmp_path, name, order, packed):
    """Values and geometry as SimpleITK reads them."""
    data = np.abs(HU % 100).astype(order + TYPES[name]).tobytes()
    lines = [*META[:-1], f"ElementType = MET_{name}", f"BinaryDataByteOrderMSB = {order == '>'}"]
    if packed:
        data = zlib.compress(data)
        lines += ["CompressedData = True", f"CompressedDataSize = {len(data)}"]
    path = meta(tmp_path / "scan.mha", lines, data)
    assert np.array_equal(
        read_ct(path).volume.hu, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    )


@pytest.mark.parametrize(
    "lines",
    [
        ["TransformMatrix = 0 1 0 0 0 1 1 0 0", "Offset = 1 2 3"],
        ["Rotation = 0 1 0 1 0 0 0 0 1", "Position = 1 2 3"],
        ["Orientation = 1 0 0 0 1 0 0 0 1", "Rotation = 0 0 1 1 0 0 0 1 0", "ImagePosition = 7 8 9"],
        ["Orientation = -1 0 0 0 1 0 0 0 -1", "Origin = 1 2 3", "Offset = 4 5 6"],
        ["HeaderSize = -1", "Orientation = 1 0 0 0 0 1 0 -1 0", "Comment = a", "Comment = b"],
        ["BinaryDataByteOrderMSB = False", "ElementByteOrderMSB = True", "origin = 9 9 9", "0008|0005 = x:y"],
    ],
)
def test_every_key_of_metaimage(tmp_path, lines):
    """Where several say the same, ITK's choice; compared without `upright`."""
    path = meta(tmp_path / "scan.mha", [*META[:4], META[5], *lines], HU.tobytes())
    volume = itk.read_image(source_of(path, path.name)).volume
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(volume.hu, HU)
    for index in ((0, 0, 0), (3, 4, 5)):
        point = image.TransformIndexToPhysicalPoint(index)
        assert (volume.affine @ [*index[::-1], 1])[:3] == pytest.approx(point)


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_one_bit_of_compressed_metaimage(tmp_path, suffix):
    """Row 11: the checksum of zlib, which ITK does not ask for."""
    path = save_itk(tmp_path / f"scan{suffix}", HU, make.affine(), useCompression=True)
    assert_base(read_ct(path))
    packed = path if suffix == ".mha" else tmp_path / "scan.zraw"
    whole = packed.read_bytes()
    for at in range(len(whole) // 8 + 300, len(whole), 997):
        packed.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"scan\.mh.: the file is (damaged|longer)"):
            read_ct(path)


@pytest.mark.parametrize("data", [zlib.compress(HU.tobytes() * 2), zlib.compress(HU.tobytes())[:-1]])
def test_compressed_metaimage_of_another_length(tmp_path, data):
    """Row 11: the stream must end, and where the header says."""
    with pytest.raises(InputError, match=r"scan\.mha: the file is"):
        read_ct(meta(tmp_path / "scan.mha", [*META, "CompressedData = True"], data))


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("bz2", bz2.compress)])
def test_the_end_of_compressed_nrrd(tmp_path, encoding, pack):
    """Row 11: the last byte cut, a bit of the checksum changed, more voxels than promised."""
    path, lines, data = tmp_path / "scan.nrrd", [*NRRD, *PLACE, f"encoding: {encoding}"], pack(HU.tobytes())
    assert np.array_equal(read_ct(nrrd(path, lines, data)).volume.hu, HU)
    changed = data[:-6] + bytes([data[-6] ^ 4]) + data[-5:]
    for other in (data[:-1], data[:-8], changed, pack(HU.tobytes() + b"00")):
        with pytest.raises(InputError, match=r"scan\.nrrd: the file is"):
            read_ct(nrrd(path, lines, other))


@pytest.mark.parametrize("encoding", ["ascii", "hex", "zrl", ""])
def test_encodings_of_nrrd_that_are_not_read(tmp_path, encoding):
    with pytest.raises(InputError, match="written in a way that is not read"):
        read_ct(nrrd(tmp_path / "scan.nrrd", [*NRRD, *PLACE, f"encoding: {encoding}"]))


@pytest.mark.parametrize(
    "lines", [["space: LPS"], ["spacings: nan nan nan"], ["space directions: (nan,0,0) (0,1,0) (0,0,1)"], []]
)
def test_no_voxel_size(tmp_path, lines):
    """Rows 37 and 46: ITK takes 1 mm."""
    with pytest.raises(InputError, match=r"scan\.nrrd: voxel size absent"):
        read_ct(nrrd(tmp_path / "scan.nrrd", [*NRRD, "encoding: raw", *lines]))
    for spacing in ([], ["ElementSpacing = nan nan nan"]):
        with pytest.raises(InputError, match=r"scan\.mha: voxel size absent"):
            read_ct(meta(tmp_path / "scan.mha", [*META[:3], *META[4:], *spacing], HU.tobytes()))


def test_the_size_of_a_voxel_stands_for_its_distance(tmp_path):
    """Row 46: as in ITK, where no distance is given."""
    path = meta(tmp_path / "a.mha", [*META[:3], *META[4:], "ElementSize = 0.8 0.7 2.5"], HU.tobytes())
    assert read_ct(path).volume.spacing == pytest.approx(SPACING)


@pytest.mark.parametrize("spacing", ["0.8 0.7 -2.5", "0 0 0", "-0.8 0.7 2.5"])
def test_voxel_sizes_below_zero(tmp_path, spacing):
    """Row 46: they would turn the scan upside down."""
    files = [
        meta(tmp_path / "a.mha", [*META[:3], *META[4:], f"ElementSpacing = {spacing}"], HU.tobytes()),
        nrrd(tmp_path / "a.nrrd", [*NRRD, "encoding: raw", f"spacings: {spacing}"]),
    ]
    for path in files:
        with pytest.raises(InputError, match="voxel size zero or negative"):
            read_ct(path)


@pytest.mark.parametrize(("unit", "length"), [("mm", 1), ("cm", 10), ("m", 1000), ("um", 1e-3), ("in", 25.4)])
def test_units_of_nrrd_and_metaimage(tmp_path, unit, length):
    """Row 46: of the space, of the axes, of the distance."""
    x, y, z = (size / length for size in SPACING[::-1])
    units = " ".join([f'"{unit}"'] * 3)
    lines = ["space: LPS", f"space directions: ({x},0,0) (0,{y},0) (0,0,{z})", f"space units: {units}"]
    files = [
        nrrd(tmp_path / "a.nrrd", [*NRRD, "encoding: raw", *lines, f"space origin: ({x},{y},{z})"]),
        nrrd(tmp_path / "b.nrrd", [*NRRD, "encoding: raw", f"spacings: {x} {y} {z}", f"units: {units}"]),
        meta(
            tmp_path / "c.mha",
            [*META[:3], *META[4:], f"ElementSpacing = {x} {y} {z}", f"DistanceUnits = {unit}"],
            HU.tobytes(),
        ),
    ]
    for path in files:
        assert read_ct(path).volume.spacing == pytest.approx(SPACING)
    assert read_ct(files[0]).volume.affine[:3, 3] == pytest.approx(SPACING[::-1])


def test_an_unknown_unit(tmp_path):
    """Rows 46 and 52: refused, without the text of the file."""
    path = nrrd(
        tmp_path / "a.nrrd", [*NRRD, *PLACE, "encoding: raw", 'space units: "furlong" "furlong" "furlong"']
    )
    with pytest.raises(InputError, match="in a unit that is not read") as caught:
        read_ct(path)
    assert "furlong" not in str(caught.value)


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), 0.0])
def test_a_slope_that_is_none(tmp_path, slope):
    """Row 16: then the intercept does not count either, as in nibabel."""
    path = save_nifti(tmp_path / "scan.nii", HU, make.affine())
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, slope, -1024)
    path.write_bytes(data)
    assert_base(read_ct(path))
    if slope == 0 or np.isnan(slope):
        assert np.array_equal(np.asarray(nibabel.load(path).dataobj).T, HU)


@pytest.mark.parametrize(
    "line",
    [
        "ElementDataFile : ../secret.raw",
        "ElementDataFile: ../secret.raw",
        " ElementDataFile = ../secret.raw",
        "\tElementDataFile = ../secret.raw",
        "\v\fElementDataFile = ../secret.raw",
        "ElementDataFile\t=../secret.raw",
        "elementdatafile = ../secret.raw",
        "ElementDataFile  ../secret.raw",
        "Comment = x\rElementDataFile = ../secret.raw",
        "ElementDataFile = good.raw\nElementDataFile = ../secret.raw",
        "ElementDataFile = LIST 3D\n../secret.raw",
        "ElementDataFile = good.raw ../secret.raw",
        "ElementDataFile = ..",
        "ElementDataFile =",
        "ElementDataFile = C:secret.raw",
        "ElementDataFile = " + "x" * 5000,
        "ElementDataFile = a\0b",
    ],
)
def test_metaimage_headers_that_hide_another_place(tmp_path, capfd, line):
    """Row 50: nothing outside the folder is opened, however the line is written; one line says so."""
    (tmp_path / "in").mkdir()
    for name in ("secret.raw", "in/good.raw"):
        (tmp_path / name).write_bytes(HU.tobytes())
    for suffix in (".mhd", ".mha"):
        path = tmp_path / "in" / f"scan{suffix}"
        path.write_bytes("\n".join([*META, line, ""]).encode())
        with pytest.raises(InputError, match=r"scan\.mh.: ") as caught:
            read_ct(path)
        assert "secret" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "lines",
    [
        ["content: x\rdata file: ../secret.raw"],
        [" data file: ../secret.raw"],
        ["data file : ../secret.raw"],
        ["datafile:../secret.raw"],
        ["DATA\tFILE:\t../secret.raw"],
        ["data file: good.raw", "data file: ../secret.raw"],
        ["data file: SKIPLIST", "../secret.raw"],
        ["data file: LIST", "../secret.raw"],
        ["data file: ../secret%d.raw 1 1 1"],
        ["data file: -"],
    ],
)
def test_nrrd_headers_that_hide_another_place(tmp_path, lines):
    """Row 50."""
    (tmp_path / "in").mkdir()
    for name in ("secret.raw", "in/good.raw"):
        (tmp_path / name).write_bytes(HU.tobytes())
    for suffix in (".nhdr", ".nrrd"):
        path = nrrd(tmp_path / "in" / f"scan{suffix}", [*NRRD, *PLACE, "encoding: raw", *lines], b"")
        with pytest.raises(InputError, match=r"scan\.n...: ") as caught:
            read_ct(path)
        assert "secret" not in str(caught.value)


def test_voxels_right_beside_their_header(tmp_path):
    """Row 50: what is refused elsewhere is read here, a skipped beginning included."""
    (tmp_path / "scän 1.raw").write_bytes(b"skip" + HU.tobytes())
    assert_hu = [
        nrrd(
            tmp_path / "a.nhdr",
            [*NRRD, *PLACE, "encoding: raw", "byte skip: 4", "data file: scän 1.raw"],
            b"",
        ),
        nrrd(
            tmp_path / "b.nhdr", [*NRRD, *PLACE, "encoding: raw", "byteskip: -1", "datafile: scän 1.raw"], b""
        ),
        meta(tmp_path / "c.mhd", [*META, "HeaderSize = 4"], place="scän 1.raw"),
        meta(tmp_path / "d.mhd", [*META, "HeaderSize = -1"], place="scän 1.raw"),
    ]
    for path in assert_hu:
        assert np.array_equal(read_ct(path).volume.hu, HU)


@pytest.mark.parametrize("line", ["HeaderSize = -1", f"HeaderSize = {10**30}", "HeaderSize = x"])
def test_senseless_places_in_a_compressed_file(tmp_path, line):
    """Row 49."""
    with pytest.raises(InputError, match="header is damaged"):
        read_ct(meta(tmp_path / "a.mha", [*META, "CompressedData = True", line], zlib.compress(HU.tobytes())))
    skip = line.replace("HeaderSize =", "byte skip:")
    with pytest.raises(InputError, match=r"a\.nrrd: "):
        read_ct(nrrd(tmp_path / "a.nrrd", [*NRRD, *PLACE, "encoding: gz", skip], gzip.compress(HU.tobytes())))


@pytest.mark.parametrize("packed", [True, False])
def test_voxels_beside_that_are_too_few(tmp_path, packed, capfd):
    """Row 49: 2 GB asked of a file of 100 bytes; row 11: of one that is cut; each with one line, ours."""
    name = "a.zraw" if packed else "a.raw"
    (tmp_path / name).write_bytes(zlib.compress(bytes(40_000)))
    lines = [line.replace("40 48 12", "1000 1000 1000") for line in META] + [f"CompressedData = {packed}"]
    with pytest.raises(ResourceError, match=r"a\.mhd: the header asks for 1000 x 1000 x 1000"):
        read_ct(meta(tmp_path / "a.mhd", lines, place=name))
    with pytest.raises(InputError, match=r"a\.mhd: the file is damaged or cut short"):
        read_ct(meta(tmp_path / "a.mhd", [*META, f"CompressedData = {packed}"], place=name))
    assert capfd.readouterr() == ("", "")


def test_memory_for_a_large_file(tmp_path):
    """Row 49: little more than the volume itself is held, though it is stored in more and turned."""
    hu = np.round(np.random.default_rng(0).normal(0, 100, (100, 256, 256)))
    place = make.affine(spacing=(2.5, 1.5, 1.5))
    path = save_nifti(tmp_path / "scan.nii.gz", hu, place, np.float64)
    tracemalloc.start()
    try:
        scan = read_ct(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scan.volume.hu.dtype == np.int16
    assert np.array_equal(scan.volume.hu, hu)
    assert peak < scan.volume.hu.nbytes + (16 << 20) < hu.nbytes


def test_more_voxels_than_are_held(tmp_path, monkeypatch):
    """Row 49: twice as many bytes are needed where values have fractions, which shows only later."""
    values = HU.astype(np.float32)
    values[-1, -1, -1] += np.float32(0.5)
    path = save_nifti(tmp_path / "scan.nii.gz", values, make.affine(), np.float32)
    assert np.array_equal(read_ct(path).volume.hu, values)
    monkeypatch.setattr(itk, "MOST_HELD", HU.size * 3)
    with pytest.raises(ResourceError, match=r"scan\.nii\.gz: more voxels with fractions"):
        read_ct(path)
    monkeypatch.setattr(itk, "MOST_HELD", HU.size)
    with pytest.raises(ResourceError, match="asks for 40 x 48 x 12"):
        read_ct(path)


def test_a_huge_slice(tmp_path):
    """Row 49: 9000 x 9000 x 3 voxels."""
    path = save_nifti(tmp_path / "scan.nii", HU, make.affine())
    data = bytearray(path.read_bytes())
    struct.pack_into("<8h", data, 40, 3, 9000, 9000, 3, 1, 1, 1, 1)
    path.write_bytes(data)
    with pytest.raises(ResourceError, match="asks for 9000"):
        read_ct(path)


def test_sheared_axes_are_refused_in_reading(tmp_path):
    """Row 42."""
    sheared = [PLACE[0], "space directions: (0.8,0,0) (0,0.7,0) (0,0.65,2.5)"]
    files = [
        nrrd(tmp_path / "a.nrrd", [*NRRD, "encoding: raw", *sheared]),
        meta(
            tmp_path / "a.mha",
            [*META[:4], META[5], "TransformMatrix = 1 0 0 0 1 0 0 0.26 0.966"],
            HU.tobytes(),
        ),
    ]
    for path in files:
        with pytest.raises(VolumeError, match=rf"{path.name}: the axes .* not perpendicular"):
            read_ct(path)


@pytest.mark.parametrize("space", ["space: scanner-xyz", "space: 3D-right-handed", "space dimension: 3"])
def test_spaces_that_are_not_the_patient(tmp_path, space):
    """Row 25."""
    scan = read_ct(nrrd(tmp_path / "a.nrrd", [*NRRD, "encoding: raw", space, *PLACE[1:]]))
    assert codes(scan) == {"orientation-unknown"}


@pytest.mark.parametrize(
    ("space", "x", "y"),
    [
        ("LPS", 1, 1), ("RAS", -1, -1), ("LAS", 1, -1), ("left-posterior-superior", 1, 1),
        ("Right-Anterior-Superior", -1, -1), ("left-anterior-superior", 1, -1), ("LPST", 1, 1),
        ("right-anterior-superior-time", -1, -1),
    ],
)  # fmt: skip
def test_spaces_of_the_patient(tmp_path, space, x, y):
    """Rows 20 and 25: with time, vectors have a fourth number."""
    time = ",0" if space.lower().endswith("t") or "time" in space else ""
    lines = [
        f"space: {space}",
        f"space directions: (0.8,0,0{time}) (0,0.7,0{time}) (0,0,2.5{time})",
        f"space origin: (1,2,3{time})",
    ]
    path = nrrd(tmp_path / "a.nrrd", [*NRRD, "encoding: raw", *lines])
    volume = itk.read_image(source_of(path, path.name)).volume
    assert np.array_equal(volume.hu, HU)
    assert volume.affine == pytest.approx(
        np.array([[0, 0, 0.8 * x, x], [0, 0.7 * y, 0, 2 * y], [2.5, 0, 0, 3], [0, 0, 0, 1]])
    )
    assert codes(read_ct(path)) == set()


@pytest.mark.parametrize(
    "lines",
    [
        ["dimension: 3", "sizes: 40 48", "encoding: raw"],
        ["dimension: x", "sizes: 40 48 12", "encoding: raw"],
        ["dimension: 3", "sizes: 40 48 12", "sizes: 40 48 12", "encoding: raw"],
        ["dimension: 3", f"sizes: 40 48 1{'0' * 5000}", "encoding: raw"],
        ["dimension: 3", "sizes: 40 48 nan", "encoding: raw"],
        ["dimension: 4", "sizes: 40 24 2 12", "encoding: raw"],
        ["dimension: 3", "sizes: 40 48 12", "encoding: raw", "line skip: 1"],
        ["dimension: 3", "sizes: 40 48 12", "encoding: raw", "kinds: domain domain time"],
        ["dimension: 3", "sizes: 40 48 12", "encoding: raw", "endian: middle"],
    ],
)
def test_nrrd_headers_that_make_no_volume(tmp_path, lines):
    """Row 19 and damage."""
    with pytest.raises(InputError, match=r"a\.nrrd: "):
        read_ct(nrrd(tmp_path / "a.nrrd", ["type: int16", *lines, *PLACE]))


@pytest.mark.parametrize(("suffix", "size"), [(".mha", "NDims = 2"), (".nrrd", "dimension: 2")])
def test_planes_of_nrrd_and_metaimage(tmp_path, suffix, size):
    """Row 28."""
    path = save_itk(tmp_path / f"a{suffix}", HU, make.affine())
    image = SimpleITK.ReadImage(str(path))[:, :, 3]
    SimpleITK.WriteImage(image, str(path))
    assert size in path.read_bytes().decode("latin-1")
    with pytest.raises(NotChestCTError, match="3 slices or more"):
        read_ct(path)
