"""The PACS is down when results are to be sent to it, and comes back.

    python benchmarks/service/downstream.py                 ten minutes
    python benchmarks/service/downstream.py --seconds 5

Meanwhile the sender is stopped and started once. To reach: tried again with growing pauses, each object
delivered once, with the UID that its file has.
"""

import argparse
from collections import Counter
from pathlib import Path
import socket
import tempfile
import time
from typing import Any

from dicom_node import EXPLICIT
import pydicom
from pynetdicom import AE, evt

from covid19net.service.dicom.sender import Pauses, Sender
from covid19net.service.disk import DATABASE, prepare
from covid19net.service.jobs import Jobs, State
from covid19net.service.settings import Destination, Settings

# storage classes (PS3.4 table B.5-1) of the objects of a result
OBJECTS = {
    "lungs.seg.dcm": "1.2.840.10008.5.1.4.1.1.66.4",
    "report.sr.dcm": "1.2.840.10008.5.1.4.1.1.88.33",
    "report.pdf.dcm": "1.2.840.10008.5.1.4.1.1.104.1",
}


def finished_job(settings: Settings, jobs: Jobs) -> Counter[str]:
    """A job that is done, with small objects; their UIDs, each once."""
    jobs.accept("a" * 32, "content", source="dicom", owner="PACS", limit=1)
    jobs.claim()
    folder = settings.data / "results" / ("a" * 32) / "dicom"
    folder.mkdir(parents=True)
    for number, (name, sop_class) in enumerate(OBJECTS.items(), 1):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"1.2.826.7.{number}"
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = EXPLICIT
        dataset.save_as(folder / name, enforce_file_format=True)
    jobs.finish("a" * 32, State.DONE)
    return Counter(f"1.2.826.7.{number + 1}" for number in range(len(OBJECTS)))


def main() -> None:
    """Send to nobody, then to somebody."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--first-pause", type=float, default=Pauses().first)
    given = parser.parse_args()
    pauses = Pauses(first=given.first_pause)
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        place = Destination("pacs", "dicom", host="127.0.0.1", port=port, ae="PACS")
        settings = Settings(Path(folder), destinations=(place,))
        prepare(settings.data)
        jobs = Jobs(settings.data / DATABASE)
        expected = finished_job(settings, jobs)
        for _ in range(2):
            sender = Sender(settings, jobs, pauses=pauses)
            sender.enqueue(jobs.list()[0])
            sender.start()
            time.sleep(given.seconds / 2)
            attempts = sender.sends("a" * 32)[0]["attempts"]
            sender.stop()
            print(f"away: {attempts} attempts so far")
        got: Counter[str] = Counter()

        def take(event: Any) -> int:  # noqa: ANN401
            got[str(event.request.AffectedSOPInstanceUID)] += 1
            return 0

        ae = AE(ae_title="PACS")
        for sop_class in OBJECTS.values():
            ae.add_supported_context(sop_class, EXPLICIT)
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
        back = time.monotonic()
        sender = Sender(settings, jobs, pauses=pauses)
        sender.start()
        while {send["state"] for send in sender.sends("a" * 32)} != {"sent"}:
            time.sleep(0.1)
        print(f"back: all delivered after {time.monotonic() - back:.1f} s")
        time.sleep(1)
        sender.stop()
        server.shutdown()
        print(f"each once, with its own UID: {'yes' if got == expected else f'no: {dict(got)}'}")


if __name__ == "__main__":
    main()
