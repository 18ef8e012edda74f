"""A label told from facts of the acquisition."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from covid19net.errors import InputError
from covid19net.evaluate import predictability
from covid19net.evaluate.predictable import _folds

IDS = [f"p{i}" for i in range(300)]


def label_of(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.arange(300) < 150)


def random_facts(rng: np.random.Generator) -> dict:
    return {
        "centre": [f"c{i}" for i in rng.integers(0, 6, 300)],
        "vendor": [("A", "B", None)[i] for i in rng.integers(0, 3, 300)],
        "thickness": rng.choice([1.0, 1.5, 5.0], 300).tolist(),
        "pixel": rng.uniform(0.5, 0.9, 300).tolist(),
    }


@pytest.mark.parametrize("seed", range(8))
def test_what_knows_nothing_of_the_label_tells_nothing(seed):
    rng = np.random.default_rng(seed)
    found = predictability(label_of(rng), random_facts(rng), IDS)
    assert not found.predictable
    assert found.together.low < 0.55
    assert set(found.alone) == {"centre", "vendor", "thickness", "pixel"}


def test_a_fact_that_equals_the_class_is_named_with_its_values():
    rng = np.random.default_rng(0)
    label = label_of(rng)
    facts = random_facts(rng) | {"vendor": ["A" if ill else "B" for ill in label]}
    found = predictability(label, facts, IDS)
    assert found.equals == {"vendor": "A (150) against B (150)"}
    assert found.together.value > 0.99


def test_a_fact_that_is_only_recorded_for_one_class_equals_it():
    label = np.arange(40) < 15
    found = predictability(label, {"kernel": ["soft" if ill else None for ill in label]}, IDS[:40])
    assert found.equals == {"kernel": "soft (15) against not recorded (25)"}


def test_values_of_single_patients_equal_no_class():
    """Every patient has an own value: each holds one class, and nothing is shown by it."""
    found = predictability(np.arange(40) < 20, {"scanner": IDS[:40]}, IDS[:40])
    assert not found.equals
    assert found.together is None


def test_a_number_with_a_threshold_between_the_classes_equals_them():
    label = np.arange(40) < 13
    width = np.where(label, 0.9, 0.6) + np.linspace(0, 0.1, 40)
    found = predictability(label, {"pixel": width.tolist()}, IDS[:40])
    assert list(found.equals) == ["pixel"]
    assert found.equals["pixel"].startswith("above 0.8")


def test_the_area_of_a_normal_shift_is_the_textbooks():
    """Two normal classes that lie d standard deviations apart: AUC = Phi(d / sqrt 2), 0.80 for d = 1.19."""
    rng = np.random.default_rng(3)
    label = np.arange(2000) < 1000
    thickness = np.clip(rng.normal(5 + 1.19 * label, 1), 0.1, None)
    found = predictability(label, {"thickness": thickness.tolist()}, [str(i) for i in range(2000)])
    assert norm.cdf(1.19 / np.sqrt(2)) == pytest.approx(0.80, abs=0.001)
    assert found.together.value == pytest.approx(0.80, abs=0.03)
    assert found.together.low < 0.80 < found.together.high
    assert found.named == ("thickness",)


def test_the_area_is_that_of_a_general_optimizer_on_the_same_folds():
    """The penalised likelihood maximised by scipy's BFGS instead, in the folds as they are."""
    rng = np.random.default_rng(4)
    label = label_of(rng)
    vendor = np.where(rng.random(300) < 0.3, label, rng.random(300) < 0.5).astype(bool)
    found = predictability(label, {"vendor": ["A" if v else "B" for v in vendor]}, IDS)
    fold = _folds(label, IDS)
    score = np.empty(300)
    for number in range(5):
        out = fold == number
        x = np.column_stack([vendor, ~vendor]).astype(float)
        x = np.column_stack([(x - x[~out].mean(0)) / x[~out].std(0), np.ones(300)])
        sign = np.where(label, 1, -1)[~out]
        done = minimize(
            lambda w, x=x[~out], s=sign: np.logaddexp(0, -s * (x @ w)).sum() + (w[:2] @ w[:2]) / 2,
            np.zeros(3),
        )
        score[out] = x[out] @ done.x
    # One comparison a pair: positives above negatives, ties half.
    gap = score[label][:, None] - score[~label]
    area = np.where(np.abs(gap) < 1e-3, 0.5, gap > 0).mean()
    assert found.together.value == pytest.approx(area, abs=2e-3)
    assert found.together.value > 0.55


def test_an_effect_that_does_not_rise_steadily_is_seen():
    rng = np.random.default_rng(5)
    label = label_of(rng)
    pixel = np.where(label, rng.uniform(0.65, 0.75, 300), rng.uniform(0.5, 0.9, 300))
    found = predictability(label, {"pixel": pixel.tolist()}, IDS)
    assert found.together.low > 0.6


def test_rows_of_one_patient_are_not_learned_from_each_other():
    """Ten rows a patient and a fact that is the patient: known only to the own fold, it tells nothing."""
    rng = np.random.default_rng(6)
    ill = rng.permutation(np.arange(60) < 30)
    rows = np.repeat(np.arange(60), 10)
    facts = {"scanner": [f"s{i}" for i in rows]}
    one = predictability(ill[rows], facts, [f"p{i}" for i in rows])
    every = predictability(ill[rows], facts, [f"p{i}" for i in range(600)])
    assert one.together.value < 0.6
    assert every.together.value > 0.9


def test_too_few_patients_or_one_class():
    label = np.arange(40) < 9
    assert predictability(label, {"vendor": ["A", "B"] * 20}, IDS[:40]).together is None
    with pytest.raises(InputError, match="two classes"):
        predictability(np.ones(4, bool), {}, IDS[:4])
    with pytest.raises(InputError, match="one value of each fact"):
        predictability(label, {"vendor": ["A"]}, IDS[:40])
