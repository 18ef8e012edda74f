"""`covid19net reproduce public` from end to end on phantoms in the collections' layouts, with their traps."""

import csv
import json
from pathlib import Path
import shlex
import shutil

import numpy as np
from PIL import Image
import pytest

from covid19net.cli import main
from covid19net.collections import PHANTOMS
from covid19net.io import read_ct
from covid19net.weights import find_set
from covid19net.weights.files import sha256_of
from tests.miniatures import build

FEW = [{
    "name": "few", "shrink": [2, 4, 4],
    "schedule": {"steps": 4, "batch": 4, "learning_rate": 1e-3, "judge_every": 4, "save_every": 2},
}]  # fmt: skip


class Recipe:
    """The recipe at its smallest on the miniature collections."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self.out, self.capsys = build(folder / "data"), folder / "out", capsys
        (folder / "few.json").write_text(json.dumps(FEW))
        self.words = ("reproduce", "public", "--data", self.data, "--out", self.out)
        self.words += ("--recipe", folder / "few.json", "--lung-steps", "2", "--lungs-from", "bundled")
        self.words += ("--device", "cpu", "--workers", "1")

    def run(self, *more: object) -> tuple[int, str, str]:
        """Exit code, what was said, and errors."""
        return command(self.capsys, *self.words, *more)

    def steps(self) -> dict[str, dict[str, object]]:
        return json.loads((self.out / "recipe.json").read_text())["steps"]

    def done(self) -> list[str]:
        return [name for name, facts in self.steps().items() if "made" in facts]

    def rows(self, name: str) -> dict[str, dict[str, str]]:
        """Rows of a manifest by patient, without the collection's name."""
        with (self.out / "manifests" / f"{name}.csv").open(encoding="utf-8") as file:
            return {row["patient_id"].removeprefix(f"{name}-"): row for row in csv.DictReader(file)}

    def notes(self, name: str) -> str:
        beside = json.loads((self.out / "manifests" / f"{name}.source.json").read_text())
        return "\n".join(beside["notes"])


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture(autouse=True)
def quicker(monkeypatch):
    """Figures in one form instead of three, as test_study_run has all; few slices for the lungs."""
    monkeypatch.setattr("covid19net.report.figures.METADATA", {"svg": {"Date": None}})
    monkeypatch.setattr("covid19net.train.lung_cohort.SLICES", 6)


def test_public_collections_from_downloads_to_weights_and_reports(tmp_path, capsys):
    """One run, stopped twice by what must stop it, gone on, looked at, and started again."""
    recipe = Recipe(tmp_path, capsys)
    stops_where_counts_differ(recipe)
    stops_at_pictures_and_goes_on(recipe)
    traps_are_caught(recipe)
    weights_and_studies_are_there(recipe)
    another_run_does_nothing(recipe)
    a_plain_command_by_hand_gives_the_same(recipe)
    a_changed_collection_leaves_the_rest_alone(recipe)


def stops_where_counts_differ(recipe: Recipe) -> None:
    code, _, err = recipe.run()
    assert code == 2
    assert "vessel12: scans 01 to 20: 6 found, 20 published" in err
    assert recipe.done() == []


def stops_at_pictures_and_goes_on(recipe: Recipe) -> None:
    """Traps: one patient of iCTCF in JPEG, then as DICOM of 8 bits' worth of a window."""
    place = recipe.data / "ictcf" / "Patient 3" / "CT"
    place.rename(recipe.data / "aside")
    place.mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(place / "IMG-0001-00001.jpg")
    code, out, err = recipe.run("--allow-incomplete")
    assert code == 2
    assert "pictures of 8 bits, not Hounsfield units; refused" in err
    assert "check-nsclc-radiogenomics" in recipe.done()
    assert "manifest-ictcf" not in recipe.done()
    shutil.rmtree(place)
    (recipe.data / "aside").rename(place)
    code, out, err = recipe.run("--allow-incomplete")
    assert (code, err) == (0, "")
    assert "[manifest-vessel12] done already" in out
    assert out.count("covid19net cohort from ictcf") == 1


def traps_are_caught(recipe: Recipe) -> None:
    """Each where it was planted, see tests/miniatures.py."""
    vessel12 = recipe.rows("vessel12")
    assert len(vessel12) == 7  # 6, and the example 21
    assert all("asks" in Path(row["lungs"]).parts[-2] for row in vessel12.values())
    mask = read_ct((recipe.out / "manifests" / vessel12["03"]["lungs"]).resolve()).volume.hu
    assert set(np.unique(mask)) == {0, 1}  # it was 0 and 255, which training takes for unknown
    assert set(recipe.rows("seg20")) == {"coronacases_001", "coronacases_002"}
    assert "1 radiopaedia scans left out: 8 bits" in recipe.notes("seg20")

    lctsc = recipe.rows("lctsc")
    assert {name: row["set"] for name, row in lctsc.items()} == {
        "LCTSC-Train-S1-001": "training", "LCTSC-Train-S1-002": "training", "LCTSC-Test-S2-101": "validation",
    }  # fmt: skip

    lung1 = recipe.rows("nsclc-radiomics")
    assert {name: row["object_kind"] for name, row in lung1.items()} == {
        "LUNG1-001": "SEG", "LUNG1-014": "RTSTRUCT", "LUNG1-128": "RTSTRUCT",
    }  # fmt: skip
    assert [row["age"] for row in lung1.values()].count("") == 1
    assert "LUNG1-014: the segmentation has another size than the CT" in recipe.notes("nsclc-radiomics")

    egfr = recipe.rows("nsclc-radiogenomics")
    assert sorted(row["egfr"] for row in egfr.values()) == ["mutant"] * 8 + ["wild"] * 8
    assert not {"R01-017", "R01-018", "AMC-017", "AMC-018"} & set(egfr)  # squamous, and of unknown status
    with next(recipe.data.glob("NSCLC-Radiogenomics*/**/metadata.csv")).open(encoding="utf-8") as file:
        told = {row["Series UID"]: row["Series Description"] for row in csv.DictReader(file)}
    assert set(told.values()) >= {"THIN LUNG", "CTAC 3.75 THIN", "PET", "SCOUT"}  # folders are named by UIDs
    assert {told[Path(row["scan"]).name] for row in egfr.values()} == {"THIN LUNG"}
    assert {row["choice"] for row in egfr.values()} == {"the finest of the table's CT date"}

    ictcf = recipe.rows("ictcf")
    assert [sum(row["label"] == label for row in ictcf.values()) for label in ("covid", "other")] == [10, 10]
    for note in ("1 suspected left out", "1 contradictory left out", "1 without a CT", "marked CT negative"):
        assert note in recipe.notes("ictcf")
    padded = read_ct((recipe.out / "manifests" / ictcf["Patient-1"]["scan"]).resolve()).volume.hu
    assert padded.min() == -1024  # the padding was -2000

    outside = recipe.rows("covid-ct-md")
    assert set(outside) == {f"{kind}{n:03}" for kind in ("P", "cap") for n in (1, 2)}
    assert outside["P002"].get("sex", "") == ""
    assert "1 normal left out" in recipe.notes("covid-ct-md")
    scan = read_ct((recipe.out / "manifests" / outside["P001"]["scan"]).resolve()).volume
    assert scan.hu[-1].mean() < scan.hu[0].mean()  # from belly to the air above the shoulders

    stay = recipe.rows("ny-sbu")
    assert len(stay) == 14
    for why in ("no inpatient visit", "no chest CT from day -1 to day 3", "no axial chest CT"):
        assert f"1 with images left out: {why}" in recipe.notes("ny-sbu")
    assert "age" not in next(iter(stay.values()))
    assert [row["died"] for row in stay.values()].count("yes") == 2
    assert not {"icu", "icu_days", "ventilated", "ventilated_days"} & set(next(iter(stay.values())))


def weights_and_studies_are_there(recipe: Recipe) -> None:
    """Four weights or models and two reports, each of them called a demonstration."""
    found = find_set(recipe.out / "public-1", None)
    assert found.egfr is not None
    for weights in (found.lungs, found.diagnosis, found.egfr):
        assert weights.card.demonstration
        assert weights.card.name == "public-1"
        assert "synthetic" in weights.card.training_data
        assert all(source["title"].startswith("phantoms in") for source in weights.card.sources)
        assert "CC BY" not in weights.card.licence  # that of the collections, of which nothing is in it
        assert str(recipe.data) not in json.dumps(weights.card.training_command)
    assert found.lungs.card.metrics["validation"]["validation, seg20"]["patients"] == 2
    assert "nsclc-radiomics" in {source["collection"] for source in found.lungs.card.sources}
    assert found.diagnosis.card.metrics["validation 1"]["positive"] == 2
    assert found.diagnosis.card.metrics["validation 2"]["negative"] == 2
    for name in ("diagnosis", "prognosis"):
        assert "demonstration" in (recipe.out / f"study-{name}" / "report.html").read_text().lower()
    model = json.loads((recipe.out / "study-prognosis" / "prognosis.json").read_text())
    assert found.diagnosis.card.sha256 in json.dumps(model)
    page = (recipe.out / "README.md").read_text()
    for part in ("**A demonstration.**", "public-1/lungs.safetensors", "study-prognosis/prognosis.json"):
        assert part in page
    result = recipe.out.parent / "result"
    code, _, err = command(
        recipe.capsys, "analyze", recipe.data / "ictcf" / "Patient 17" / "CT", "-o", result,
        "--weights", f"{recipe.out / 'public-1'}/", "--device", "cpu", "--age", "47", "--sex", "M",
        "--no-comorbidity", "--prognosis", recipe.out / "study-prognosis" / "prognosis.json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    told = json.loads((result / "result.json").read_text())
    assert told["prognosis"]["risk"] is not None
    assert "weights-demonstration" in json.dumps(told)
    for name, weights in (("lungs", found.lungs), ("diagnosis", found.diagnosis)):
        assert told["provenance"]["weights"][name]["sources"] == weights.card.sources != []
    assert "phantoms in the layout of iCTCF (HUST-19)" in (result / "report.html").read_text()


def another_run_does_nothing(recipe: Recipe) -> None:
    before = {path: path.stat().st_mtime_ns for path in recipe.out.rglob("*") if path.suffix != ".md"}
    code, out, _ = recipe.run("--allow-incomplete")
    assert code == 0
    assert out.count("] done already") == len(recipe.steps())
    assert {path: path.stat().st_mtime_ns for path in before} == before


def a_plain_command_by_hand_gives_the_same(recipe: Recipe) -> None:
    """The printed commands of cheap steps, typed by hand."""
    for name in ("manifest-vessel12", "check-ictcf", "manifest-ictcf", "manifest-diagnosis", "public-1"):
        facts = recipe.steps()[name]
        for path in facts["made"]:
            (recipe.out / path).unlink()
        assert command(recipe.capsys, *shlex.split(str(facts["command"]))[1:])[0] == 0
        assert {path: sha256_of(recipe.out / path) for path in facts["made"]} == facts["made"]


def a_changed_collection_leaves_the_rest_alone(recipe: Recipe) -> None:
    """Trap: the miniature's sign that it is one is lost; the headers still say so."""
    shutil.rmtree(recipe.data / "COVID-CT-MD" / "Cap Cases" / "cap002")
    code, out, _ = recipe.run("--allow-incomplete", "--list")
    assert code == 0
    left = [
        line.split("]")[0][1:] for line in out.splitlines() if line.startswith("[") and "done" not in line
    ]
    assert left == [
        "manifest-covid-ct-md", "check-covid-ct-md", "manifest-diagnosis", "diagnosis", "public-1",
        "study-diagnosis", "study-prognosis",
    ]  # fmt: skip
    (recipe.data / "COVID-CT-MD" / PHANTOMS).unlink()
    code, _, err = recipe.run("--allow-incomplete", "--list")
    assert code == 2
    assert "phantoms, but covid-ct-md not" in err
    place = recipe.out / "alone.csv"
    words = ("cohort", "from", "covid-ct-md", recipe.data / "COVID-CT-MD", "-o", place, "--allow-incomplete")
    assert command(recipe.capsys, *words)[0] == 0
    assert "synthetic" in place.read_text().splitlines()[0]
