from dataclasses import replace
import hashlib

import numpy as np
import pytest
import torch

from covid19net.errors import InputError
from covid19net.nets.covid19net import COVID19Net
from covid19net.preprocess import IMAGE_SHAPE
from covid19net.train import diagnosis, phantom_cases
from covid19net.train.diagnosis import (
    Stage,
    best_threshold,
    measure,
    probabilities,
    settle,
    supply_of,
    train_diagnosis,
    train_network,
    vary,
)
from covid19net.train.fit import Schedule
from covid19net.train.phantom_cases import OTHERS, WHOLE, Case, make_cases, phantom_image
from covid19net.weights import load_network, load_tensors

SMALL = (8, 40, 60)  # a sixth of the whole image along each axis
HALVED = (2, 2, 2)
SHORT = (
    Stage("halved", HALVED, Schedule(steps=16, batch=4, learning_rate=2e-3, average=0.8, seed=1)),
    Stage("whole", WHOLE, Schedule(steps=2, batch=2, learning_rate=1e-4, average=0.5, seed=2)),
)


@pytest.fixture(scope="module")
def image():
    """The lung image of one synthetic patient."""
    return phantom_image(seed=5, number=0)


@pytest.fixture(scope="module")
def toy(image, tmp_path_factory):
    """Eight small images of one phantom; in those called COVID-19 the back of the lungs is brighter."""
    folder = tmp_path_factory.mktemp("toy")
    small = image[1][::6, ::6, ::6]
    rng = np.random.default_rng(0)
    cases = []
    for k in range(8):
        disease = "bacterial" if k % 2 else "covid"
        one = small + 0.1 * rng.standard_normal(SMALL)
        if disease == "covid":
            one[:, 24:] += 2
        np.save(folder / f"{k}.npy", ((one - one.mean()) / one.std()).astype(np.float16))
        cases.append(Case(folder / f"{k}.npy", disease))
    return cases


def test_a_phantom_image_is_what_the_product_shows_the_network(image):
    disease, values = image
    assert disease == "covid"
    assert values.shape == IMAGE_SHAPE
    assert values.dtype == np.float32
    assert values.mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
    assert values.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)
    # Half way up, both lungs lie dark beside the mediastinum, which is brighter by more than a deviation.
    row = values[24, 100:140]
    assert row[:, 160:200].mean() > max(row[:, 40:120].mean(), row[:, 240:320].mean()) + 1


def test_others_are_as_frequent_as_in_table_1():
    # Wang et al. 2020, Table 1: rows of the training and both validation sets added by hand.
    assert OTHERS == {
        "bacterial": 127 + 119 + 25,
        "mycoplasma": 11 + 5 + 15,
        "viral": 0 + 0 + 29,
        "fungal": 11 + 0 + 0,
    }


def test_cases_are_drawn_once_and_half_have_covid(tmp_path, monkeypatch):
    drawn = []

    def quick(seed, number):
        drawn.append((seed, number))
        return "viral" if number % 2 else "covid", np.full(SMALL, number, np.float32)

    monkeypatch.setattr(phantom_cases, "phantom_image", quick)
    assert len(make_cases(tmp_path, 2, seed=7)) == 2
    cases = make_cases(tmp_path, 4, seed=7)
    assert drawn == [(7, 0), (7, 1), (7, 2), (7, 3)]
    assert [c.disease for c in cases] == ["covid", "viral", "covid", "viral"]
    assert [c.label for c in cases] == [1, 0, 1, 0]
    assert [c.read().max() for c in cases] == [0, 1, 2, 3]


def test_a_halved_image_is_made_of_means_of_eight(tmp_path):
    rng = np.random.default_rng(3)
    whole = rng.standard_normal((4, 6, 8)).astype(np.float16)
    np.save(tmp_path / "a.npy", whole)
    halved = Case(tmp_path / "a.npy", "covid").read(HALVED)
    expected = np.array(
        [
            [
                [whole[z : z + 2, y : y + 2, x : x + 2].astype(float).mean() for x in (0, 2, 4, 6)]
                for y in (0, 2, 4)
            ]
            for z in (0, 2)
        ]
    )
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(halved, expected, atol=1e-5)


def batch(supply, seed, count):
    samples = [supply.draw(np.random.default_rng([seed, i]), i) for i in range(count)]
    return supply.collate(samples, torch.device("cpu"))


def test_batches_hold_both_kinds_and_depend_on_the_generator_alone(toy):
    supply = supply_of(toy)
    x, y = batch(supply, 1, 4)
    again, _ = batch(supply, 1, 4)
    other, _ = batch(supply, 2, 4)
    assert x.shape == (4, 1, *SMALL)
    assert y.tolist() == [0, 1, 0, 1]
    assert x.dtype == y.dtype == torch.float32
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert batch(supply_of(toy, HALVED), 1, 2)[0].shape == (2, 1, 4, 20, 30)


def test_one_kind_alone_is_refused(toy):
    with pytest.raises(InputError, match="another pneumonia"):
        supply_of(toy[::2])


def test_variations_keep_the_picture(image):
    values = torch.from_numpy(image[1][::2, ::4, ::4])
    for seed in range(8):
        varied = vary(values, np.random.default_rng(seed))
        assert varied.shape == values.shape
        upright = np.corrcoef(values.flatten(), varied.flatten())[0, 1]
        mirrored = np.corrcoef(values.flip(2).flatten(), varied.flatten())[0, 1]
        assert max(upright, mirrored) > 0.6  # 1 when only brightness and contrast were drawn
        assert not torch.equal(varied, values)


def test_threshold_and_measures_agree_with_a_hand_calculation():
    probability = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    label = np.array([0, 0, 1, 0, 1, 1])
    # Above 0.25: 3 of 3 and 2 of 3, sum 1.667; above 0.65: 2 of 3 and 3 of 3, the same; the middle of
    # equals is the later. Pairs won: 0.3 wins 2, 0.7 and 0.8 win 3 each: 8 of 9.
    assert best_threshold(probability, label) == pytest.approx(0.65)
    assert measure(probability, label, 0.65) == {
        "cases": 6,
        "auc": 0.8889,
        "sensitivity": 0.6667,
        "specificity": 1.0,
    }
    tied = measure(np.array([0.5, 0.5]), np.array([0, 1]), 0.5)
    assert tied == {"cases": 2, "auc": 0.5, "sensitivity": 0.0, "specificity": 1.0}


def test_settling_takes_the_statistics_of_the_images(toy):
    network = COVID19Net()
    before = {k: v.clone() for k, v in network.named_parameters()}
    settle(network, toy, batch=8)
    with torch.inference_mode():
        x = torch.from_numpy(np.stack([c.read() for c in toy]))[:, None]
        maps = network.backbone.stem_conv1(x)
    bn = network.backbone.stem_bn
    torch.testing.assert_close(bn.running_mean, maps.mean((0, 2, 3, 4)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bn.running_var, maps.var((0, 2, 3, 4)), rtol=1e-3, atol=1e-5)
    assert bn.momentum == 0.01
    assert all(torch.equal(before[k], v) for k, v in network.named_parameters())


def test_training_separates_a_toy_and_moves_every_parameter(toy, tmp_path):
    network = train_network(toy, SHORT, tmp_path)
    assert not network.training
    torch.manual_seed(SHORT[0].schedule.seed)
    start = dict(COVID19Net().named_parameters())
    unmoved = [k for k, v in network.named_parameters() if torch.equal(v, start[k])]
    assert unmoved == []
    found = probabilities(network, toy)
    assert found[::2].min() > found[1::2].max()


def test_written_weights_load_back_exactly_with_their_card(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "make_cases", lambda *_: toy)
    brief = (replace(SHORT[0], schedule=replace(SHORT[0].schedule, steps=2)), SHORT[1])
    work = tmp_path / "work"
    work.mkdir()
    made = train_diagnosis(tmp_path / "set", work, cases=8, seed=3, stages=brief)
    assert made.path == tmp_path / "set" / "diagnosis.safetensors"
    assert made.card.task == "diagnosis"
    assert made.card.demonstration
    assert made.card.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.card.metrics["validation"]["cases"] == 2
    assert made.card.metrics["training"]["cases"] == 6
    assert "cases=8, seed=3" in made.card.training_command
    assert 0 < made.card.options["threshold"] < 1
    # Going on from the finished checkpoints gives the network that was written.
    network = train_network(toy[:6], brief, work)
    loaded = load_network(made)
    assert {v.dtype for v in load_tensors(made).values()} == {np.dtype(np.float32)}
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, loaded.state_dict()[name]), name
    x = torch.from_numpy(toy[0].read())[None, None]
    with torch.inference_mode():
        assert network(x)[0].item() == pytest.approx(loaded(x)[0].item(), abs=1e-5)
