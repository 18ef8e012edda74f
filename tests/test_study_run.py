"""The whole study on disk, from a made-up cohort with stored features; and the command that makes it."""

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
import hashlib
import json
import re

import numpy as np
import pytest

from covid19net.cli import main
from covid19net.errors import InputError, ResourceError
from covid19net.features import read_features
from covid19net.prognosis.model import Clinical, predict
from covid19net.prognosis.model_file import read_model
from covid19net.study.results import Source
from covid19net.study.run import OWN, run_study
from tests.html_reader import Reader
from tests.study_cohort import OPTIONS, WEIGHTS, cohort, written

QUICK = replace(OPTIONS, draws=0, end_points=())
BANNER = "Demonstration: patients or weights are synthetic"
HOSTILE = '<img src=x onerror="alert(1)">'
FORMULA = '=HYPERLINK("http://x.example","y")'


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


def few(**more):
    """Two sets without viral parts and with strata of centre, sex and age, of which a study takes seconds."""
    rows, found = cohort(**more)
    bare = dict.fromkeys(("type", "severity", "thickness", "kernel", "vendor"), "")
    rows = [row | bare for row in rows if row["set"] != "validation 3"]
    return rows, found


@contextmanager
def vectors_alone():
    """Figures are drawn in one form instead of three: `whole` has all, test_report_figures their bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("covid19net.report.figures.METADATA", {"svg": {"Date": None}})
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole study: discharge and intensive care, with a bootstrap of the selection."""
    rows, found = cohort()
    rows = [row if row["set"] == "training" else row | {"type": ""} for row in rows]  # one viral part
    given = tmp_path_factory.mktemp("given")
    source = written(given, rows, {name: one for name, one in found.items() if name != "v1-002"})
    told = []
    report = run_study(source, given / "study", OPTIONS, progress=lambda *p: told.append(p))
    return given / "study", report, told


@pytest.fixture(scope="module")
def html(whole):
    return (whole[0] / "report.html").read_text()


@pytest.fixture(scope="module")
def record(whole):
    return json.loads((whole[0] / "results.json").read_text(), parse_constant=refused)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A study of two sets, and again from the features it stored."""
    folder = tmp_path_factory.mktemp("quick")
    source = written(folder, *few())
    with vectors_alone():
        run_study(source, folder / "one", QUICK)
        run_study(replace(source, features=folder / "one" / "features.csv"), folder / "two", QUICK)
    return folder, source


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Hostile names, one synthetic patient, ages that are missing, weights that are not known."""
    folder = tmp_path_factory.mktemp("hostile")
    rows, found = few()
    found = {name: replace(one, weights="") for name, one in found.items()}
    for i, row in enumerate(rows):
        row["centre"] = HOSTILE if i % 2 else FORMULA
        row["set"] = "training" if row["set"] == "training" else HOSTILE
        row["age"] = "" if i % 7 == 0 else row["age"]
    rows[0] |= {"patient_id": FORMULA, "synthetic": "yes"}  # has no features: a row of who is left out
    source = written(folder, rows, found)
    with vectors_alone():
        report = run_study(source, folder / "study", replace(QUICK, missing="median"))
    return folder / "study", report


def test_a_study_leaves_what_it_names_and_nothing_else(whole):
    folder, report, _ = whole
    assert sorted(path.name for path in folder.iterdir()) == sorted(OWN)
    assert report.page == folder / "report.html"


def test_every_table_and_figure_is_there_in_every_form(whole):
    for part, forms in (("tables", {".csv", ".html", ".tex", ".txt"}), ("figures", {".pdf", ".svg", ".png"})):
        found = defaultdict(set)
        for path in (whole[0] / part).iterdir():
            found[path.stem].add(path.suffix)
            assert path.stat().st_size
        assert {stem for stem, suffixes in found.items() if suffixes != forms} == set()
    tables = {path.stem for path in (whole[0] / "tables").iterdir()}
    assert {"table-1", "table-2", "cox-discharge", "groups-icu", "optimism-discharge", "claim"} <= tables
    figures = {path.stem for path in (whole[0] / "figures").iterdir()}
    named = {"figure-3-roc", "figure-3-scores", "figure-4-groups", "figure-6e-features", "grades-icu"}
    assert named <= figures


def test_no_table_and_no_page_holds_nan_or_none(whole, html):
    texts = [path.read_text() for path in (whole[0] / "tables").iterdir()]
    for text in (*texts, " ".join(Reader(html).texts)):
        assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)
        assert not re.search(r"((^|[,:(>] ?)None([,)<]|$))", text, re.MULTILINE)
    assert "None" not in Reader(html).texts


def test_the_record_is_json_with_all_that_decided(record, whole):
    assert record["schema"] == "covid19net-study/1.0"
    assert record["command"] == "made by hand"
    assert record["weights"] == WEIGHTS
    assert record["demonstration"] is False
    assert record["options"]["draws"] == 2
    procedure = record["options"]["procedure"]
    assert [procedure[name] for name in ("direction", "criterion", "most")] == ["both", "aic", 3]
    assert {"covid19net", "python", "numpy", "scipy", "lifelines"} <= record["versions"].keys()
    (failure,) = record["failures"]
    assert (failure["patient_id"], failure["row"], failure["reason"]) == ("v1-002", 4, "not in features.csv")
    (absent,) = record["absent"]
    assert absent.startswith("ventilation is not studied: ")
    assert [one["end_point"] for one in record["prognoses"]] == ["discharge", "icu"]
    assert whole[1].lines[-1] == absent


def test_the_area_in_the_record_is_the_share_of_pairs_in_order(record):
    rows, found = cohort()
    scores = {True: [], False: []}
    for row in rows:
        if row["set"] == "validation 1" and row["patient_id"] != "v1-002":
            scores[row["label"] == "covid"].append(found[row["patient_id"]].probability)
    ill, well = np.array(scores[True])[:, None], np.array(scores[False])[None]
    said = record["diagnosis"]["sets"]["validation 1"]["performance"]
    assert said["auc"]["value"] == pytest.approx((ill > well).mean(), abs=1e-8)
    assert (said["positive"], said["negative"]) == (40, 19)


def test_the_page_stands_alone(html):
    addresses = [
        attributes[name]
        for _, attributes in Reader(html).tags
        for name in ("src", "href", "data", "srcset", "action")
        if name in attributes
    ]
    assert len(addresses) > 20
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    assert "script" not in {tag for tag, _ in Reader(html).tags}
    assert not re.search(r"url\((?!#)|@import", html)


def test_the_page_holds_paper_audit_methods_and_checklists(html):
    text = " ".join(Reader(html).texts)
    for said in (
        "0.90 (0.89–0.91)",  # noqa: RUF001 - Table 2 as printed
        "0.87 (0.86–0.89)",  # noqa: RUF001
        "85.00 lies above both sensitivity (79.35) and specificity (71.43)",
        "p 0.013",
        "150 141 93 39 12 0",
        "TRIPOD+AI",
        "CLAIM",
        "stepwise selection in both directions by Akaike's information criterion",
        "Patients with a result: training: 160, validation 1: 59, validation 3: 60.",
        "times from diagnosis to discharge and icu",
        "2 bootstrap samples",
        "Gray's test",
        WEIGHTS,
        "v1-002",
        "not in features.csv",
        "Research software, not a medical device",
    ):
        assert said in text, said
    assert text.count("Figure 4") == 1


def test_few_events_a_candidate_are_said_everywhere(whole, html, record):
    """Counted in the manifest: 64 DL features, age, sex and comorbidity are offered; ten events for each
    are the rule of Peduzzi et al. 1995."""
    ill = [row for row in cohort()[0] if row["set"] == "training" and row["label"] == "covid"]
    texts = Reader(html).texts
    for number, (name, column) in enumerate((("discharge", "discharged"), ("intensive care", "icu"))):
        events = sum(bool(row[column]) for row in ill)
        support = record["prognoses"][number]["support"]
        assert (support["events"], support["candidates"]) == (events, 67)
        assert support["events_per_candidate"] == pytest.approx(events / 67)
        said = f"{name}: overfitting is to be expected: {events} events for 67 candidate covariates"
        assert any(line.startswith(f"WARNING: {said}") and "Peduzzi" in line for line in whole[1].lines)
        place = next(i for i, text in enumerate(texts) if text.startswith(said))
        assert place < texts.index("Contents")


def test_who_is_counted_and_what_was_not_estimated_stands_beside_the_figures(html):
    text = " ".join(Reader(html).texts)
    care = text[text.index("Risk groups: intensive care", text.index("Reporting checklists") + 100) :]
    risk, ranks = care.index("immortal time"), care.index("(optimism) was not estimated here")
    assert risk < care.index("Kaplan-Meier curves of the risk groups, intensive care") < ranks
    for figure in ("Kaplan-Meier curves of the risk groups", "Cumulative incidence after Aalen and Johansen"):
        caption = care[care.index(figure) :]
        assert "Of those followed for more than 5 days." in caption[:300]
    assert text.count("was not estimated here") == 1  # it was for discharge
    assert text.count("for the other end points it was not estimated") == 1


def test_the_banner_is_there_exactly_when_a_patient_is_synthetic(html, hostile):
    assert BANNER not in html
    page = (hostile[0] / "report.html").read_text()
    assert page.count(BANNER) == 1
    assert json.loads((hostile[0] / "results.json").read_text())["demonstration"] is True


def test_who_made_the_baseline_is_said_below_each_decision_curve(html):
    captions = [text for text in Reader(html).texts if text.startswith("Decision curves, ")]
    fitted = "The density baseline was fitted on the training set"
    assert len(captions) == 4
    assert all(fitted in caption for caption in captions)
    own = [caption for caption in captions if f"{fitted}, which it judges too kindly." in caption]
    assert [caption.split(":")[0] for caption in own] == [
        "Decision curves, training",
        "Decision curves, training-viral",
    ]


def test_the_paper_is_audited_in_words(html):
    texts = Reader(html).texts
    assert any(text.startswith("Training, lower limit of the AUC: impossible") for text in texts)
    assert not any("auc_low" in text for text in texts)


def test_the_record_names_the_files_that_were_read(quick):
    """By coreutils' rule: SHA-256 of the bytes on disk."""
    folder, source = quick
    said = json.loads((folder / "one" / "results.json").read_text())["inputs_sha256"]
    files = {"manifest": source.manifest, "features": source.features}
    assert said == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def test_progress_is_told_by_stage(whole):
    stages = [stage for stage, _ in whole[2]]
    assert stages[0] == "diagnosis"
    assert stages[-1] == "report"
    assert ("prognosis, discharge: bootstrap of the selection", 1.0) in whole[2]


def test_lines_for_the_console_are_those_of_the_tables(whole):
    folder, report, _ = whole
    table = (folder / "tables" / "table-2.csv").read_text()
    line = next(line for line in report.lines if line.startswith("validation 1:"))
    area = re.search(r"AUC (\S+ \(\S+\))", line).group(1)
    assert area in table
    assert sum(line.startswith("discharge, ") for line in report.lines) == 3


def test_the_model_on_disk_says_of_each_patient_what_the_study_says(whole, record):
    folder = whole[0]
    model = read_model(folder / "prognosis.json")
    assert model.about.end_point == "discharge"
    assert model.about.diagnosis_sha256 == WEIGHTS
    assert not model.about.demonstration
    assert set(model.about.metrics) == {"training (resubstitution)", "validation 1", "validation 3"}
    features = read_features(folder / "features.csv")
    people = {row["patient_id"]: row for row in cohort()[0]}
    for name in ("training", "validation 3"):
        judged = record["prognoses"][0]["sets"][name]
        for i, patient_id in enumerate(judged["followed"]["part"]["patients"][:25]):
            row = people[patient_id]
            clinical = Clinical(row["age"], row["sex"], row["comorbidity"])
            said = predict(model, features[patient_id].features, clinical)
            assert said.group == judged["group"][i]
            assert said.risk == pytest.approx(judged["risk"][i], abs=1e-6)


def test_a_rerun_from_stored_features_gives_the_same_bytes(quick):
    one, two = quick[0] / "one", quick[0] / "two"
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert len(files) > 50
    assert [str(name) for name in files if (one / name).read_bytes() != (two / name).read_bytes()] == []


def test_without_known_weights_there_is_no_model(hostile, quick):
    assert (quick[0] / "one" / "prognosis.json").exists()
    assert not (hostile[0] / "prognosis.json").exists()
    assert json.loads((hostile[0] / "results.json").read_text())["weights"] is None


def test_hostile_names_are_shown_and_never_run(hostile):
    folder = hostile[0]
    page = Reader((folder / "report.html").read_text())
    assert {attributes["src"][:11] for tag, attributes in page.tags if tag == "img"} == {"data:image/"}
    assert not [tag for tag, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert any(HOSTILE in text for text in page.texts)
    assert FORMULA in page.texts
    for path in (folder / "tables").glob("*.html"):
        assert not [tag for tag, _ in Reader(path.read_text()).tags if tag == "img"]
    cells = [(folder / "tables" / name).read_text() for name in ("left-out.csv", "strata-training.csv")]
    for text in cells:
        assert "HYPERLINK" in text
        assert not re.search(r'(^|,)"?\s*=HYPERLINK', text, re.MULTILINE)
    assert all("/" not in path.name and "<" not in path.name for path in folder.rglob("*"))


def test_what_was_filled_in_opens_the_page(hostile):
    texts = Reader((hostile[0] / "report.html").read_text()).texts
    place = next(i for i, text in enumerate(texts) if "filled in with the median" in text)
    assert place < texts.index("Contents")
    assert texts[place].startswith("training: age of ")


def test_a_fault_while_composing_leaves_the_older_study(quick, monkeypatch):
    folder, source = quick
    place = folder / "one"
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}

    for fault, kind in (
        (OSError(28, "No space left"), ResourceError),
        (RuntimeError("broken"), RuntimeError),
    ):

        def broken(_, scratch, fault=fault):
            (scratch / "tables").mkdir()
            (scratch / "tables" / "new.csv").write_text("half")
            raise fault

        monkeypatch.setattr("covid19net.study.report.compose", broken)
        with pytest.raises(kind):
            run_study(source, place, QUICK)
        assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
        assert not list(place.glob(".writing-*"))


def test_a_new_study_takes_the_place_of_all_of_the_older_one(monkeypatch, tmp_path):
    """Without known weights it makes no model; the older one goes, what is not a study's own stays."""
    rows, found = few()
    source = written(tmp_path, rows, {name: replace(one, weights="") for name, one in found.items()})
    place = tmp_path / "study"
    (place / "tables").mkdir(parents=True)
    for name in ("tables/old.csv", "prognosis.json", "mine.txt"):
        (place / name).write_text("old")
    (place / "results.json").write_text('{\n "schema": "covid19net-study/1.0",\n "command": "old"\n}\n')

    def compose(_, scratch):
        (scratch / "report.html").write_text("new")
        return ()

    monkeypatch.setattr("covid19net.study.report.compose", compose)
    run_study(source, place, QUICK)
    found = {path.name for path in place.iterdir()}
    assert found == {"features.csv", "results.json", "report.html", "mine.txt"}
    assert json.loads((place / "results.json").read_text())["command"] != "old"


def test_what_no_study_wrote_is_not_replaced(tmp_path):
    rows, found = few()
    (tmp_path / "study" / "tables").mkdir(parents=True)
    (tmp_path / "study" / "tables" / "mine.csv").write_text("mine")
    with pytest.raises(InputError, match="no study wrote them"):
        run_study(written(tmp_path, rows, found), tmp_path / "study", QUICK)
    assert (tmp_path / "study" / "tables" / "mine.csv").read_text() == "mine"


def test_without_labels_there_is_a_prognosis_alone(tmp_path, monkeypatch):
    rows, found = few()
    ill = [row for row in rows if row["label"] == "covid"]
    source = written(tmp_path, [row | {"label": ""} for row in ill], found)
    seen = []
    monkeypatch.setattr("covid19net.study.report.compose", lambda results, _: seen.append(results) or ())
    run_study(source, tmp_path / "study", QUICK)
    (results,) = seen
    assert results.diagnosis is None
    assert "no patient has a label" in results.absent[0]
    assert results.prognoses[0].model is not None


def test_of_one_class_the_page_says_why_there_is_no_diagnosis(tmp_path):
    rows, found = few()
    source = written(tmp_path, [row for row in rows if row["label"] == "covid"], found)
    with vectors_alone():
        report = run_study(source, tmp_path / "study", QUICK)
    texts = Reader(report.page.read_text()).texts
    assert any("two classes are needed" in text for text in texts)
    assert "Table 2. Diagnosis" not in texts
    assert any("training: 107 patients with COVID-19 only" in text for text in texts)


def test_a_training_set_of_one_class_keeps_its_prognosis(tmp_path, monkeypatch):
    """Youden's threshold, the default, cannot be had of the positives alone; the Cox model can."""
    rows, found = few()
    rows = [row for row in rows if row["label"] == "covid" or row["set"] != "training"]
    seen = []
    monkeypatch.setattr("covid19net.study.report.compose", lambda results, _: seen.append(results) or ())
    run_study(written(tmp_path, rows, found), tmp_path / "study", QUICK)
    (results,) = seen
    assert results.diagnosis is None
    assert "threshold 'youden' needs both classes" in results.absent[0]
    assert results.prognoses[0].model is not None


def test_nothing_at_all_is_refused(tmp_path):
    rows, found = few()
    bare = [{"patient_id": row["patient_id"], "set": row["set"]} for row in rows]
    with pytest.raises(
        InputError, match=r"nothing can be studied: diagnosis: .*; discharge is not studied: "
    ):
        run_study(written(tmp_path, bare, found), tmp_path / "study", QUICK)
    assert not (tmp_path / "study").exists()


def test_features_of_two_weights_are_refused(tmp_path):
    rows, found = few()
    found["tg-000"] = replace(found["tg-000"], weights="cd" * 32)
    with pytest.raises(InputError, match="2 different weights"):
        run_study(written(tmp_path, rows, found), tmp_path / "study", QUICK)
    assert not (tmp_path / "study").exists() or not list((tmp_path / "study").iterdir())


def called(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["study", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_the_command_tells_the_results_and_where_the_page_is(capsys, tmp_path, monkeypatch):
    source = written(tmp_path, *few())
    seen = []

    def compose(results, folder):
        seen.append(results)
        (folder / "report.html").write_text("page")
        return ("training: AUC 0.94",)

    monkeypatch.setattr("covid19net.study.report.compose", compose)
    options = ("--draws", 0, "--most", 2, "--criterion", "bic", "--threshold", "0.4", "--seed", 3)
    code, out, _ = called(
        capsys, source.manifest, "-o", tmp_path / "study", "--features", source.features, *options
    )
    assert code == 0
    assert "training: AUC 0.94" in out
    assert str(tmp_path / "study" / "report.html") in out.replace("\n", "")
    (results,) = seen
    assert results.options.threshold == 0.4
    assert (results.options.procedure.most, results.options.procedure.criterion) == (2, "bic")
    assert (results.options.draws, results.options.seed) == (0, 3)
    assert results.diagnosis.threshold == 0.4
    assert results.source.command.startswith("covid19net")


@pytest.mark.parametrize(
    ("broken", "options", "said"),
    [
        ("manifest", (), "row 2 column age"),
        ("features", (), "column f00"),
        ("nothing", (), "nowhere.csv"),
        ("", ("--training", "tuning"), "'tuning'"),
        ("", ("--threshold", "best"), "threshold 'best'"),
        ("", ("--threshold", "1.5"), "between 0 and 1"),
        ("", ("--threshold", "card"), "'card' cannot be had"),
    ],
)
def test_a_fault_is_one_line_and_nothing_is_written(capsys, tmp_path, broken, options, said):
    rows, found = few()
    if broken == "manifest":
        rows[0]["age"] = 430
    source: Source = written(tmp_path, rows, found)
    if broken == "features":
        source.features.write_text("patient_id,probability\nt1-000,0.5\n")
    features = tmp_path / "nowhere.csv" if broken == "nothing" else source.features
    code, out, err = called(
        capsys, source.manifest, "-o", tmp_path / "study", "--features", features, "--draws", 0, *options
    )
    assert code == 2
    assert out == ""
    assert err.strip().count("\n") == 0
    assert said in err
    assert not (tmp_path / "study").exists()
