"""Numbers for Prometheus: how many, how long, how full; never about whom."""

from collections.abc import Iterator, Mapping
from pathlib import Path
import shutil
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from covid19net.service.job import State
from covid19net.service.jobs import Jobs

SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 5, 20, 60, 300)  # edges of the histogram of request times


class Working(Protocol):
    """What the API asks of a worker."""

    @property
    def alive(self) -> bool:
        """Whether jobs are worked on."""

    @property
    def draining(self) -> bool:
        """Whether it is being stopped."""

    def progress(self, job_id: str) -> Mapping[str, Any] | None:
        """Stage and fraction of a running job, as far as known."""


class Numbers:
    """Counters of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "covid19net_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "covid19net_request_seconds",
            "Time to the end of the answer",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def watch(self, jobs: Jobs, worker: Working, data: Path) -> None:
        """Report on jobs, worker and disk too."""
        self.registry.register(Gauges(jobs, worker, data))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request, by the template of its route."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self.registry)


class Gauges(Collector):
    """What is read at the time of asking."""

    def __init__(self, jobs: Jobs, worker: Working, data: Path) -> None:
        self._jobs = jobs
        self._worker = worker
        self._data = data

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: so that registering asks nothing."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges."""
        jobs = GaugeMetricFamily("covid19net_jobs", "Jobs known, by state", labels=["state"])
        counts = self._jobs.counts()
        for state in State:
            jobs.add_metric([state.value], counts.get(state, 0))
        yield jobs
        disk = shutil.disk_usage(self._data)
        yield GaugeMetricFamily("covid19net_disk_free_bytes", "Free on the disk of the data", disk.free)
        yield GaugeMetricFamily("covid19net_worker_up", "Whether jobs are worked on", int(self._worker.alive))
