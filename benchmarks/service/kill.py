"""kill -9 at random times while scans are sent: are accepted jobs lost, done twice, or half there?

`python benchmarks/service/kill.py --kills 100`
"""

import argparse
from hashlib import sha256
from pathlib import Path
import random
import tempfile
import threading
import time

import httpx
from started import Started, sha256_of


def send_until(
    service: Started, stop: threading.Event, accepted: dict[str, bytes], rng: random.Random
) -> None:
    """Send scans one after the other; what was answered with 202 or 200 is accepted."""
    while not stop.is_set():
        content = b"sleep %.3f %d" % (rng.uniform(0.0, 0.05), rng.getrandbits(60))
        try:
            answer = service.send(content)
            if answer.status_code in (200, 202):
                accepted[answer.json()["job"]["id"]] = content
        except (httpx.HTTPError, KeyError):
            return
        time.sleep(rng.uniform(0.0, 0.1))


def check(service: Started, accepted: dict[str, bytes]) -> int:
    """Results that are not whole, or of another job."""
    bad = 0
    for job_id in set(service.names("results")) & set(accepted):
        try:
            bad += sha256_of(service, job_id) != sha256(accepted[job_id]).hexdigest()
        except (OSError, ValueError):
            bad += 1
    return bad


def main() -> None:
    """Kill, start again, kill again, and count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    accepted: dict[str, bytes] = {}
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        service = Started(Path(folder) / "data", workers=2, queue_limit=10_000)
        for _ in range(given.kills):
            stop = threading.Event()
            sender = threading.Thread(target=send_until, args=(service, stop, accepted, rng))
            sender.start()
            time.sleep(rng.uniform(0.05, 0.8))
            service.process.kill()  # while requests are under way
            stop.set()
            sender.join()
            service.kill()
            bad += check(service, accepted)
            service.start()
        jobs = service.wait(*accepted, seconds=600)
        bad += check(service, accepted)
        states = [job["state"] for job in jobs]
        results = set(service.names("results"))
        done = {job["id"] for job in jobs if job["state"] == "done"}
        lost = len(accepted) - len(states)
        left = len(service.names("running")) + len(service.names("incoming"))
        attempts = max(job["attempts"] for job in jobs)
        service.kill()
        ran = [line for line in service.log.splitlines() if " finished " in line and "state=done" in line]
        twice = len(ran) - len({line.split("job=")[1].split()[0] for line in ran})
    print(
        "| kills | accepted | done | failed | lost | done twice | not whole or mixed | left over | attempts |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    numbers = [given.kills, len(accepted), states.count("done"), states.count("failed"), lost, twice]
    numbers += [bad + len(done - results), left, attempts]
    print(f"| {' | '.join(map(str, numbers))} |")


if __name__ == "__main__":
    main()
