"""The import of the authors' Keras files, against answers of real Keras layers (see keras_oracle/)."""

from pathlib import Path
import sys

import h5py
from keras_oracle.hdf5 import write_keras
from keras_oracle.seeded import REFERENCE, SMALL, arrays, image, layout
import numpy as np
import pytest
import torch

from covid19net.errors import WeightsError
from covid19net.nets.densenet_fpn import DenseNet121
from covid19net.weights import (
    encoder_from_keras_names,
    import_keras,
    load_exactly,
    load_network,
    load_tensors,
    read_keras,
)
from covid19net.weights.keras_names import covid19net_layers, densenet_fpn_layers

# Answers of Keras to the inputs of `seeded.image` with the weights of `seeded.arrays`: tf_keras 2.21.0 on
# TensorFlow 2.21.0, written by `keras_oracle/compare.py --keep`. Measured there, full-size inputs included:
# at most 2.6e-7 of the largest feature or logit, and 8.6e-6 of a lung probability.
KERAS = np.load(REFERENCE / "keras_activations.npz", allow_pickle=False)
LIMIT = 1e-4


@pytest.fixture(scope="module")
def covid19net_h5(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "covid.h5"
    write_keras(path, arrays(layout("covid19net")), whole=False)
    return path


@pytest.fixture(scope="module")
def lungs_h5(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "lungs.hdf5"
    write_keras(path, arrays(layout("densenet_fpn")), whole=True)
    return path


def keras_file(folder: Path, changes: dict, network: str = "covid19net") -> Path:
    """A file of the network with some arrays replaced, or left out where None."""
    values = arrays(layout(network)) | changes
    path = folder / "changed.h5"
    write_keras(path, {k: v for k, v in values.items() if v is not None}, whole=False)
    return path


def test_layouts_have_the_published_parameter_counts():
    # Keras' own counts of the released networks.
    totals = {n: sum(np.prod(s) for s in layout(n).values()) for n in ("covid19net", "densenet_fpn")}
    assert totals == {"covid19net": 894_545, "densenet_fpn": 9_911_745}


@pytest.mark.parametrize(
    ("network", "layers"), [("covid19net", covid19net_layers), ("densenet_fpn", densenet_fpn_layers)]
)
def test_the_rules_name_exactly_the_published_layers(network, layers):
    assert layers().keys() == {name.rpartition("/")[0] for name in layout(network)}


@pytest.mark.parametrize("size", SMALL["covid19net"])
def test_covid19net_answers_as_keras(covid19net_h5, tmp_path, size):
    network = load_network(import_keras(covid19net_h5, tmp_path))
    with torch.inference_mode():
        logit, features = network(torch.from_numpy(image("covid19net", size))[None, None])
    expected = KERAS[f"covid19net {size} features"]
    assert np.abs(features[0].numpy() - expected).max() < LIMIT * np.abs(expected).max()
    expected = KERAS[f"covid19net {size} logit"]
    assert abs(logit.item() - expected) < LIMIT * abs(expected)
    assert torch.sigmoid(logit).item() == pytest.approx(KERAS[f"covid19net {size} probability"], abs=LIMIT)


@pytest.mark.parametrize("size", SMALL["densenet_fpn"])
def test_lung_network_answers_as_keras(lungs_h5, tmp_path, size):
    network = load_network(import_keras(lungs_h5, tmp_path))
    with torch.inference_mode():
        logits = network(torch.from_numpy(image("densenet_fpn", size)).permute(2, 0, 1)[None])
    expected = KERAS[f"densenet_fpn {size} probability"]
    assert expected.std() > 0.1  # not a constant that anything would match
    assert np.abs(torch.sigmoid(logits)[0, 0].numpy() - expected).max() < LIMIT


def test_padding_on_both_sides_would_be_seen(covid19net_h5, tmp_path):
    # Shapes and names alone do not prove an import: torch's own padding fits them too.
    network = load_network(import_keras(covid19net_h5, tmp_path))
    kernel = network.backbone.stem_conv1.weight
    network.backbone.stem_conv1 = torch.nn.Conv3d(1, 16, 3, stride=(1, 2, 2), padding=1, bias=False)
    network.backbone.stem_conv1.weight = kernel
    with torch.inference_mode():
        _, features = network(torch.from_numpy(image("covid19net", "even"))[None, None])
    expected = KERAS["covid19net even features"]
    assert np.abs(features[0].numpy() - expected).max() > 100 * LIMIT * np.abs(expected).max()


def test_card_names_the_original_and_the_published_threshold(covid19net_h5, tmp_path):
    card = import_keras(covid19net_h5, tmp_path / "mine", origin="a hospital").card
    assert (card.name, card.task, card.network, card.licence) == (
        "mine",
        "diagnosis",
        "covid19net",
        "none stated",
    )
    assert card.options == {"threshold": 0.8}
    assert card.origin == "a hospital"
    assert card.converted_from is not None
    assert card.converted_from["file"] == "covid.h5"


def test_lung_card_has_the_published_widths(lungs_h5, tmp_path):
    card = import_keras(lungs_h5, tmp_path).card
    assert card.options == {"pyramid": 256, "segmentation": 128, "clean_up": False}


def test_both_kinds_of_file_give_the_same_tensors(covid19net_h5, tmp_path):
    whole = tmp_path / "whole.h5"
    write_keras(whole, arrays(layout("covid19net")), whole=True)
    one, other = read_keras(covid19net_h5).tensors, read_keras(whole).tensors
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_kernels_turn_from_zyx_in_out_to_out_in_zyx(covid19net_h5, tmp_path):
    tensors = load_tensors(import_keras(covid19net_h5, tmp_path))
    kernel = arrays(layout("covid19net"))["block_21_0_1_conv/kernel"]  # 3x3x3x16x24
    found = tensors["backbone.block2.0.conv1.weight"]
    assert found.shape == (24, 16, 3, 3, 3)
    assert found[5, 7, 0, 1, 2] == kernel[0, 1, 2, 7, 5]


def test_layer_lists_split_over_several_attributes_are_read(tmp_path):
    # Keras splits a list of more than 64 kB into layer_names0, layer_names1, ...
    path = keras_file(tmp_path, {})
    with h5py.File(path, "r+") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:20], names[20:]
    assert len(read_keras(path).tensors) == 137


def test_egfr_must_be_asked_for(covid19net_h5, tmp_path):
    found = import_keras(covid19net_h5, tmp_path, task="egfr")
    assert found.path.name == "egfr.safetensors"
    assert found.card.options == {}


def test_a_network_for_another_task_is_refused(covid19net_h5, tmp_path):
    with pytest.raises(WeightsError, match="does not do the task 'lungs'"):
        import_keras(covid19net_h5, tmp_path / "set", task="lungs")
    assert not (tmp_path / "set").exists()


def test_weights_of_the_same_task_are_not_overwritten(covid19net_h5, tmp_path):
    first = import_keras(covid19net_h5, tmp_path)
    with pytest.raises(WeightsError, match="already holds weights for 'diagnosis'"):
        import_keras(covid19net_h5, tmp_path)
    load_tensors(first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_31_2_1_bn/gamma": None}, "missing: block_31_2_1_bn/gamma"),
        ({"dense_9/kernel": np.zeros((2, 2), np.float32)}, "not expected: dense_9/kernel"),
        (
            {"block0_conv1/kernel": np.zeros((3, 3, 1, 16), np.float32)},
            r"block0_conv1/kernel: the file has \(3, 3, 1, 16\), the network \(3, 3, 3, 1, 16\)",
        ),
        ({"block0_conv1/kernel": np.zeros((3, 3, 3, 1, 16), np.int32)}, "is int32, not floating point"),
        ({"block0_bn1/gamma": np.full(16, np.nan, np.float32)}, "not finite"),
        ({"block0_bn1/moving_variance": np.full(16, -1, np.float32)}, "negative variances"),
    ],
)
def test_loaded_whole_or_not_at_all(tmp_path, changes, message):
    with pytest.raises(WeightsError, match=message):
        import_keras(keras_file(tmp_path, changes), tmp_path / "set")
    assert not list((tmp_path / "set").glob("*"))


def test_a_lung_network_without_its_decoder_is_refused(tmp_path):
    trunk = dict.fromkeys(
        n for n in layout("densenet_fpn") if n.startswith(("fpn_", "segm_", "final_", "head_"))
    )
    with pytest.raises(WeightsError, match=r"missing: .*more"):
        read_keras(keras_file(tmp_path, trunk, "densenet_fpn"))


def test_another_network_is_refused_by_name(tmp_path):
    path = tmp_path / "other.h5"
    write_keras(path, {"dense_1/kernel": np.zeros((3, 3), np.float32)}, whole=False)
    with pytest.raises(
        WeightsError, match="neither COVID-19Net nor DenseNet121-FPN; its first layers: dense_1"
    ):
        read_keras(path)


def test_a_link_out_of_the_file_is_not_followed(covid19net_h5, tmp_path):
    path = keras_file(tmp_path, {})
    with h5py.File(path, "r+") as file:
        del file["block0_conv1"]["block0_conv1/kernel:0"]
        there = "/block0_conv1/block0_conv1/kernel:0"
        file["block0_conv1"]["block0_conv1/kernel:0"] = h5py.ExternalLink(str(covid19net_h5), there)
    with pytest.raises(WeightsError, match="damaged"):
        read_keras(path)


def test_numbers_kept_in_another_file_are_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(16 * 4))
    path = keras_file(tmp_path, {})
    with h5py.File(path, "r+") as file:
        group = file["block0_bn1"]
        del group["block0_bn1/gamma:0"]
        group.create_dataset("block0_bn1/gamma:0", (16,), np.float32, external=[(str(secret), 0, 64)])
    with pytest.raises(WeightsError, match="keeps its numbers elsewhere"):
        read_keras(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git-LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "damaged, or not a Keras"),
        (b"no network at all", "damaged, or not a Keras"),
    ],
)
def test_files_that_are_no_keras_files_are_named(tmp_path, content, message):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_cut_file_is_refused(covid19net_h5, tmp_path, part):
    path = tmp_path / "cut.h5"
    whole = covid19net_h5.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(WeightsError, match="damaged"):
        read_keras(path)


def test_without_h5py_the_error_says_how_to_install_it(covid19net_h5, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"pip install 'covid19net\[keras\]'"):
        read_keras(covid19net_h5)


def test_encoder_names_of_keras_fill_the_encoder_exactly():
    shapes = {
        n: s for n, s in layout("densenet_fpn").items() if not n.startswith(("fpn", "segm", "final", "head"))
    }
    theirs = {n: np.moveaxis(a, (-1, -2), (0, 1)) if a.ndim > 1 else a for n, a in arrays(shapes).items()}
    encoder = DenseNet121()
    load_exactly(encoder, encoder_from_keras_names(theirs), "encoder")
    found = encoder.state_dict()["denseblock3.denselayer24.conv2.weight"].numpy()
    assert np.array_equal(found, theirs["conv4_block24_2_conv/kernel"])
    variance = encoder.state_dict()["transition2.norm.running_var"].numpy()
    assert np.array_equal(variance, theirs["pool3_bn/moving_variance"])


def test_encoder_refuses_unknown_names():
    with pytest.raises(WeightsError, match="head_conv/kernel"):
        encoder_from_keras_names({"head_conv/kernel": np.zeros((1, 128, 3, 3))})


@pytest.mark.real
def test_real_encoder_start_fits():
    path = Path(__file__).parents[2] / "shared" / "data" / "encoder-start" / "densenet121-lungs.safetensors"
    if not path.exists():
        pytest.skip("the encoder start is not part of the project")
    from safetensors.numpy import load_file

    load_exactly(DenseNet121(), encoder_from_keras_names(load_file(path)), str(path))
