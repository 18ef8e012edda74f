"""The DICOM node: what it takes, from whom, and what becomes of it. Clients are pynetdicom and dcmtk."""

import json
import logging
import os
from pathlib import Path
import sqlite3
import time

import pydicom
import pytest

from covid19net.errors import InputError
from covid19net.service.dicom import arrivals
from tests.dicom_node import (
    CT,
    EXPLICIT,
    associated,
    dcmtk,
    echo,
    node,
    send,
    until,
    write_series,
)

SLICES = 12
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(tmp_path_factory.mktemp("series"), SLICES)


def test_a_series_becomes_one_job_with_its_slices_as_sent(series: list[Path], tmp_path: Path):
    with node(tmp_path / "data") as running:
        assert send(running.port, series) == [0] * SLICES
        (job,) = running.wait_for(1)
        assert (job.source, job.owner, job.follows) == ("dicom", "MODALITY", None)
        names = [path.name for path in running.inputs(job)]
        assert names == [f"{n:06d}" for n in range(1, SLICES + 1)]
        got = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, running.inputs(job))}
    sent = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, series)}
    assert got == sent


def test_dcmtk_echoes_and_stores(series: list[Path], tmp_path: Path):
    with node(tmp_path / "data", callers=("DCMTK",)) as running:
        to = ("-aec", "COVID19NET", "-aet", "DCMTK", "127.0.0.1", running.port)
        assert dcmtk("echoscu", *to).returncode == 0
        done = dcmtk("storescu", *to, *series)
        assert done.returncode == 0, done.stderr
        (job,) = running.wait_for(1)
        assert len(running.inputs(job)) == SLICES
        wrong_called = dcmtk("echoscu", "-aec", "OTHER", "-aet", "DCMTK", "127.0.0.1", running.port)
        wrong_calling = dcmtk("echoscu", "-aec", "COVID19NET", "-aet", "NOBODY", "127.0.0.1", running.port)
        assert "Called AE Title Not Recognized" in wrong_called.stderr
        assert "Calling AE Title Not Recognized" in wrong_calling.stderr


def test_only_ct_images_are_taken(series: list[Path], tmp_path: Path):
    data = tmp_path / "data"
    with node(data) as running:
        with associated(running.port, contexts=(CT, SEG)) as association:
            assert [c.abstract_syntax for c in association.accepted_contexts] == [CT]
        dataset = pydicom.dcmread(series[0])
        with associated(running.port) as association:
            dataset.SOPClassUID = SEG  # in a message that says CT
            context = association._get_valid_context
            association._get_valid_context = lambda *_, **__: context(CT, EXPLICIT, "scu")
            assert association.send_c_store(dataset).Status == 0x0122  # PS3.7 C.5.6: SOP class not supported
            lies = pydicom.dcmread(series[0])
            del lies.SeriesInstanceUID
            assert association.send_c_store(lies).Status == 0xC000  # PS3.4 B.2.3: cannot understand
            del lies.Rows
            assert association.send_c_store(lies).Status == 0xC000
        assert echo(running.port) < 1
        assert not list((data / "arriving").iterdir())


def test_a_cut_association_and_two_more_in_other_orders_are_one_job(series: list[Path], tmp_path: Path):
    """The table of failure cases: 60 % of the slices, then all of them twice."""
    with node(tmp_path / "data") as running:
        send(running.port, series[:7], cut=True)
        until(lambda: not running.listener._guard._associations)
        time.sleep(2 * running.settings.quiet_seconds)  # quiet, but cut off: it is given more time
        assert running.jobs.list() == ()
        send(running.port, series[::-1])
        send(running.port, series[1::2] + series[::2])
        (job,) = running.wait_for(1)
        send(running.port, series)  # and once more when it is done
        time.sleep(3 * running.settings.quiet_seconds)
        assert running.jobs.list() == (job,)
        assert len(running.inputs(job)) == SLICES


def test_a_gap_is_given_time_and_a_late_slice_makes_a_linked_job(
    series: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(arrivals, "PATIENCE", 8)
    with node(tmp_path / "data", quiet_seconds=0.2) as running:
        start = time.monotonic()
        send(running.port, series[:7] + series[8:])
        (first,) = running.wait_for(1)
        assert time.monotonic() - start > 8 * 0.2
        assert len(running.inputs(first)) == SLICES - 1
        send(running.port, [series[7]])
        second, _ = running.wait_for(2)
        assert (second.follows, len(running.inputs(second))) == (first.id, SLICES)
        send(running.port, series)
        time.sleep(0.6)
        assert len(running.jobs.list()) == 2


def test_series_of_two_callers_and_of_two_scans_stay_apart(series: list[Path], tmp_path: Path):
    other = write_series(tmp_path / "other", slices=4, seed=2)
    with node(tmp_path / "data") as running:
        with associated(running.port) as association:
            for path in [p for pair in zip(series[:4], other, strict=True) for p in pair]:
                association.send_c_store(pydicom.dcmread(path))
        send(running.port, series[:4], calling="OTHER")
        jobs = running.wait_for(3)
        assert sorted((job.owner, len(running.inputs(job))) for job in jobs) == [
            ("MODALITY", 4),
            ("MODALITY", 4),
            ("OTHER", 4),
        ]


def test_what_had_arrived_before_a_restart_becomes_a_job_after_it(series: list[Path], tmp_path: Path):
    data = tmp_path / "data"
    with node(data, quiet_seconds=60) as running:
        send(running.port, series[:9])
        (folder,) = (data / "arriving").iterdir()
        (folder / ".000016-half").write_bytes(b"half a slice")  # as a kill in the middle leaves it
    (data / "arriving" / "unknown").mkdir()
    with node(data) as running:
        assert not (data / "arriving" / "unknown").exists()
        send(running.port, series[7:])
        (job,) = running.wait_for(1)
        assert len(running.inputs(job)) == SLICES
    with node(data) as running:  # and nothing twice
        send(running.port, series[:3])
        until(lambda: not running.listener._arrivals._series)
        assert [found.id for found in running.jobs.list()] == [job.id]


def test_a_full_disk_is_told_and_work_goes_on_after_it(
    series: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with node(tmp_path / "data") as running:
        send(running.port, series[:5])
        real = os.fsync

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        assert send(running.port, series[5:8]) == [0xA700] * 3  # PS3.4 B.2.3: out of resources
        monkeypatch.setattr(os, "fsync", real)
        assert send(running.port, series[5:]) == [0] * (SLICES - 5)
        (job,) = running.wait_for(1)
        assert len(running.inputs(job)) == SLICES


def test_a_full_queue_waits(series: list[Path], tmp_path: Path):
    with node(tmp_path / "data", queue_limit=1) as running:
        first = write_series(tmp_path / "first", slices=4, seed=5)
        send(running.port, first)
        (job,) = running.wait_for(1)
        send(running.port, series)
        until(lambda: any(s.not_before for s in running.listener._arrivals._series.values()))
        running.jobs.claim()
        for waiting in running.listener._arrivals._series.values():
            waiting.not_before = 0.0  # the queue told to come again in 30 s
        assert {j.id for j in running.wait_for(2)} > {job.id}


def test_a_series_larger_than_a_submission_is_refused_in_time(series: list[Path], tmp_path: Path):
    with node(tmp_path / "data", upload_files=8) as running:
        assert send(running.port, series[:10]) == [0] * 8 + [0xA700] * 2


def test_old_slices_are_forgotten_and_so_are_those_of_deleted_jobs(series: list[Path], tmp_path: Path):
    data = tmp_path / "data"
    with node(data) as running:
        send(running.port, series[:4])
        (job,) = running.wait_for(1)
        kept = running.listener._arrivals
        until(lambda: not kept._series)
        kept._forget()
        assert len(list((data / "arriving").iterdir())) == 1
        running.jobs.remove(job.id)
        kept._forget()
        assert not list((data / "arriving").iterdir())


def test_no_name_and_no_uid_is_kept_beside_the_slices(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A name in every place that a sender can fill; the bytes of the slices themselves may hold it."""
    caplog.set_level(logging.DEBUG)
    paths = write_series(
        tmp_path / "series",
        4,
        PatientName="Zappelphilipp^Kaspar",
        PatientID="ID-4711-GEHEIM",
        StudyInstanceUID="1.2.826.4711.1",
        SeriesInstanceUID="1.2.826.4711.2",
    )
    for path in paths:  # a series UID that would be a path
        path.write_bytes(path.read_bytes().replace(b"1.2.826.4711.2", b"../../../../zz"))
    data = tmp_path / "data"
    with node(data) as running:
        send(running.port, paths)
        running.wait_for(1)
        rows = json.dumps(list(sqlite3.connect(data / "service.sqlite").iterdump()))
    seen = rows + caplog.text + "".join(str(p.relative_to(data)) for p in data.rglob("*"))
    for word in ("Zappel", "GEHEIM", "4711", "zz", "Doe"):
        assert word not in seen
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "series"]


def test_a_port_in_use_is_told(tmp_path: Path):
    with (
        node(tmp_path / "one") as running,
        pytest.raises(InputError, match="DICOM listener cannot use"),
        node(tmp_path / "two", dicom_port=running.port),
    ):
        pass


def test_the_inner_server_listens_nowhere(tmp_path: Path):
    with node(tmp_path / "data") as running:
        tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        inodes = {line.split()[9] for line in tables.splitlines()[1:] if line.split()[3:4] == ["0A"]}
        ours = {p.readlink().name for p in Path("/proc/self/fd").iterdir() if p.is_symlink() and p.exists()}
        listening = [inode for inode in inodes if f"socket:[{inode}]" in ours]
        assert len(listening) == 1
        assert echo(running.port) < 1
