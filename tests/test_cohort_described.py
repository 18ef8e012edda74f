"""Strata, missing clinical values and Table 1 of a cohort."""

import numpy as np
import pytest

from covid19net.cli import main
from covid19net.cohort import (
    COMORBIDITIES,
    Patient,
    any_comorbidity,
    clinical,
    read_manifest,
    strata_of,
    table_one,
    write_table,
)
from covid19net.errors import InputError


def patients(*values):
    return [Patient(f"p{i}", i + 2, v) for i, v in enumerate(values)]


def test_strata_of_everything_the_manifest_holds():
    found = strata_of(
        patients(
            {"label": "covid", "centre": "A", "thickness": 3.0, "age": 39.9, "severity": "mild", "sex": "F"},
            {
                "label": "other",
                "type": "viral",
                "centre": "B",
                "thickness": 3.1,
                "age": 40.0,
                "kernel": "B70f",
            },
            {"label": "other", "age": 75.0, "vendor": "GE"},
            {"label": "covid", "type": "covid", "age": 74.9},
        )
    )
    assert found == {
        "centre": ["A", "B", "not known", "not known"],
        "type": ["covid", "viral", "not known", "covid"],
        "slices": ["thin", "thick", "not known", "not known"],
        "kernel": ["not known", "B70f", "not known", "not known"],
        "vendor": ["not known", "not known", "GE", "not known"],
        "sex": ["F", "not known", "not known", "not known"],
        "age group": ["0-39", "40-59", "75 and over", "60-74"],
        "severity": ["mild", "not known", "not known", "not known"],
    }


def test_a_covariate_of_nobody_is_absent():
    assert strata_of(patients({"label": "covid"}, {"label": "other"})) == {}


WHOLE = {"age": 50.0, "sex": "M", "comorbidity": True}


def test_clinical_values_as_numbers():
    found = clinical(patients(WHOLE, {"age": 61.5, "sex": "F", "comorbidity": False}))
    assert found.names == ("age", "sex", "comorbidity")
    assert found.values.tolist() == [[50, 1, 1], [61.5, 0, 0]]
    assert found.kept.tolist() == [0, 1]
    assert found.notes == ()


INCOMPLETE = patients(
    WHOLE,
    {"age": 30.0, "sex": "F"},
    {"sex": "F", "comorbidity": False},
    {"age": 40.0, "comorbidity": False},
    {},
)


def test_missing_values_are_refused_with_rows_and_columns_at_once():
    with pytest.raises(InputError) as error:
        clinical(INCOMPLETE)
    message = str(error.value)
    for part in (
        "column age is empty in rows 4, 6", "column sex is empty in rows 5, 6",
        "column comorbidity is empty in rows 3, 6"
    ):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_patients_with_missing_values_can_be_left_out():
    found = clinical(INCOMPLETE, "exclude")
    assert found.values.tolist() == [[50, 1, 1]]
    assert found.kept.tolist() == [0]
    assert found.notes == (
        "4 of 5 patients are left out, whose values are missing (age of 2, sex of 2, comorbidity of 2)",
    )
    with pytest.raises(InputError, match="nobody is left: 1 of 1 patients"):
        clinical(patients({}), "exclude")
    assert clinical(patients(WHOLE), "exclude").notes == ()


def test_missing_values_can_be_filled_in_from_the_training_patients():
    training = patients(
        {"age": 20.0, "sex": "M", "comorbidity": False}, {"age": 70.0, "sex": "M"}, {"age": 60.0, "sex": "F"}
    )
    found = clinical(INCOMPLETE, "median", reference=training)
    assert found.values.tolist() == [[50, 1, 1], [30, 0, 0], [60, 0, 0], [40, 1, 0], [60, 1, 0]]
    assert found.kept.tolist() == [0, 1, 2, 3, 4]
    assert found.notes == (
        "age of 2 of 5 patients is missing and filled in with the median 60 of 3 training patients",
        "sex of 2 of 5 patients is missing and filled in with the most common, male of 3 training patients",
        "comorbidity of 2 of 5 patients is missing and filled in with the most common, none of 1 training "
        "patients",
    )
    own = clinical(INCOMPLETE, "median")
    assert own.values[2, 0] == 40  # the median of 50, 30 and 40
    assert own.values[4, 1] == 0  # two women, one man
    assert np.isfinite(own.values).all()
    with pytest.raises(InputError, match="column comorbidity: no patient to learn from has a value"):
        clinical(INCOMPLETE, "median", reference=patients({"age": 1.0, "sex": "F"}))


def test_an_unknown_choice_and_nobody_are_refused():
    with pytest.raises(InputError, match="there are refuse, exclude, median"):
        clinical(INCOMPLETE, "mean")
    with pytest.raises(InputError, match="no patients"):
        clinical([])


def test_any_comorbidity_follows_from_the_nine():
    none = dict.fromkeys(COMORBIDITIES, False)
    one = {"copd": True}
    partly = {"copd": False}
    assert [any_comorbidity(p) for p in patients(none, one, partly, {})] == [False, True, None, None]


def test_no_comorbidity_beside_a_named_one_is_a_fault(tmp_path):
    path = write_table(tmp_path / "m.csv", [{"patient_id": "a", "comorbidity": 0, "diabetes": 1, "copd": 1}])
    with pytest.raises(InputError, match="row 2 column comorbidity: no, but diabetes, copd yes"):
        read_manifest(path, needs=["patient_id"])


def the_papers_sets():
    """The counts of Wang et al. 2020, Table 1: training, validation 1, validation 2 and the auxiliary set."""
    rows = []
    for name, centres, counts in (
        ("auxiliary", ["Sichuan"], {"mutant": 2096, "wild": 2010}),
        ("training", ["Wuhan", "Henan"], {"covid": 560, "bacterial": 127, "mycoplasma": 11, "fungal": 11}),
        ("validation 1", ["Anhui"], {"covid": 102, "bacterial": 119, "mycoplasma": 5}),
        ("validation 2", ["Heilongjiang"], {"covid": 92, "bacterial": 25, "mycoplasma": 15, "viral": 29}),
    ):
        for kind, count in counts.items():
            for i in range(count):
                row = {"set": name, "centre": centres[i % len(centres)]}
                if kind in ("mutant", "wild"):
                    row["egfr"] = kind
                else:
                    row |= {"type": kind, "label": "covid" if kind == "covid" else "other"}
                if name == "training":
                    row |= {"comorbidity": i % 2 == 0, "days": 20.0} if kind == "covid" and i < 301 else {}
                rows.append(row)
    return patients(*rows)


def test_table_one_has_the_papers_rows_and_counts():
    table = table_one(the_papers_sets())
    assert table.header == (
        "", "auxiliary (n = 4106)", "training (n = 709)", "validation 1 (n = 226)", "validation 2 (n = 161)",
    )  # fmt: skip
    rows = {name.strip(): cells for name, *cells in table.rows}
    assert list(rows) == [
        "region", "type of pneumonia", "COVID-19", "bacterial", "mycoplasma", "viral", "fungal", "EGFR",
        "mutant", "wild type", "sex", "male", "female", "age, years", "comorbidity", "any",
        "diabetes", "hypertension",
        "cerebrovascular disease", "cardiovascular disease", "malignancy", "COPD", "pulmonary tuberculosis",
        "chronic kidney disease", "chronic liver disease", "follow-up > 5 days",
    ]  # fmt: skip
    assert rows["region"] == ["Sichuan", "Wuhan, Henan", "Anhui", "Heilongjiang"]
    assert rows["COVID-19"] == ["NA", "560 (79.0%)", "102 (45.1%)", "92 (57.1%)"]
    assert rows["viral"] == ["NA", "0 (0.0%)", "0 (0.0%)", "29 (18.0%)"]
    assert rows["mutant"] == ["2096 (51.0%)", "NA", "NA", "NA"]
    # 301 of 709 known: the even ones of 0 to 300 are 151.
    assert rows["any"] == ["NA", "151 (50.2%; 408 of 709 unknown)", "NA", "NA"]
    assert rows["follow-up > 5 days"] == ["NA", "301 (42.5%)", "NA", "NA"]
    assert rows["age, years"] == ["NA"] * 4


def test_ages_sexes_and_what_is_partly_known():
    table = table_one(
        patients(
            {"age": 40.0, "sex": "F", "days": 5.0, "centre": "A", "label": "other"},
            {"age": 50.0, "sex": "M", "days": 5.1, "label": "other", "type": "lipoid"},
            {"age": 60.0, "sex": "M", "copd": True},
            {"sex": "M", "copd": False},
        )
    )
    assert table.header == ("", "all patients (n = 4)")
    rows = dict(table.rows)
    assert rows["age, years"] == "50.0 ± 10.0 (1 of 4 unknown)"
    assert rows["  male"] == "3 (75.0%)"
    assert rows["  COPD"] == "1 (50.0%; 2 of 4 unknown)"
    assert rows["  any"] == "1 (100.0%; 3 of 4 unknown)"  # one of nine is enough for yes, not for no
    assert rows["follow-up > 5 days"] == "1 (25.0%)"
    assert rows["region"] == "A (3 of 4 unknown)"
    assert rows["  lipoid"] == "1 (50.0%; 2 of 4 unknown)"
    assert rows["  type not known"] == "1 (50.0%; 2 of 4 unknown)"
    assert dict(table_one(patients({"age": 40.0})).rows)["age, years"] == "40.0"
    with pytest.raises(InputError, match="no patients"):
        table_one([])


def test_synthetic_patients_are_called_so():
    note = table_one(patients({"synthetic": True}, {"synthetic": False}, {})).notes[-1]
    assert note == "1 of 3 patients are synthetic: no real persons."
    assert not any("synthetic" in note for note in table_one(patients({"age": 4.0})).notes)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_the_command_prints_table_one_and_writes_four_files(capsys, tmp_path):
    rows = [{"patient_id": f"p{i}", "set": "training", "label": "covid", "age": 40 + i} for i in range(3)]
    manifest = write_table(tmp_path / "m.csv", rows)
    code, out, _ = run(capsys, "cohort", "table1", manifest, "-o", tmp_path / "out")
    assert code == 0
    assert "training (n = 3)" in out
    assert "41.0 ± 1.0" in out
    assert "p1" not in out
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".csv", ".html", ".tex", ".txt"}
    code, out, err = run(capsys, "cohort", "table1", tmp_path / "absent.csv")
    assert (code, out, err.count("\n")) == (2, "", 1)
