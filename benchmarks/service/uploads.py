"""Concurrent uploads: many clients with the same study, and as many with one each of their own.

    python benchmarks/service/uploads.py
    python benchmarks/service/uploads.py --clients 20 --times 5 --slices 40

To reach: every upload accounted for, one job for the same study, no 5xx but 503 with Retry-After.
"""

import argparse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
import time

from api import running, study, watching
import httpx


def send(client: httpx.Client, seed: int, slices: int) -> tuple[int, str, bool]:
    """Upload a study; gives status, job and whether a refusal says when to come again."""
    answer = client.post("/v1/jobs", files=study(seed, slices))
    job = answer.json().get("job", {}).get("id", "")
    return answer.status_code, job, "retry-after" in answer.headers


def main() -> None:
    """Upload and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--slices", type=int, default=20, help="of half a megabyte")
    given = parser.parse_args()
    seeds = [0] * given.clients * given.times + list(range(1, given.clients + 1))
    with running() as api:
        before, start = api.megabytes, time.perf_counter()
        client = httpx.Client(base_url=api.url, timeout=300)
        with watching(api) as watch, ThreadPoolExecutor(given.clients) as pool:
            answers = list(pool.map(lambda seed: send(client, seed, given.slices), seeds))
        seconds = time.perf_counter() - start
        counts = api.counts()
    same = {job for seed, (_, job, _) in zip(seeds, answers, strict=True) if not seed}
    statuses = Counter(status for status, _, _ in answers)
    print(f"{len(answers)} uploads of {given.slices / 2:g} MiB in {seconds:.1f} s: {dict(statuses)}")
    print(f"jobs {counts}; of the same study {len(same)}; own {given.clients}")
    print(f"health p99 {watch.percentile(99):.0f} ms, failures {watch.failures}")
    print(f"memory {before:.0f} MB, at most +{watch.most_megabytes - before:.0f} MB")


if __name__ == "__main__":
    main()
