"""More jobs than the queue takes, then thousands one after the other: is anything mixed, lost, or growing?

`python benchmarks/service/many_jobs.py --posted 260 --soak 2000`
"""

import argparse
from hashlib import sha256
from pathlib import Path
import tempfile
import threading
import time

import httpx
from started import Started, percentile, resident, sha256_of


def ask_health(service: Started, stop: threading.Event, delays: list[float]) -> None:
    """Ask for /health twenty times a second."""
    with httpx.Client(base_url=service.api.base_url, timeout=60) as api:
        while not stop.is_set():
            begin = time.monotonic()
            assert api.get("/health").status_code == 200
            delays.append((time.monotonic() - begin) * 1000)
            time.sleep(0.05)


def flood(service: Started, posted: int, seconds: float) -> None:
    """Send at once; each is accepted or told when to come back."""
    stop, delays = threading.Event(), []
    asking = threading.Thread(target=ask_health, args=(service, stop, delays))
    asking.start()
    accepted: dict[str, bytes] = {}
    refused, waits = 0, set()
    for number in range(posted):
        content = b"sleep %g %d" % (seconds, number)
        answer = service.send(content)
        if answer.status_code == 202:
            accepted[answer.json()["job"]["id"]] = content
        else:
            refused += 1
            waits.add((answer.status_code, answer.headers.get("retry-after")))
    ended = service.wait(*accepted, seconds=600)
    stop.set()
    asking.join()
    mixed = sum(sha256_of(service, job_id) != sha256(sent).hexdigest() for job_id, sent in accepted.items())
    done = sum(job["state"] == "done" for job in ended)
    print("| posted | accepted | done | mixed | refused | answer, Retry-After | health p50, p99, worst ms |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {posted} | {len(accepted)} | {done} | {mixed} | {refused} | {sorted(waits)} | "
        f"{percentile(delays, 50):.0f}, {percentile(delays, 99):.0f}, {max(delays):.0f} |"
    )


def soak(service: Started, jobs: int) -> None:
    """One job after the other; memory, files and threads after the first hundred and at the end."""
    print(
        "\n| jobs | RSS MB | open files | threads | data folder without results MB |\n|---|---|---|---|---|"
    )
    process = service.process.pid
    for number in range(1, jobs + 1):
        answer = service.send(b"plain %d %d" % (number, time.time_ns()))
        service.wait(answer.json()["job"]["id"])
        if number in (100, jobs) or number % 500 == 0:
            files = len(list(Path(f"/proc/{process}/fd").iterdir()))
            threads = len(list(Path(f"/proc/{process}/task").iterdir()))
            parts = [p for part in ("incoming", "running") for p in (service.data / part).rglob("*")]
            parts += list(service.data.glob("service.*"))
            size = sum(path.stat().st_size for path in parts if path.is_file()) / 1e6
            print(
                f"| {number} | {resident(process) / 1e6:.1f} | {files} | {threads} | {size:.1f} |", flush=True
            )


def main() -> None:
    """A flood, then a soak."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--posted", type=int, default=260)
    parser.add_argument("--seconds", type=float, default=1.0, help="Of a job of the flood.")
    parser.add_argument("--queue", type=int, default=200)
    parser.add_argument("--soak", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Started(Path(folder) / "data", workers=2, queue_limit=given.queue)
        try:
            flood(service, given.posted, given.seconds)
            if given.soak:
                soak(service, given.soak)
        finally:
            service.kill()


if __name__ == "__main__":
    main()
