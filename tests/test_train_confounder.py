"""A network trained where the scanner gives the label away reads the scanner, and strata expose it."""

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.evaluate import by_stratum, within_strata_auc
from covid19net.train.classify import Logit, logits, start_network, train_network
from covid19net.train.images import Sample
from covid19net.train.recipes import Stage
from covid19net.train.schedule import Schedule

TINY = (4, 16, 20)
STAGES = (Stage("tiny", TINY, Schedule(40, 8, 4e-3, average=0.8, judge_every=40)),)
LINKED = 0.8  # share of patients whose slices follow the label


def images(folder, seed, count):
    """Noise without any sign of disease, smooth along z where slices are thick: 8 voxels against none.

    In each slice the noise is the same within the blocks whose mean the network is shown.
    """
    folder.mkdir()
    rng, samples = np.random.default_rng(seed), []
    for k in range(count):
        positive = k % 2 == 0
        thick = positive if rng.random() < LINKED else not positive
        noise = rng.standard_normal((48, 240 // TINY[1], 360 // TINY[2]), np.float32)
        noise = noise.reshape(6, 8, *noise.shape[1:]).mean(1).repeat(8, 0) if thick else noise
        image = (noise / noise.std()).astype(np.float16)
        np.save(folder / f"{k}.npy", image.repeat(TINY[1], 1).repeat(TINY[2], 2))
        patient = Patient(f"p{k}", k + 2, {"thickness": 8.0 if thick else 1.0})
        samples.append(Sample(folder / f"{k}.npy", positive, patient))
    return samples


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Labels, scores and slice thickness of validation patients, with the same link."""
    work = tmp_path_factory.mktemp("trap")
    training, tuning, validation = (
        images(work / name, seed, n) for seed, (name, n) in enumerate([("a", 32), ("b", 10), ("c", 120)])
    )
    network = start_network(None, 0)
    train_network(network, training, tuning, STAGES, work)

    score = logits(Logit(network), validation, TINY)
    label = np.array([s.positive for s in validation])
    return label, score, [s.patient.values["thickness"] for s in validation]


def test_the_crude_auc_looks_good(judged):
    label, score, thickness = judged
    found = within_strata_auc(label, score, thickness)
    assert found.crude.low > 0.55
    assert found.alone.value > 0.7  # the label can be told from the slices alone


def test_within_slices_of_one_thickness_nothing_is_left(judged):
    label, score, thickness = judged
    found = within_strata_auc(label, score, thickness)
    assert found.within is not None
    assert found.within.low < 0.5 < found.within.high
    assert found.within.value < found.crude.value - 0.15
    assert {s.name for s in by_stratum(label, score, thickness)} == {"1.0", "8.0"}
