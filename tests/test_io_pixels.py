"""Rows of the list of failure cases in which the stored pixels of a DICOM series are not what they seem.

Each test names its row. Series are synthetic; damage is done to their compressed bytes.
"""

from collections.abc import Callable, Iterator
from io import BytesIO
import struct
import sys
import zipfile

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate
import pytest

from covid19net.errors import InputError
from covid19net.io import damage, read_ct
from covid19net.io.encapsulated import is_whole_codestream, split_frames
from covid19net.io.files import Source
from covid19net.io.header import FIRST_READ, read_slices
from covid19net.io.padding import read_words
from tests import dicom_files as make

HU = make.chest()
OUTSIDE = np.hypot(*np.ogrid[-1:1:48j, -1:1:40j]) > 1  # the round field of view
PADDED = np.where(OUTSIDE, -1024, HU).astype(np.int16)
LARGE = make.chest((12, 256, 256))  # large enough for blocks of coefficients
JPEG_LOSSLESS, JPEG_2000, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (70, 90, 201))


def encoded(stored: np.ndarray, syntax: str) -> bytes:
    if syntax == JPEG_2000:
        return imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="j2k")
    if syntax == HTJ2K:
        return imagecodecs.htj2k_encode(stored, reversible=True)
    return imagecodecs.jpeg8_encode(stored, lossless=True, bitspersample=16)


def compressed_series(folder, hu, syntax, change: Callable[[bytes], bytes], index: int):
    """Write a compressed series into a folder, one of its code streams changed."""
    slices = [make.with_preamble(d) for d in make.ct_slices(hu)]
    for number, (dataset, image) in enumerate(zip(slices, hu, strict=True)):
        stream = encoded((image.astype(np.int32) + 1024).astype(np.uint16), syntax)
        dataset.PixelData = encapsulate([change(stream) if number == index else stream])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax
    return make.write(slices, folder)


def stored_series(folder, stored, *, bits, signed=False, intercept=-1024, **tags):
    """Write a series of stored values in words of 16 bits, whatever the header says about them."""
    slices = make.ct_slices(HU)
    for dataset, image in zip(slices, stored, strict=True):
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
        dataset.RescaleIntercept = str(intercept)
        dataset.PixelData = image.astype("<i8").astype("<u2").tobytes()
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
            dataset[keyword].VR = "SS" if value < 0 else "US"
    return make.write([make.with_preamble(d) for d in slices], folder)


def assert_padded(scan):
    """Air around the field of view, the picture unchanged, and only the padding noted."""
    assert np.array_equal(scan.volume.hu, PADDED)
    assert {finding.code for finding in scan.findings} == {"padding"}


@pytest.mark.parametrize("tags", [{}, {"PixelPaddingValue": 63536}])
@pytest.mark.parametrize("bits", [12, 16])
def test_padding_in_all_16_bits(tmp_path, bits, tags):
    """Row 7: 63536 around the field of view; its low 12 bits alone are 1072 HU, all are 62512 HU."""
    stored = np.where(OUTSIDE, 63536, HU + 1024)
    assert_padded(read_ct(stored_series(tmp_path, stored, bits=bits, **tags)))


def test_padding_in_all_16_bits_with_a_fractional_slope(tmp_path):
    """Row 7: at slope 0.5 the surroundings would be 30744 HU with 16 bits; -24 HU if cut to 12."""
    stored = np.where(OUTSIDE, 63536, 2 * (HU + 1024))
    folder = stored_series(tmp_path, stored, bits=13, PixelPaddingValue=63536)
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.RescaleSlope = "0.5"
        dataset.save_as(path)
    scan = read_ct(folder)
    assert np.array_equal(scan.volume.hu, PADDED.astype(np.float32))


@pytest.mark.parametrize("case", ["padding -3024", "padding -2000", "no padding"])
def test_signed_words_that_use_more_bits_than_the_header_says(tmp_path, case):
    """Row 7: bone of 2500 HU in words of 16 bits, BitsStored 12; cut to 12 bits it would be -1596 HU."""
    hu = HU.copy()
    hu[:, 20:24, 15:22] = 2500
    intercept = 0 if case == "padding -3024" else -1024
    stored = hu.astype(np.int32) - intercept
    if case != "no padding":
        stored[:, OUTSIDE] = int(case.split()[1])
    scan = read_ct(stored_series(tmp_path, stored, bits=12, signed=True, intercept=intercept))
    expected = hu if case == "no padding" else np.where(OUTSIDE, -1024, hu)
    assert np.array_equal(scan.volume.hu, expected)


def test_signed_words_without_spread_signs(tmp_path):
    """Row 43: the high 4 of 16 bits are 0 for negative values too, padding of -2000 included."""
    stored = np.where(OUTSIDE, -2000, HU) & 0xFFF
    folder = stored_series(tmp_path, stored, bits=12, signed=True, intercept=0, PixelPaddingValue=-2000)
    assert_padded(read_ct(folder))


def test_words_that_cannot_be_told_apart_are_refused(tmp_path):
    """Row 43: metal whose surroundings fit its low bits almost as well as all of them."""
    stored = np.full(HU.shape, 3000)
    stored[:, 20:24, 15:22] = 800 + 4096  # 1896 away if all bits count, 2200 if 12 do
    with pytest.raises(InputError, match="pixels use more than the 12 bits") as caught:
        read_ct(stored_series(tmp_path, stored, bits=12))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("air", [0, 24])
@pytest.mark.parametrize("signed", [False, True])
def test_sparse_overlays_in_high_bits(tmp_path, air, signed):
    """Row 43: a pattern that reaches into constant air at the edges; exact values remain."""
    hu = np.where(OUTSIDE, air - 1024, HU)
    pattern = np.indices(HU.shape).sum(0) % 7 == 0
    stored = ((hu if signed else hu + 1024) & 0xFFF) | np.where(pattern, 0xA000, 0)
    folder = stored_series(tmp_path, stored, bits=12, signed=signed, intercept=0 if signed else -1024)
    assert np.array_equal(read_ct(folder).volume.hu, hu)


def test_padding_that_leaves_the_corners_out(tmp_path):
    """Row 7: 4095 all around but for the four corners, where some archives burn in marks."""
    outside = OUTSIDE.copy()
    for y in (slice(3), slice(-3, None)):
        for x in (slice(3), slice(-3, None)):
            outside[y, x] = False
    stored = np.where(outside, 4095, HU + 1024)
    scan = read_ct(stored_series(tmp_path, stored, bits=12, PixelPaddingValue=4095))
    assert np.array_equal(scan.volume.hu, np.where(outside, -1024, HU))


@pytest.mark.parametrize("ends", [(60000, 65535), (65535, 60000)])
def test_a_range_of_padding_values(tmp_path, ends):
    """Row 7: PixelPaddingRangeLimit, in either order; the range is no values that were too large."""
    noise = np.random.default_rng(3).integers(60000, 65536, HU.shape)
    stored = np.where(OUTSIDE, noise, HU + 1024)
    tags = dict(zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), ends, strict=True))
    assert_padded(read_ct(stored_series(tmp_path, stored, bits=16, **tags)))


def test_a_range_of_padding_values_that_holds_tissue_is_not_used(tmp_path):
    """Row 7: 0 to 4095 would make the whole scan air."""
    stored = np.where(OUTSIDE, 0, HU + 1024)
    folder = stored_series(tmp_path, stored, bits=12, PixelPaddingValue=0, PixelPaddingRangeLimit=4095)
    assert np.array_equal(read_ct(folder).volume.hu, PADDED)


def test_values_too_large_inside_the_field_of_view_are_still_clipped(tmp_path):
    """Row 39: metal is no padding."""
    stored = np.where(OUTSIDE, 63536, HU.astype(np.int32) + 1024)
    stored[:, 20, 20] = 50000
    scan = read_ct(stored_series(tmp_path, stored, bits=16))
    assert (scan.volume.hu[:, 20, 20] == 32767).all()
    assert (scan.volume.hu[:, OUTSIDE] == -1024).all()
    assert {finding.code for finding in scan.findings} == {"padding", "values-clipped"}


def overwritten(share: float, what: bytes) -> Callable[[bytes], bytes]:
    """A change of a code stream: bytes overwritten, starting at a share of its length."""

    def change(stream: bytes) -> bytes:
        at = int(len(stream) * share)
        return stream[:at] + what[: len(stream) - at - 2] + stream[at + len(what) :]

    return change


ZEROS, NOISE = bytes(2000), np.random.default_rng(4).bytes(64)


# Places where damage reaches large coefficients: mean errors of the slices are 11 to 54 HU. Errors less than
# the noise of the scan, which damage near the end of a block makes, cannot be seen.
@pytest.mark.parametrize(
    ("what", "share", "index"),
    [
        *((ZEROS, share, index) for share in (0.06, 0.3, 0.54, 0.86) for index in (0, 5, 11)),
        (NOISE, 0.74, 0),
        (NOISE, 0.38, 5),
        (NOISE, 0.62, 11),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else str(value),
)
def test_jpeg_2000_overwritten_in_the_middle(tmp_path, what, share, index):
    """Row 40: the decoder fills blocks of coefficients with noise and reports nothing."""
    folder = compressed_series(tmp_path, LARGE, JPEG_2000, overwritten(share, what), index)
    with pytest.raises(InputError, match=f"{index:04d}: the compressed pixels are damaged"):
        read_ct(folder)


def test_a_level_of_coefficients_that_is_lost():
    """Row 40: a slice that turns smooth, as a decoder leaves it that skips what it cannot read."""
    hu = LARGE.copy()
    hu[6] = hu[6].reshape(64, 4, 64, 4).mean(axis=(1, 3)).repeat(4, 0).repeat(4, 1)
    noise = np.random.default_rng(8).normal(0, 30, hu.shape)
    noise[6] = 0
    assert damage.odd_slices(np.clip(hu + noise, -1024, 3071).astype(np.int16), 1.0) == [6]


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K, JPEG_LOSSLESS])
def test_intact_code_streams_of_every_kind(tmp_path, syntax):
    """Row 40: no false alarm; 2.5 mm between slices."""
    scan = read_ct(compressed_series(tmp_path, LARGE, syntax, bytes, 0))
    assert np.array_equal(scan.volume.hu, LARGE)
    assert scan.findings == ()


def noisy_scans() -> Iterator[tuple[str, np.ndarray]]:
    """Scans that change from slice to slice as real ones do."""
    noise = np.random.default_rng(5).normal(0, 1, LARGE.shape)
    yield "no noise", np.where(LARGE > 0, 40, -900)
    yield "little noise", LARGE + 5 * noise
    yield "much noise", LARGE + 60 * noise
    varying = np.random.default_rng(6).uniform(0.6, 1.4, (len(LARGE), 1, 1))
    yield "tube current that varies", LARGE + 30 * varying * noise
    jump = np.ones((len(LARGE), 1, 1))
    jump[5] = 4
    yield "one slice with four times the noise", LARGE + 15 * jump * noise
    moved = LARGE.copy()
    moved[6] = (moved[6].astype(np.int32) + np.roll(moved[6], 1, 1)) // 2  # half a pixel
    yield "one slice in motion", moved
    coarse = LARGE.copy()
    coarse[::2, 40:200] += (20 * noise[::2, 40:200].cumsum(2) / 8).astype(np.int16)
    yield "streaks in every other slice", coarse


@pytest.mark.parametrize("spacing", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("kind", [kind for kind, _ in noisy_scans()])
def test_noise_and_motion_are_not_damage(kind, spacing):
    """Row 40: no false alarms."""
    hu = np.clip(dict(noisy_scans())[kind], -1024, 3071).astype(np.int16)
    assert damage.odd_slices(hu, spacing) == []


@pytest.mark.parametrize("spacing", [1.0, 5.0])
@pytest.mark.parametrize("from_column", [0, 100, 220])
def test_one_row_shifted_by_a_wrong_bit(spacing, from_column):
    """Row 40: JPEG lossless predicts from the left, so that one bit shifts the rest of its row."""
    hu = LARGE.copy()
    hu[7, 150, from_column:] += 128
    assert damage.odd_slices(hu, spacing) == [7]


def test_a_line_of_the_picture_is_no_shifted_row():
    """Row 40: a sheet or the couch, as wide as the blur of a scanner, in one slice only."""
    hu = LARGE.copy()
    hu[7, 89:92, 100:] += np.array([[200], [400], [200]], np.int16)
    assert damage.odd_slices(hu, 5.0) == []


@pytest.mark.parametrize("size", [(3, 5, 7), (3, 40, 300), (4, 2, 2)])
def test_images_too_small_for_blocks(size):
    """Row 40: nothing to find, nothing to fail on."""
    assert damage.odd_slices(np.zeros(size, np.int16), 1.0) == []
    assert damage.odd_slices(np.zeros(size, np.float32), 1.0) == []


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K, JPEG_LOSSLESS])
def test_a_code_stream_cut_short_inside_a_whole_file(tmp_path, syntax, keep):
    """Row 26: the element and the file end where they should, the code stream does not."""
    folder = compressed_series(tmp_path, LARGE, syntax, lambda s: s[: int(len(s) * keep) // 2 * 2], 4)
    with pytest.raises(InputError, match="0004: the compressed pixels are cut short"):
        read_ct(folder)


def test_code_streams_are_followed_to_their_end():
    """Row 26: tile parts, padding after the end marker, and streams that lack only that marker."""
    stored = (LARGE[0].astype(np.int32) + 1024).astype(np.uint16)
    stream = imagecodecs.htj2k_encode(stored, reversible=True, tile=(64, 64))
    assert is_whole_codestream(stream)
    assert is_whole_codestream(stream + bytes(1))
    assert is_whole_codestream(stream + bytes(100))
    assert is_whole_codestream(stream[:-2])
    assert not is_whole_codestream(stream[:-3])
    assert not is_whole_codestream(stream[: len(stream) // 2])
    part = stream.rindex(b"\xff\x90\x00\x0a") + 6  # length of the last tile part
    assert not is_whole_codestream(stream[:part] + b"\x00\x00\x00\x20" + stream[part + 4 :])
    unknown = stream[:part] + bytes(4) + stream[part + 4 :]
    assert is_whole_codestream(unknown)
    assert not is_whole_codestream(unknown[:-40])


def test_damage_that_the_htj2k_decoder_finds_gives_one_line(tmp_path, capfd):
    """Rows 40 and 52: no traceback or "Exception ignored" on the way."""
    hooks = sys.unraisablehook, sys.excepthook
    change = overwritten(0.4, np.random.default_rng(1).bytes(3000))
    stored = (LARGE[4].astype(np.int32) + 1024).astype(np.uint16)
    assert is_whole_codestream(change(encoded(stored, HTJ2K)))
    with pytest.raises(InputError, match="0004: the compressed pixels are damaged; copy it again"):
        read_ct(compressed_series(tmp_path, LARGE, HTJ2K, change, 4))
    assert capfd.readouterr() == ("", "")
    assert hooks == (sys.unraisablehook, sys.excepthook)


def test_frames_in_an_archive_share_one_copy_of_the_pixels(tmp_path):
    """Row 27: read once, and no more than the pixels; inside an archive each seek inflates from the start."""
    make.write([make.enhanced(HU)], tmp_path)
    data = (tmp_path / "0000").read_bytes() + bytes(1 << 20)  # something after the pixels
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ct", data)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        opened = []

        def stream():
            opened.append(1)
            return archive.open("ct")

        source = Source("ct", len(data), stream)
        planes = read_slices(source, source.read(0, FIRST_READ))
        opened.clear()
        frames = split_frames(planes)
        assert len(opened) == 1
        assert len({id(frame.source) for frame in frames}) == 1
        assert frames[0].source.size == 12 + HU.size * 2
    assert np.array_equal(read_ct(tmp_path / "a.zip").volume.hu, HU)


def test_words_of_fewer_bits_than_the_header_says():
    """Row 43: a decoder may return fewer bits than BitsStored; nothing is cut then."""
    plane = read_slices_of_one()
    words = np.arange(200, dtype=np.uint8).reshape(10, 20)
    values, outside = read_words(words, plane)
    assert np.array_equal(values, words)
    assert outside is None


def read_slices_of_one():
    stream = BytesIO()
    make.with_preamble(make.ct_slices(HU)[0]).save_as(stream)
    data = stream.getvalue()
    return read_slices(Source("one", len(data), lambda: BytesIO(data)), data)[0]


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K])
def test_code_streams_of_many_components_are_not_decoded(tmp_path, monkeypatch, syntax):
    """Row 49: 16384 components (Csiz, ISO 15444-1 A.5.1) of 64 x 64 pixels took 870 MB before refusal."""

    def many(stream: bytes) -> bytes:
        at = stream.index(b"\xff\x51")
        length, count = struct.pack(">H", 38 + 3 * 16384), struct.pack(">H", 16384)
        one = stream[at + 40 : at + 43]
        return stream[: at + 2] + length + stream[at + 4 : at + 38] + count + one * 16384 + stream[at + 43 :]

    folder = compressed_series(tmp_path, HU, syntax, many, 4)
    decoded = []
    for name in ("jpeg2k_decode", "htj2k_decode"):
        decode = getattr(imagecodecs, name)
        monkeypatch.setattr(imagecodecs, name, lambda s, d=decode: decoded.append(len(s)) or d(s))
    with pytest.raises(InputError, match="0004: the compressed image is not one grey-scale plane"):
        read_ct(folder)
    assert max(decoded, default=0) < 3 * 16384


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K])
@pytest.mark.parametrize(
    ("at", "value"),
    [
        (22, b"\0\0\0\0"), (26, b"\0\0\0\0"), (22, b"\0\0\0\1\0\0\0\1"), (30, b"\0\0\0\1"), (34, b"\0\0\1\0"),
        (41, b"\0"), (42, b"\0"), (41, b"\2"),
    ],
)  # fmt: skip
def test_tiles_and_samples_of_no_size_are_not_decoded(tmp_path, monkeypatch, syntax, at, value):
    """Row 49: XTsiz, YTsiz, XTOsiz, YTOsiz, XRsiz, YRsiz (ISO 15444-1 A.5.1); OpenJPH dies of XTsiz 0."""

    def change(stream: bytes) -> bytes:
        place = stream.index(b"\xff\x51") + at
        return stream[:place] + value + stream[place + len(value) :]

    folder = compressed_series(tmp_path, LARGE, syntax, change, 0)
    changed = change(encoded((LARGE[0].astype(np.int32) + 1024).astype(np.uint16), syntax))
    for name in ("jpeg2k_decode", "htj2k_decode"):
        decode = getattr(imagecodecs, name)

        def guarded(stream, decode=decode):
            assert stream.rstrip(b"\0") != changed.rstrip(b"\0"), "decoded"
            return decode(stream)

        monkeypatch.setattr(imagecodecs, name, guarded)
    with pytest.raises(InputError, match="0000: the compressed image is not one grey-scale plane"):
        read_ct(folder)
