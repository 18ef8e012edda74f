"""A flood of jobs: more than the queue takes, from several clients at once.

    python benchmarks/service/queue_flood.py
    python benchmarks/service/queue_flood.py --jobs 400 --limit 200

To reach: as many accepted as the queue takes, 429 with Retry-After beyond, health p99 below 200 ms, and each
accepted job holds exactly the bytes that its client sent.
"""

import argparse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
import time

from api import Api, running, study, watching
import httpx


def send(client: httpx.Client, seed: int) -> tuple[int, str, str, bool]:
    """Submit a scan of its own; gives status, job, SHA-256 of what was sent, and whether to come again."""
    files = study(seed, 1, 256)
    digest = sha256(files[0][1][1]).hexdigest()
    answer = client.post("/v1/jobs", files=files)
    job = answer.json().get("job", {}).get("id", "")
    return answer.status_code, job, digest, "retry-after" in answer.headers


def held(api: Api, job: str) -> str:
    """SHA-256 of the one file of a job."""
    (file,) = (api.data / "inputs" / job).iterdir()
    return sha256(file.read_bytes()).hexdigest()


def main() -> None:
    """Flood and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    given = parser.parse_args()
    with running(queue_limit=given.limit) as api:
        start = time.perf_counter()
        client = httpx.Client(base_url=api.url, timeout=120)
        with watching(api) as watch, ThreadPoolExecutor(given.clients) as pool:
            answers = list(pool.map(lambda seed: send(client, seed), range(given.jobs)))
        seconds = time.perf_counter() - start
        accepted = [(job, digest) for status, job, digest, _ in answers if status == 202]
        right = sum(held(api, job) == digest for job, digest in accepted)
        counts = api.counts()
    statuses = Counter(status for status, *_ in answers)
    told = all(again for status, _, _, again in answers if status != 202)
    print(f"{given.jobs} jobs in {seconds:.1f} s: {dict(statuses)}; queue {counts}")
    print(f"Retry-After on all refusals: {told}")
    print(f"{right} of {len(accepted)} accepted jobs hold what was sent")
    print(
        f"health p50 {watch.percentile(50):.0f} ms, p99 {watch.percentile(99):.0f} ms of {len(watch.seconds)}"
    )


if __name__ == "__main__":
    main()
