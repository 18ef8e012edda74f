"""The lung recipe: sources, batches, loss, the encoder's start, and a small training run from end to end."""

import json

import nibabel
import numpy as np
import pytest
from safetensors.numpy import save_file
import torch

from covid19net.errors import InputError, WeightsError
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.train.fit import Schedule, Site
from covid19net.train.lung_data import (
    Source,
    copied,
    phantom_slices,
    read_sources,
    small_hu,
    small_mask,
    with_neighbours,
)
from covid19net.train.lungs import (
    encoder_name,
    load_encoder,
    lung_loss,
    start_network,
    store_lungs,
    supply_of,
    train_lungs,
)
from covid19net.volume import CTVolume
from covid19net.weights import load_network


@pytest.fixture(scope="module")
def phantoms():
    return phantom_slices(1, [5])


def test_a_scan_slice_comes_with_its_true_neighbours():
    hu = np.arange(4)[:, None, None] * np.ones((1, 2, 2), int)
    stacks = with_neighbours(hu, [0, 2, 3])
    assert stacks[:, :, 0, 0].tolist() == [[0, 0, 1], [1, 2, 3], [2, 3, 3]]
    assert copied(hu)[2, :, 0, 0].tolist() == [2, 2, 2]


def test_scans_are_resized_as_in_use():
    from scipy import ndimage

    hu = np.random.default_rng(0).integers(-2000, 1500, (2, 512, 400)).astype(np.int16)
    small = small_hu(CTVolume(hu, np.diag([2.0, 0.7, 0.7, 1.0])[[2, 1, 0, 3]]))
    expected = ndimage.zoom(np.maximum(hu, -1024).astype(float), (1, 0.5, 0.64), order=3)
    np.testing.assert_allclose(small, np.clip(expected, -1024, 3071), atol=1)


def test_masks_keep_what_is_unknown():
    mask = np.zeros((1, 512, 512), np.uint8)
    mask[0, :256], mask[0, 300:400] = 1, 255
    small = small_mask(mask)
    assert (small[0, :127] == 1).all()
    assert (small[0, 151:199] == 255).all()
    assert (small[0, 201:] == 0).all()


def test_phantom_slices_run_from_neck_to_belly(phantoms):
    hu, mask = phantoms
    assert hu.shape == (7, 3, 256, 256)
    assert hu.min() >= -1024
    lung = mask.mean(axis=(1, 2))
    assert lung[0] == 0  # neck
    assert (lung[2:4] > 0.05).all()  # upper and middle chest
    assert (hu[3, 1][mask[3] == 1] < -500).mean() > 0.5


def test_phantom_slices_repeat_with_their_seed(monkeypatch):
    monkeypatch.setattr("covid19net.train.lung_data.LEVELS", ((-60, -50),))
    (first, _), (again, _), (other, _) = (phantom_slices(1, [seed]) for seed in (8, 8, 9))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_source_that_does_not_fit_is_refused(phantoms):
    hu, mask = phantoms
    with pytest.raises(InputError, match="do not fit"):
        Source("x", hu[:, 1], mask, 1.0)
    with pytest.raises(InputError, match="0, 1 and 255 only"):
        Source("x", hu, mask * 2, 1.0)


def test_batches_follow_the_shares_and_the_generator(phantoms):
    hu, mask = phantoms
    never = Source("never", hu, np.full_like(mask, 255), 0.0)
    supply = supply_of([Source("phantoms", hu, mask, 1.0), never])

    def batch():
        rng = np.random.default_rng(4)
        return supply.collate([supply.draw(rng, i) for i in range(3)], torch.device("cpu"))

    x, y = batch()
    assert x.shape == (3, 3, 256, 256)
    assert y.shape == (3, 1, 256, 256)
    assert x.dtype == y.dtype == torch.float32
    np.testing.assert_allclose(x.mean((2, 3)), 0, atol=1e-3)
    assert set(np.unique(y)) <= {0.0, 1.0}
    assert torch.equal(x, batch()[0])


def test_the_loss_of_four_pixels_worked_out_by_hand():
    # Probabilities 0.5, 0.8, 0.8 for lung, not, lung; the fourth pixel is unknown.
    # Entropy: -(ln 0.5 + ln 0.2 + ln 0.8) / 3 = 0.841910; Dice: (2 * 1.3 + 1) / (2.1 + 2 + 1) = 0.705882.
    odds = float(np.log(4))
    logit = torch.tensor([0.0, odds, odds, 50.0]).reshape(1, 1, 2, 2)
    target = torch.tensor([1.0, 0.0, 1.0, 255.0]).reshape(1, 1, 2, 2)
    assert lung_loss(logit, target).item() == pytest.approx(0.841910 + 1 - 0.705882, abs=1e-5)


def test_slices_without_lung_cost_nothing_when_none_is_found():
    assert lung_loss(torch.full((2, 1, 8, 8), -30.0), torch.zeros(2, 1, 8, 8)).item() < 1e-6


def keras_encoder():
    """Names and shapes, in torch's axis order, of Keras' DenseNet121 without top, as published."""
    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    shapes = {"conv1/conv/kernel": (64, 3, 7, 7)} | {f"conv1/bn/{n}": (64,) for n in norm}
    channels = 64
    for block, units in enumerate((6, 12, 24, 16), start=2):
        for unit in range(1, units + 1):
            stem = f"conv{block}_block{unit}"
            shapes |= {f"{stem}_0_bn/{n}": (channels,) for n in norm}
            shapes[f"{stem}_1_conv/kernel"] = (128, channels, 1, 1)
            shapes |= {f"{stem}_1_bn/{n}": (128,) for n in norm}
            shapes[f"{stem}_2_conv/kernel"] = (32, 128, 3, 3)
            channels += 32
        if block < 5:
            shapes |= {f"pool{block}_bn/{n}": (channels,) for n in norm}
            shapes[f"pool{block}_conv/kernel"] = (channels // 2, channels, 1, 1)
            channels //= 2
    return shapes | {f"bn/{n}": (channels,) for n in norm}


def test_the_encoder_starts_from_keras_names(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {k: rng.standard_normal(s).astype(np.float16) for k, s in keras_encoder().items()}
    assert sum(t.size for t in tensors.values()) == 7_037_504  # Keras' model summary, include_top=False
    save_file(tensors, tmp_path / "start.safetensors")
    network = DenseNetFPN(8, 8)
    load_encoder(network, tmp_path / "start.safetensors")
    encoder = network.encoder
    pairs = {
        "conv1/conv/kernel": encoder.conv0.weight,
        "conv3_block12_0_bn/gamma": encoder.denseblock2.denselayer12.norm1.weight,
        "conv5_block16_2_conv/kernel": encoder.denseblock4.denselayer16.conv2.weight,
        "conv2_block1_1_bn/moving_mean": encoder.denseblock1.denselayer1.norm2.running_mean,
        "pool4_bn/beta": encoder.transition3.norm.bias,
        "pool2_conv/kernel": encoder.transition1.conv.weight,
        "bn/moving_variance": encoder.norm5.running_var,
    }
    for name, tensor in pairs.items():
        assert np.array_equal(tensor.detach().numpy(), tensors[name].astype(np.float32)), name


@pytest.mark.parametrize(
    "name", ["fc1000/kernel", "conv1/conv/weights", "conv2_block1_3_conv/kernel", "pool9/x"]
)
def test_a_tensor_of_another_network_is_refused(name):
    with pytest.raises(WeightsError):
        encoder_name(name)


def test_an_incomplete_encoder_is_refused(tmp_path):
    save_file({"bn/gamma": np.ones(1024, np.float16)}, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match=r"part\.safetensors does not fit the encoder: 603 tensors differ"):
        load_encoder(DenseNetFPN(8, 8), tmp_path / "part.safetensors")


def test_a_small_network_learns_from_phantoms_and_goes_on_after_a_stop(phantoms, tmp_path, monkeypatch):
    hu, mask = (a[..., ::4, ::4] for a in phantoms)
    source = Source(
        "phantoms", np.ascontiguousarray(hu), np.ascontiguousarray(mask), 1.0, disease=0.0, gas=0.0
    )
    schedule = Schedule(24, 4, learning_rate=3e-3, save_every=10, average=0.5)
    site = Site(checkpoint=tmp_path / "run.safetensors")
    monkeypatch.setattr("covid19net.train.lungs.lung_loss", _stops_after(13, lung_loss))
    with pytest.raises(KeyboardInterrupt):
        train_lungs(start_network(None, width=(8, 8)), [source], schedule, site=site)
    monkeypatch.undo()
    network = start_network(None, width=(8, 8), seed=1)  # the checkpoint's weights count, not these
    losses = train_lungs(network, [source], schedule, site=site).losses
    assert len(losses) == 24
    assert np.mean(losses[-6:]) < 0.85 * np.mean(losses[:4])  # 0.68 to 0.76 with four seeds
    assert not network.training
    assert network.encoder.conv0.weight.isfinite().all()


def _stops_after(count, loss):
    def stopping(logit, target, done=[]):  # noqa: B006
        done.append(1)
        if len(done) > count:
            raise KeyboardInterrupt
        return loss(logit, target)

    return stopping


def test_a_training_set_is_read_from_its_description(tmp_path):
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 400, (3, 256, 256)).astype(np.int16)
    np.savez(tmp_path / "slices.npz", hu=hu, mask=(hu < -500).astype(np.uint8), id=np.array(["a", "b", "c"]))
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    scan = rng.integers(-1000, 400, (256, 256, 6)).astype(np.int16)
    lung = np.zeros(scan.shape, np.uint8)
    lung[40:80, :, 2:4] = 1
    nibabel.Nifti1Image(scan, affine).to_filename(tmp_path / "scan.nii.gz")
    nibabel.Nifti1Image(lung, affine).to_filename(tmp_path / "lung.nii.gz")
    slices = {
        "kind": "slices",
        "name": "s",
        "share": 2,
        "file": "slices.npz",
        "leave_out": ["b"],
        "disease": 0.25,
    }
    volume = {"kind": "scan", "name": "v", "share": 1, "ct": "scan.nii.gz", "mask": "lung.nii.gz"}
    volume |= {"slices": [[0, 6]], "leave_out": [[0, 1]]}
    (tmp_path / "sources.json").write_text(json.dumps([slices, volume]))
    first, second = read_sources(tmp_path / "sources.json")
    assert np.array_equal(first.hu[:, 1], hu[[0, 2]])
    assert (first.single, first.disease, first.gas, first.share) == (True, 0.25, 0.5, 2.0)
    assert second.hu.shape == (5, 3, 256, 256)
    assert second.mask.sum(axis=(1, 2)).tolist() == [0, 40 * 256, 40 * 256, 0, 0]
    # NIfTI is RAS: its first index grows to the patient's right, the columns of a picture to the left.
    assert second.mask[1][:, 256 - 80 : 256 - 40].all()
    assert np.array_equal(second.hu[1, 1], scan[::-1, ::-1, 2].T)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[{}]", "no 'kind'"),
        ("{", "not a list of training sources"),
        ('[{"kind": "film", "name": "x", "share": 1}]', "'film' is not one of slices, scan, phantoms"),
        ('[{"kind": "slices", "name": "x", "share": 1, "file": "none.npz"}]', "No such file"),
    ],
)
def test_a_faulty_description_is_refused(tmp_path, text, reason):
    (tmp_path / "sources.json").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_sources(tmp_path / "sources.json")


def test_a_stored_network_comes_back_in_half_precision(tmp_path):
    network = DenseNetFPN(8, 4).eval()
    about = ("name", "licence", "origin", "training_data", "intended_use")
    stored = store_lungs(network, tmp_path, **dict.fromkeys(about, "a test"))
    assert stored.card.options == {"pyramid": 8, "segmentation": 4, "clean_up": True}
    assert 14e6 < stored.card.size < 15e6  # 7.1 million numbers of 2 bytes
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32))
    with torch.no_grad():
        np.testing.assert_allclose(load_network(stored)(x), network(x), atol=0.01)
