"""What a study says of where its data come from, and of ages that are bands."""

from dataclasses import replace
import json

import pytest

from covid19net.cli import main
from covid19net.cohort import Patient, source_from
from covid19net.errors import InputError
from covid19net.prognosis.model_file import read_model
from covid19net.study.provenance import model_sources, source_words, weights_sources
from covid19net.study.results import Material, Results
from covid19net.study.run import run_study
from covid19net.weights.cards import make_card
from tests.study_cohort import OPTIONS, cohort, written

QUICK = replace(OPTIONS, draws=0, end_points=())
ALPHA = {
    "collection": "alpha", "title": "The Alpha Set", "licence": "CC BY-NC 4.0",
    "citation": "Alpha et al. 2020", "claims": "Alpha claims nothing.",
    "refused": {"prognosis": "stays are made up"}, "unconfirmed": ["size: 3"],
}  # fmt: skip
BETA = {
    "collection": "beta", "title": "The Beta Set", "licence": "CC BY 4.0", "citation": "Beta et al. 2021",
    "claims": "Beta claims less.", "refused": {"lungs": "no masks"},
}  # fmt: skip
NON_COMMERCIAL = "non-commercial licence of alpha: CC BY-NC 4.0"
REFUSED = "alpha is no source for prognosis: stays are made up"
CARD = {
    "name": "ours", "task": "diagnosis", "network": "covid19net", "sha256": "0" * 64, "size": 1,
    "licence": "CC0-1.0", "origin": "here", "training_data": "some", "intended_use": "none",
}  # fmt: skip


def banded(folder):
    """Two sets of two collections; ages of the training set's first 30 patients with COVID-19 are bands."""
    rows, found = cohort()
    rows = [row | {"type": "", "severity": ""} for row in rows if row["set"] != "validation 3"]
    for row in rows:
        row["collection"] = "alpha" if row["set"] == "training" else "beta"
        row["age_band"] = ""
    for row in [r for r in rows if r["set"] == "training" and r["label"] == "covid"][:30]:
        row |= {"age": "", "age_band": "60-74"}
    source = written(folder, rows, found)
    folder.joinpath("manifest.source.json").write_text(json.dumps([ALPHA, BETA]))
    return source


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    report = run_study(banded(folder), folder / "out", replace(QUICK, age_band="middle"))
    return folder / "out", report


@pytest.fixture(scope="module")
def bands(study):
    """The warning on ages; who was followed for five days or less has none."""
    record = json.loads((study[0] / "results.json").read_text())
    (line,) = [line for line in record["warnings"] if "age bands" in line]
    assert 20 <= int(line.split()[2]) <= 30
    return line


def test_the_console_says_first_what_binds_and_what_is_guessed(study, bands):
    lines = [line.removeprefix("warning: ") for line in study[1].lines]
    assert lines[:3] == [NON_COMMERCIAL, REFUSED, bands]
    assert not lines[3].startswith("warning")


def test_the_report_has_a_section_of_its_own(study, bands):
    page = (study[0] / "report.html").read_text()
    part = page.partition(". Data and what may be claimed</h2>")[2].partition("<h2")[0]
    assert part
    for said in ("The Alpha Set", "CC BY-NC 4.0", "Alpha et al. 2020", "Alpha claims nothing.",
                 "Beta claims less.", "alpha: size: 3", "not recorded with stored features"):  # fmt: skip
        assert said in part, said
    for line in (NON_COMMERCIAL, REFUSED, bands):
        assert page.count(f"{line[0].upper()}{line[1:]}.") >= 1
    methods = page.partition(". Methods</h2>")[2].partition("<h2")[0]
    assert (
        "Patients come from The Alpha Set (CC BY-NC 4.0; Alpha et al. 2020); The Beta Set (CC BY 4.0"
        in methods
    )
    assert bands[1:] in methods
    assert (study[0] / "tables" / "sources.csv").read_text().count("\n") == 3
    assert "Beta et al. 2021" in (study[0] / "tables" / "claim.csv").read_text()


def test_the_record_and_the_model_hold_them(study):
    record = json.loads((study[0] / "results.json").read_text())
    assert [source["collection"] for source in record["sources"]] == ["alpha", "beta"]
    assert record["weights_sources"] == []
    assert record["options"]["age_band"] == "middle"
    about = read_model(study[0] / "prognosis.json").about
    assert [source["citation"] for source in about.provenance["sources"]] == ["Alpha et al. 2020"]
    assert about.licence == "none stated; made from data under CC BY-NC 4.0 (alpha)"
    assert "Non-commercial licence of alpha" in about.limits
    assert "middles of age bands" in about.limits
    assert any("taken as the middle of the band" in note for note in about.provenance["notes"])


def test_without_the_option_bands_are_refused_in_one_line_that_names_it(tmp_path, capsys):
    source = banded(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["study", str(source.manifest), "--features", str(source.features), "-o", str(tmp_path / "out"),
              "--draws", "0", "--workers", "1"])  # fmt: skip
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "column age is empty in rows" in line
    assert "--age-band middle" in line


def test_a_damaged_file_of_sources_stops_before_anything_is_computed(tmp_path):
    source = banded(tmp_path)
    (tmp_path / "manifest.source.json").write_text("[")
    with pytest.raises(InputError, match=r"^manifest\.source\.json: "):
        run_study(source, tmp_path / "out", QUICK)


def test_sources_of_weights_are_those_that_taught_them():
    roles = [ALPHA | {"role": "learned from"}, BETA | {"role": "measured on"}]
    material = Material([Patient("1", 2)], {}, card=make_card(CARD | {"sources": roles}, "card"))
    assert [s.collection for s in weights_sources(material)] == ["alpha", "beta"]
    assert [s.collection for s in model_sources(material, material.patients)] == ["alpha"]
    material = replace(material, sources=(source_from(BETA),))
    assert [s.collection for s in model_sources(material, material.patients)] == ["beta", "alpha"]
    results = Results(None, QUICK, material, {}, None, (), ())
    assert source_words(results)[1] == (
        "The network learned from The Alpha Set (CC BY-NC 4.0; Alpha et al. 2020)."
    )
