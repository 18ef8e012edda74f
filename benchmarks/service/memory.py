"""A large scan within the memory of a job, and beyond it: what is killed, and what answers meanwhile.

`python benchmarks/service/memory.py --slices 600 --matrix 512`
"""

import argparse
from pathlib import Path
import re
import tempfile
import time

import numpy as np
from scipy.ndimage import zoom
from started import Started, percentile

from covid19net.io import write_dicom_series
from covid19net.phantom import Scanner, draw_patient, scan_patient
from covid19net.volume import CTVolume


def scan(slices: int, matrix: int) -> CTVolume:
    """A phantom on a fine grid, made from a coarse one."""
    rng = np.random.default_rng(7)
    patient = draw_patient(rng, disease="covid")
    coarse = scan_patient(patient, Scanner(spacing=8.0, thickness=8.0, matrix=160), rng).volume
    factors = np.array([slices, matrix, matrix]) / coarse.shape
    hu = zoom(coarse.hu, factors, order=1).astype(np.int16)
    affine = coarse.affine.copy()
    affine[:3, :3] = affine[:3, :3] / factors
    return CTVolume(hu, affine)


def main() -> None:
    """The same scan under each limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--matrix", type=int, default=512)
    parser.add_argument("--limits", type=float, nargs="+", default=[3.0, 1.0], help="GB")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_dicom_series(scan(given.slices, given.matrix), Path(folder) / "scan")
        contents = [path.read_bytes() for path in paths]
        print("| scan | limit GB | state | exit code | reason | peak GB | s | health: worst, p99 ms |")
        print("|---|---|---|---|---|---|---|---|")
        for limit in given.limits:
            service = Started(Path(folder) / f"data-{limit}", real=True, job_memory_gb=limit)
            job_id = service.send(*contents).json()["job"]["id"]
            begin, delays = time.monotonic(), []
            while (job := service.job(job_id))["state"] in ("queued", "running"):
                asked = time.monotonic()
                assert service.api.get("/health").status_code == 200
                delays.append((time.monotonic() - asked) * 1000)
                time.sleep(0.05)
            seconds = time.monotonic() - begin
            peak = int(re.findall(r" ended job=\S+ .*bytes=(\d+)", service.log)[-1]) / 1e9
            service.kill()
            found = [
                f"{given.slices} x {given.matrix}²",
                limit,
                job["state"],
                job["exit_code"],
                job["reason"],
            ]
            found += [f"{peak:.2f}", f"{seconds:.0f}", f"{max(delays):.0f}, {percentile(delays, 99):.0f}"]
            print(f"| {' | '.join(map(str, found))} |", flush=True)


if __name__ == "__main__":
    main()
