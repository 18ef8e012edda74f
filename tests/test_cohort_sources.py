"""Sources of manifests: read, joined, told; age bands. Expected values are set down here by hand."""

import json

import pytest

from covid19net.cli import main
from covid19net.cohort import (
    Patient,
    cautions,
    clinical,
    join_manifests,
    licence_of,
    made_from,
    read_manifest,
    read_sources,
    source_from,
    sources_of,
    table_one,
    unknown_columns,
)
from covid19net.cohort.bands import middle
from covid19net.errors import InputError

ALPHA = {
    "collection": "alpha", "title": "The Alpha Set", "licence": "CC BY-NC 4.0",
    "citation": "Alpha et al. 2020",
    "claims": "Nothing beyond one city.", "refused": {"diagnosis": "no controls"}, "counts": {"patients": 2},
    "unconfirmed": ["size: 3 GB"],
}  # fmt: skip
BETA = {"collection": "beta", "title": "The Beta Set", "licence": "CC BY 4.0 (unconfirmed)", "citation": "B"}


def put(folder, name, rows, sidecar=None):
    """A manifest of some rows (patient_id, set, collection) with its scans, and the file beside it."""
    folder.mkdir(exist_ok=True)
    lines = ["patient_id,scan,set,collection"]
    for patient_id, part, collection in rows:
        (folder / f"{patient_id}.nii").touch()
        lines.append(f"{patient_id},{patient_id}.nii,{part},{collection}")
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    if sidecar is not None:
        (folder / f"{name}.source.json").write_text(json.dumps(sidecar))
    return path


def sources(path):
    return read_sources(path, read_manifest(path))


@pytest.fixture
def alpha(tmp_path):
    rows = [("a1", "training", "alpha"), ("a2", "validation", "alpha")]
    return put(tmp_path / "one", "alpha", rows, ALPHA)


@pytest.fixture
def beta(tmp_path):
    return put(tmp_path / "two", "beta", [("b1", "validation", "beta")], [BETA])


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code, *capsys.readouterr()


def test_one_source_or_a_list_of_them_is_read(alpha, beta):
    (found,) = sources(alpha)
    assert (found.title, found.claims, found.unconfirmed) == (
        "The Alpha Set", "Nothing beyond one city.", ("size: 3 GB",)
    )  # fmt: skip
    assert str(found) == "The Alpha Set (CC BY-NC 4.0; Alpha et al. 2020)"
    assert [source.collection for source in sources(beta)] == ["beta"]
    assert source_from(json.loads(json.dumps(found.facts()))) == found


def test_rows_that_name_a_collection_without_a_file_get_one_warning(tmp_path):
    path = put(tmp_path, "m", [("p1", "", "ictcf"), ("p2", "", "ictcf"), ("p3", "", "other")])
    assert cautions(sources(path)) == ("no source file beside the manifest: licence of ictcf, other unknown",)
    path.write_text(path.read_text().replace("collection", "licence"))
    assert sources(path) == ()  # nobody names a collection: a hospital's own patients


def test_rows_may_state_the_licence_themselves(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("patient_id,collection,licence\np1,ictcf,CC BY 4.0\n")
    patients = read_manifest(path, needs=["patient_id"], scans=False)
    assert unknown_columns(path) == []
    assert cautions(read_sources(path, patients)) == (
        "no source file beside the manifest: citation and claims of ictcf unknown",
    )


@pytest.mark.parametrize(
    "text",
    [
        "{", "3", "[1]", '{"collection": "x"}', '{"collection": "x", "title": "X", "licence": 3}',
        '{"collection": "x", "title": "X", "licence": "L", "unconfirmed": "all"}',
        '{"collection": "x", "title": "X", "licence": "L", "refused": {"lungs": 1}}', "\xff",
    ],
)  # fmt: skip
def test_what_is_no_file_of_sources_is_refused_by_name(alpha, text, capsys):
    alpha.with_name("alpha.source.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"^alpha\.source\.json: not a file of sources: ") as error:
        sources(alpha)
    assert "\n" not in str(error.value)
    code, _, err = run(capsys, "cohort", "check", alpha)
    assert code == 2
    assert len(err.splitlines()) == 1


def test_a_source_that_no_row_names_is_taken_to_be_used():
    people = [Patient("1", 2, {"collection": "alpha"}), Patient("2", 3, {}), Patient("3", 4, {})]
    known = (source_from(ALPHA), source_from(BETA))
    assert [s.collection for s in sources_of(known, people[:1], people)] == ["alpha", "beta"]
    assert [s.collection for s in sources_of(known, people[1:], people)] == ["beta"]


def test_weights_name_what_taught_them_what_measured_them_and_what_came_before():
    known = source_from(ALPHA), source_from(BETA)
    people = [Patient("1", 2, {"collection": "alpha"}), Patient("2", 3, {"collection": "beta"})]
    first = made_from(known, people[:1], [], people)
    assert [(s.collection, s.role) for s in first] == [("alpha", "learned from")]
    second = made_from(known, people[1:], [], people, first)
    earlier = "learned from by the weights that training started from"
    assert [(s.collection, s.role) for s in second] == [("alpha", earlier), ("beta", "learned from")]
    assert licence_of("none stated", second) == (
        "none stated; made from data under CC BY-NC 4.0 (alpha), CC BY 4.0 (unconfirmed) (beta)"
    )
    third = made_from(known, people[1:], people[:1], people)
    assert [(s.collection, s.role) for s in third] == [("beta", "learned from"), ("alpha", "measured on")]
    assert "alpha" not in licence_of("none stated", third)
    assert licence_of("CC0-1.0", second) == "CC0-1.0"
    assert licence_of("none stated", ()) == "none stated"


def test_cautions_name_licences_and_refused_uses():
    known = source_from(ALPHA), source_from(BETA)
    assert cautions(known, ["diagnosis"]) == (
        "non-commercial licence of alpha: CC BY-NC 4.0",
        "alpha is no source for diagnosis: no controls",
        "licence of beta to be confirmed on its page: CC BY 4.0 (unconfirmed)",
    )
    assert len(cautions(known, ["lungs"])) == 2
    free = source_from(BETA | {"licence": "CC BY 4.0"})
    assert cautions([free]) == ()
    assert cautions([source_from(BETA | {"licence": "for noncommercial research"})]) != ()
    assert cautions([source_from(BETA | {"licence": "NCI open data, see announcement"})]) == ()


def test_joined_manifests_keep_rows_paths_and_sources(alpha, beta, tmp_path, capsys):
    beta.write_text("Patient_ID;scan;set;collection;age;CRP\nb1;b1.nii;validation;beta;61,5;=1+1\n")
    out = tmp_path / "elsewhere" / "both.csv"
    code, said, _ = run(
        capsys, "cohort", "join", alpha, beta, "-o", out,
        "--set", "alpha:validation=validation 1", "--set", "beta:validation=validation 2",
    )  # fmt: skip
    assert code == 0
    assert "warning: non-commercial licence of alpha" in said
    patients = read_manifest(out)  # every scan is found from the new place
    assert [(p.patient_id, p.values["set"]) for p in patients] == [
        ("a1", "training"), ("a2", "validation 1"), ("b1", "validation 2")
    ]  # fmt: skip
    assert patients[2].values["age"] == 61.5
    assert patients[2].values["scan"].resolve() == tmp_path / "two" / "b1.nii"
    assert unknown_columns(out) == ["crp"]
    assert "'=1+1" in out.read_text()
    assert [s.collection for s in sources(out)] == ["alpha", "beta"]
    kept = json.loads(out.with_name("both.source.json").read_text())
    assert kept == [ALPHA, BETA]  # with what this program does not read


def test_sets_of_one_name_become_one_and_a_join_can_be_joined(alpha, beta, tmp_path):
    both = join_manifests([alpha, beta], tmp_path / "both.csv")
    assert both.sets == {"training": {"alpha": 1}, "validation": {"alpha": 1, "beta": 1}}
    third = put(tmp_path / "three", "c", [("c1", "", "beta")], BETA)
    again = join_manifests([both.manifest, third], tmp_path / "all.csv", {("c", ""): "validation"})
    assert again.sets["validation"] == {"both": 2, "c": 1}
    assert [s.collection for s in sources(again.manifest)] == ["alpha", "beta"]


def test_what_cannot_be_joined(alpha, beta, tmp_path, capsys):
    twin = put(tmp_path / "three", "twin", [("a1", "training", "x")])
    with pytest.raises(InputError, match="patient_id a1 stands in alpha and twin"):
        join_manifests([alpha, twin], tmp_path / "out.csv")
    twin.write_text(f"patient_id,scan\nx1,{alpha.parent / 'a1.nii'}\n")
    with pytest.raises(InputError, match="scan of row 2 of twin stands in alpha and twin"):
        join_manifests([alpha, twin], tmp_path / "out.csv")
    with pytest.raises(InputError, match="two manifests or more"):
        join_manifests([alpha], tmp_path / "out.csv")
    with pytest.raises(InputError, match="one of the manifests to join"):
        join_manifests([alpha, beta], beta)
    with pytest.raises(InputError, match="no row is of the set to rename: beta:training"):
        join_manifests([alpha, beta], tmp_path / "out.csv", {("beta", "training"): "x"})
    assert not (tmp_path / "out.csv").exists()
    code, _, err = run(capsys, "cohort", "join", alpha, beta, "-o", tmp_path / "out.csv", "--set", "nonsense")
    assert code == 2
    assert "MANIFEST:OLD=NEW" in err


@pytest.mark.parametrize(
    ("band", "years"),
    [("18-59", 38.5), ("60-74", 67), ("75-90", 82.5), ("40-50", 45), ("Under 40", 35), ("over 80", 85)],
)
def test_the_middle_of_a_band(band, years):
    """By hand; STOIC's own headers give 35 and 85 for its open bands."""
    assert middle(band) == years


@pytest.mark.parametrize("text", ["60", "74-60", "over", "80+", "60-740", "10-Dec"])
def test_what_is_no_band_is_a_fault_of_its_cell(text, tmp_path):
    (tmp_path / "m.csv").write_text(f"patient_id,age_band\np1,{text}\n")
    with pytest.raises(InputError, match=r"row 2 column age_band: .*no age band"):
        read_manifest(tmp_path / "m.csv", needs=["patient_id"])


BANDED = [
    Patient("1", 2, {"age": 50.0, "age_band": "40-50", "sex": "M", "comorbidity": True}),
    Patient("2", 3, {"age_band": "60-74", "sex": "F", "comorbidity": False}),
    Patient("3", 4, {"age_band": "over 80", "sex": "F", "comorbidity": False}),
]


def test_bands_become_years_only_when_asked_for():
    with pytest.raises(InputError, match=r"column age is empty in rows 3, 4.*--age-band middle"):
        clinical(BANDED)
    found = clinical(BANDED, bands="middle")
    assert found.values[:, 0].tolist() == [50, 67, 85]
    (note,) = found.notes
    assert note.startswith("age of 2 of 3 patients is known as a band only and taken as the middle")
    left = clinical(BANDED, "exclude")
    assert left.kept.tolist() == [0]
    assert "--age-band middle" in left.notes[0]
    filled = clinical([*BANDED[:1], Patient("4", 5, {"sex": "F", "comorbidity": False})], "median",
                      reference=BANDED, bands="middle")  # fmt: skip
    assert filled.values[1, 0] == 67  # the median of 50, 67 and 85
    with pytest.raises(InputError, match="there are refuse, exclude, median and refuse, middle"):
        clinical(BANDED, bands="end")


def test_table_one_keeps_bands_as_bands():
    rows = dict(zip((row[0].strip() for row in table_one(BANDED).rows), table_one(BANDED).rows, strict=True))
    assert rows["age, years"][1] == "50.0 (2 of 3 unknown)"
    bands = list(rows)[list(rows).index("age band, years") + 1 :][:3]
    assert bands == ["40-50", "60-74", "over 80"]
    assert rows["60-74"][1] == "1 (33.3%)"
