"""Small valid files of every kind that is read, always the same bytes, for `fuzz.py` to damage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import gzip
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
import tempfile
import zipfile
import zlib

import imagecodecs
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID
import SimpleITK

from covid19net.io import write_dicom_series, write_volume
from covid19net.volume import CTVolume

SHAPE = (12, 64, 64)
ZIPS = {"zip": zipfile.ZIP_DEFLATED, "zip bzip2": zipfile.ZIP_BZIP2, "zip lzma": zipfile.ZIP_LZMA}
LARGEST = 400_000  # bytes of a public file
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
PUBLIC = (("pydicom", "data/test_files"), ("nibabel", "tests/data"), ("nibabel", "nicom/tests/data"))


@dataclass(frozen=True)
class Sample:
    """What is given to the reader.

    Attributes:
        name: of the sample.
        files: bytes by file name, before they are packed.
        packing: "" | "gzip" | "deflate" (the data sets of DICOM files) | "zip", "zip bzip2", "zip lzma" (all
            files into one).
    """

    name: str
    files: dict[str, bytes]
    packing: str = ""

    def packed(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """The files, or what became of them, as they are stored."""
        if self.packing.startswith("zip"):
            return {"scan.zip": zipped(files, ZIPS[self.packing])}
        pack = {"": bytes, "gzip": lambda data: gzip.compress(data, 1, mtime=0), "deflate": deflated}
        return {name: pack[self.packing](data) for name, data in files.items()}


def zipped(files: dict[str, bytes], method: int) -> bytes:
    """A zip archive that does not tell the time."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method, 1)
    return buffer.getvalue()


def deflated(data: bytes) -> bytes:
    """A DICOM file with its data set deflated; what is damaged beyond finding the data set stays as it is."""
    start = 144 + int.from_bytes(data[140:144], "little")
    engine = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return data[:start] + engine.compress(data[start:]) + engine.flush()


def thorax() -> CTVolume:
    """Two lungs in a body, with noise, 2.5 x 0.7 x 0.8 mm."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    hu = np.where((x / 0.9) ** 2 + (y / 0.8) ** 2 < 1, 40.0, -1000.0)
    hu[((np.abs(x) - 0.4) / 0.3) ** 2 + (y / 0.5) ** 2 + (z / 1.3) ** 2 < 1] = -850
    hu += np.random.default_rng(0).normal(0, 20, SHAPE)
    affine = np.array([[0, 0, 0.8, -12], [0, 0.7, 0, -20], [2.5, 0, 0, -130], [0, 0, 0, 1]])
    return CTVolume(np.maximum(np.rint(hu), -1024).astype(np.int16), affine)


CODECS: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "jpeg-lossless": (
        "1.2.840.10008.1.2.4.70",
        lambda a: imagecodecs.jpeg8_encode(a, lossless=True, bitspersample=16),
    ),
    "jpeg-ls": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    "j2k": (
        "1.2.840.10008.1.2.4.90",
        lambda a: imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="j2k"),
    ),
    "htj2k": ("1.2.840.10008.1.2.4.201", lambda a: imagecodecs.htj2k_encode(a, reversible=True)),
}


def slices(volume: CTVolume) -> list[Dataset]:
    """The series, with UIDs that are always the same."""
    uids = {f"{kind}InstanceUID": f"1.2.3.{n}" for n, kind in enumerate(("Study", "Series"), 4)}
    headers = uids | {"FrameOfReferenceUID": "1.2.3.6", "PatientID": "P-1", "BodyPartExamined": "CHEST"}
    with tempfile.TemporaryDirectory() as folder:
        found = [dcmread(path) for path in write_dicom_series(volume, folder, headers)]
    for number, dataset in enumerate(found):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.7.{number + 1}"
        # Unsigned, as the codecs have it.
        dataset.PixelRepresentation, dataset.RescaleIntercept = 0, "-1024"
        dataset.PixelData = (dataset.pixel_array.view(np.int16) + 1024).astype("<u2").tobytes()
    return found


def as_bytes(dataset: Dataset, syntax: str) -> bytes:
    """The file."""
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def series() -> Iterator[Sample]:
    """DICOM series in several transfer syntaxes."""
    pixels = (thorax().hu.astype(np.int32) + 1024).astype(np.uint16)

    def files(change: Callable[[Dataset, np.ndarray], bytes]) -> dict[str, bytes]:
        made = zip(slices(thorax()), pixels, strict=True)
        return {f"{n:04d}.dcm": change(dataset, image) for n, (dataset, image) in enumerate(made)}

    def run_lengths(dataset: Dataset, _: np.ndarray) -> bytes:
        dataset.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
        return as_bytes(dataset, "1.2.840.10008.1.2.5")

    def big_endian(dataset: Dataset, image: np.ndarray) -> bytes:
        changed = Dataset()
        changed.update(dataset)
        changed.PixelData = image.astype(">u2").tobytes()
        buffer = BytesIO()
        changed.file_meta = dataset.file_meta
        changed.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.2")
        changed.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    plain = files(lambda dataset, _: as_bytes(dataset, EXPLICIT))
    yield Sample("dicom", plain)
    yield Sample("dicom implicit", files(lambda dataset, _: as_bytes(dataset, "1.2.840.10008.1.2")))
    yield Sample("dicom big endian", files(big_endian))
    yield Sample("dicom rle", files(run_lengths))
    # The plain file under the name of the deflated syntax; `packed` deflates it.
    renamed = {name: with_syntax(data, DEFLATED) for name, data in plain.items()}
    yield Sample("dicom deflated", renamed, "deflate")
    for packing in ZIPS:
        yield Sample(packing, plain, packing)
    for name, (syntax, encode) in CODECS.items():

        def compressed(dataset: Dataset, image: np.ndarray) -> bytes:
            dataset.PixelData = encapsulate([encode(image)])  # noqa: B023 - called in this turn
            return as_bytes(dataset, syntax)  # noqa: B023

        coded = files(compressed)
        yield Sample(f"dicom {name}", coded)
        yield Sample(f"zip {name}", coded, "zip")
    yield Sample("dicom enhanced", {"scan.dcm": enhanced(pixels, EXPLICIT)})
    yield Sample("dicom enhanced j2k", {"scan.dcm": enhanced(pixels, CODECS["j2k"][0])})


def with_syntax(data: bytes, syntax: str) -> bytes:
    """A file of explicit little endian that names another transfer syntax."""
    meta = dcmread(BytesIO(data), stop_before_pixels=True).file_meta
    meta.TransferSyntaxUID = UID(syntax)
    start = 144 + int.from_bytes(data[140:144], "little")
    from pydicom.filewriter import write_file_meta_info

    buffer = BytesIO()
    write_file_meta_info(buffer, meta)
    return data[:132] + buffer.getvalue() + data[start:]


def enhanced(pixels: np.ndarray, syntax: str) -> bytes:
    """One multi-frame object of the whole scan."""
    every = slices(thorax())
    dataset, shared = every[0], Dataset()
    groups = {
        "PlaneOrientationSequence": ("ImageOrientationPatient",),
        "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
        "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
    }
    for sequence, keywords in groups.items():
        item = Dataset()
        for keyword in keywords:
            item[keyword] = dataset[keyword]
            del dataset[keyword]
        setattr(shared, sequence, [item])
    frames = []
    for one in every:
        item, frame = Dataset(), Dataset()
        item.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [item]
        frames.append(frame)
    del dataset.ImagePositionPatient
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.NumberOfFrames = len(pixels)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], frames
    dataset.PixelData = pixels.tobytes()
    if syntax != EXPLICIT:
        dataset.PixelData = encapsulate([CODECS["j2k"][1](image) for image in pixels])
    return as_bytes(dataset, syntax)


def volumes() -> Iterator[Sample]:
    """NIfTI, NRRD and MetaImage."""
    whole = thorax()
    fractions = CTVolume(whole.hu + np.float32(0.25), whole.affine)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".nii", ".nrrd", ".mha"):
            for name, volume in (("scan", whole), ("fractions", fractions)):
                path = Path(folder) / f"{name}{suffix}"
                write_volume(volume, path)
                yield Sample(path.name, {path.name: path.read_bytes()})
        plain = (Path(folder) / "scan.nii").read_bytes()
        image = SimpleITK.ReadImage(Path(folder) / "scan.mha")
        for name in ("packed.nrrd", "packed.mha", "pair.mhd", "pair.nhdr"):
            path = Path(folder) / name.split(".")[1] / name
            path.parent.mkdir()
            SimpleITK.WriteImage(image, path, useCompression=True)
            yield Sample(name, {each.name: each.read_bytes() for each in sorted(path.parent.iterdir())})
    yield Sample("scan.nii.gz", {"scan.nii.gz": plain}, "gzip")
    yield Sample("zip nii", {"scan.nii": plain}, "zip")


def public() -> list[Sample]:
    """Files that pydicom and nibabel bring for their own tests, each by itself."""
    found = []
    for package, place in PUBLIC:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            paths = sorted((Path(folder) / place).rglob("*"))
            paths = [path for path in paths if path.is_file() and 0 < path.stat().st_size <= LARGEST]
            found += [
                Sample(f"{package} {p.name}", {p.name: p.read_bytes()}) for p in paths if p.suffix != ".pyc"
            ]
    return found


def made() -> list[Sample]:
    """Ours."""
    return [*series(), *volumes()]
