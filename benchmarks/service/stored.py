"""The DICOM node killed (SIGKILL) straight after it said that a slice is stored: is it there?

    python benchmarks/service/stored.py
    python benchmarks/service/stored.py --kills 5

Each round starts the node over the same folder, sends one slice, and kills the node on status 0. To reach:
every slice on the disk, whole, and after a last start all of them in one job. A killed process loses nothing
that it has handed to the system, so this says nothing of a power cut; that a slice is flushed (fsync) before
the status, a test shows by letting the flush fail.
"""

import argparse
from pathlib import Path
import sqlite3
import tempfile
import time

from dicom_node import CT, EXPLICIT, running
import numpy as np
import pydicom
from pynetdicom import AE

from covid19net.io import write_dicom_series
from covid19net.volume import CTVolume


def store(port: int, path: Path) -> int:
    """Send one slice; the status. The association is left as it is."""
    ae = AE(ae_title="MODALITY")
    ae.add_requested_context(CT, EXPLICIT)
    association = ae.associate("127.0.0.1", port, ae_title="COVID19NET")
    assert association.is_established
    return int(association.send_c_store(pydicom.dcmread(path)).Status)


def main() -> None:
    """Kill, and look."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        hu = np.random.default_rng(1).integers(-1000, 400, (given.kills, 64, 64)).astype(np.int16)
        affine = np.array([[0, 0, 5.0, 0], [0, 5.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
        slices = write_dicom_series(CTVolume(hu, affine), Path(folder, "slices"))
        data, kept = Path(folder, "data"), 0
        for number, path in enumerate(slices, 1):
            with running(data) as (process, port):
                assert store(port, path) == 0
                process.kill()
                process.wait()
            uid = pydicom.dcmread(path)
            files = sorted((data / "arriving").glob("*/[0-9]*"))
            kept += len(files) == number and pydicom.dcmread(files[-1]) == uid
        print(f"{kept} of {given.kills} slices on the disk, whole")
        with running(data, quiet=2.0):
            deadline = time.monotonic() + 300
            jobs: list[tuple[str]] = []
            while not jobs and time.monotonic() < deadline:
                time.sleep(0.5)
                with sqlite3.connect(data / "service.sqlite") as rows:
                    jobs = rows.execute("SELECT id FROM jobs").fetchall()
            counts = [len(list((data / "inputs" / job).iterdir())) for (job,) in jobs]
            print(f"jobs after the last start: {len(jobs)}, of {counts} slices")


if __name__ == "__main__":
    main()
