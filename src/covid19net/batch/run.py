"""A batch from its manifest to its table."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
import os
from pathlib import Path

from covid19net.batch.cases import cases_of, check_manifest
from covid19net.batch.cluster import LOCAL, RayCrew
from covid19net.batch.local import LocalCrew
from covid19net.batch.plan import Plan, identity_of
from covid19net.batch.rows import Spool, kind_of, write_csv, write_parquet
from covid19net.batch.schedule import Crew, work_through
from covid19net.batch.store import Row
from covid19net.batch.worker import Open, Worker, lost
from covid19net.engine import choose_device
from covid19net.errors import InputError
from covid19net.io.files import take_lock, write_fault
from covid19net.report.pdf import check_pdf
from covid19net.stream import cores

TABLE, PARQUET = "results.csv", "results.parquet"
MEMORY_EACH = 3 << 29  # bytes a worker takes at most with scans of 150 slices: 1.5 GiB
MOST_REASONS = 1000  # kinds of failure that are told apart
OTHER = "other reasons"
MOST_TOGETHER = 8  # scans on one GPU at once; more made it no faster

Progress = Callable[[int, int, int], None]


@dataclass
class Summary:
    """What became of a batch.

    Attributes:
        count: of cases.
        done: analyzed, those of earlier runs included.
        again: of all cases, failed ones too, those that were there from earlier runs.
        failed: could not be analyzed.
        reasons: (exit code, reason without numbers) -> count.
        first_code: exit code of the first failure in the manifest, 0 without one.
        tables: that were written.
    """

    count: int
    done: int = 0
    again: int = 0
    failed: int = 0
    reasons: Counter[tuple[int, str]] = field(default_factory=Counter)
    first_code: int = 0
    tables: tuple[Path, ...] = ()
    _first: int | None = None

    def add(self, place: int, row: Row, *, again: bool) -> None:
        """Count a case."""
        self.again += again
        if row["status"] == "done":
            self.done += 1
            return
        self.failed += 1
        reason = (int(row["exit_code"]), kind_of(str(row["reason"])))
        if reason not in self.reasons and len(self.reasons) >= MOST_REASONS:
            reason = (reason[0], OTHER)
        self.reasons[reason] += 1
        if self._first is None or place < self._first:
            self._first, self.first_code = place, int(row["exit_code"])


def run_batch(
    manifest: Path,
    plan: Plan,
    *,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
    opening: Open = Worker,
) -> Summary:
    """Analyze every scan of a manifest that has no result yet, and write the table of all.

    Args:
        manifest: CSV with columns patient_id and scan, and others, see `cases`.
        plan: how; "auto" as device is settled here, and "out" becomes absolute.
        workers: processes, or actors of Ray; None: as many as there are cores, as far as memory goes.
        ray: address of a Ray cluster, "local" for one made for the batch; None: processes of this machine.
        progress: called with cases done, failed ones among them, and cases in all.
        opening: makes what does the work of a worker, in its process.

    Raises:
        InputError: manifest or options at fault, or another batch is writing to the same folder.
        WeightsError: unknown or damaged weights.
        ResourceError: the disk is full, or workers cannot begin.
    """
    if plan.pdf:
        check_pdf()
    plan = settled(plan, workers, ray)
    identity = identity_of(plan)
    summary = Summary(check_manifest(manifest))
    with (
        alone_in(plan.out),
        Spool(plan.out, summary.count) as spool,
        _crew(plan, identity, workers, ray, opening) as crew,
    ):
        for case, outcome in work_through(cases_of(manifest), crew):
            row, again = outcome or lost(case, plan, identity)
            spool.add(case.place, row)
            summary.add(case.place, row, again=again)
            if progress:
                progress(summary.done + summary.failed, summary.failed, summary.count)
        tables = (write_csv(spool, plan.out / TABLE), write_parquet(spool, plan.out / PARQUET))
    summary.tables = tuple(table for table in tables if table)
    return summary


def default_workers(plan: Plan) -> int:
    """Processes for this machine: one for each core as far as memory goes; one for a GPU."""
    if not plan.on_cpu:
        return 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return cores()
    return max(1, min(cores(), memory // MEMORY_EACH))


def settled(plan: Plan, workers: int | None, ray: str | None) -> Plan:
    """The plan with what depends on the machine: device, threads of a worker, scans in its hands."""
    plan = replace(plan, out=plan.out.absolute(), device=choose_device(plan.device))
    if not plan.on_cpu:
        return replace(plan, together=max(2, min(cores(), MOST_TOGETHER)))
    if ray is None:
        return replace(plan, threads=max(1, cores() // (workers or default_workers(plan))))
    return plan


@contextmanager
def _crew(plan: Plan, identity: str, workers: int | None, ray: str | None, opening: Open) -> Iterator[Crew]:
    """The workers of a batch."""
    if ray is None or (ray == LOCAL and plan.on_cpu):  # only a cluster knows how many it has room for
        workers = workers or default_workers(plan)
    if ray is None:
        with LocalCrew(plan, identity, workers or 1, opening) as processes:
            yield processes
    else:
        with RayCrew(plan, identity, ray, workers, opening) as actors:
            yield actors


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep a second batch out of the folder, as far as its file system can.

    Raises:
        InputError: there is one, or the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = take_lock(out / ".lock")
    except OSError as error:
        raise write_fault(out, error) from error
    if lock is None:
        raise InputError(f"{out}: another batch is writing to this folder")
    with lock:
        yield
