"""kill -9 at random times of `covid19net analyze`: does half a result ever stand under its final name?

    python benchmarks/kill_analyze.py --kills 100

The scan is a small phantom. result.json comes last: after each kill all files must be there where it is, and
whatever is there must be that of an undisturbed run, byte for byte but for the times it took.
"""

import argparse
import json
from pathlib import Path
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from bench_scan import phantom_scan


def contents(folder: Path) -> dict[str, bytes | str]:
    """Name -> bytes of each file of a result; of result.json what does not tell the time."""
    found: dict[str, bytes | str] = {}
    for path in sorted(path for path in folder.iterdir() if path.name[0] != "."):
        if path.name == "result.json":
            record = json.loads(path.read_text())
            record.pop("seconds")
            found[path.name] = json.dumps(record, sort_keys=True)
        elif path.suffix != ".html":  # shows the seconds
            found[path.name] = path.read_bytes()
    return found


def main() -> None:
    """Kill, look, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--slices", type=int, default=20)
    given = parser.parse_args()
    rng, whole, partial, differ, left = random.Random(0), 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, out = phantom_scan(folder, given.slices, 64), folder / "results" / "out"
        out.parent.mkdir()
        command = [sys.executable, "-m", "covid19net.cli", "analyze", str(scan), "-o", str(out)]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        expected = contents(out)
        shutil.rmtree(out)
        for _ in range(given.kills):
            # Writing is the last tenth; most of the kills fall there.
            share = rng.uniform(0, 1) if rng.random() < 0.3 else rng.uniform(0.8, 1.05)
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(seconds * share)
                process.send_signal(signal.SIGKILL)
            if out.exists():
                found = contents(out)
                whole += "result.json" in found
                partial += "result.json" in found and found.keys() != expected.keys()
                differ += not found.items() <= expected.items()
                left += sum(path.name[0] == "." for path in out.iterdir())
                shutil.rmtree(out)
        subprocess.run(command, check=True, capture_output=True)
        differ += contents(out) != expected
    print(
        f"{given.kills} kills within {seconds:.1f} s: {whole} whole results, {partial} not, {differ} differ"
    )
    print(f"hidden folders left by kills while writing: {left}")
    if partial or differ:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
