"""The work around the networks on a torch device: the numbers of the NumPy path, which is the reference."""

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

from covid19net.engine import open_lungs, to_device
from covid19net.engine.networks import LungNetwork
from covid19net.errors import NotChestCTError
from covid19net.gate import Values
from covid19net.models import load_models
from covid19net.phantom import Scanner, draw_patient, scan_patient
from covid19net.pipeline import analyze, segment
from covid19net.preprocess import lung_box, lung_image, slice_inputs
from covid19net.segment import chosen_slices, lungs_on_ct
from covid19net.volume import CTVolume, Overlay

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module", params=["torch-cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture(scope="module")
def there(device, scan):
    return to_device(scan, device)


@pytest.fixture(scope="module")
def scan():
    """Slices thinner than the 5 mm that are segmented, and not as many rows as columns."""
    rng = np.random.default_rng(7)
    volume = scan_patient(
        draw_patient(rng, disease="covid"), Scanner(spacing=2.4, thickness=2.4, matrix=160), rng
    ).volume
    return CTVolume(volume.hu[25:75, 5:-6], volume.affine)


@pytest.fixture(scope="module")
def reference():
    """Both networks by torch on the CPU, whose surroundings are told to be NumPy's."""
    return replace(load_models(device="torch-cpu"), device="cpu")


@pytest.fixture(scope="module")
def found(scan, reference):
    return segment(scan, reference)


class Brightness(LungNetwork):
    """Instead of a network: the slice itself, as values between 0 and 1, and what it was given."""

    def __init__(self):
        pass

    def on_device(self, slices, _progress=None):
        self.seen = slices.cpu().numpy()
        return torch.sigmoid(slices[:, 1])


class Given(LungNetwork):
    """Instead of a network: planes known beforehand."""

    def __init__(self, planes):
        self.planes = planes

    def on_device(self, slices, _progress=None):
        return torch.from_numpy(self.planes).to(slices.device)


def test_values_are_those_of_the_gate(there, scan):
    assert asdict(there.values()) == pytest.approx(asdict(Values.of(scan.hu)), rel=1e-12)


def test_values_that_are_no_integers(device, scan):
    hu = scan.hu + np.float32(0.25)
    found = to_device(CTVolume(hu, scan.affine), device).values()
    assert asdict(found) == pytest.approx(asdict(Values.of(hu)), rel=1e-12)


@pytest.mark.parametrize("every_slice", [False, True])
def test_what_the_lung_network_sees(there, scan, every_slice):
    indices = chosen_slices(scan.shape[0], scan.spacing[0], every_slice=every_slice)
    expected = np.stack(list(slice_inputs(scan, indices)))
    network = Brightness()
    found = there.lung_probability(network, indices)
    sd = scan.hu.std(axis=(1, 2)).max()
    assert np.abs(network.seen - expected).max() * sd < 0.01  # HU
    for low, high in pairwise(indices):  # numpy.interp, slice by slice
        for z in range(low, high + 1):
            between = np.interp(z, [low, high], [0, 1])
            np.testing.assert_allclose(
                found[z], (1 - between) * found[low] + between * found[high], atol=1e-6
            )
    assert not found[[0, -1]].any()


def test_the_lung_image(there, scan, found):
    lungs, _ = found
    box = lung_box(lungs.mask, scan.shape)
    expected = lung_image(scan, lungs.mask, box).values
    image = there.lung_image(lungs.mask, box).cpu().numpy()
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() * scan.hu[box.slices].std() < 0.01  # HU


def test_a_lung_box_of_one_value_is_refused(device, scan, found):
    lungs, _ = found
    empty = CTVolume(np.full(scan.shape, -800, np.int16), scan.affine)
    with pytest.raises(NotChestCTError, match="one single value"):
        to_device(empty, device).lung_image(lungs.mask, lung_box(lungs.mask, scan.shape))


@pytest.fixture(scope="module")
def analyses(device, phantom, reference):
    """A coarse scan analyzed with NumPy around the networks, and twice on the device."""
    models = load_models(device=device)
    models = replace(models, lungs=open_lungs(models.weights.lungs, device, precision="f32"))
    runs = ((reference, True), (models, True), (models, False))
    return [analyze(phantom.volume, used, full_evidence=full) for used, full in runs]


def test_a_whole_analysis(analyses):
    expected, result, _ = analyses
    assert result.probability == pytest.approx(expected.probability, abs=1e-4)
    assert result.box == expected.box
    assert result.findings == expected.findings
    for side in (1, 2):
        one, other = result.lungs.values == side, expected.lungs.values == side
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) >= 0.9999
    difference = result.heatmap.values.astype(int) - expected.heatmap.values
    assert np.abs(difference).max() <= 1  # percent points
    assert result.heatmap.values.max() == 100
    for change in ("flip", "noise"):
        correlations = [getattr(each.map_evidence.stability, change) for each in (result, expected)]
        assert correlations[0] == pytest.approx(correlations[1], abs=1e-3)


def test_the_same_scan_gives_the_same_bits_again(analyses):
    _, one, other = analyses
    assert one.probability == other.probability
    assert (one.features == other.features).all()
    assert (one.lungs.values == other.lungs.values).all()
    assert (one.heatmap.values == other.heatmap.values).all()


def test_the_mask_on_the_scan_where_the_clean_up_changed_it(there, scan, found):
    lungs, probability = found
    inner = range(1, scan.shape[0] - 1)
    there.lung_probability(Given(probability.values[1:-1]), inner)
    sides = lungs.mask.values.copy()
    sides[:, 100:120, 90:110] = 0
    sides[40:60, 60:80, 60:80] = 1
    changed = replace(lungs, mask=Overlay(sides, lungs.mask.affine))
    expected = lungs_on_ct(changed, probability, scan).values
    result = lungs_on_ct(changed, probability, scan, there).values
    assert (result != expected).sum() <= 1e-4 * (expected > 0).sum()
