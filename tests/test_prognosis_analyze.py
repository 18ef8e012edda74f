"""The prognosis on its way through analysis, files, picture and command line."""

import csv
from dataclasses import replace
import json
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from covid19net.cli import main
from covid19net.diagnose import Decision
from covid19net.errors import InputError, WeightsError
from covid19net.features import FEATURES
from covid19net.pipeline import _prognosis_findings, analyze
from covid19net.prognosis.model import Clinical, PrognosticModel, predict
from covid19net.prognosis.model_file import model_sha256, read_model, write_model
from covid19net.report import case as case_module
from covid19net.report.case import DISCHARGE, FILES, case_record, write_case
from covid19net.report.discharge import BANNER, COLOURS, discharge_picture, summary
from covid19net.report.montage import BANNERS, _header
from tests.cases import made_up_case
from tests.prognostic_models import made_up_model, sample

KNOWN = Clinical(age=60, sex="F", comorbidity=True)


@pytest.fixture(scope="module")
def prognostic(models) -> PrognosticModel:
    """A model that says it was made for the diagnosis weights that ship."""
    model = made_up_model()
    sha256 = models.weights.diagnosis.card.sha256
    return replace(model, about=replace(model.about, diagnosis_sha256=sha256))


@pytest.fixture(scope="module")
def result(phantom, models, prognostic):
    return analyze(phantom.volume, models, clinical=KNOWN, prognostic=prognostic, full_evidence=False)


def messages(case):
    return {finding.code: finding.message for finding in case.findings}


def case_with(risk_feature: float = 0.0, *, demonstration: bool = True, **clinical):
    features = np.zeros(64)
    features[3] = risk_feature
    model = made_up_model(demonstration=demonstration)
    known = Clinical(**({"age": 60, "sex": "F", "comorbidity": True} | clinical))
    prognosis = predict(model, features, known)
    provenance = made_up_case().provenance | {"prognosis": {"sha256": model_sha256(model)}}
    return replace(made_up_case(), prognosis=prognosis, provenance=provenance)


def test_the_risk_is_that_of_the_scans_features_and_the_patient(result, prognostic):
    x = np.array([float(result.features[3]), 60, 1])
    by_hand = -((x - prognostic.baseline.centre) @ prognostic.coefficients)
    assert result.prognosis.risk == pytest.approx(by_hand)
    assert result.prognosis.group == ("high" if by_hand >= prognostic.cut else "low")
    assert result.prognosis_missing == ()
    assert result.provenance["prognosis"]["sha256"] == model_sha256(prognostic)


def test_a_demonstration_model_is_told_on_a_banner(result):
    assert "synthetic patients" in messages(result)["prognosis-demonstration"]
    assert "prognosis-demonstration" in BANNERS
    real = case_with(demonstration=False).prognosis
    assert _prognosis_findings(real, (), Decision("positive", 0.5)) == ()


def test_missing_values_are_named_and_nothing_is_said(phantom, models, prognostic):
    case = analyze(
        phantom.volume, models, clinical=Clinical(age=60), prognostic=prognostic, full_evidence=False
    )
    assert case.prognosis is None
    assert case.prognosis_missing == ("comorbidity",)
    assert messages(case)["prognosis-missing"] == "no prognosis: it needs comorbidity"
    assert "prognosis-demonstration" not in messages(case)


def test_a_model_for_other_weights_says_nothing(phantom, models):
    case = analyze(phantom.volume, models, clinical=KNOWN, prognostic=made_up_model(), full_evidence=False)
    assert case.prognosis is None
    assert "made for these diagnosis weights" in messages(case)["prognosis-missing"]


def test_without_a_model_there_is_no_word_of_it(case):
    assert case.prognosis is None
    assert not [code for code in messages(case) if code.startswith("prognosis")]
    assert "prognosis" not in case.provenance


@pytest.mark.parametrize("call", ["negative", "indeterminate"])
def test_a_scan_not_called_positive_gets_a_word_of_caution(call):
    prognosis = case_with(demonstration=False).prognosis
    findings = _prognosis_findings(prognosis, (), Decision(call, 0.5))
    assert [finding.code for finding in findings] == ["prognosis-not-covid"]
    assert call in findings[0].message


def test_a_value_outside_the_training_sample_is_a_finding():
    prognosis = case_with(age=118, demonstration=False).prognosis
    (found,) = _prognosis_findings(prognosis, (), Decision("positive", 0.5))
    assert found.code == "prognosis-range"
    assert found.message.startswith("age is 118")


def test_a_case_shows_no_other_end_point_than_discharge(phantom, models, prognostic):
    dying = replace(prognostic, about=replace(prognostic.about, end_point="death"))
    with pytest.raises(WeightsError, match="not of death"):
        analyze(phantom.volume, models, clinical=KNOWN, prognostic=dying, full_evidence=False)


def test_the_record_holds_group_stay_and_curve():
    case = case_with()
    record = json.loads(json.dumps(case_record(case), allow_nan=False))
    found, curve = record["prognosis"], case.prognosis.curve
    assert record["prognosis_missing"] == []
    assert found["end_point"] == "discharge"
    assert found["model"]["sha256"] == model_sha256(made_up_model())
    assert found["model"]["demonstration"]
    assert (found["risk"], found["cut"]) == (case.prognosis.risk, case.prognosis.cut)
    stay = found["expected_stay"]
    assert stay == {
        "median_days": curve.median,
        "median_days_interval": [
            float(curve.day[curve.high >= 0.5][0]),
            float(curve.day[curve.low >= 0.5][0]),
        ],
        "mean_days": pytest.approx(curve.mean, abs=0.005),
        "horizon": curve.horizon,
    }
    for name in ("day", "probability", "low", "high", "with_competing"):
        np.testing.assert_allclose(found["curve"][name], getattr(curve, name), atol=1e-6)
    assert "Deaths count as censored" in found["meaning"]
    assert "still in hospital after day 5" in found["meaning"]
    assert DISCHARGE in record["files"]


def test_the_record_says_what_was_missing():
    record = case_record(replace(made_up_case(), prognosis_missing=("age",)))
    assert record["prognosis"] is None
    assert record["prognosis_missing"] == ["age"]
    assert DISCHARGE not in record["files"]


def test_the_picture_comes_and_goes_with_the_prognosis(tmp_path):
    write_case(case_with(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([DISCHARGE, *FILES])
    write_case(made_up_case(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)


def test_a_failed_picture_of_the_prognosis_leaves_the_earlier_result(tmp_path, monkeypatch):
    write_case(made_up_case(), tmp_path)
    before = (tmp_path / "result.json").read_bytes()

    def broken(*_):
        raise InputError("no picture today")

    monkeypatch.setattr(case_module, "discharge_picture", broken)
    with pytest.raises(InputError, match="no picture"):
        write_case(case_with(), tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)


def share_of(path, colour):
    rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return float((np.asarray(Image.open(path).convert("RGB")) == rgb).all(-1).mean())


def test_the_picture_shows_the_groups_colour_and_the_banner(tmp_path):
    low, high = case_with(1.5), case_with(-1.5, demonstration=False)
    assert (low.prognosis.group, high.prognosis.group) == ("low", "high")
    for case in (low, high):
        path = tmp_path / "picture.png"
        discharge_picture(case.prognosis, path)
        other = "low" if case.prognosis.group == "high" else "high"
        assert share_of(path, COLOURS[case.prognosis.group]) > 0.002
        assert share_of(path, COLOURS[other]) == 0
        assert (share_of(path, BANNER) > 0.01) == case.prognosis.about.demonstration


def test_the_same_prognosis_gives_the_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        discharge_picture(case_with().prognosis, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_montage_tells_the_group_in_its_header():
    text = " ".join(text for text, *_ in _header(case_with(1.5), 2000))
    median = case_with(1.5).prognosis.curve.median
    assert f"Discharge: low risk of a long stay; median expected stay {median:.0f} days" in text
    assert "demonstration model" in text
    assert "Discharge" not in " ".join(text for text, *_ in _header(made_up_case(), 2000))
    assert "demonstration" not in summary(case_with(demonstration=False).prognosis)


def test_no_stay_is_claimed_beyond_follow_up():
    prognosis = case_with(-4.0, age=90).prognosis
    assert prognosis.curve.median is None
    assert "median expected stay beyond the" in summary(prognosis)


def test_analysis_needs_no_library_of_statistics_and_draws_only_what_there_is():
    code = (
        "import sys, covid19net.pipeline, covid19net.report.case\n"
        "found = {'lifelines', 'pandas', 'matplotlib', 'scipy.stats', 'scipy.linalg'} & set(sys.modules)\n"
        "import tempfile, pathlib\n"
        "from tests.cases import made_up_case\n"
        "covid19net.report.case.write_case(made_up_case(), pathlib.Path(tempfile.mkdtemp()))\n"
        "found |= {'lifelines', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_the_command_line_tells_group_and_stay(capsys, tmp_path, phantom_dicom, prognostic):
    path = write_model(tmp_path / "model.json", prognostic)
    clinical = ("--age", 60, "--sex", "f", "--comorbidity")
    arguments = ("analyze", phantom_dicom, "-o", tmp_path / "out", "--evidence", "basic", "--prognosis", path)
    code, out, err = run(capsys, *arguments, *clinical)
    assert (code, err) == (0, "")
    assert "risk of a long stay; median expected stay" in out
    assert "discharge.png" in out
    assert (tmp_path / "out" / DISCHARGE).is_file()
    code, out, _ = run(capsys, *arguments, "--age", 60)
    assert code == 0
    assert "prognosis-missing: no prognosis: it needs comorbidity" in out
    assert not (tmp_path / "out" / DISCHARGE).exists()
    code, out, _ = run(capsys, *arguments[:-1], "none", *clinical)
    assert code == 0
    assert "prognosis" not in out


def test_a_faulty_model_stops_before_any_work(capsys, tmp_path, phantom_dicom):
    (tmp_path / "model.json").write_text("{}")
    arguments = ("analyze", phantom_dicom, "-o", tmp_path / "out")
    for path in ("model.json", "none.json"):
        code, out, err = run(capsys, *arguments, "--prognosis", tmp_path / path)
        assert (code, out, err.count("\n")) == (4, "", 1)
    assert not (tmp_path / "out").exists()


def hospital(folder, *, features_apart: bool = False, **changes):
    """TABLE.csv, and FEATURES.csv or the feature in the table."""
    outcome, x = sample(seed=5, size=120)
    rows = [
        {
            "patient_id": f"p{i}",
            "days": outcome.time[i] + 5,  # who stays five days or less is left out
            "discharged": int(outcome.cause[i] == 1),
            "died": int(outcome.cause[i] == 2),
            "age": x[i, 1],
            "sex": "F",
            "comorbidity": int(x[i, 2]),
            "probability": 0.5,
        }
        | dict.fromkeys(FEATURES, 0)
        | {"f03": x[i, 0]}
        | changes
        for i in range(120)
    ]
    apart = ["probability", *FEATURES]
    kept = [name for name in rows[0] if not (features_apart and name in apart)]
    for name, columns in {"table.csv": kept, "features.csv": ["patient_id", *apart]}.items():
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows if name == "table.csv" else rows[::-1])  # joined by name, not by place
    return folder / "table.csv", folder / "features.csv"


def test_the_card_names_data_cut_and_hazard_ratios(capsys, tmp_path):
    path = write_model(tmp_path / "model.json", made_up_model())
    code, out, _ = run(capsys, "prognosis", "card", path)
    card = json.loads(out)
    assert code == 0
    assert card["sha256"] == model_sha256(made_up_model())
    assert card["licence"] == "Apache-2.0"
    assert card["covariates"]["age"]["unit"] == "years"
    assert card["covariates"]["age"]["hazard_ratio"] == pytest.approx(np.exp(-0.02), abs=0.02)  # planted
    code, _, err = run(capsys, "prognosis", "card", tmp_path / "nothing.json")
    assert (code, err.count("\n")) == (4, 1)


def test_a_model_is_taken_to_another_hospital(capsys, tmp_path):
    path = write_model(tmp_path / "model.json", made_up_model())
    table, _ = hospital(tmp_path)
    arguments = ("prognosis", "recalibrate", path, table, "--origin", "hospital B")
    code, out, err = run(capsys, *arguments, "-o", tmp_path / "new.json")
    assert (code, err) == (0, "")
    assert "120 patients" in out
    assert "observed over expected" in out
    assert "slope of the model's predictor here" in out
    assert "is kept" in out
    new = read_model(tmp_path / "new.json")
    assert new.about.origin.endswith("hospital B")
    table, features = hospital(tmp_path, features_apart=True)
    code, _, _ = run(capsys, *arguments, "-o", tmp_path / "again.json", "--features", features)
    assert code == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "new.json").read_bytes()


def test_ages_that_are_bands_are_taken_only_where_asked_for_and_marked(capsys, tmp_path):
    """Middle of 50-70: 60 years for everybody, as if the table said so."""
    path = write_model(tmp_path / "model.json", made_up_model())
    table, _ = hospital(tmp_path, age="", age_band="50-70")
    words = ("prognosis", "recalibrate", path, table, "--origin", "hospital B")
    code, _, err = run(capsys, *words, "-o", tmp_path / "none.json")
    assert code == 2
    assert "column age is empty (known as a band, whose middle --age-band middle takes)" in err
    code, out, _ = run(capsys, *words, "-o", tmp_path / "bands.json", "--age-band", "middle")
    assert code == 0
    assert "warning: age of 120 of 120 patients is known as a band only" in out
    hospital(tmp_path, age=60)
    assert run(capsys, *words, "-o", tmp_path / "years.json")[0] == 0
    bands, years = read_model(tmp_path / "bands.json"), read_model(tmp_path / "years.json")
    np.testing.assert_array_equal(bands.baseline.hazard, years.baseline.hazard)
    assert "known as a band only" in bands.about.limits
    assert "known as a band only" not in years.about.limits


def test_what_cannot_be_recalibrated_is_one_line_and_no_file(capsys, tmp_path):
    path = write_model(tmp_path / "model.json", made_up_model())
    faults = {
        "no events": ({"discharged": 0}, "no event"),
        "empty age": ({"age": ""}, "column age is empty"),
        "no number": ({"f03": "high"}, "column f03: not a finite number"),
        "both": ({"discharged": 1, "died": 1}, "both discharged and died"),
    }
    new = tmp_path / "new.json"
    for changes, says in faults.values():
        table, _ = hospital(tmp_path, **changes)
        code, out, err = run(capsys, "prognosis", "recalibrate", path, table, "-o", new, "--origin", "B")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert says in err
        assert not new.exists()
    table, _ = hospital(tmp_path, features_apart=True)
    code, _, err = run(capsys, "prognosis", "recalibrate", path, table, "-o", new, "--origin", "B")
    assert code == 2
    assert "column probability, f00, f01" in err
    header, first, *_ = (tmp_path / "features.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join([header, first, first]))
    options = ("--features", tmp_path / "few.csv")
    code, _, err = run(capsys, "prognosis", "recalibrate", path, table, "-o", new, "--origin", "B", *options)
    assert code == 2
    assert "earlier row" in err
    (tmp_path / "few.csv").write_text("\n".join([header, first]))
    code, _, err = run(capsys, "prognosis", "recalibrate", path, table, "-o", new, "--origin", "B", *options)
    assert code == 2
    assert "row 3: no features of this patient" in err
    assert not new.exists()


def test_recalibration_replaces_neither_the_table_nor_the_model(capsys, tmp_path):
    path = write_model(tmp_path / "model.json", made_up_model())
    table, _ = hospital(tmp_path)
    for taken in (table, path):
        before = taken.read_bytes()
        code, out, err = run(capsys, "prognosis", "recalibrate", path, table, "-o", taken, "--origin", "B")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "exists already and is not replaced" in err
        assert taken.read_bytes() == before


def test_synthetic_patients_make_a_demonstration(capsys, tmp_path):
    path = write_model(tmp_path / "model.json", made_up_model(demonstration=False))
    table, _ = hospital(tmp_path, synthetic=1)
    new = tmp_path / "new.json"
    code, out, _ = run(capsys, "prognosis", "recalibrate", path, table, "-o", new, "--origin", "B")
    assert code == 0
    assert read_model(new).about.demonstration
    assert "says nothing about people" in out
