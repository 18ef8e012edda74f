"""Results on their way to a PACS: dcmtk's storescp and stand-ins that fail as real ones do."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
import shutil
import subprocess
import time
from typing import Any

import pydicom
from pynetdicom import AE, evt
import pytest

from covid19net.service.dicom.outbox import Outbox, Send
from covid19net.service.dicom.sender import Pauses, Sender
from covid19net.service.disk import DATABASE, prepare
from covid19net.service.jobs import Job, Jobs, State
from covid19net.service.settings import Destination, Settings
from tests.dicom_node import EXPLICIT, dcmtk_program, until
from tests.pacs import free_port

# PS3.4 table B.5-1
CLASSES = {
    "lungs.seg.dcm": "1.2.840.10008.5.1.4.1.1.66.4",
    "heatmap.pm.dcm": "1.2.840.10008.5.1.4.1.1.30",
    "report.sr.dcm": "1.2.840.10008.5.1.4.1.1.88.33",
    "montage.sc.dcm": "1.2.840.10008.5.1.4.1.1.7",
    "report.pdf.dcm": "1.2.840.10008.5.1.4.1.1.104.1",
}
KNOWN = tuple(CLASSES.values())
PAUSES = Pauses(first=0.05, longest=0.2)


def write_results(folder: Path) -> dict[str, str]:
    """Small objects under the names of a result; their SOP Instance UIDs by name."""
    (folder / "dicom").mkdir(parents=True)
    for number, (name, sop_class) in enumerate(CLASSES.items()):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"1.2.826.7.{number + 1}"
        dataset.PatientName, dataset.PatientID = "Doe^Jane", "17"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.7.50", f"1.2.826.7.6{number}"
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = EXPLICIT
        dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / "dicom" / name, enforce_file_format=True)
    return {name: f"1.2.826.7.{number + 1}" for number, name in enumerate(CLASSES)}


class Site:
    """A data folder with one finished job, and senders over it."""

    def __init__(self, data: Path, *destinations: Destination, source: str = "dicom") -> None:
        self.settings = Settings(data=data, destinations=destinations)
        prepare(data)
        self.jobs = Jobs(data / DATABASE)
        self.jobs.accept("a" * 32, "content", source=source, owner="PACS", limit=9)
        self.jobs.claim()
        self.uids = write_results(data / "results" / ("a" * 32))
        self.jobs.finish("a" * 32, State.DONE)

    @property
    def job(self) -> Job:
        (job,) = self.jobs.list()
        return job

    @contextmanager
    def sender(self, pauses: Pauses = PAUSES) -> Iterator[Sender]:
        sender = Sender(self.settings, self.jobs, pauses=pauses)
        sender.enqueue(self.job)
        sender.start()
        try:
            yield sender
        finally:
            sender.stop()


@contextmanager
def receiver(port: int, answer: Callable[[Any], int], classes: Iterable[str] = KNOWN) -> Iterator[None]:
    ae = AE(ae_title="PACS")
    for sop_class in classes:
        ae.add_supported_context(sop_class, EXPLICIT)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def states(sender: Sender, site: Site) -> list[str]:
    return [send["state"] for send in sender.sends(site.job.id)]


def test_dcmtk_receives_what_was_chosen(tmp_path: Path):
    port, store = free_port(), tmp_path / "received"
    store.mkdir()
    site = Site(
        tmp_path / "data",
        Destination("pacs", "dicom", ("seg", "sr", "pdf"), "127.0.0.1", port, "PACS"),
    )
    program = dcmtk_program("storescp")
    process = subprocess.Popen([program, "-aet", "PACS", "+xa", "-od", str(store), str(port)])
    try:
        with site.sender() as sender:
            until(lambda: states(sender, site) == ["sent"] * 3)
            sender.enqueue(site.job)  # a second time changes nothing
            assert states(sender, site) == ["sent"] * 3
    finally:
        process.kill()
        process.wait()
    received = {pydicom.dcmread(path).SOPInstanceUID for path in store.iterdir()}
    assert received == {site.uids[f"{name}.dcm"] for name in ("lungs.seg", "report.sr", "report.pdf")}


def test_a_receiver_that_is_down_and_then_full_gets_each_object_once(tmp_path: Path):
    """Not there, then out of resources (0xA700), then well; over two restarts of the sender."""
    port, got = free_port(), []
    site = Site(tmp_path / "data", Destination("pacs", "dicom", host="127.0.0.1", port=port, ae="PACS"))
    with site.sender() as sender:
        until(lambda: sender.sends(site.job.id)[0]["attempts"] >= 2)
        assert {send["fault"] for send in sender.sends(site.job.id)} == {"not reached"}
    with receiver(port, lambda _: 0xA700), site.sender() as sender:
        until(lambda: any("0xA700" in (send["fault"] or "") for send in sender.sends(site.job.id)))

    def take(event: Any) -> int:
        got.append(str(event.request.AffectedSOPInstanceUID))
        return 0xB000 if len(got) == 1 else 0  # a warning is stored, too (PS3.4 table B.2-1)

    with receiver(port, take), site.sender() as sender:
        until(lambda: states(sender, site) == ["sent"] * 5)
    with receiver(port, take), site.sender():
        time.sleep(0.5)
    assert sorted(got) == sorted(site.uids.values())


def test_an_object_that_is_not_taken_does_not_hold_up_the_others(tmp_path: Path):
    port = free_port()
    site = Site(tmp_path / "data", Destination("pacs", "dicom", host="127.0.0.1", port=port, ae="PACS"))
    known = [uid for name, uid in CLASSES.items() if name != "heatmap.pm.dcm"]
    with receiver(port, lambda _: 0, known), site.sender(Pauses(0.05, 0.1, 0.4)) as sender:
        until(lambda: sorted(states(sender, site)) == ["given up", *["sent"] * 4])
        (lost,) = (send for send in sender.sends(site.job.id) if send["state"] == "given up")
    assert (lost["file"], lost["fault"]) == ("dicom/heatmap.pm.dcm", "this kind of object is not taken")


def test_only_what_came_from_a_pacs_goes_to_one(tmp_path: Path):
    site = Site(
        tmp_path / "data",
        Destination("pacs", "dicom", host="127.0.0.1", port=free_port(), ae="PACS"),
        source="rest",
    )
    with site.sender() as sender:
        sender.enqueue(site.job)
        assert sender.sends(site.job.id) == ()


def test_a_new_destination_does_not_get_what_was_done_before(tmp_path: Path):
    site = Site(tmp_path / "data")
    more = Destination("new", "dicom", host="127.0.0.1", port=free_port(), ae="PACS")
    sender = Sender(Settings(data=site.settings.data, destinations=(more,)), site.jobs, pauses=PAUSES)
    sender.start()
    time.sleep(0.3)
    sender.stop()
    assert sender.sends(site.job.id) == ()


def test_results_that_were_deleted_are_given_up(tmp_path: Path):
    data = tmp_path / "data"
    site = Site(data, Destination("pacs", "stow", ("sr",), url="http://127.0.0.1:9/dicom-web"))
    with site.sender(Pauses(0.05, 0.1, 0.5)) as sender:
        until(lambda: sender.sends(site.job.id)[0]["fault"] == "not stored by DICOMweb")
        shutil.rmtree(data / "results" / site.job.id)
        until(lambda: states(sender, site) == ["given up"])
        outbox = Outbox(data / DATABASE)
        site.jobs.remove(site.job.id)
        outbox.forget(site.jobs.ids())
        assert outbox.of("a" * 32) == ()


def test_pauses_grow_and_end(monkeypatch: pytest.MonkeyPatch):
    """By hand: 10 s, doubled each time, at most an hour, for a week."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    pauses = Pauses()

    def send(attempts: int, queued: float = 1000.0) -> Send:
        return Send("j", "f", "d", "waiting", attempts, queued, 0.0, None, None)

    assert [pauses.next(send(n)) for n in (0, 1, 2, 3, 9, 99)] == [1010, 1020, 1040, 1080, 4600, 4600]
    assert pauses.next(send(5, queued=1000.0 - 7 * 86400)) is None


def test_an_object_that_no_library_can_send_is_given_up_like_any_other(tmp_path: Path):
    site = Site(tmp_path / "data", Destination("PACS", "dicom", ("sr",), "127.0.0.1", free_port(), "PACS"))
    (tmp_path / "data" / "results" / ("a" * 32) / "dicom" / "report.sr.dcm").write_bytes(b"no DICOM")
    with site.sender(Pauses(first=0.01, longest=0.01, end=0.05)) as sending:
        until(lambda: [send["state"] for send in sending.sends("a" * 32)] == ["given up"])
        (send,) = sending.sends("a" * 32)
    assert send["fault"] == "unexpected fault (InvalidDicomError)"
