"""With a real PACS, Debian's Orthanc: it sends us a study, gets our results, and shows them in that study."""

from collections.abc import Iterator
from contextlib import contextmanager
import json
from pathlib import Path

from dicomweb_client import DICOMwebClient
import pydicom
import pytest

from covid19net.errors import InputError
from covid19net.service.dicom.pull import Puller
from covid19net.service.dicom.sender import Sender
from covid19net.service.jobs import State
from covid19net.service.settings import Destination
from covid19net.service.worker import Worker
from tests.dicom_node import Node, node, until, write_series
from tests.pacs import Pacs, free_port, orthanc

# PS3.3 C.7.3.1.1.1 and the modalities of the objects' storage classes
MODALITIES = {"SEG", "SR", "OT", "DOC"}


@contextmanager
def pacs_and_node(folder: Path, **more: object) -> Iterator[tuple[Pacs, Node]]:
    dicom = free_port()
    destination = Destination("pacs", "dicom", host="127.0.0.1", port=dicom, ae="PACS")
    (folder / "pacs").mkdir()
    settings = {"callers": ("PACS",), "destinations": (destination,), "quiet_seconds": 1.0, **more}
    with (
        node(folder / "data", **settings) as ours,
        orthanc(folder / "pacs", {"c19": ["COVID19NET", "127.0.0.1", ours.port]}, dicom) as pacs,
    ):
        yield pacs, ours


def test_a_study_goes_from_the_pacs_and_its_results_back_into_it(phantom_dicom: Path, tmp_path: Path):
    first = pydicom.dcmread(next(phantom_dicom.iterdir()))
    with pacs_and_node(tmp_path) as (pacs, ours):
        pacs.add(phantom_dicom)
        pacs.ask("/modalities/c19/echo", b"{}")
        (study,) = pacs.ask("/studies")
        pacs.ask("/modalities/c19/store", json.dumps([study]).encode())
        sender = Sender(ours.settings, ours.jobs)
        worker = Worker(ours.settings, ours.jobs, finished=sender.enqueue)
        sender.start()
        worker.start()
        try:
            until(lambda: any(job.finished for job in ours.jobs.list()), 300)
            (job,) = ours.jobs.list()
            assert (job.state, job.reason, job.owner) == (State.DONE, None, "PACS")
            until(lambda: {send["state"] for send in sender.sends(job.id)} == {"sent"}, 30)
        finally:
            worker.drain(1)
            sender.stop()
        client = DICOMwebClient(pacs.url)
        series = client.search_for_series(first.StudyInstanceUID)
        found = {row["0020000E"]["Value"][0]: row["00080060"]["Value"][0] for row in series}
        assert found.pop(first.SeriesInstanceUID) == "CT"
        assert set(found.values()) == MODALITIES
        written = {
            each.SOPInstanceUID: each
            for each in map(pydicom.dcmread, (ours.settings.data / "results" / job.id).rglob("*.dcm"))
        }
        assert len(written) == 5
        stored = {}
        for uid in found:
            for dataset in client.retrieve_series(first.StudyInstanceUID, uid):
                stored[dataset.SOPInstanceUID] = dataset
        assert set(stored) == set(written)
        (mask,) = (each for each in stored.values() if each.Modality == "SEG")
        assert mask.ReferencedSeriesSequence[0].SeriesInstanceUID == first.SeriesInstanceUID
        original = next(each for each in written.values() if each.Modality == "SEG")
        assert mask.PixelData == original.PixelData


def test_the_ct_of_a_study_is_pulled_and_once_more_is_the_same_job(tmp_path: Path):
    headers = {"StudyInstanceUID": "1.2.826.7.1"}
    write_series(tmp_path / "scan", 12, SeriesInstanceUID="1.2.826.7.2", **headers)
    write_series(tmp_path / "scout", 2, seed=3, SeriesInstanceUID="1.2.826.7.3", **headers)
    write_series(tmp_path / "pictures", 12, seed=4, SeriesInstanceUID="1.2.826.7.4", Modality="MR", **headers)
    with pacs_and_node(tmp_path) as (pacs, ours):
        for name in ("scan", "scout", "pictures"):
            pacs.add(tmp_path / name)
        settings = type(ours.settings)(**{**vars(ours.settings), "pacs": pacs.url})
        puller = Puller(settings, ours.intake)
        puller.begin("1.2.826.7.1", None, "desk")
        (job,) = ours.wait_for(1)
        assert (job.source, job.owner, len(ours.inputs(job))) == ("dicomweb", "desk", 12)
        assert puller.pull("1.2.826.7.1", "1.2.826.7.2", "desk") == (job.id,)
        with pytest.raises(InputError, match="no CT"):
            puller.pull("1.2.826.7.1", "1.2.826.7.4", "desk")
        puller.stop()
        assert not list((ours.settings.data / "incoming").iterdir())
