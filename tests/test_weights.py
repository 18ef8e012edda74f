"""Model cards, weight files and sets: written whole, read only when they are what their cards say."""

from dataclasses import asdict, replace
import errno
import hashlib
import io
import json
import os
from pathlib import Path
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save
import torch

from covid19net.errors import InputError, ResourceError, WeightsError
from covid19net.nets.covid19net import COVID19Net
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.weights import (
    WeightFile,
    check_bundled,
    find_set,
    join_sets,
    list_sets,
    load_network,
    load_tensors,
    lung_weights,
    new_set_folder,
    read_card,
    registry,
    tensors_of,
    write_weights,
)
from covid19net.weights.files import load_reference, sha256_of, what_it_is
from covid19net.weights.networks import randomised
from covid19net.weights.reference import (
    Reference,
    feature_distance,
    fit_reference,
    shrunk_covariance,
)

FIELDS = {
    "name": "mine",
    "licence": "CC0-1.0",
    "origin": "a test",
    "training_data": "none",
    "intended_use": "tests",
}
SMALL = {"pyramid": 4, "segmentation": 4}


@pytest.fixture
def diagnosis(tmp_path):
    torch.manual_seed(1)
    return write_weights(tmp_path / "home" / "mine", "diagnosis", tensors_of(COVID19Net()), **FIELDS)


def swap(weights: WeightFile, content: bytes) -> WeightFile:
    """Put other bytes into the file and let its card vouch for them: only the format can save us then."""
    weights.path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return WeightFile(weights.path, replace(weights.card, sha256=digest, size=max(len(content), 1)))


# Writing and reading back


def test_a_network_comes_back_as_it_was(tmp_path):
    torch.manual_seed(2)
    network = COVID19Net().eval()
    weights = write_weights(tmp_path, "diagnosis", tensors_of(network), **FIELDS)
    given = torch.randn(1, 1, 8, 24, 24)
    with torch.inference_mode():
        assert torch.equal(load_network(weights)(given)[1], network(given)[1])


def test_half_precision_is_stored_and_widened(tmp_path):
    network = DenseNetFPN(**SMALL)
    halves = {name: array.astype(np.float16) for name, array in tensors_of(network).items()}
    weights = write_weights(tmp_path, "lungs", halves, options=SMALL, **FIELDS)
    assert load_tensors(weights)["top.weight"].dtype == np.float16
    loaded = load_network(weights).state_dict()["top.weight"]
    assert loaded.dtype == torch.float32
    assert np.array_equal(loaded.numpy(), halves["top.weight"].astype(np.float32))


def test_loaded_networks_are_in_eval_mode(diagnosis):
    assert not any(module.training for module in load_network(diagnosis).modules())


def test_card_on_disk_is_the_card_returned(diagnosis):
    assert read_card(diagnosis.path.with_suffix(".json")) == diagnosis.card


def test_card_vouches_for_the_file(diagnosis):
    assert diagnosis.card.sha256 == hashlib.sha256(diagnosis.path.read_bytes()).hexdigest()
    assert diagnosis.card.size == diagnosis.path.stat().st_size


def test_the_same_tensors_give_the_same_bytes(diagnosis, tmp_path):
    again = write_weights(tmp_path / "again", "diagnosis", load_tensors(diagnosis), **FIELDS)
    assert again.card.sha256 == diagnosis.card.sha256


def test_arrays_with_their_axes_turned_are_written_in_order(tmp_path):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    weights = write_weights(tmp_path, "diagnosis", {"a": turned}, **FIELDS)
    assert np.array_equal(load_tensors(weights)["a"], [[0, 3], [1, 4], [2, 5]])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, np.nan], np.float32), "not finite"),
        (np.array([1, 2]), "is int64"),
        (np.array([1.0]), "is float64"),
    ],
)
def test_only_finite_small_floats_are_written(tmp_path, array, message):
    with pytest.raises(WeightsError, match=message):
        write_weights(tmp_path / "set", "diagnosis", {"a": array}, **FIELDS)
    assert not (tmp_path / "set").exists()


def test_no_file_is_left_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        write_weights(tmp_path, "diagnosis", {"a": np.zeros(2, np.float32)}, **FIELDS)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_between_file_and_card_is_noticed(diagnosis, tmp_path):
    # The new weights are in place, the card is still the old one.
    newer = write_weights(tmp_path / "newer", "diagnosis", {"a": np.zeros(2, np.float32)}, **FIELDS)
    newer.path.replace(diagnosis.path)
    with pytest.raises(WeightsError, match=r"expected .* SHA-256"):
        load_tensors(WeightFile(diagnosis.path, read_card(diagnosis.path.with_suffix(".json"))))


# Damaged, exchanged and foreign files (what must happen: one line, the file and the expected SHA-256)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "is a web page"),
        (b"\xef\xbb\xbf\n <HTML>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "is a Git-LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "is an HDF5 file"),
        (b"PK\x03\x04" + bytes(500), "is a pickle or PyTorch archive"),
        (b"x" * 100, "is cut: only 100 bytes"),
    ],
)
def test_what_is_not_the_file_is_named(diagnosis, content, reason):
    """Row 12."""
    diagnosis.path.write_bytes(content)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_tensors(diagnosis)
    message = str(caught.value)
    assert str(diagnosis.path) in message
    assert diagnosis.card.sha256 in message
    assert "\n" not in message
    assert caught.value.exit_code == 4


def test_a_cut_file_is_refused(diagnosis):
    """Row 12."""
    diagnosis.path.write_bytes(diagnosis.path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=f"is cut: only {diagnosis.card.size - 1} bytes"):
        load_tensors(diagnosis)


def test_one_flipped_bit_is_refused(diagnosis):
    content = bytearray(diagnosis.path.read_bytes())
    content[-1] ^= 1
    diagnosis.path.write_bytes(content)
    with pytest.raises(WeightsError, match="other bytes than its model card says"):
        load_tensors(diagnosis)


def test_a_longer_file_is_refused(diagnosis):
    diagnosis.path.write_bytes(diagnosis.path.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match=f"has {diagnosis.card.size + 1} bytes"):
        load_tensors(diagnosis)


def test_a_missing_file_is_named(diagnosis):
    diagnosis.path.unlink()
    with pytest.raises(WeightsError, match=r"diagnosis\.safetensors: the weight file is missing"):
        load_tensors(diagnosis)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_does_not_hang(diagnosis):
    diagnosis.path.unlink()
    os.mkfifo(diagnosis.path)
    with pytest.raises(WeightsError, match="missing"):
        load_tensors(diagnosis)


def test_a_size_beyond_reason_is_refused_unread(diagnosis):
    with pytest.raises(WeightsError, match="too large"):
        load_tensors(WeightFile(diagnosis.path, replace(diagnosis.card, size=1 << 40)))


@pytest.mark.parametrize("length", [0x180, 0x280, 0x380, 0x480, 0x580])
def test_a_header_that_begins_like_a_pickle_is_none(tmp_path, length):
    # A safetensors file begins with the low bytes of its header's length; 0x80 0x02 also begins a pickle.
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    content = length.to_bytes(8, "little") + header + np.float32(7).tobytes()
    assert what_it_is(content) is None
    path = tmp_path / "diagnosis.safetensors"
    path.write_bytes(content)
    weights = write_weights(tmp_path / "x", "diagnosis", {"a": np.zeros(1, np.float32)}, **FIELDS)
    card = replace(weights.card, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    assert load_tensors(WeightFile(path, card))["a"].tolist() == [7.0]


# Files that run code when opened


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled(canary: Path, protocol: int) -> bytes:
    return pickle.dumps({"backbone.bn.weight": Canary(canary)}, protocol)


def torch_archive(canary: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"backbone.bn.weight": Canary(canary)}, buffer)
    return buffer.getvalue()


def numpy_archive(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([Canary(canary)], dtype=object))
    return buffer.getvalue()


RUNNING = {
    "pickle0": lambda canary: pickled(canary, 0),
    "pickle2": lambda canary: pickled(canary, 2),
    "pickle4": lambda canary: pickled(canary, 4),
    "pickle5": lambda canary: pickled(canary, 5),
    "torch": torch_archive,
    "npz": numpy_archive,
}


def test_the_canary_would_be_seen(tmp_path):
    canary = tmp_path / "canary"
    pickle.loads(pickled(canary, 4))
    assert canary.exists()


@pytest.mark.parametrize("kind", RUNNING)
@pytest.mark.parametrize("vouched", [False, True], ids=["exchanged", "with its own card"])
def test_code_in_a_weight_file_never_runs(diagnosis, tmp_path, kind, vouched):
    """Row 51."""
    canary = tmp_path / "canary"
    content = RUNNING[kind](canary)
    canary.unlink(missing_ok=True)
    weights = swap(diagnosis, content) if vouched else diagnosis
    weights.path.write_bytes(content)
    for load in (load_tensors, load_network):
        with pytest.raises(WeightsError) as caught:
            load(weights)
        assert caught.value.exit_code == 4
        assert weights.card.sha256 in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["diagnosis.pt", "diagnosis.pth", "diagnosis.pkl", "diagnosis.npz"])
def test_pickles_under_their_own_names_are_no_weights(tmp_path, name):
    canary = tmp_path / "canary"
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / name).write_bytes(pickled(canary, 4))
    with pytest.raises(WeightsError, match=r"no weights: expected lungs\.safetensors"):
        find_set(folder, None)
    assert not canary.exists()


# Weights of another architecture


def test_weights_of_the_other_network_are_refused(tmp_path):
    """Row 31."""
    weights = write_weights(tmp_path, "diagnosis", tensors_of(DenseNetFPN(**SMALL)), **FIELDS)
    with pytest.raises(WeightsError, match="of another network: missing: backbone") as caught:
        load_network(weights)
    assert caught.value.exit_code == 4


def test_one_missing_tensor_is_refused(tmp_path):
    tensors = tensors_of(COVID19Net())
    del tensors["head.predict.bias"]
    with pytest.raises(WeightsError, match=r"another network: missing: head\.predict\.bias$"):
        load_network(write_weights(tmp_path, "diagnosis", tensors, **FIELDS))


def test_one_tensor_too_many_is_refused(tmp_path):
    tensors = tensors_of(COVID19Net()) | {"head.extra": np.zeros(1, np.float32)}
    with pytest.raises(WeightsError, match=r"another network: not expected: head\.extra$"):
        load_network(write_weights(tmp_path, "diagnosis", tensors, **FIELDS))


def test_another_width_is_refused_with_both_shapes(tmp_path):
    """Row 31."""
    tensors = tensors_of(DenseNetFPN(pyramid=4, segmentation=4))
    options = {"pyramid": 8, "segmentation": 4}
    weights = write_weights(tmp_path, "lungs", tensors, options=options, **FIELDS)
    with pytest.raises(WeightsError, match=r"the file has \(4, 4, 3, 3\), the network \(4, 8, 3, 3\)"):
        load_network(weights)


# The reference: what the training images looked like to the network


def made_features(count: int, first: int = 0) -> np.ndarray:
    """Features without chance, the same everywhere: scattered values, and a part that many share."""
    i, j = np.arange(first, first + count)[:, None], np.arange(1, 65)
    scattered = (7919 * (i + 1) * (j * j + 3 * j + 1)) % 1009 / 1009
    return scattered + (j % 5) * ((i * 37) % 11) / 11


# sklearn.covariance.LedoitWolf of scikit-learn 1.9.1: number of images, then entries [0, 0] and [3, 7] and
# the trace of its covariance_, and the roots of its mahalanobis() of three images more.
SKLEARN = [
    (
        40,
        0.16824180834422636,
        1.0195448727165222,
        38.06402167673851,
        [10.814249005, 12.486450104, 12.298248257],
    ),
    (
        90,
        0.153718923337686,
        0.9853530217140479,
        38.099374186594304,
        [10.700161844, 10.976792043, 10.250150407],
    ),
]


@pytest.mark.parametrize(("count", "first", "other", "trace", "distances"), SKLEARN)
def test_covariance_and_distance_are_those_of_scikit_learn(count, first, other, trace, distances):
    features = made_features(count)
    covariance = shrunk_covariance(features)
    found = (covariance[0, 0], covariance[3, 7], np.trace(covariance))
    np.testing.assert_allclose(found, (first, other, trace), rtol=1e-10)
    new = made_features(3, first=500)
    reference = fit_reference(features, new)
    measured = [feature_distance(image, reference) for image in new]
    np.testing.assert_allclose(measured, distances, rtol=1e-4)  # stored as float32
    assert reference.limit == pytest.approx(max(distances), rel=1e-4)  # of three images the largest


def test_shrinking_by_hand():
    # Four images, two features: S = diag(2, 1/2), mu = 5/4, d^2 = 2 (3/4)^2 = 9/8; |x|^4 = 16, 16, 1, 1, so
    # b^2 = (34/4 - (4 + 1/4)) / 4 = 17/16; share = 17/18: diag(2, 1/2) moves 17/18 of the way to 5/4.
    images = np.array([[9.0, -3.0], [5.0, -3.0], [7.0, -2.0], [7.0, -4.0]])  # about (7, -3)
    expected = np.diag([5 / 4 + 3 / 4 / 18, 5 / 4 - 3 / 4 / 18])
    np.testing.assert_allclose(shrunk_covariance(images), expected, atol=1e-12)


def test_distance_by_hand():
    variances = np.ones(64, np.float32)
    variances[:2] = 4, 9
    reference = Reference(np.ones(64, np.float32), np.diag(variances), 1.0)
    image = np.ones(64)
    image[:2] += 8, 9  # 4 and 3 standard deviations: 5 in all
    assert feature_distance(image, reference) == pytest.approx(5, rel=1e-12)


def test_one_held_out_image_in_a_hundred_lies_beyond_the_limit():
    rng = np.random.default_rng(5)
    held_out = rng.standard_normal((300, 64))
    reference = fit_reference(rng.standard_normal((80, 64)), held_out)
    beyond = [feature_distance(image, reference) > reference.limit for image in held_out]
    assert sum(beyond) == 2  # position 0.99 * 299 = 296.01, taken upwards: two of 300 lie above


def test_in_sample_distances_would_be_too_small_a_limit():
    rng = np.random.default_rng(6)
    features, new = rng.standard_normal((2, 80, 64)) * np.arange(1, 65)
    own = fit_reference(features, features)
    beyond = [feature_distance(image, own) > own.limit for image in new]
    assert np.mean(beyond) > 0.1  # not one in a hundred, of images drawn the same way


@pytest.mark.parametrize(
    ("features", "held_out", "message"),
    [
        (made_features(1), made_features(9), "at least 2 training images, got 1"),
        (made_features(9), made_features(1), "at least 2 held-out images, got 1"),
        (made_features(9)[:, :63], made_features(9), r"training images must have shape \(9, 64\)"),
        (made_features(9), np.full((9, 64), np.nan), "held-out images holds? values that are not finite"),
        (np.full((9, 64), np.inf), made_features(9), "training images holds? values that are not finite"),
        (np.ones((9, 64)), made_features(9), "too few or too much alike"),
        (
            made_features(2),
            made_features(9),
            "too few or too much alike",
        ),  # a rank of one, whatever is shrunk
    ],
)
def test_what_gives_no_reference_is_refused(features, held_out, message):
    with pytest.raises(InputError, match=message):
        fit_reference(features, held_out)


@pytest.mark.parametrize("image", [np.zeros(63), np.zeros((1, 64)), np.full(64, np.nan)])
def test_what_is_no_feature_has_no_distance(image):
    with pytest.raises(InputError, match="a DL feature"):
        feature_distance(image, fit_reference(made_features(40), made_features(40, 100)))


def write_reference(folder: Path, **changes: object) -> WeightFile:
    """A whole diagnosis file with its reference; a change replaces one part, None leaves it out."""
    reference = fit_reference(made_features(40), made_features(40, 100))
    held = reference.tensors() | {"distance_limit": reference.limit} | changes
    held = {name: part for name, part in held.items() if part is not None}
    limit = {"distance_limit": held.pop("distance_limit")} if "distance_limit" in held else {}
    torch.manual_seed(3)
    return write_weights(folder, "diagnosis", tensors_of(COVID19Net()) | held, options=limit, **FIELDS)


def test_a_reference_comes_back_as_it_was(tmp_path):
    reference = fit_reference(made_features(40), made_features(40, 100))
    weights = write_reference(tmp_path)
    found = load_reference(WeightFile(weights.path, read_card(tmp_path / "diagnosis.json")))
    assert (found.mean == reference.mean).all()
    assert (found.covariance == reference.covariance).all()
    assert found.limit == reference.limit
    image = made_features(1, 300)[0]
    assert feature_distance(image, found) == feature_distance(image, reference)


def test_a_reference_is_no_part_of_the_network(tmp_path):
    torch.manual_seed(3)
    expected = tensors_of(COVID19Net())
    found = tensors_of(load_network(write_reference(tmp_path)))
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)


def test_other_tensors_by_the_name_of_a_reference_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"not expected: reference\.median$"):
        load_network(write_reference(tmp_path, **{"reference.median": np.zeros(64, np.float32)}))


def test_weights_without_a_reference_have_none(diagnosis):
    assert load_reference(diagnosis) is None


PARTS = ["reference.mean", "reference.covariance", "distance_limit"]


@pytest.mark.parametrize(
    "absent", [*PARTS, *(tuple(p for p in PARTS if p != only) for only in PARTS)], ids=str
)
def test_a_part_of_a_reference_is_refused(diagnosis, tmp_path, absent):
    """When it is written, and when a file or its card was changed afterwards."""
    absent = {absent} if isinstance(absent, str) else set(absent)
    with pytest.raises(WeightsError, match="all three belong together") as caught:
        write_reference(tmp_path / "written", **dict.fromkeys(absent))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "written").exists()
    whole = write_reference(tmp_path / "whole")
    kept = {name: array for name, array in load_tensors(whole).items() if name not in absent}
    options = {} if "distance_limit" in absent else whole.card.options
    given = swap(diagnosis, save(kept))
    for load in (load_tensors, load_reference, load_network):
        with pytest.raises(WeightsError, match="all three belong together"):
            load(WeightFile(given.path, replace(given.card, options=options)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reference.mean": np.zeros(63, np.float32)},
            r"reference\.mean must have shape \(64,\), has \(63,\)",
        ),
        ({"reference.covariance": np.ones(64, np.float32)}, r"must have shape \(64, 64\), has \(64,\)"),
        ({"reference.covariance": np.ones((64, 64), np.float32)}, "not symmetric and positive definite"),
        ({"reference.covariance": -np.eye(64, dtype=np.float32)}, "not symmetric and positive definite"),
        (
            {"reference.covariance": np.eye(64, dtype=np.float32) + np.eye(64, k=1, dtype=np.float32) / 9},
            "not symmetric and positive definite",
        ),
    ],
)
def test_a_reference_that_gives_no_distance_is_refused(tmp_path, changes, message):
    with pytest.raises(WeightsError, match=message):
        write_reference(tmp_path, **changes)


# Model cards


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": None}, "'licence' must be of type str"),
        ({"size": True}, "'size' must be of type int"),
        ({"size": 0}, "'size' must be positive"),
        ({"sha256": "ABC"}, "64 lower-case hexadecimal digits"),
        ({"task": "prognosis"}, "task 'prognosis' is not one of lungs, diagnosis, egfr"),
        ({"network": "densenet-fpn"}, "needs the network 'covid19net'"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"options": {"threshold": 1.5}}, "'threshold' must be a probability"),
        (
            {"options": {"distance_limit": 0.0}},
            "'distance_limit' must be a number with a decimal point, above 0",
        ),
        ({"options": {"distance_limit": 12}}, "'distance_limit' must be a number"),
        ({"options": {"distance_limit": "12.0"}}, "'distance_limit' must be a number"),
        ({"options": {"pyramid": 1 << 30}}, "'pyramid' must be a whole number from 1 to 1024"),
        ({"demonstration": "yes"}, "'demonstration' must be of type bool"),
        ({"converted_from": "keras"}, "'converted_from' must be an object or null"),
    ],
)
def test_a_card_that_is_not_valid_is_refused(diagnosis, changes, message):
    path = diagnosis.path.with_suffix(".json")
    path.write_text(json.dumps({"format": 1} | asdict(diagnosis.card) | changes))
    with pytest.raises(WeightsError, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)


def test_a_missing_field_is_named(diagnosis):
    path = diagnosis.path.with_suffix(".json")
    values = {"format": 1} | asdict(diagnosis.card)
    del values["origin"]
    path.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="field 'origin' is missing"):
        read_card(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff\xfe", b'{"format": 2}', b'{"metrics": NaN}', b"[" * 100_000, b" " * (2 << 20)],
    ids=["empty", "list", "cut", "bytes", "format", "nan", "nested", "long"],
)
def test_what_is_no_card_is_refused(tmp_path, content):
    path = tmp_path / "diagnosis.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"diagnosis\.json: "):
        read_card(path)


def test_weights_without_a_card_are_refused(diagnosis):
    diagnosis.path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"diagnosis\.json: .*missing"):
        find_set(diagnosis.path.parent, None)


def test_a_card_of_another_task_is_refused(diagnosis):
    folder = diagnosis.path.parent
    diagnosis.path.rename(folder / "egfr.safetensors")
    (folder / "diagnosis.json").rename(folder / "egfr.json")
    with pytest.raises(WeightsError, match="the card is for 'diagnosis', not 'egfr'"):
        find_set(folder, None)


# Sets


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A small bundled set in a place of its own, trusted by the table."""
    folder = tmp_path / "package" / "bundled"
    shipped = FIELDS | {"name": "bundled"}
    lungs = write_weights(folder, "lungs", tensors_of(DenseNetFPN(**SMALL)), options=SMALL, **shipped)
    demonstration = write_weights(
        folder, "diagnosis", tensors_of(COVID19Net()), demonstration=True, **shipped
    )
    table = {weights.path.name: weights.card.sha256 for weights in (lungs, demonstration)}
    monkeypatch.setattr(registry, "BUNDLED_FOLDER", folder)
    monkeypatch.setattr(registry, "BUNDLED_SHA256", table)
    return folder


def codes(found):
    return [finding.code for finding in found.findings]


def test_the_bundled_set_says_that_it_is_a_demonstration(bundled):
    found = find_set("bundled", None)
    assert found.name == "bundled"
    assert found.lungs.path == bundled / "lungs.safetensors"
    assert codes(found) == ["weights-demonstration"]


def test_a_set_without_lungs_takes_the_bundled_ones_and_says_so(bundled, diagnosis):
    found = find_set("mine", diagnosis.path.parents[1])
    assert found.diagnosis == diagnosis
    assert found.lungs.path == bundled / "lungs.safetensors"
    assert codes(found) == ["weights-lungs-bundled"]


def test_a_set_with_lungs_of_its_own_uses_them(diagnosis):
    folder = diagnosis.path.parent
    lungs = write_weights(folder, "lungs", tensors_of(DenseNetFPN(**SMALL)), options=SMALL, **FIELDS)
    found = find_set(folder, None)
    assert found.lungs == lungs
    assert codes(found) == []
    assert found.egfr is None


@pytest.mark.usefixtures("bundled")
def test_a_folder_can_be_named_by_text_with_a_slash(diagnosis, monkeypatch):
    monkeypatch.chdir(diagnosis.path.parents[1])
    assert find_set("./mine", None).diagnosis.card == diagnosis.card


def test_an_unknown_name_lists_the_known(diagnosis):
    with pytest.raises(WeightsError, match="unknown weights 'other': there are bundled, mine;"):
        find_set("other", diagnosis.path.parents[1])


def test_a_published_set_that_is_not_installed_says_so(tmp_path):
    with pytest.raises(WeightsError, match="wang2020 is published and can be installed"):
        find_set("wang2020", tmp_path)


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "", "a" * 300])
def test_a_name_never_leads_out_of_home(tmp_path, name):
    home = tmp_path / "home"
    (home / ".hidden").mkdir(parents=True)
    with pytest.raises(WeightsError, match="unknown weights"):
        find_set(name, home)


def test_a_new_set_stands_under_its_name_in_home(tmp_path):
    assert new_set_folder("clinic-2.1", tmp_path) == tmp_path / "clinic-2.1"


@pytest.mark.parametrize("name", ["bundled", "wang2020", "../x", "/tmp/x", "", ".x", "a b", "a" * 65])
def test_a_new_set_takes_no_other_place(tmp_path, name):
    with pytest.raises(InputError):
        new_set_folder(name, tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match="no such folder of weights"):
        find_set(tmp_path / "nowhere", None)


def test_a_set_without_diagnosis_is_refused(tmp_path):
    write_weights(tmp_path, "lungs", tensors_of(DenseNetFPN(**SMALL)), options=SMALL, **FIELDS)
    with pytest.raises(WeightsError, match=r"diagnosis\.safetensors: the set holds no diagnosis network"):
        find_set(tmp_path, None)


def test_an_exchanged_bundled_file_is_refused_with_its_card(bundled):
    # Weights and card fit each other, so only the table in the code can tell.
    write_weights(bundled, "diagnosis", tensors_of(COVID19Net()), demonstration=False, **FIELDS)
    with pytest.raises(WeightsError, match="not the file that ships with this version") as caught:
        find_set("bundled", None)
    assert registry.BUNDLED_SHA256["diagnosis.safetensors"] in str(caught.value)


def test_a_file_added_to_the_bundled_set_is_refused(bundled):
    write_weights(bundled, "egfr", tensors_of(COVID19Net()), **FIELDS)
    with pytest.raises(WeightsError, match="not the file that ships"):
        find_set("bundled", None)


def test_check_bundled_reads_every_byte(bundled):
    check_bundled()
    path = bundled / "diagnosis.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    find_set("bundled", None)  # names and cards are still right
    with pytest.raises(WeightsError, match="missing or damaged"):
        check_bundled()


def test_the_table_vouches_for_what_ships():
    folder = registry.BUNDLED_FOLDER
    shipped = {path.name: sha256_of(path) for path in folder.iterdir()} if folder.is_dir() else {}
    shipped = {name: digest for name, digest in shipped.items() if not name.endswith((".json", ".md"))}
    assert shipped == dict(registry.BUNDLED_SHA256)


@pytest.mark.usefixtures("bundled")
def test_the_list_shows_bundled_installed_damaged_and_published(diagnosis):
    home = diagnosis.path.parents[1]
    (home / "broken").mkdir()
    listings = {listing.name: listing for listing in list_sets(home)}
    assert {name: listing.state for name, listing in listings.items()} == {
        "bundled": "bundled",
        "mine": "installed",
        "broken": "damaged",
        "wang2020": "published",
    }
    assert listings["bundled"].tasks == ("lungs", "diagnosis")
    assert listings["mine"].licence == "CC0-1.0"
    assert "no weights" in listings["broken"].note
    assert listings["wang2020"].licence == "none stated"


def test_published_files_are_those_of_the_git_lfs_pointers():
    # Read off the pointers in github.com/wangshuocas/COVID-19; SHA-256 by its first and last digits here.
    found = {file.task: (file.sha256[:8], file.sha256[-8:], file.size) for file in registry.WANG2020.files}
    assert found == {
        "lungs": ("f6b948d4", "61c2946f", 119991728),
        "diagnosis": ("211e7624", "5d8dd818", 3846552),
        "egfr": ("df630783", "62ac314a", 3846552),
    }


def test_importing_the_package_of_weights_is_light():
    heavy = ("torch", "h5py", "safetensors")
    code = f"import sys, covid19net.weights; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_zip_archives_are_refused_even_when_harmless(diagnosis):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x02.")
    with pytest.raises(WeightsError, match="is a pickle or PyTorch archive"):
        load_tensors(swap(diagnosis, buffer.getvalue()))


# Sets put together


def test_networks_trained_apart_become_one_set(diagnosis, tmp_path):
    """Every byte is copied; a task that two folders hold is refused: which is meant?"""
    lungs = write_weights(tmp_path / "lungs", "lungs", tensors_of(DenseNetFPN(4, 4)), **FIELDS, options=SMALL)
    made = join_sets([lungs.path.parent, diagnosis.path.parent], tmp_path / "both")
    assert set(made) == {"lungs", "diagnosis"}
    assert sha256_of(made["lungs"].path) == lungs.card.sha256
    found = find_set(tmp_path / "both", None)
    assert (found.lungs.card, found.diagnosis.card, found.findings) == (lungs.card, diagnosis.card, ())
    assert lung_weights(tmp_path / "both", None).card == lungs.card
    with pytest.raises(WeightsError, match="holds no lung network"):
        lung_weights(diagnosis.path.parent, None)
    with pytest.raises(WeightsError, match=r"lungs weights are in .*lungs too"):
        join_sets([lungs.path.parent, tmp_path / "both"], tmp_path / "third")
    with pytest.raises(
        WeightsError, match="holds diagnosis weights that are not joined"
    ):  # of an earlier set
        join_sets([lungs.path.parent], tmp_path / "both")
    (tmp_path / "both" / "diagnosis.safetensors").unlink()
    (tmp_path / "both" / "diagnosis.json").unlink()
    (tmp_path / "both" / "lungs.safetensors").unlink()
    assert set(join_sets([lungs.path.parent], tmp_path / "both")) == {"lungs"}  # half a set is no hindrance
    lungs.path.write_bytes(b"cut")
    with pytest.raises(WeightsError, match=lungs.card.sha256):
        join_sets([lungs.path.parent], tmp_path / "third")


def test_shuffled_kernels_follow_the_seed_whatever_the_order_of_the_file():
    """safetensors gives names in an order of its own, another one in each process."""
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=(3, 4)) for name in "abcd"} | {"bias": np.arange(4.0)}
    turned = dict(reversed(tensors.items()))
    found, other = (randomised(each, np.random.default_rng(7)) for each in (tensors, turned))
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], other[name])
        np.testing.assert_array_equal(np.sort(found[name], None), np.sort(array, None))
    assert (found["a"] != tensors["a"]).any()
    assert (found["bias"] == tensors["bias"]).all()
