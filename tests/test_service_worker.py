"""The worker: each job's result exactly once, whatever its process does and whenever the service dies."""

import contextlib
from hashlib import sha256
import json
import os
from pathlib import Path
import random
import sqlite3
import subprocess
import sys
import threading
import time
from unittest import mock
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest

from covid19net.cli import main
from covid19net.io import write_volume
from covid19net.prognosis.model import Clinical
from covid19net.service import disk
from covid19net.service.expiry import Expiry, erase, expire
from covid19net.service.intake import Intake
from covid19net.service.jobs import DiskFull, Jobs, State
from covid19net.service.logs import log
from covid19net.service.settings import load_settings
from covid19net.service.watch import Ending, Stop
from covid19net.service.worker import STAGES, Worker, analysis
from tests.dicom_node import until
from tests.service_fake import command

ENDS = (State.DONE, State.FAILED, State.CANCELLED)


class Ward:
    """A worker over a data folder, with the quick analysis of `service_fake`."""

    def __init__(self, data: Path, *, how=command, pause: float = 0.1, **more) -> None:
        self.settings = load_settings(None, {}, data=data, **more)
        disk.prepare(data)
        self.jobs = Jobs(data / disk.DATABASE)
        self.intake = Intake(self.settings, self.jobs)
        self.done = []
        self.worker = Worker(self.settings, self.jobs, command=how, finished=self.done.append, pause=pause)

    def send(self, *contents: bytes, suffix: str = "", **more) -> str:
        with self.intake.stage() as staged:
            for content in contents:
                with staged.write(suffix) as file:
                    file.write(content)
            return staged.commit(source="rest", owner="ris", **more)[0].id

    def wait(self, job_id: str, *states: State, seconds: float = 30):
        end = time.monotonic() + seconds
        while (job := self.jobs.get(job_id)).state not in (states or ENDS):
            assert time.monotonic() < end, job
            time.sleep(0.01)
        return job

    def names(self, part: str) -> list[str]:
        return sorted(p.name for p in (self.settings.data / part).iterdir())

    def record(self, job_id: str) -> dict:
        return json.loads((self.settings.data / "results" / job_id / "result.json").read_text())

    def close(self) -> None:
        self.worker.drain(0)
        self.jobs.close()


@pytest.fixture
def ward(tmp_path):
    ward = Ward(tmp_path / "data", job_memory_gb=0.5, job_minutes=0.05)
    ward.worker.start()
    yield ward
    ward.close()


def test_a_job_is_done_and_its_result_is_whole(ward):
    job_id = ward.send(b"plain 1", b"plain 2")
    job = ward.wait(job_id)
    digest = sha256(b"plain 1plain 2").hexdigest()
    assert (job.state, job.exit_code, job.attempts, job.reason) == (State.DONE, 0, 1, None)
    assert ward.record(job_id)["sha256"] == digest
    assert job.summary["score"] == int(digest[:8], 16) / 2**32
    assert [each.id for each in ward.done] == [job_id]
    assert ward.done[0].state is State.DONE
    assert ward.names("results") == [job_id]
    assert ward.names("running") == ward.names("incoming") == []
    assert (ward.settings.data / "results" / job_id).stat().st_mode & 0o77 == 0


def test_a_file_that_holds_a_scan_is_analyzed_as_a_file(ward, monkeypatch):
    seen = []

    def spy(scan, out, telling):
        seen.append(scan.name)
        return command(scan, out, telling)

    monkeypatch.setattr(ward.worker, "_command", spy)
    one, other = ward.send(b"plain 3", suffix=".zip"), ward.send(b"plain 4")
    ward.wait(other)
    assert seen == ["upload.zip", other]
    assert ward.jobs.get(one).state is State.DONE


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        (b"memory ", 5, "more memory than the 0.5 GB"),
        (b"child ", 5, "more memory than the 0.5 GB"),  # it is the group that counts
        (b"sleep 60", 5, "more time than the 0.05 minutes"),
        (b"signal 11", 5, "signal 11"),
        (b"signal 9", 5, "killed"),
        (b"exit 3", 3, "000001: it is no chest CT"),
        (b"flood ", 2, "xxx"),
    ],
    ids=lambda value: value.decode().split()[0] if isinstance(value, bytes) else None,
)
def test_an_ill_behaved_process_ends_its_job_and_nothing_else(ward, asked, code, reason):
    job = ward.wait(ward.send(asked))
    assert (job.state, job.exit_code) == (State.FAILED, code)
    assert reason in job.reason
    assert len(job.reason) <= 300
    assert ward.names("results") == ward.names("running") == []
    assert ward.worker.alive
    assert ward.wait(ward.send(b"plain after")).state is State.DONE


def test_an_array_larger_than_the_limit_is_refused_where_it_is_asked_for(ward):
    """60 GB of zeros would hold no memory at first, and all of the machine's when they are touched."""
    job = ward.wait(ward.send(b"array "))
    assert job.state is State.FAILED
    assert "MemoryError" in job.reason


def test_a_running_job_is_cancelled_with_its_process(ward):
    job_id = ward.send(b"sleep 60")
    ward.wait(job_id, State.RUNNING)
    while (ward.worker.progress(job_id) or {}).get("stage") != "lungs":
        time.sleep(0.01)
    assert ward.worker.progress(job_id)["fraction"] == pytest.approx(0.26)  # half of 0.16 to 0.36
    assert ward.jobs.request_cancel(job_id)
    assert ward.wait(job_id).state is State.CANCELLED
    assert ward.names("running") == ward.names("results") == []
    assert ward.worker.progress(job_id) is None


def test_every_stage_of_an_analysis_has_its_share_of_the_bar(case):
    assert list(STAGES) == ["reading", *case.seconds, "writing"]
    ends = [round(start + length, 6) for start, length in STAGES.values()]
    assert [start for start, _ in STAGES.values()] == [0.0, *ends[:-1]]
    assert ends[-1] == 1


def test_draining_lets_a_short_job_end_and_queues_a_long_one_again(tmp_path):
    ward = Ward(tmp_path / "data", workers=2)
    short, long, waiting = ward.send(b"sleep 1"), ward.send(b"sleep 60"), ward.send(b"plain 1")
    ward.worker.start()
    for job_id in (short, long):
        ward.wait(job_id, State.RUNNING)
    start = time.monotonic()
    ward.worker.drain(3)
    assert time.monotonic() - start < 10
    assert ward.worker.draining
    assert ward.jobs.get(short).state is State.DONE
    assert (ward.jobs.get(long).state, ward.jobs.get(long).attempts) == (State.QUEUED, 0)
    assert (ward.jobs.get(waiting).state, ward.jobs.get(waiting).attempts) == (State.QUEUED, 0)
    assert ward.names("running") == []
    assert ward.jobs.claim().id == long  # at its old place
    ward.close()


def test_a_result_that_finds_no_room_waits_for_it(small_disk):
    ward = Ward(small_disk / "data")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(50_000_000))
    job_id = ward.send(b"fill 30000000")
    ward.worker.start()
    ward.wait(job_id, State.RUNNING)
    time.sleep(1)
    assert ward.jobs.get(job_id).state in (State.QUEUED, State.RUNNING)
    assert ward.names("results") == []
    ballast.unlink()
    job = ward.wait(job_id)
    assert (job.state, job.attempts) == (State.DONE, 1)
    ward.close()


def test_results_of_many_jobs_are_not_mixed(tmp_path):
    ward = Ward(tmp_path / "data", workers=3)
    sent = {ward.send(b"plain %d" % number): sha256(b"plain %d" % number).hexdigest() for number in range(20)}
    ward.worker.start()
    for job_id, digest in sent.items():
        assert ward.wait(job_id).state is State.DONE
        assert ward.record(job_id)["sha256"] == digest
    assert sorted(each.id for each in ward.done) == sorted(sent)
    ward.close()


SERVICE = """
from pathlib import Path
import sys
from covid19net.service import disk
from covid19net.service.intake import Intake
from covid19net.service.jobs import Jobs
from covid19net.service.settings import load_settings
from covid19net.service.worker import Worker, analysis
from tests.service_fake import command
import time

settings = load_settings(None, {}, data=sys.argv[1], workers=2)
disk.prepare(settings.data)
jobs = Jobs(settings.data / disk.DATABASE)
told = settings.data / "told"
def tell(job):
    with told.open("a") as file:
        file.write(job.id + "\\n")
for job in jobs.recover(settings.data / "results"):
    tell(job)
Intake(settings, jobs).recover()
worker = Worker(settings, jobs, command=command, finished=tell)
worker.start()
print("ready", flush=True)
time.sleep(600)
"""


def start(data: Path) -> subprocess.Popen:
    service = subprocess.Popen([sys.executable, "-c", SERVICE, str(data)], stdout=subprocess.PIPE, text=True)
    assert service.stdout.readline() == "ready\n"
    return service


def test_kill_9_at_any_time_loses_no_job_and_does_none_twice(tmp_path):
    """A dozen times at random; benchmarks/service/kill.py does it a hundred times over the whole service."""
    rng = random.Random(7)
    data = tmp_path / "data"
    ward = Ward(data)  # only to send, as another process; its worker is not started
    sent = {ward.send(b"sleep 0.1 %d" % number): number for number in range(30)}
    for kill in range(12):
        before = len(ward.names("results"))
        service = start(data)
        while kill % 3 and len(ward.names("results")) == before:  # on a slow machine too, some are done
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.3))
        service.kill()
        service.wait()
        service.stdout.close()
        for job_id in ward.names("results"):  # whole at every moment
            content = b"sleep 0.1 %d" % sent[job_id]
            assert ward.record(job_id)["sha256"] == sha256(content).hexdigest()
    service = start(data)
    jobs = [ward.wait(job_id) for job_id in sent]
    service.kill()
    service.wait()
    service.stdout.close()
    assert {job.state for job in jobs} == {State.DONE}
    assert ward.names("results") == sorted(sent)
    assert set((data / "told").read_text().split()) == set(sent)  # twice only by a crash before the row
    ward.jobs.close()


def running_with(word: str) -> list[str]:
    """Processes that have a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found += [path.parent.name] if word.encode() in path.read_bytes() else []
    return found


def test_no_analysis_outlives_a_killed_service(tmp_path):
    if sys.platform != "linux":
        pytest.skip("needs PR_SET_PDEATHSIG")
    ward = Ward(tmp_path / "data")
    job_id = ward.send(b"sleep 300")
    service = start(tmp_path / "data")
    ward.wait(job_id, State.RUNNING)
    temporary = tmp_path / "data" / "running" / job_id / "temporary"
    while not temporary.exists():
        time.sleep(0.01)
    assert running_with(job_id)
    service.kill()
    service.wait()
    service.stdout.close()
    time.sleep(0.2)
    assert not running_with(job_id)
    ward.jobs.close()


def test_a_crash_after_the_result_and_before_the_row_tells_again_and_does_not_run_again(tmp_path):
    ward = Ward(tmp_path / "data")
    job_id = ward.send(b"plain 1")
    ended = threading.Event()

    def no_room(*_, **__):  # the row cannot be written any more, until the end
        ended.set()
        raise DiskFull

    ward.jobs.finish = no_room
    ward.worker.start()
    assert ended.wait(30)
    ward.worker.drain(1)
    assert ward.jobs.get(job_id).state is State.RUNNING
    ward.jobs.close()
    again = Ward(tmp_path / "data")
    assert again.names("results") == [job_id]
    (job,) = again.jobs.recover(tmp_path / "data" / "results")
    assert (job.id, job.state, job.attempts) == (job_id, State.DONE, 1)
    again.close()


def test_inputs_go_first_and_then_the_job(ward):
    kept, old = ward.send(b"plain 1"), ward.send(b"plain 2")
    ward.wait(kept), ward.wait(old)
    waiting = time.time() - 8 * 86400
    ward.jobs._connection.execute("UPDATE jobs SET finished = ? WHERE id = ?", (waiting, old))
    assert expire(ward.settings, ward.jobs, time.time()) == 0  # 7 days for inputs, 365 for results
    assert ward.names("inputs") == [kept]
    assert ward.names("results") == sorted([kept, old])
    assert expire(ward.settings, ward.jobs, waiting + 366 * 86400) == 1
    assert ward.jobs.get(old) is None
    assert ward.names("results") == [kept]
    assert erase(ward.settings.data, ward.jobs, kept)
    assert ward.names("results") == ward.names("inputs") == ward.names("incoming") == []
    assert not erase(ward.settings.data, ward.jobs, kept)


def test_a_full_disk_is_freed_of_old_inputs_though_no_row_can_be_written(ward, monkeypatch):
    old = ward.send(b"plain 1")
    ward.wait(old)

    def full(*_: object, **__: object) -> bool:
        raise DiskFull("full")

    monkeypatch.setattr(ward.jobs, "remove", full)
    with pytest.raises(DiskFull):
        expire(ward.settings, ward.jobs, time.time() + 366 * 86400)
    assert ward.names("inputs") == []


def test_what_had_arrived_by_dicom_goes_in_time_when_there_is_no_listener_any_more(ward, tmp_path):
    for name in ("old", "new"):
        (ward.settings.data / "arriving" / name).mkdir()
        (ward.settings.data / "arriving" / name / "000001-a").touch()
    os.utime(ward.settings.data / "arriving" / "old", (0, time.time() - 8 * 86400))
    expire(load_settings(None, {}, data=tmp_path / "data", dicom_port=11112), ward.jobs, time.time())
    assert ward.names("arriving") == ["new", "old"]  # the listener's own
    expire(ward.settings, ward.jobs, time.time())
    assert ward.names("arriving") == ["new"]


def test_a_log_line_says_what_is_listed_and_nothing_else(caplog):
    caplog.set_level("INFO", "covid19net.service")
    log("accepted", job="a" * 32, label="DOE^JOHN", ae="CT 1\nforged", seconds=1.23456)
    (line,) = caplog.messages
    assert line == f"accepted job={'a' * 32} ae=CT_1_forged seconds=1.235"


@pytest.fixture
def real(tmp_path):
    """A worker with the analysis itself."""
    ward = Ward(tmp_path / "data", how=None)
    ward.worker.start()
    yield ward
    ward.close()


def test_a_real_scan_becomes_a_real_result(real, phantom_dicom):
    slices = [path.read_bytes() for path in sorted(phantom_dicom.iterdir())]
    job_id = real.send(*slices, clinical=Clinical(61.5, "F", comorbidity=False))
    stages = set()
    while real.jobs.get(job_id).state not in ENDS:
        stages.add((real.worker.progress(job_id) or {}).get("stage"))
        time.sleep(0.05)
    job = real.jobs.get(job_id)
    assert (job.state, job.reason) == (State.DONE, None)
    assert {"lungs", "writing"} & stages
    folder = real.settings.data / "results" / job_id
    assert sorted(path.name for path in (folder / "dicom").iterdir()) == [
        "heatmap.pm.dcm", "lungs.seg.dcm", "montage.sc.dcm", "report.pdf.dcm", "report.sr.dcm",
    ]  # fmt: skip
    scan, lungs, heat = (nibabel.load(folder / f"{name}.nii.gz") for name in ("ct", "lungs", "heatmap"))
    assert scan.get_data_dtype() == np.int16
    assert scan.shape == lungs.shape == heat.shape
    assert np.array_equal(scan.affine, lungs.affine)
    hu = np.stack([pydicom.dcmread(path).pixel_array for path in sorted(phantom_dicom.iterdir())])
    assert np.array_equal(
        np.sort(np.asanyarray(scan.dataobj), None), np.sort(hu, None)
    )  # intercept 0, slope 1
    record = real.record(job_id)
    assert "ct.nii.gz" in record["files"]
    assert job.summary["score"] == record["probability"]
    assert job.summary["demonstration"] is True
    assert record["clinical"] == {"age": 61.5, "sex": "F", "comorbidity": False}
    assert record["prognosis"]["group"] in ("low", "high")
    assert -1 <= record["map_evidence"]["stability"]["flip"] <= 1
    assert real.names("running") == []


def test_a_refusal_does_not_begin_with_our_own_number(real, phantom_dicom):
    job_id = real.send(*(path.read_bytes() for path in sorted(phantom_dicom.iterdir())[:4]))
    job = real.wait(job_id, seconds=60)
    assert job.state is State.FAILED
    assert job.reason
    assert job_id not in job.reason


def test_a_refusal_names_no_patient(tmp_path, capsys):
    scan = tmp_path / "upload.zip"
    with zipfile.ZipFile(scan, "w") as entries:
        for number in range(3):
            entries.writestr(f"DOE^JANE 19570304/DOE{number}.dcm", b"\0" * 128 + b"DICM" + b"damaged" * 99)
    with pytest.raises(SystemExit) as end:
        main(analysis(load_settings(None, {}, data=tmp_path))(scan, tmp_path / "out", 1)[3:])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "error: " in said
    assert "DOE" not in said
    assert "1957" not in said


def test_a_scan_that_is_no_dicom_is_analyzed_without_dicom_results(phantom, tmp_path):
    write_volume(phantom.volume, tmp_path / "scan.nii.gz")
    with pytest.raises(SystemExit) as end:
        main(
            analysis(load_settings(None, {}, data=tmp_path))(tmp_path / "scan.nii.gz", tmp_path / "out", 1)[
                3:
            ]
        )
    assert end.value.code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "dicom" not in names
    assert {"ct.nii.gz", "report.pdf", "result.json"} <= names


def test_what_was_sent_again_does_not_expire(ward, monkeypatch):
    """The list of old jobs was read a moment before."""
    job_id = ward.send(b"exit 3")
    ward.wait(job_id)
    ward.worker.drain(1)
    assert ward.send(b"exit 3") == job_id
    monkeypatch.setattr(ward.jobs, "finished_before", lambda _: (job_id,))
    assert expire(ward.settings, ward.jobs, time.time() + 366 * 86400) == 0
    assert ward.jobs.get(job_id).state is State.QUEUED
    assert ward.names("inputs") == [job_id]


def test_a_job_that_waits_for_room_is_left_to_whoever_takes_it_up(tmp_path, monkeypatch):
    """One thread gives it back and pauses, another runs it meanwhile."""
    monkeypatch.setattr("covid19net.service.worker.ROOM", 1 << 62)
    marked = tmp_path / "once"

    def first_full(scan, out, telling):
        if not marked.exists():
            marked.touch()
            raise DiskFull("full")
        return command(scan, out, telling)

    ward = Ward(tmp_path / "data", how=first_full, pause=0.7, workers=2)
    job_id = ward.send(b"sleep 2")
    ward.worker.start()
    until(lambda: (tmp_path / "data" / "running" / job_id / "temporary").exists())
    time.sleep(1.0)  # more than the pause
    assert (tmp_path / "data" / "running" / job_id / "temporary").exists()
    ward.wait(job_id, State.DONE)
    ward.close()


def test_no_fault_of_the_database_ends_the_worker(ward, monkeypatch):
    for name in ("claim", "finish"):
        locked = [sqlite3.OperationalError("database is locked")] * 2 + [mock.DEFAULT] * 1000
        wrapped = mock.Mock(wraps=getattr(ward.jobs, name), side_effect=locked)
        monkeypatch.setattr(ward.jobs, name, wrapped)
    job = ward.wait(ward.send(b"plain 1"))
    assert (job.state, job.reason) == (State.DONE, None)
    assert ward.worker.alive


def test_no_fault_ends_the_expiry(ward, monkeypatch):
    monkeypatch.setattr("covid19net.service.expiry.INTERVAL", 0.02)
    asked = []

    def locked(moment):
        asked.append(moment)
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(ward.jobs, "finished_before", locked)
    expiry = Expiry(ward.settings, ward.jobs)
    expiry.start()
    time.sleep(0.3)
    expiry.stop()
    assert len(asked) > 1


def test_what_is_sent_again_while_it_is_being_cancelled_is_done(tmp_path):
    ward = Ward(tmp_path / "data")
    job_id = ward.send(b"plain 1")
    job = ward.jobs.claim()
    assert ward.jobs.request_cancel(job_id)
    assert ward.send(b"plain 1") == job_id  # accepted; the process may be stopped already
    ward.worker._settle(job, Ending(-9, Stop.CANCELLED, "", 0))
    assert ward.jobs.get(job_id).state is State.QUEUED
    ward.close()
