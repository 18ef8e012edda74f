"""A killed service with work in it starts again; a terminated one ends in time.

`python benchmarks/service/recovery.py --queued 20 --running 2`
"""

import argparse
from collections import Counter
from pathlib import Path
import tempfile
import time

from started import Started


def load(service: Started, queued: int, running: int, seconds: float) -> list[str]:
    """Jobs of so many seconds, some of them running when this returns."""
    ids = []
    for number in range(queued + running):
        answer = service.send(b"sleep %g %d %d" % (seconds, number, time.time_ns()))
        ids.append(answer.json()["job"]["id"])
    while sum(service.job(each)["state"] == "running" for each in ids) < running:
        time.sleep(0.01)
    return ids


def main() -> None:
    """Once by kill -9, once by SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--queued", type=int, default=20)
    parser.add_argument("--running", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="Of a job.")
    parser.add_argument("--patience", type=float, default=12.0, help="With running jobs, after SIGTERM.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Started(Path(folder) / "data", workers=given.running, patience=given.patience)
        ids = load(service, given.queued, given.running, given.seconds)
        service.kill()
        ready = service.start()
        ended = service.wait(*ids, seconds=600)
        lines = [line for line in service.log.splitlines() if "state=done" in line]
        done = Counter(line.split("job=")[1].split()[0] for line in lines)
        states = [job["state"] for job in ended]
        print("| kill -9 with | ready in s | done | done more than once | results |")
        print("|---|---|---|---|---|")
        print(
            f"| {given.queued} queued, {given.running} running | {ready:.1f} | {states.count('done')} | "
            f"{sum(count > 1 for count in done.values())} | {len(service.names('results'))} |"
        )
        load(service, given.queued, given.running, 120.0)
        seconds = service.terminate()
        code = service.process.returncode
        left = len(service.names("running")) + len(service.names("incoming"))
        service.start()
        counts = Counter(job["state"] for job in service.api.get("/v1/jobs?limit=200").json()["jobs"])
        service.kill()
        print("\n| SIGTERM with | ended in s | exit code | temporary files | jobs afterwards |")
        print("|---|---|---|---|---|")
        print(f"| the same | {seconds:.1f} | {code} | {left} | {dict(counts)} |")


if __name__ == "__main__":
    main()
