"""A batch as a whole: killed and resumed, workers that die, and the same table whoever does the work."""

from contextlib import nullcontext, suppress
import csv
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

from covid19net.batch import Plan, run_batch
from covid19net.batch.cases import Case, cases_of, check_manifest
from covid19net.batch.rows import Spool, write_csv
from covid19net.batch.run import _crew, alone_in, settled
from covid19net.batch.schedule import Done, work_through
from covid19net.batch.worker import Outcome
from covid19net.cli import main
from covid19net.engine import open_diagnosis, open_lungs
from covid19net.errors import InputError, ResourceError
from covid19net.io import write_dicom_series, write_volume
from covid19net.models import Models
from covid19net.pipeline import analyze
from covid19net.volume import CTVolume, Scan
from tests.batch_stand_in import Deadly, Quick, Unable, logged
from tests.miniatures import phantom as miniature

GRID = np.diag([5.0, 8.0, 8.0, 1.0])[:, [2, 1, 0, 3]]  # from (z, y, x) to mm
COUNT = 16


def make_cohort(folder, names):
    """A manifest of small scans that differ, each of one file."""
    rng = np.random.default_rng(0)
    lines = ["patient_id,scan"]
    for name in names:
        hu = rng.integers(-900, 100, (6, 32, 32), np.int16)
        folder.mkdir(parents=True, exist_ok=True)
        write_volume(CTVolume(hu, GRID), folder / f"{name}.nii.gz")
        lines.append(f"{name},{name}.nii.gz")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return folder / "m.csv"


def plan_in(folder, **options):
    return Plan(out=folder / "out", keep="result", prognosis="none", full_evidence=False, **options)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), [f"P{i:02}" for i in range(COUNT)])


@pytest.fixture(scope="module")
def undisturbed(manifest, tmp_path_factory):
    """The table of a batch that nothing happened to."""
    place = tmp_path_factory.mktemp("undisturbed")
    summary = run_batch(manifest, plan_in(place), workers=1, opening=Quick)
    assert (summary.done, summary.failed, summary.again) == (COUNT, 0, 0)
    return summary.tables[0].read_bytes()


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_for(happens, seconds=60.0):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def pids(place):
    lines = (place / "log").read_text().splitlines() if (place / "log").exists() else []
    return [int(line.split()[2]) for line in lines]


BATCH = """
import sys
from pathlib import Path
from covid19net.batch import Plan, run_batch
from tests.batch_stand_in import Quick
if __name__ == "__main__":
    plan = Plan(out=Path(sys.argv[2]), keep="result", prognosis="none", full_evidence=False)
    run_batch(Path(sys.argv[1]), plan, workers=2, opening=Quick)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_killed_at_any_time_it_goes_on_without_loss_or_repetition(manifest, undisturbed, tmp_path):
    chance = random.Random(5)
    (tmp_path / "batch.py").write_text(BATCH)
    search = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    for round_ in range(3):
        command = [sys.executable, str(tmp_path / "batch.py"), str(manifest), str(tmp_path / "out")]
        with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": search}) as process:
            aim = 3 * round_ + chance.randint(1, 3)
            wait_for(lambda aim=aim: len(logged(tmp_path / "out", "stored")) >= aim)
            time.sleep(chance.uniform(0, 0.15))
            process.kill()
        wait_for(lambda: not any(map(alive, pids(tmp_path))))
        assert not (tmp_path / "out" / "results.csv").exists()
    summary = run_batch(manifest, plan_in(tmp_path), workers=2, opening=Quick)
    assert summary.tables[0].read_bytes() == undisturbed
    assert 3 <= summary.again < COUNT
    stored = logged(tmp_path / "out", "stored")
    assert len(stored) == len(set(stored))  # nothing that was finished was done twice
    folders = [p.name for p in (tmp_path / "out" / "cases").glob("*/*") if not p.name.startswith(".")]
    assert sorted(folders) == [f"P{i:02}" for i in range(COUNT)]
    assert run_batch(manifest, plan_in(tmp_path), workers=1, opening=Quick).again == COUNT


@pytest.mark.parametrize("ray", [None, "local"])
def test_a_worker_that_dies_takes_nothing_with_it(ray, tmp_path):
    if ray:
        pytest.importorskip("ray")
    names = ["ONCE", "A", "B", "C", "D", "KILL", "E"]
    make_cohort(tmp_path, names)
    manifest = tmp_path / "m.csv"
    manifest.write_text(manifest.read_text() + "GONE,nowhere.nii.gz\n")
    seen = []
    summary = run_batch(
        tmp_path / "m.csv", plan_in(tmp_path), workers=2, ray=ray, opening=Deadly,
        progress=lambda *numbers: seen.append(numbers),
    )  # fmt: skip
    rows = list(csv.DictReader(summary.tables[0].read_text().splitlines()))
    assert [row["patient_id"] for row in rows] == [*names, "GONE"]
    assert [row["exit_code"] for row in rows] == ["0", "0", "0", "0", "0", "5", "0", "2"]
    assert "the worker died twice" in rows[5]["reason"]
    assert (summary.done, summary.failed, summary.first_code) == (6, 2, 5)
    assert sorted(code for code, _ in summary.reasons) == [2, 5]
    assert seen[-1] == (8, 2, 8)
    again = run_batch(tmp_path / "m.csv", plan_in(tmp_path), workers=1, opening=Deadly)
    assert (again.again, again.first_code) == (8, 5)
    assert again.tables[0].read_bytes() == summary.tables[0].read_bytes()


def test_a_worker_killed_from_outside_is_replaced(manifest, undisturbed, tmp_path):
    killed = []

    def kill_one(done, *_):
        if done in (3, 7):
            victim = next(pid for pid in reversed(pids(tmp_path)) if pid not in killed)
            killed.append(victim)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    summary = run_batch(manifest, plan_in(tmp_path), workers=2, opening=Quick, progress=kill_one)
    assert len(set(killed)) == 2
    assert summary.failed == 0
    assert summary.tables[0].read_bytes() == undisturbed


def test_workers_that_cannot_begin_stop_the_batch(manifest, tmp_path):
    with pytest.raises(ResourceError, match="died before it could begin"):
        run_batch(manifest, plan_in(tmp_path), workers=1, opening=Unable)


def test_one_batch_at_a_time_in_a_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(InputError, match="another batch is writing"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass
    with pytest.raises(BlockingIOError), alone_in(tmp_path):  # a fault of the work, not of the folder
        raise BlockingIOError


class Paper:
    """A crew without workers: what is under way is counted, and comes back in another order."""

    room_alone = 1

    def __init__(self, room):
        self.room, self.waiting, self.most, self.alone = room, [], 0, []
        self.chance = random.Random(1)

    def submit(self, case):
        self.waiting.append(case)
        self.most = max(self.most, len(self.waiting))

    def collect(self):
        case = self.waiting.pop(self.chance.randrange(len(self.waiting)))
        if case.patient_id.endswith("13"):  # takes its worker along, whatever is done
            self.alone.append(len(self.waiting))
            return [Done(case, None)]
        return [Done(case, Outcome({"patient_id": case.patient_id, "status": "done"}, again=False))]


def nobody(place):
    return Case(place, f"P{place}", "", "/nowhere", f"P{place}")


def test_cases_are_taken_as_there_is_room_and_suspects_are_tried_alone():
    taken, crew = [], Paper(5)
    source = (taken.append(i) or nobody(i) for i in range(400))
    places = []
    for done in work_through(source, crew):
        assert len(taken) <= len(places) + 5 + 4  # those before, those under way, those set aside
        places.append(done.case.place)
        assert (done.outcome is None) == done.case.patient_id.endswith("13")
    assert crew.most == 5
    assert sorted(places) == list(range(400))
    assert crew.alone[4:] == [0, 0, 0, 0]  # 13, 113, 213, 313


def peak_of(folder, count):
    """Most bytes of Python's that a batch of so many rows takes in the process that drives it."""
    manifest = folder / f"{count}.csv"
    manifest.write_text("patient_id,scan\n" + "".join(f"P{i},s{i}\n" for i in range(count)))
    tracemalloc.start()
    try:
        with Spool(folder, check_manifest(manifest)) as spool:
            for done in work_through(cases_of(manifest), Paper(8)):
                if done.outcome:
                    spool.add(done.case.place, done.outcome.row)
            write_csv(spool, folder / "results.csv")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_hardly_grows_with_the_manifest(tmp_path):
    peak_of(tmp_path, 100)  # what is made once
    few, many = peak_of(tmp_path, 500), peak_of(tmp_path, 5000)
    # 16 bytes a row while names are compared, and as many again to sort them; 8 for the place of each row;
    # one in a hundred is set aside as a suspect, some 500 bytes.
    assert (many - few) / 4500 < 100


def test_threads_change_no_result(phantom, models, case):
    """Networks on 1 and 2 threads, and as `models` has them."""
    weights = models.weights
    for threads in (1, 2):
        lungs = open_lungs(weights.lungs, "cpu", threads=threads)
        diagnosis = open_diagnosis(weights.diagnosis, "cpu", threads=threads)
        found = analyze(Scan(phantom.volume), Models(lungs, diagnosis, weights, "cpu"), full_evidence=False)
        assert found.features.tobytes() == case.features.tobytes()
        assert found.heatmap.values.tobytes() == case.heatmap.values.tobytes()
        assert found.lungs.values.tobytes() == case.lungs.values.tobytes()


def test_threads_are_divided_among_workers(monkeypatch, tmp_path):
    monkeypatch.setattr("covid19net.batch.run.cores", lambda: 8)
    for workers, threads in ((1, 8), (2, 4), (3, 2), (8, 1), (20, 1)):
        assert settled(plan_in(tmp_path, device="cpu"), workers, None).threads == threads
    assert settled(plan_in(tmp_path, device="cpu"), 2, "local").threads == 1


@pytest.mark.parametrize(("ray", "expected"), [("local", 8), ("auto", None)])
def test_a_cluster_of_this_machine_has_as_many_workers(ray, expected, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("covid19net.batch.run.default_workers", lambda _: 8)
    monkeypatch.setattr(
        "covid19net.batch.run.RayCrew", lambda _p, _i, _a, workers, _o: nullcontext(asked.append(workers))
    )
    with _crew(plan_in(tmp_path, device="cpu"), "", None, ray, Quick):
        assert asked == [expected]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Two scans for the networks, and several that cannot be analyzed."""
    folder = tmp_path_factory.mktemp("real")
    write_volume(CTVolume(np.full((20, 64, 64), -1000, np.int16), GRID), folder / "air.nii.gz")
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("no scan")
    for number, name in enumerate(("first", "last")):
        write_dicom_series(miniature("covid", number).volume, folder / name)
    (folder / "m.csv").write_text(
        "patient_id,scan,age,sex,comorbidity\n"
        "first,first,61,F,0\nair,air.nii.gz,,,\nempty,empty,,,\nnotes,notes.txt,,,\nnowhere,nowhere,,,\n"
        "last,last,50,M,1\n"
    )
    return folder


@pytest.fixture(scope="module")
def table(real):
    """What one worker makes of them, by the command."""
    with pytest.raises(SystemExit) as ended:
        main(["batch", str(real / "m.csv"), "-o", str(real / "one"), "--workers", "1", "--device", "cpu"])
    assert ended.value.code == 3  # that of the first failure
    return (real / "one" / "results.csv").read_bytes()


def test_bad_scans_are_rows_with_reason_and_exit_code(table):
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert [row["exit_code"] for row in rows] == ["0", "3", "2", "2", "2", "0"]
    reasons = [row["reason"] for row in rows]
    assert reasons[2] == "holds no files to read"
    assert "not a file that can be read" in reasons[3]
    assert reasons[4] == "No such file or directory"
    assert rows[0]["group"] in ("high", "low")
    assert 0 < float(rows[0]["probability"]) < 1


@pytest.mark.parametrize("ray", [None, "local"])
def test_two_workers_make_the_same_table(real, table, ray, capsys):
    if ray:
        pytest.importorskip("ray")
    out = real / f"two-{ray}"
    more = ["--ray", ray] if ray else []
    with pytest.raises(SystemExit):
        main(["batch", str(real / "m.csv"), "-o", str(out), "--workers", "2", "--device", "cpu", *more])
    assert (out / "results.csv").read_bytes() == table
    for name in ("lungs.nii.gz", "heatmap.nii.gz", "montage.png", "discharge.png"):
        one, two = (next(place.glob(f"cases/*/first/{name}")) for place in (real / "one", out))
        assert one.read_bytes() == two.read_bytes()
    said = capsys.readouterr().out
    assert "6 scans: 2 analyzed, 4 failed" in said
    assert "1 failed (exit code 2): holds no files to read" in said


def test_a_header_is_named_and_its_value_stays_in_the_environment(tmp_path, capsys, monkeypatch):
    (tmp_path / "m.csv").write_text("patient_id,scan\nA,b\n")
    words = ["batch", str(tmp_path / "m.csv"), "-o", str(tmp_path / "out"), "--dicomweb-header"]
    monkeypatch.setenv("PACS_TOKEN", "Bearer secret")
    for text in ("Authorization", "Authorization=NOT_THERE"):
        with pytest.raises(SystemExit) as ended:
            main([*words, text])
        assert ended.value.code == 2
        assert "--dicomweb-header Authorization" in capsys.readouterr().err
    assert "secret" not in repr(Plan(out=tmp_path, headers={"Authorization": "Bearer secret"}))
