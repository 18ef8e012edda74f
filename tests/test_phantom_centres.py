"""Seven hospitals with the paper's numbers, and a scanner that knows nothing of the label unless asked to."""

from collections import Counter

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.phantom.centres import CENTRES, THICK, centre_scanner, plan_case, plan_cohort

# Wang et al. 2020, Table 1 and section "Data": set -> COVID-19, bacterial, mycoplasma, viral, fungal.
TABLE_1 = {
    "training": (560, 127, 11, 0, 11),
    "validation 1": (102, 119, 5, 0, 0),
    "validation 2": (92, 25, 15, 29, 0),
    "validation 3": (53, 0, 0, 0, 0),
    "validation 4": (117, 0, 0, 0, 0),
}


def test_the_whole_cohort_has_the_numbers_of_the_paper():
    plans = plan_cohort()
    assert len(plans) == 5372
    assert len({plan.centre.name for plan in plans}) == 7
    counts = Counter((plan.centre.set, plan.kind) for plan in plans)
    for name, row in TABLE_1.items():
        kinds = ("covid", "bacterial", "mycoplasma", "viral", "fungal")
        assert tuple(counts[name, kind] for kind in kinds) == row
    assert counts["auxiliary", "mutant"] == 2096
    assert counts["auxiliary", "wild"] == 2010
    followed = Counter(plan.centre.set for plan in plans if plan.followed)
    assert followed == {"training": 301, "validation 3": 53, "validation 4": 117}


def test_comorbidity_is_missing_where_it_is_in_the_paper():
    assert {c.set for c in CENTRES if not c.comorbidity} == {"validation 1", "validation 2"}


def test_a_smaller_cohort_is_a_part_of_the_larger_one():
    small, large = (
        {(plan.kind, plan.number, plan.followed) for plan in plan_cohort(scale)} for scale in (0.1, 0.5)
    )
    assert small < large
    alone = {plan.number for plan in plan_cohort(0.1, ("validation 2",))}
    assert alone < {number for _, number, _ in small}
    followed = [plan.followed for plan in plan_cohort(0.1, ("training",)) if plan.kind == "covid"]
    assert sum(followed) == 30  # of 56; 301 of 560 in the paper


def test_a_cohort_with_more_patients_than_numbers_is_refused():
    with pytest.raises(InputError, match="at most 100000"):
        plan_cohort(60)


def test_no_two_patients_share_a_number():
    numbers = [plan.number for plan in plan_cohort()]
    assert len(set(numbers)) == len(numbers)


def test_the_auxiliary_set_can_be_scaled_on_its_own():
    counts = Counter(plan.centre.set for plan in plan_cohort(1.0, None, {"auxiliary": 0.1}))
    assert counts["auxiliary"] == 411  # 210 + 201
    assert counts["training"] == 709


@pytest.mark.parametrize("asked", [(0.0, None), (1.0, ("validation 9",))])
def test_what_is_no_cohort_is_refused(asked):
    with pytest.raises(InputError):
        plan_cohort(*asked)


def test_one_case_of_a_centre():
    plan = plan_case("viral", "anhui")
    assert (plan.kind, plan.centre.name, plan.followed) == ("viral", "Anhui", False)
    assert plan_case("covid", "Wuhan").followed
    for asked in (("flu", "Wuhan"), ("covid", "Paris")):
        with pytest.raises(InputError, match="there are"):
            plan_case(*asked)


def thicknesses(confounder):
    found = {}
    for ill in (True, False):
        scanners = (
            centre_scanner(np.random.default_rng(k), CENTRES[1], ill=ill, confounder=confounder)
            for k in range(200)
        )
        found[ill] = [scanner.thickness for scanner in scanners]
    return found


def test_without_a_confounder_the_label_does_not_touch_the_scanner():
    found = thicknesses(0.0)
    assert found[True] == found[False]


def test_with_a_confounder_the_thickness_gives_the_label_away():
    found = thicknesses(1.0)
    assert set(found[True]) == {THICK}
    assert max(found[False]) <= 2.0
    mixed = thicknesses(0.5)
    assert 0.35 < np.mean([t == THICK for t in mixed[True]]) < 0.65


def test_centres_scan_differently():
    protocols = [centre.protocols for centre in CENTRES]
    assert len(set(protocols)) == len(protocols)
