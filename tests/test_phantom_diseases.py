"""What the planted diseases and tumours look like, how classes overlap, and the best any reader can do."""

from itertools import product

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate import auc
from covid19net.phantom import DISEASES, draw_patient
from covid19net.phantom.lesions import CONSOLIDATION, GROUND_GLASS, NODULE
from covid19net.phantom.pneumonias import OTHERS, PASSES_FOR, Sites, draw_disease, log_likelihood_ratio
from covid19net.phantom.tree import Tree
from covid19net.phantom.tumour import draw_tumour

TRAINING = {"bacterial": 127, "mycoplasma": 11, "fungal": 11}  # Wang et al. 2020, Table 1


@pytest.fixture(scope="module")
def sites():
    """Two boxes for lungs: 60 to 140 mm from the midline, the front at -100 mm, 240 mm high."""
    x, y, t = np.meshgrid([-120, -80, 80, 120], np.arange(-100, 41, 20.0), np.arange(20, 261, 20.0))
    points = np.stack([x.ravel(), y.ravel(), t.ravel()], 1).astype(float)
    return Sites(points, np.where(np.abs(points[:, 0]) > 100, 8.0, 45.0))


@pytest.fixture(scope="module")
def twigs(sites):
    ends = sites.points
    return Tree(ends - 5, ends, np.ones((len(ends), 2)), np.full(len(ends), 3))


def shown(name, sites, twigs, count=60):
    """Diseases of this name that look like it."""
    drawn = (draw_disease(np.random.default_rng(k), name, sites, twigs) for k in range(count))
    return [d for d in drawn if d.pattern == name]


def volume(disease, kinds):
    return sum(np.prod(lesion.half) for lesion in disease.lesions if lesion.kind in kinds)


def test_every_row_of_the_overlap_is_a_distribution():
    for name in DISEASES:
        assert sum(PASSES_FOR[name]) == pytest.approx(1)
        assert PASSES_FOR[name][DISEASES.index(name)] > 0.6


def test_the_overlap_is_drawn_as_often_as_the_table_says(sites, twigs):
    patterns = [draw_disease(np.random.default_rng(k), "viral", sites, twigs).pattern for k in range(600)]
    share = np.mean([p == "covid" for p in patterns])
    assert share == pytest.approx(PASSES_FOR["viral"][0], abs=0.045)  # three standard errors


def test_the_likelihood_ratio_of_a_pattern_worked_out_by_hand():
    # P(bacterial pattern | covid) = 0.06; without: (127 * 0.81 + 11 * 0.06 + 11 * 0.05) / 149 = 0.69852
    assert log_likelihood_ratio("bacterial", TRAINING) == pytest.approx(np.log(0.06 / 0.69852), abs=1e-4)


@pytest.mark.parametrize(
    "others",
    [TRAINING, {"bacterial": 119, "mycoplasma": 5}, {"bacterial": 25, "mycoplasma": 15, "viral": 29}],
)
def test_the_best_possible_auc_is_about_nine_tenths(others):
    """By counting pairs of patients in the proportions of the table: 10000 of each class."""
    total = sum(others.values())
    without = sum(n / total * np.array(PASSES_FOR[name]) for name, n in others.items())
    label, score = [], []
    for positive, shares in ((True, PASSES_FOR["covid"]), (False, without)):
        for pattern, share in zip(DISEASES, shares, strict=True):
            count = round(10000 * share)
            label += [positive] * count
            score += [log_likelihood_ratio(pattern, others)] * count
    assert 0.84 < auc(np.array(label), np.array(score)).value < 0.92


def test_covid_is_bilateral_peripheral_posterior_and_basal(sites, twigs):
    cases = shown("covid", sites, twigs)
    both = [len({np.sign(lesion.centre[0]) for lesion in d.lesions}) == 2 for d in cases]
    assert np.mean(both) > 0.7
    centres = np.array([lesion.centre for d in cases for lesion in d.lesions])
    assert (np.abs(centres[:, 0]) > 100).mean() > 0.8  # of the outer half of the sites
    assert centres[:, 1].mean() > sites.points[:, 1].mean() + 15
    assert centres[:, 2].mean() > sites.points[:, 2].mean() + 15
    assert all(any(lesion.kind == GROUND_GLASS for lesion in d.lesions) for d in cases)


def test_severe_covid_has_more_and_denser_lesions(sites, twigs):
    cases = sorted(shown("covid", sites, twigs, 200), key=lambda d: d.severity)
    mild, severe = cases[: len(cases) // 3], cases[-len(cases) // 3 :]

    def mean(group, measure):
        return np.mean([measure(d) for d in group])

    kinds = (GROUND_GLASS, CONSOLIDATION)
    assert mean(severe, lambda d: volume(d, kinds)) > 3 * mean(mild, lambda d: volume(d, kinds))
    assert mean(severe, lambda d: volume(d, [CONSOLIDATION]) > 0) > mean(
        mild, lambda d: volume(d, [CONSOLIDATION]) > 0
    )


def test_bacterial_is_consolidation_within_lobes_mostly_on_one_side(sites, twigs):
    cases = shown("bacterial", sites, twigs)
    assert all(any(lesion.kind == CONSOLIDATION for lesion in d.lesions) for d in cases)
    assert all(lesion.lobe is not None for d in cases for lesion in d.lesions)
    assert np.mean([len({np.sign(lesion.centre[0]) for lesion in d.lesions}) == 1 for d in cases]) > 0.7
    assert 0.1 < np.mean([max(d.effusion) > 0 for d in cases]) < 0.7


def test_mycoplasma_thickens_bronchi_and_fills_twigs(sites, twigs):
    cases = shown("mycoplasma", sites, twigs)
    assert all(d.wall > 1.5 for d in cases)
    assert np.mean([d.buds is not None and len(d.buds.start) > 3 for d in cases]) > 0.8


def test_viral_is_symmetric(sites, twigs):
    for d in shown("viral", sites, twigs):
        assert {np.sign(lesion.centre[0]) for lesion in d.lesions[:2]} == {-1, 1}
        right, left = (np.prod(lesion.half) for lesion in d.lesions[:2])
        assert 0.2 < right / left < 5


def test_fungal_nodules_have_halos(sites, twigs):
    for d in shown("fungal", sites, twigs):
        nodules = [lesion for lesion in d.lesions if lesion.kind == NODULE]
        halos = {lesion.centre: lesion.half[0] for lesion in d.lesions if lesion.kind == GROUND_GLASS}
        assert nodules
        assert all(halos[n.centre] > n.half[0] for n in nodules)


def test_the_best_auc_for_egfr_is_that_of_the_planted_numbers(sites):
    """Planted log odds are calibrated: among tumours of log odds near r, mutants to wild types as e**r."""
    score, label = [], []
    for egfr, k in product(("mutant", "wild"), range(1500)):
        score.append(draw_tumour(np.random.default_rng([k, egfr == "mutant"]), egfr, sites).log_odds)
        label.append(egfr == "mutant")
    score, label = np.array(score), np.array(label)
    assert 0.88 < auc(label, score).value < 0.94
    near = np.abs(score - 1) < 0.5
    assert np.log(label[near].sum() / (~label)[near].sum()) == pytest.approx(score[near].mean(), abs=0.35)


def test_mutants_hold_more_ground_glass(sites):
    def solid_share(egfr):
        found = []
        for k in range(200):
            lesions = draw_tumour(np.random.default_rng(k), egfr, sites).lesions
            found.append(lesions[1].half[0] / lesions[0].half[0] if len(lesions) > 1 else 0)
        return np.mean(found)

    assert solid_share("mutant") < solid_share("wild") - 0.15


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"disease": "cancer"}, "egfr"),
        ({"disease": "covid", "egfr": "wild"}, "egfr"),
        ({"disease": "cancer", "egfr": "yes"}, "egfr"),
        ({"disease": "covid", "sex": "X"}, "sex"),
        ({"disease": None, "age": 5}, "years old"),
    ],
)
def test_what_cannot_be_drawn_is_refused(asked, reason):
    with pytest.raises(InputError, match=reason):
        draw_patient(np.random.default_rng(0), **asked)


def test_others_are_all_but_covid():
    assert set(OTHERS) == set(DISEASES) - {"covid"}
