"""From a manifest to weights that analysis takes, in two steps, on a toy disease."""

from dataclasses import replace
import json

import numpy as np
import pytest

from covid19net import load_models
from covid19net.cohort import read_manifest, write_table
from covid19net.errors import InputError, NotChestCTError, WeightsError
from covid19net.io import write_volume
from covid19net.train import images
from covid19net.train.classes import split_patients
from covid19net.train.classify import start_network
from covid19net.train.outcome import scores_table, spread
from covid19net.train.recipes import Stage
from covid19net.train.schedule import Schedule
from covid19net.train.two_step import TASKS, Plan, Workplace, starting_tensors, train_task, with_column
from covid19net.volume import CTVolume, Overlay
from covid19net.weights import load_tensors, read_card

AFFINE = np.array([[0, 0, 4.0, -150], [0, 4.0, 0, -150], [5.0, 0, 0, 0], [0, 0, 0, 1]])
TINY = (4, 8, 8)
STAGES = (Stage("tiny", TINY, Schedule(30, 8, 4e-3, average=0.8, judge_every=10, save_every=10)),)
SHORT = (Stage("tiny", TINY, Schedule(9, 8, 4e-3, average=0.8, judge_every=3, save_every=3)),)


def write_patient(folder, rng, positive):
    """A scan of 16 x 64 x 64 with two lungs; where positive, the lower half of both is hazy."""
    hu = rng.normal(40, 20, (16, 64, 64))
    mask = np.zeros(hu.shape, np.uint8)
    mask[2:14, 16:48, 8:28], mask[2:14, 16:48, 36:56] = 1, 2
    hu[mask > 0] += rng.normal(-890, 20)
    hazy = mask.copy()
    hazy[8:] = 0
    hu[hazy > 0] += 250 * positive + rng.normal(0, 20)
    folder.mkdir(parents=True)
    write_volume(CTVolume(hu.astype(np.int16), AFFINE), folder / "ct.nii.gz")
    write_volume(Overlay(mask, AFFINE), folder / "lungs.nii.gz")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Twenty patients for the auxiliary task, twenty to train, sixteen to validate; haze is the class."""
    out = tmp_path_factory.mktemp("toy")
    rng, rows = np.random.default_rng(0), []
    for name, count in (("auxiliary", 20), ("training", 20), ("validation 1", 16)):
        for k in range(count):
            place, positive = f"{name.replace(' ', '-')}-{k}", k % 2 == 0
            write_patient(out / place, rng, positive)
            rows.append({
                "patient_id": place, "scan": f"{place}/ct.nii.gz", "lungs": f"{place}/lungs.nii.gz",
                "centre": "Toytown", "set": name, "synthetic": 1, "thickness": 5 if k % 4 < 2 else 1,
                "kernel": "soft", "type": "covid" if positive else "bacterial",
                "egfr": ("mutant" if positive else "wild") if name == "auxiliary" else "",
                "label": "" if name == "auxiliary" else "covid" if positive else "other",
                "collection": name,
            })  # fmt: skip
    (out / "manifest.source.json").write_text(json.dumps([
        {"collection": name, "title": name.title(), "licence": licence, "citation": f"{name} 2020",
         "claims": "Toys.", "refused": {"diagnosis": "nobody has COVID-19"} if name == "auxiliary" else {}}
        for name, licence in (("auxiliary", "CC BY-NC 4.0"), ("training", "CC BY 4.0"),
                              ("validation 1", "CC0 1.0"), ("elsewhere", "CC BY 4.0"))
    ]))  # fmt: skip
    return write_table(out / "manifest.csv", rows)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    return Workplace(out / "one", out / "work-one", out / "cache")


@pytest.fixture(scope="module")
def auxiliary(manifest, place):
    plan = Plan(TASKS["auxiliary"], SHORT, name="toy-egfr", command="covid19net train auxiliary m.csv")
    return train_task(manifest, plan, place)


@pytest.fixture(scope="module")
def diagnosis(manifest, place, auxiliary):
    plan = Plan(TASKS["diagnosis"], STAGES, start=auxiliary.path.parent, name="toy", licence="CC0-1.0")
    two = Workplace(place.out.parent / "two", place.out.parent / "work-two", place.cache)
    return train_task(manifest, plan, two)


def test_step_one_learns_and_its_card_says_from_what(auxiliary):
    card = auxiliary.card
    assert card.task == "egfr"
    assert card.demonstration  # the manifest says that the patients are synthetic
    assert (
        "16 synthetic patients (phantoms) of Toytown (column egfr: 8 positive, 8 negative)"
        in card.training_data
    )
    assert card.training_command == "covid19net train auxiliary m.csv"
    assert card.metrics["started from"] == "random numbers"
    assert card.options["shrink"] == list(TINY)


def test_cards_name_the_sources_of_both_steps_and_what_binds_users(auxiliary, diagnosis):
    one, two = auxiliary.card, diagnosis.card
    roles = {source["collection"]: source["role"] for source in one.sources}
    assert roles == {"auxiliary": "learned from", "elsewhere": "learned from"}  # no row names the last
    assert one.licence == (
        "none stated; made from data under CC BY-NC 4.0 (auxiliary), CC BY 4.0 (elsewhere)"
    )
    assert "Non-commercial licence of auxiliary: CC BY-NC 4.0." in one.limits
    roles = {source["collection"]: source["role"] for source in two.sources}
    assert roles == {
        "auxiliary": "learned from by the weights that training started from",
        "training": "learned from", "elsewhere": "learned from", "validation 1": "measured on",
    }  # fmt: skip
    assert two.licence == "CC0-1.0"  # as its maker says; the data still bind
    assert "Non-commercial licence of auxiliary" in two.limits
    assert "no source for diagnosis" not in two.limits  # step one was another use
    assert one.training_data in two.training_data
    assert two.sources[0]["citation"] == "auxiliary 2020"


def test_step_two_starts_from_step_one_and_is_judged_on_a_set_it_never_saw(diagnosis, auxiliary):
    card = diagnosis.card
    assert auxiliary.card.sha256[:12] in card.metrics["started from"]
    found = card.metrics["validation 1"]
    assert (found["positive"], found["negative"]) == (8, 8)
    assert found["auc"]["low"] > 0.5
    assert {"sensitivity", "specificity", "brier", "auc by slices"} <= found.keys()
    assert 0 < card.options["threshold"] < 1
    assert card.licence == "CC0-1.0"
    assert card.metrics["recipe"][0]["schedule"]["learning_rate"] == 4e-3
    assert read_card(diagnosis.path.with_suffix(".json")) == card


def test_the_weights_are_ready_for_analysis(diagnosis):
    models = load_models(diagnosis.path.parent, device="cpu")
    assert models.reference is not None
    assert {f.code for f in models.weights.findings} >= {"weights-demonstration", "weights-reduced"}
    image = np.random.default_rng(0).standard_normal((48, 240, 360)).astype(np.float32)
    evidence = models.diagnosis(image)
    assert evidence.features.shape == (64,)
    assert evidence.maps.shape == (152, 2, 2, 3)  # 12 x 30 x 45 halved 3, 4 and 4 times, rounded up


def test_every_patient_is_scored_in_a_table(diagnosis):
    lines = (diagnosis.path.parent / "scores.csv").read_text().splitlines()
    assert lines[0] == "patient_id,set,positive,type,thickness,kernel,probability"
    assert len(lines) == 1 + 4 + 16  # tuning and validation
    assert all(0 <= float(line.rsplit(",", 1)[1]) <= 1 for line in lines[1:])


@pytest.mark.usefixtures("auxiliary")
def test_metrics_of_each_step_are_lines_of_json(place):
    lines = [json.loads(line) for line in (place.work / "tiny.jsonl").read_text().splitlines()]
    assert sum("loss" in line for line in lines) == 9
    assert [line["step"] for line in lines if "score" in line] == [3, 6, 9]


def test_the_whole_network_is_transferred(auxiliary):
    tensors, _ = starting_tensors(auxiliary.path.parent)
    state = start_network(tensors, seed=5).state_dict()
    assert all(np.array_equal(state[name].numpy(), tensor) for name, tensor in tensors.items())
    assert tensors.keys() < load_tensors(auxiliary).keys()  # which hold the reference too


def test_a_set_without_a_network_to_start_from_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such folder"):
        starting_tensors(tmp_path / "nothing")


def test_any_yes_or_no_column_can_be_learned(manifest):
    task = with_column(TASKS["auxiliary"], "smoker", "training")
    rows = manifest.read_text().splitlines()
    table = manifest.with_name("smokers.csv")
    table.write_text("\n".join([rows[0] + ",smoker", *(f"{r},{i % 2}" for i, r in enumerate(rows[1:]))]))
    patients = read_manifest(table, needs=["scan"], may=["smoker"])
    split = split_patients(patients, task.column, task.training_set)
    assert len(split.training) == 16
    assert sum(p.values["smoker"] for p in split.training) == 8


def test_a_manifest_without_the_column_is_refused_before_any_scan_is_read(manifest, tmp_path):
    lines = [line.split(",") for line in manifest.read_text().splitlines()]
    drop = lines[0].index("label")
    table = manifest.with_name("bare.csv")
    table.write_text("\n".join(",".join(c for i, c in enumerate(r) if i != drop) for r in lines))
    place = Workplace(tmp_path / "out", tmp_path / "work", tmp_path / "cache")
    with pytest.raises(InputError, match="column label is missing"):
        train_task(table, Plan(TASKS["diagnosis"], STAGES), place)
    assert not (tmp_path / "cache").exists()


def test_a_checkpoint_of_another_run_is_not_taken_for_this_one(manifest, place, auxiliary):
    """The same work folder with other starting weights or other patients: refused, not silently reused."""
    plan = Plan(TASKS["auxiliary"], SHORT, start=auxiliary.path.parent)
    other = Workplace(place.out.parent / "other", place.work, place.cache)
    with pytest.raises(InputError, match="other patients or other starting weights"):
        train_task(manifest, plan, other)
    assert not other.out.exists()


def test_one_scan_under_two_names_is_refused(manifest, place):
    rows = manifest.read_text().splitlines()
    twin = rows[21].split(",")  # of the training set
    copy = manifest.parent / "copy.nii.gz"
    copy.write_bytes((manifest.parent / twin[1]).read_bytes())
    table = manifest.with_name("twins.csv")
    table.write_text("\n".join([*rows, ",".join(["someone-else", "copy.nii.gz", *twin[2:]])]))
    two = Workplace(place.out.parent / "three", place.out.parent / "work-three", place.cache)
    with pytest.raises(InputError, match="the same scan under two names in rows 22 and 58"):
        train_task(table, Plan(TASKS["diagnosis"], STAGES), two)


def test_a_scan_that_cannot_be_used_stops_or_is_left_out_and_named(manifest, place, tmp_path, monkeypatch):
    """A scan of nothing but air among 20: a fault by its row; or 19 patients, and the 20th in a table."""
    rows = manifest.read_text().splitlines()
    auxiliary = [line.replace(",auxiliary-", f",{manifest.parent}/auxiliary-") for line in rows[1:21]]
    air = tmp_path / "air.nii.gz"
    write_volume(CTVolume(np.full((16, 64, 64), -1000, np.int16), AFFINE), air)
    auxiliary[0] = auxiliary[0].replace(f"{manifest.parent}/auxiliary-0/ct.nii.gz", str(air))
    table = tmp_path / "m.csv"
    table.write_text("\n".join([rows[0], *auxiliary]) + "\n")
    plan = Plan(with_column(TASKS["auxiliary"], None, None), SHORT)
    workplace = Workplace(tmp_path / "out", tmp_path / "work", place.cache)
    with pytest.raises((InputError, NotChestCTError), match="row 2"):
        train_task(table, plan, workplace)
    hashed, real = [], images.content_hash
    monkeypatch.setattr(images, "content_hash", lambda path: hashed.append(path) or real(path))
    weights = train_task(table, replace(plan, leave_out=True), workplace)
    assert weights is not None
    assert len(hashed) == len(set(hashed)) == 40  # 20 scans and their masks, once each
    assert weights.card.metrics["patients left out, their scans being unusable"] == 1
    left = (tmp_path / "out" / "left-out.csv").read_text().splitlines()
    assert left[1].startswith(("auxiliary-0,training,", "auxiliary-0,tuning,"))
    assert len((tmp_path / "out" / "scores.csv").read_text().splitlines()) in (4, 5)  # 3 or 4 of 19 tune


def test_a_column_without_two_classes_is_refused():
    with pytest.raises(InputError, match="no two classes"):
        with_column(TASKS["auxiliary"], "age", None)


def test_a_set_that_is_not_there_is_refused_with_counts(manifest, tmp_path):
    task = replace(TASKS["diagnosis"], training_set="trainng")
    place = Workplace(tmp_path / "out", tmp_path / "work", tmp_path / "cache")
    with pytest.raises(InputError, match="'trainng', column label: 0 positive and 0 negative"):
        train_task(manifest, Plan(task, STAGES), place)


def test_samples_are_spread_evenly():
    assert spread(range(10), 4) == [0, 3, 6, 9]
    assert spread(range(3), 4) == range(3)


def test_no_scores_no_table():
    with pytest.raises(InputError, match="no patient"):
        scores_table({})
