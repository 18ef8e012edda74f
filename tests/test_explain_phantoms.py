"""Heat maps of the bundled weights point at planted lesions, those of randomised weights do not."""

import numpy as np
import pytest

from covid19net.engine import open_diagnosis
from covid19net.explain import grad_cam, heat_in_box, pointing
from covid19net.phantom.centres import CENTRES, Plan
from covid19net.preprocess import lung_box, lung_image
from covid19net.synthetic import Options, draw_subject
from covid19net.train.images import on_slice_grid
from covid19net.volume import CTVolume
from covid19net.weights import find_set, load_tensors, write_weights
from covid19net.weights.networks import network_tensors, randomised

ANHUI = next(centre for centre in CENTRES if centre.name == "Anhui")


@pytest.fixture(scope="module")
def patients():
    """Lung image, its box and the lesions in it, of patients with COVID-19 who look like it."""
    found, number = [], 0
    while len(found) < 5:
        subject = draw_subject(Plan(ANHUI, "covid", number), Options(seed=77))
        number += 1
        lesions = subject.case.lesions.values > 0
        if subject.case.patient.disease.pattern != "covid" or lesions.sum() < 2000:
            continue
        volume = CTVolume(np.maximum(subject.case.volume.hu, -1024), subject.case.volume.affine)
        mask = on_slice_grid(subject.case.lungs.values, volume)
        box = lung_box(mask, volume.shape)
        found.append((lung_image(volume, mask, box).values, box, lesions[box.slices]))
    return found


def measured(weights, patients):
    """Energy of each map in lesions over the lesions' share of the box, and hits of the hottest place."""
    network = open_diagnosis(weights, "cpu")
    ratios, hits = [], []
    for image, box, lesions in patients:
        evidence = network(image)
        heat = heat_in_box(grad_cam(evidence), box.shape, evidence.shrink)
        ratio, hit = pointing(heat, lesions, evidence.shrink)
        ratios.append(ratio)
        hits.append(hit)
    return np.array(ratios), np.array(hits)


@pytest.fixture(scope="module")
def trained(patients):
    return measured(find_set("bundled", None).diagnosis, patients)


@pytest.fixture(scope="module")
def shuffled(patients, tmp_path_factory):
    words = dict.fromkeys(("name", "licence", "origin", "training_data", "intended_use"), "random")
    bundled = network_tensors(load_tensors(find_set("bundled", None).diagnosis))
    tensors = randomised(bundled, np.random.default_rng(0))
    return measured(write_weights(tmp_path_factory.mktemp("w"), "diagnosis", tensors, **words), patients)


def test_the_energy_lies_in_lesions_far_above_chance(trained, shuffled):
    assert np.median(trained[0]) > 2
    assert np.median(trained[0]) > 1.5 * np.median(shuffled[0])


def test_the_hottest_place_is_more_often_a_lesion_than_with_random_weights(trained, shuffled):
    assert trained[1].sum() > shuffled[1].sum()
