"""Impossible numbers of a results table: every contradiction worked out by hand, and no false alarm."""

import math

import numpy as np
import pytest

from covid19net.cli import main
from covid19net.errors import InputError
from covid19net.evaluate import auc, audit, operating_point, read_results
from covid19net.evaluate.areas import hanley_mcneil, smallest_error
from covid19net.evaluate.audit import RULES, Doubt, counts_of
from covid19net.evaluate.results import EXAMPLE
from covid19net.evaluate.roc import placements


@pytest.fixture
def doubts(tmp_path):
    """Doubts about one row: column -> (severity, message)."""

    def find(**cells):
        path = tmp_path / "results.csv"
        row = ",".join(f'"{cell}"' for cell in cells.values())
        path.write_text(f"{','.join(cells)}\n{row}\n")
        return {d.column: (d.severity, d.message) for d in audit(read_results(path).rows)}

    return find


def test_the_papers_own_table():
    """Wang et al. 2020, Tables 1 and 2: 85.00 cannot be, 29 viral cases are not 28, and the intervals."""
    found = audit(read_results(EXAMPLE).rows)
    lines = [str(doubt) for doubt in found]
    accuracy = next(line for line in lines if ", accuracy:" in line)
    assert accuracy.startswith("row 5 (Validation 2-viral), accuracy: impossible: 85.00 lies above both")
    assert accuracy.endswith("for 92 and 29 patients 77.45")  # (92 x 79.35 + 29 x 71.43) / 121
    assert "row 5 (Validation 2-viral), n: impossible: 92 + 29 = 121, not 120" in lines
    assert (
        "row 5 (Validation 2-viral), specificity: impossible: no number of 29 patients gives 71.43: "
        "20/29 = 68.97, 21/29 = 72.41; 20/28 does, and 28 is what n leaves" in lines
    )
    narrow = [doubt for doubt in found if doubt.column == "auc_low"]
    assert [doubt.row for doubt in narrow] == [2, 3, 4, 5]
    # ((102 - 1) (Q1 - A^2) + (124 - 1) (Q2 - A^2) + A (1 - A)) / (102 x 124), Q1 = A/(2 - A): se 0.0248.
    assert "Hanley-McNeil: 0.049, 0.82-0.92" in narrow[1].message
    assert len(found) == 7  # and no other: the other twelve rates rebuild from whole patients


def test_a_doubt_in_words_needs_no_table():
    said = [doubt.in_words for doubt in audit(read_results(EXAMPLE).rows)]
    assert said[0].startswith("Training, lower limit of the AUC: impossible: ")
    assert "Validation 2-viral, number of patients: impossible: 92 + 29 = 121, not 120" in said
    assert (
        Doubt(3, "", "ppv_high", "impossible", "why").in_words
        == "row 3, upper limit of the PPV: impossible: why"
    )


def test_the_viral_cases_alone_with_28_the_accuracy_stays_wrong(doubts):
    """73/92 and 20/28 give 93/120 = 77.50."""
    found = doubts(n=120, positive=92, accuracy="77.50", sensitivity=79.35, specificity=71.43)
    assert found == {}
    found = doubts(n=120, positive=92, accuracy="78.33", sensitivity=79.35, specificity=71.43)
    assert found == {
        "accuracy": ("impossible", "the other columns give (73 + 20)/120 = 77.50 at the nearest, not 78.33")
    }


def test_printed_digits_stand_for_all_that_rounds_to_them(doubts):
    """442/560 = 78.9286: 78.93, 78.9, 79 and 0.789 are right, 78.92 and 0.790 are not."""
    for right in ("78.93", "78.9", "79", "0.789", "0.79", "78.93%"):
        assert doubts(positive=560, sensitivity=right) == {}, right
    for wrong in ("78.92", "0.790"):
        severity, message = doubts(positive=560, sensitivity=wrong)["sensitivity"]
        assert severity == "impossible"
        assert "442/560 = " in message


def test_accuracy_outside_both_rates_needs_no_counts(doubts):
    assert doubts(accuracy=0.85, sensitivity=0.79, specificity=0.71)["accuracy"][0] == "impossible"
    assert doubts(accuracy="0.69", sensitivity=0.79, specificity=0.71)["accuracy"][0] == "impossible"
    assert (
        doubts(accuracy="0.8", sensitivity=0.79, specificity=0.71) == {}
    )  # 0.75 to 0.85 meets 0.71 to 0.795


def test_predictive_values_follow_from_the_counts(doubts):
    """30 of 40 and 50 of 60: ppv 30/40, npv 50/60; 45 of 50 and 90 of 100 at once."""
    row = {"positive": 40, "negative": 60, "sensitivity": 75, "specificity": 83.33}
    assert doubts(**row, ppv="75.00", npv="83.33", accuracy="80.00", prevalence="40.00") == {}
    found = doubts(**row, ppv="80.00", npv="90.00")
    assert found["ppv"][1] == "the other columns give 30/(30 + 10) = 75.00 at the nearest, not 80.00"
    assert found["npv"][1] == "the other columns give 50/(50 + 10) = 83.33 at the nearest, not 90.00"


def test_each_for_itself_but_not_together(doubts):
    """Of 10 and 10: ppv 1/2 needs tp = fp, accuracy 11/20 needs tp - fp = 1."""
    found = doubts(positive=10, negative=10, accuracy="0.550", ppv="0.500")
    assert found["ppv"][0] == "impossible"
    assert "not together: accuracy 0.550, ppv 0.500" in found["ppv"][1]


def test_prevalence(doubts):
    assert doubts(positive=30, negative=70, prevalence=40)["prevalence"][1] == "30/100 = 30, not 40"
    # 0.4 x 0.7 + 0.6 x 0.9 = 0.82; 0.28 / (0.28 + 0.06) = 0.8235; 0.54 / (0.54 + 0.12) = 0.8182
    row = {"prevalence": "0.400", "sensitivity": "0.700", "specificity": "0.900"}
    assert doubts(**row, accuracy="0.820", ppv="0.824", npv="0.818") == {}
    found = doubts(**row, accuracy="0.850", ppv="0.750", npv="0.900")
    assert set(found) == {"accuracy", "ppv", "npv"}
    assert found["ppv"][1].endswith("give 0.824, not 0.750")


def test_without_classes_every_division_is_tried(doubts):
    """Of 10 patients: sensitivity 2/3 and specificity 1/2 need 3 or 6 positives; accuracy 6/10 needs 6."""
    row = {"n": 10, "sensitivity": "0.667", "specificity": "0.500"}
    assert doubts(**row, accuracy="0.600") == {}
    assert "accuracy" in doubts(**row, accuracy="0.500")  # 4/6 and 2/4 give 6 of 10, not 5
    found = doubts(**row, accuracy="0.650")
    assert found["accuracy"][1].startswith("no division of 10 patients into classes gives accuracy 0.650")


def test_the_auc_against_its_interval(doubts):
    assert doubts(auc=0.95, auc_low="0.80", auc_high="0.90")["auc"][0] == "impossible"
    assert doubts(auc=0.75, auc_low="0.80", auc_high="0.90")["auc"][0] == "impossible"
    assert doubts(auc="0.80 (0.90-0.70)")["auc_low"][0] == "impossible"
    assert doubts(sensitivity="79.35 (80.1 to 86.2)")["sensitivity"][0] == "impossible"
    assert doubts(sensitivity="79.35 (70.1 to 86.2)") == {}
    assert doubts(auc=0.95, auc_low="0.90", auc_high=1.02)["auc_high"][0] == "impossible"


def test_the_auc_against_the_operating_point(doubts):
    """A concave curve through (0.2, 0.9) encloses (0.9 + 0.8) / 2 at least; any curve 0.72 to 0.98."""
    row = {"sensitivity": "0.90", "specificity": "0.80"}
    assert doubts(auc="0.85", **row) == {}
    severity, message = doubts(auc="0.80", **row)["auc"]
    assert severity == "implausible"
    assert "has at least 0.85" in message
    assert doubts(auc="0.70", **row)["auc"][0] == "impossible"
    assert doubts(auc="0.99", **row)["auc"][0] == "impossible"
    assert "at most 0.98" in doubts(auc="0.99", **row)["auc"][1]


def test_the_formula_of_hanley_and_mcneil():
    """Worked out by hand for A = 0.8, 50 and 50: Q1 = 2/3, Q2 = 32/45; 0.16 + 49 (0.02667 + 0.07111)."""
    assert hanley_mcneil(0.8, 50, 50) == pytest.approx(math.sqrt((0.16 + 49 * (2 / 75 + 16 / 225)) / 2500))


def test_no_score_has_a_smaller_error_than_the_smallest():
    """DeLong's variance with n instead of n - 1, of 3000 scores with many ties and few patients."""
    rng = np.random.default_rng(0)
    nearest = math.inf
    for _ in range(3000):
        label = np.arange(14) < rng.integers(2, 13)
        score = rng.integers(0, rng.integers(2, 7), 14) + rng.integers(0, 3) * label
        below, above = placements(label, score.astype(float))
        if not 0 < below.mean() < 1:
            continue
        error = math.sqrt(below.var() / below.size + above.var() / above.size)
        smallest = smallest_error(float(below.mean()), below.size, above.size)
        assert error >= smallest - 1e-9
        if smallest > 0:
            nearest = min(nearest, error / smallest)
    assert nearest < 1.02  # and some come close, so that it is no idle bound


def test_the_smallest_error_worked_out_by_hand():
    """Area 0.82, 9 and 9: d t = 0.36, d = t = 0.6: 0.09 x 2 x (0.6 - 0.36) / 9."""
    assert smallest_error(0.82, 9, 9) == pytest.approx(math.sqrt(0.09 * 2 * 0.24 / 9))
    assert smallest_error(0.18, 9, 9) == pytest.approx(smallest_error(0.82, 9, 9))
    assert smallest_error(1.0, 9, 9) == 0


def test_narrow_intervals(doubts):
    """100 and 100 at 0.85: Hanley-McNeil's half width is 0.054, the smallest of any 0.037."""
    assert doubts(positive=100, negative=100, auc="0.85 (0.80-0.90)") == {}
    # 0.9 may be 0.95, where 0.020 is possible: 1.96 sqrt(0.025 x 2 (sqrt(0.1) - 0.1) / 100); 0.900 may not.
    assert doubts(n=200, auc="0.9 (0.88-0.92)")["auc_low"][0] == "implausible"
    assert doubts(n=200, auc="0.900 (0.88-0.92)")["auc_low"][0] == "impossible"
    assert doubts(n=200, auc="0.850 (0.812-0.888)")["auc_low"][0] == "implausible"
    assert doubts(n=200, auc="0.850 [95% CI: 0.830, 0.870]")["auc_low"][0] == "impossible"


def test_values_out_of_range(doubts):
    found = doubts(n=10, positive=20, auc=1.2, sensitivity="120", specificity="-5")
    assert {column: severity for column, (severity, _) in found.items()} == dict.fromkeys(
        ["positive", "auc", "sensitivity", "specificity"], "impossible"
    )
    assert doubts(n="1" + 40 * "0", positive="5", sensitivity="50")["n"][0] == "impossible"
    assert doubts(n="10.5")["n"][1] == "10.5 is not a number of patients"


def printed(digits, value):
    """A rate as somebody would print it: in percent with one or two digits, as a fraction with more."""
    return f"{100 * value:.{digits}f}" if digits < 3 else f"{value:.{digits}f}"


def test_true_results_are_not_doubted(doubts):
    """Two hundred real samples, with the intervals of DeLong, printed in many ways: no impossible number."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        label = np.arange(rng.integers(12, 400)) < rng.integers(5, 8)
        label = rng.permutation(label) | (rng.random(label.size) < rng.random())
        if label.sum() < 3 or (~label).sum() < 3:
            continue
        score = rng.normal(size=label.size) + label * rng.uniform(0, 3)
        if rng.random() < 0.3:
            score = score.round()  # ties
        point = operating_point(label, score, float(np.median(score)))
        area = auc(label, score, interval=("logit", "wald")[rng.integers(2)])
        digits = int(rng.integers(1, 5))
        cells = {"n": label.size, "positive": label.sum(), "negative": (~label).sum()}
        cells = {name: cells[name] for name in rng.permutation(list(cells))[: rng.integers(0, 4)]}
        rates = {
            "accuracy": point.accuracy,
            "sensitivity": point.sensitivity,
            "specificity": point.specificity,
        }
        rates |= {"ppv": point.ppv, "npv": point.npv}
        cells |= {name: printed(digits, e.value) for name, e in rates.items() if e is not None}
        cells["prevalence"] = printed(digits, label.mean())
        cells |= {"auc": f"{area.value:.3f}", "auc_low": f"{area.low:.3f}", "auc_high": f"{area.high:.3f}"}
        impossible = {c: m for c, (severity, m) in doubts(**cells).items() if severity == "impossible"}
        assert impossible == {}, cells


def test_wrong_digits_are_found(doubts):
    """Sensitivity and specificity to two decimals of a percent, accuracy wrong by two patients: always."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        positive, negative = rng.integers(20, 300, 2)
        tp, tn = rng.integers(1, positive - 2), rng.integers(1, negative - 2)
        rates = {"sensitivity": tp / positive, "specificity": tn / negative}
        rates["accuracy"] = (tp + tn + 2) / (positive + negative)
        cells = {name: f"{100 * rate:.2f}%" for name, rate in rates.items()}
        assert "accuracy" in doubts(positive=positive, negative=negative, **cells)


def test_headers_and_cells_as_people_write_them(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        "\ufeffSet;N;AUC;Acc (%);Remark\r\nA;100;0,90 (0,84 to 0,96);81,5;x\r\nB;-;;0,9;\r\n".encode()
    )
    results = read_results(path)
    assert results.ignored == ("Remark",)
    first, second = results.rows
    assert (first.name, first.row) == ("A", 2)
    assert {c: p.value for c, p in first.values.items()} == pytest.approx(
        {"n": 100, "auc": 0.9, "auc_low": 0.84, "auc_high": 0.96, "accuracy": 0.815}
    )
    assert second.values["accuracy"].value == pytest.approx(0.009)  # the header says percent
    assert first.values["accuracy"].slack == pytest.approx(0.0005)


def test_the_confidence_in_a_header_is_no_unit(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('"AUC (95% CI)","Sensitivity, %"\n0.9 (0.8-1.0),0.9\n')
    row = read_results(path).rows[0]
    assert row.values["auc"].value == 0.9
    assert row.values["sensitivity"].value == pytest.approx(0.009)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("set,remark\na,b\n", "no column of results"),
        ("auc\n", "the table has no rows"),
        ("auc,AUROC\n0.9,0.8\n", "column auc stands more than once"),
        ("auc,n\nhigh,3\n0.9,=1\n", "row 2 column auc: 'high' is not a number; row 3 column n: '=1'"),
        ("auc\n0.9,4\n", "row 2: more cells than the header has"),
        ("auc\ninf\n", "'inf' is not a number"),
    ],
)
def test_what_is_no_table_of_results_is_refused(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_results(path)
    assert "\n" not in str(error.value)


def test_counts_that_round_to_a_rate(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sensitivity\n0.50\n")
    rate = read_results(path).rows[0].values["sensitivity"]
    assert list(counts_of(rate, 100)) == [50]
    assert list(counts_of(rate, 1000)) == list(range(495, 506))
    assert len(RULES) == 9


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_the_command_prints_a_line_a_doubt(capsys, tmp_path):
    code, out, err = run(capsys, "audit", "--example")
    assert (code, err) == (0, "")
    assert out.count("\n") == 8
    assert out.endswith("4 rows: 7 impossible, 0 implausible\n")
    assert run(capsys, "audit", "--example", "--strict")[0] == 1
    good = tmp_path / "good.csv"
    good.write_text("positive,sensitivity\n560,78.93\n")
    assert run(capsys, "audit", good, "--strict") == (0, "1 row: no doubt\n", "")


def test_the_command_refuses_in_one_line(capsys, tmp_path):
    for arguments in ([], ["--example", tmp_path], [tmp_path / "absent.csv"]):
        code, out, err = run(capsys, "audit", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
