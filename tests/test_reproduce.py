"""The parts of the recipe without its work: what is there, which steps follow, what is done anew."""

from dataclasses import replace
import json
from pathlib import Path
import shlex

import pytest

from covid19net.cli import main
from covid19net.collections import COLLECTIONS, PHANTOMS
from covid19net.errors import InputError
from covid19net.reproduce import (
    WANTED,
    Choice,
    Cost,
    Place,
    Record,
    Step,
    hours_of,
    left_to_do,
    missing_lines,
    run_steps,
    steps_of,
    take_inventory,
)
from covid19net.reproduce.runner import key_of


def recipe_text(steps: int) -> str:
    schedule = {"steps": steps, "batch": 4, "learning_rate": 1e-3}
    return json.dumps([{"name": "mine", "shrink": [2, 4, 4], "schedule": schedule}])


ICTCF = ("ictcf/Patient 1/CT/1-001.dcm", "ictcf/Patient 2.zip")
VESSEL12 = ("my downloads/VESSEL12_01-05/VESSEL12_01.mhd", "my downloads/VESSEL12_01-05/VESSEL12_02.mhd")


def lay(data: Path, *places: str) -> Path:
    for place in places:
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        (data / place).write_bytes(b"12345")
    return data


def names(found, tmp_path, **choices) -> list[str]:
    return [step.name for step in steps_of(found, Place(tmp_path, tmp_path / "out"), Choice(**choices))]


# --- what is there


def test_downloads_are_found_by_name_or_by_what_they_hold(tmp_path):
    """ictcf/ by its name, VESSEL12 in a folder of any name; 2 files of 5 bytes are 10 bytes."""
    found = take_inventory(lay(tmp_path, *ICTCF, *VESSEL12, "notes/readme.txt"), WANTED, tmp_path / "out")
    assert {name: (h.folder.name, h.patients, h.files, h.size) for name, h in found.items()} == {
        "vessel12": ("my downloads", 2, 2, 10),
        "ictcf": ("ictcf", 2, 2, 10),
    }


def test_a_download_on_another_disk_may_be_linked(tmp_path):
    lay(tmp_path / "disk", "unpacked/Patient 1/CT/1-001.dcm")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ictcf").symlink_to(tmp_path / "disk" / "unpacked")
    assert take_inventory(tmp_path / "data", WANTED, tmp_path / "out")["ictcf"].patients == 1


def test_results_beside_the_downloads_are_no_download(tmp_path):
    lay(tmp_path, *ICTCF, "out/images/VESSEL12_01.mhd")
    assert set(take_inventory(tmp_path, WANTED, tmp_path / "out")) == {"ictcf"}


def test_a_changed_file_changes_the_digest(tmp_path):
    lay(tmp_path, *ICTCF)
    before = take_inventory(tmp_path, WANTED, tmp_path / "out")["ictcf"].digest
    assert take_inventory(tmp_path, WANTED, tmp_path / "out")["ictcf"].digest == before
    (tmp_path / ICTCF[1]).write_bytes(b"123456")
    assert take_inventory(tmp_path, WANTED, tmp_path / "out")["ictcf"].digest != before


def test_phantoms_beside_people_are_refused(tmp_path):
    lay(tmp_path, *ICTCF, *VESSEL12)
    (tmp_path / "ictcf" / PHANTOMS).write_text("phantoms")
    with pytest.raises(InputError, match="ictcf: phantoms, but vessel12 not"):
        take_inventory(tmp_path, WANTED, tmp_path / "out")


def test_what_is_missing_is_told_with_size_licence_and_address(tmp_path):
    lines = missing_lines(take_inventory(lay(tmp_path, *ICTCF), WANTED, tmp_path / "out"))
    assert len(lines) == len(WANTED) - 1
    vessel12 = next(line for line in lines if line.startswith("vessel12"))
    for part in ("about 5 GB (unconfirmed)", "https://zenodo.org/records/8055066", "licence to be read"):
        assert part in vessel12
    assert {wanted.name for wanted in WANTED} <= set(COLLECTIONS)


def test_the_page_says_what_the_program_says():
    """Rows of the table in docs/how-to/train-on-public-data.md, word for word."""
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "train-on-public-data.md").read_text()
    for wanted in WANTED:
        facts = COLLECTIONS[wanted.name]
        row = (wanted.name, wanted.purpose, str(facts.size), str(facts.licence), wanted.without)
        assert f"| {' | '.join(row)} |" in page


# --- which steps follow


def test_steps_of_what_is_there(tmp_path):
    alone = names(take_inventory(lay(tmp_path, *ICTCF), WANTED, tmp_path / "out"), tmp_path)
    assert alone == [
        "manifest-ictcf", "check-ictcf", "diagnosis", "public-1", "study-diagnosis",
    ]  # fmt: skip
    lay(tmp_path, *VESSEL12, "x/R01-001/s/1.dcm", "ny-sbu/A000001/s/1.dcm", "seg20/coronacases_001.nii.gz")
    more = names(take_inventory(tmp_path, WANTED, tmp_path / "out"), tmp_path)
    assert [name for name in more if not name.startswith(("manifest", "check"))] == [
        "lungs", "auxiliary", "diagnosis", "public-1", "study-diagnosis", "study-prognosis",
    ]  # fmt: skip


def test_one_hospital_alone_is_trained_and_studied_from_its_own_manifest(tmp_path):
    found = take_inventory(lay(tmp_path, *ICTCF), WANTED, tmp_path / "out")
    steps = {step.name: step for step in steps_of(found, Place(tmp_path, tmp_path / "out"), Choice())}
    for name in ("diagnosis", "study-diagnosis"):
        assert "manifest-ictcf" in steps[name].needs
        assert str(tmp_path / "out" / "manifests" / "ictcf.csv") in steps[name].words


def test_without_vessel12_the_bundled_lungs_are_used(tmp_path):
    found = take_inventory(lay(tmp_path, *ICTCF), WANTED, tmp_path / "out")
    steps = {step.name: step for step in steps_of(found, Place(tmp_path, tmp_path / "out"), Choice())}
    assert "--find-lungs" in steps["diagnosis"].words
    assert "--from" not in steps["diagnosis"].words
    lay(tmp_path, *VESSEL12)
    found = take_inventory(tmp_path, WANTED, tmp_path / "out")
    steps = {step.name: step for step in steps_of(found, Place(tmp_path, tmp_path / "out"), Choice())}
    assert "--lungs" in steps["diagnosis"].words
    assert "lungs" in steps["diagnosis"].needs


def test_without_ictcf_it_stops_with_one_line_that_says_where_to_get_it(tmp_path, capsys):
    lay(tmp_path, *VESSEL12)
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", "public", "--data", str(tmp_path), "-o", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert len(err.splitlines()) == 1
    assert "no ictcf" in err
    assert "https://ngdc.cncb.ac.cn" in err
    assert "seg20: missing" in out
    assert not (tmp_path / "out").exists()


def test_the_list_does_nothing(tmp_path, capsys):
    lay(tmp_path, *ICTCF)
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", "public", "--data", str(tmp_path), "-o", str(tmp_path / "out"), "--list"])
    assert stop.value.code == 0
    out, _ = capsys.readouterr()
    assert "to do: about" in out
    assert "not measured there, counted as on a CPU: lung image" in out
    assert not (tmp_path / "out").exists()


def test_hours_are_counts_times_measured_seconds():
    """64,000 whole images at 0.36 a second (docs/performance.md): 49.4 h; at 86.2 on an H200, 0.21 h."""
    cost = Cost({"sample at 48 x 240 x 360": 64000})
    assert hours_of(cost) == pytest.approx(64000 / 0.36 / 3600)
    assert hours_of(cost) == pytest.approx(49.4, abs=0.05)
    assert hours_of(cost, gpu=True) == pytest.approx(0.206, abs=0.001)


def test_a_recipe_of_a_size_that_was_not_measured_is_counted_by_voxels():
    """48 x 120 x 180 is a quarter of the whole size: 64,000 / 4 / 0.36 seconds; and no GPU figure."""
    cost = Cost({"sample at 48 x 120 x 180": 64000})
    assert hours_of(cost) == pytest.approx(64000 / 4 / 0.36 / 3600)
    assert hours_of(cost, gpu=True) == hours_of(cost)


def test_masks_and_hashes_are_counted_for_each_patient(tmp_path):
    """2 patients of LCTSC at 15 s a mask and 2 headers; 0.06 s a hash (docs/performance.md)."""
    lay(tmp_path, *ICTCF, "lctsc/LCTSC-Train-S1-001/s/1.dcm", "lctsc/LCTSC-Test-S2-101/s/1.dcm")
    found = take_inventory(tmp_path, WANTED, tmp_path / "out")
    steps = {step.name: step for step in steps_of(found, Place(tmp_path, tmp_path / "out"), Choice())}
    assert hours_of(steps["manifest-lctsc"].cost) == pytest.approx((2 * 15 + 2 * 0.002) / 3600)
    assert [steps[name].cost.units["scan hashed"] for name in ("lungs", "diagnosis")] == [2, 2]


# --- what is done anew


class Kitchen:
    """Three steps, a from a download, b from a, c alone; a command writes what its inputs hold."""

    def __init__(self, folder: Path) -> None:
        self.out, self.data, self.ran, self.text = folder / "out", folder / "data", [], {"a": "1", "c": "1"}
        lay(self.data, *ICTCF)

    @property
    def steps(self) -> list[Step]:
        def step(name: str, **more: object) -> Step:
            work = (self.out / f"{name}-work",)
            return Step(
                name, name, ("make", name, str(self.out)), makes=(self.out / name,), work=work, **more
            )

        return [step("a", reads=("ictcf",)), step("b", needs=("a",)), step("c")]

    def run(self, words: tuple[str, ...]) -> None:
        name = words[1]
        self.ran.append(name)
        self.out.mkdir(exist_ok=True)
        source = self.out / "a" if name == "b" else None
        (self.out / name).write_text(source.read_text() if source else self.text[name])

    def go(self, **options: object) -> list[str]:
        self.ran.clear()
        found = take_inventory(self.data, WANTED, self.out)
        run_steps(self.steps, Record(self.out), found, self.run, lambda *_: None, **options)
        return list(self.ran)


@pytest.fixture
def kitchen(tmp_path):
    return Kitchen(tmp_path)


def test_what_is_done_is_kept(kitchen):
    assert kitchen.go() == ["a", "b", "c"]
    assert kitchen.go() == []


def test_a_changed_download_redoes_what_depends_on_it_and_no_more(kitchen):
    kitchen.go()
    lay(kitchen.data, "ictcf/Patient 3.zip")
    assert kitchen.go() == ["a"]  # its file came out as before: b read the same bytes
    lay(kitchen.data, "ictcf/Patient 4.zip")
    kitchen.text["a"] = "2"
    found = take_inventory(kitchen.data, WANTED, kitchen.out)
    assert [s.name for s in left_to_do(kitchen.steps, Record(kitchen.out), found)] == ["a", "b"]
    assert kitchen.go() == ["a", "b"]
    assert (kitchen.out / "b").read_text() == "2"


def test_a_file_that_was_lost_or_changed_is_made_again(kitchen):
    kitchen.go()
    (kitchen.out / "c").write_text("spoilt")
    (kitchen.out / "b").unlink()
    assert kitchen.go() == ["b", "c"]


def test_another_version_of_the_package_redoes_all(kitchen, monkeypatch):
    kitchen.go()
    monkeypatch.setattr("covid19net.reproduce.runner.__version__", "9.9")
    assert kitchen.go() == ["a", "b", "c"]


def test_half_done_work_is_kept_after_a_stop_and_cleared_for_other_inputs(kitchen):
    """A killed command goes on from its own checkpoints, but never from those of other patients."""
    plain = kitchen.run

    def killed(words):
        if words[1] == "b":
            (kitchen.out / "b-work").mkdir(parents=True, exist_ok=True)
            (kitchen.out / "b-work" / "checkpoint").write_text("half")
            raise KeyboardInterrupt
        plain(words)

    kitchen.run = killed
    with pytest.raises(KeyboardInterrupt):
        kitchen.go()
    kitchen.run = plain
    assert kitchen.go() == ["b", "c"]
    assert (kitchen.out / "b-work" / "checkpoint").exists()
    lay(kitchen.data, "ictcf/Patient 3.zip")
    kitchen.text["a"] = "3"
    assert kitchen.go() == ["a", "b"]
    assert not (kitchen.out / "b-work").exists()
    assert (kitchen.out / "b-work-old" / "checkpoint").exists()  # it may have been days


def test_one_step_alone(kitchen):
    assert kitchen.go(only="c") == ["c"]
    with pytest.raises(InputError, match="b needs the step a, which is not done"):
        kitchen.go(only="b")
    with pytest.raises(InputError, match="d: no such step; there are a, b, c"):
        kitchen.go(only="d")


def test_a_step_alone_is_not_made_of_what_was_changed_since(kitchen):
    kitchen.go()
    (kitchen.out / "a").write_text("spoilt")
    with pytest.raises(InputError, match="b needs the step a, which is not done"):
        kitchen.go(only="b")


def test_a_file_that_a_command_names_decides_as_well(tmp_path):
    found = take_inventory(lay(tmp_path / "data", *ICTCF), WANTED, tmp_path / "out")
    recipe = tmp_path / "mine.json"
    record = Record(tmp_path / "out")
    record.steps["manifest-ictcf"] = {"made": {}}

    def key(steps: int) -> str:
        recipe.write_text(recipe_text(steps))
        choice = Choice(recipe=str(recipe))
        made = {s.name: s for s in steps_of(found, Place(tmp_path / "data", tmp_path / "out"), choice)}
        return key_of(made["diagnosis"], record, found)

    assert key(4) != key(400)
    assert key(4) == key(4)


@pytest.mark.parametrize("out", ["public-1", "data-and-more", "elsewhere/out"])
def test_where_the_folders_lie_decides_nothing(tmp_path, out):
    """Also where a folder's name stands in another word, or is the beginning of another folder's."""

    def key(base: Path, out: Path) -> str:
        found = take_inventory(lay(base / "data", *ICTCF), WANTED, out)
        record = Record(out)
        record.steps["manifest-ictcf"] = {"made": {}}
        made = {s.name: s for s in steps_of(found, Place(base / "data", out), Choice())}
        reads = replace(made["diagnosis"], reads=())
        return key_of(reads, record, found)

    assert key(tmp_path / "a", tmp_path / "a" / out) == key(tmp_path / "b", tmp_path / "b" / "out")


def test_a_command_that_leaves_nothing_is_noticed(kitchen):
    kitchen.run = lambda _words: None
    with pytest.raises(InputError, match="a: the command left no a"):
        kitchen.go()


def test_a_record_that_is_none_is_refused(kitchen):
    kitchen.go()
    (kitchen.out / "recipe.json").write_text("[")
    with pytest.raises(InputError, match=r"recipe\.json: not the record of a recipe"):
        kitchen.go()


def test_the_command_of_a_step_can_be_pasted_into_a_shell(tmp_path):
    step = Step("x", "x", ("cohort", "from", "ictcf", str(tmp_path / "my data")), where=("--workers", "2"))
    assert shlex.split(step.line()) == ["covid19net", *step.words]
