"""What one worker does: its networks once, then one scan after the other, reading ahead."""

from collections.abc import Callable
from dataclasses import replace
import errno
import json
from pathlib import Path
import shutil
from threading import Lock, Semaphore
from typing import NamedTuple

from covid19net.batch.cases import Case
from covid19net.batch.inputs import Input
from covid19net.batch.keys import key_of
from covid19net.batch.plan import Plan, identity_of
from covid19net.batch.rows import done_row, failed_row
from covid19net.batch.store import (
    Row,
    Stored,
    folder_of,
    new_folder,
    read_stored,
    settle,
    sign_again,
    sizes_in,
)
from covid19net.errors import Covid19netError, ResourceError, WeightsError, fault_from
from covid19net.io import write_volume
from covid19net.models import Models, load_models
from covid19net.output import Output
from covid19net.pipeline import CaseResult, analyze
from covid19net.prognosis.model_file import find_model
from covid19net.report.case import case_record
from covid19net.stream import cores, use_cores
from covid19net.table import write_whole
from covid19net.volume import Scan

MAPS = ("lungs.nii.gz", "heatmap.nii.gz")
LOST = "the worker died twice while it had this scan, most likely for lack of memory"


class Outcome(NamedTuple):
    """What became of a case.

    Attributes:
        row: of the table.
        again: whether it was there already.
    """

    row: Row
    again: bool


Work = Callable[[Case], Outcome]
Open = Callable[[Plan, str], Work]  # makes it, in a worker, from plan and identity


class Worker:
    """Analyzes cases, several at a time from several threads: on a CPU one is computed and the others read.

    Args:
        plan: of the batch.
        identity: from `identity_of`, where the batch was started.

    Raises:
        WeightsError: this machine has other weights or another version.
    """

    def __init__(self, plan: Plan, identity: str) -> None:
        if identity_of(plan) != identity:
            raise WeightsError("a worker has other weights or another version of covid19net than the batch")
        self._plan = plan
        self._identity = identity
        self._prognostic = find_model(plan.prognosis)
        self._models: Models | None = None
        self._computing = Semaphore(1 if plan.on_cpu else plan.together)
        self._opening = Lock()
        self._drawing = Lock()  # Matplotlib is not for threads

    def __call__(self, case: Case) -> Outcome:
        """Analyze a case and write its folder, unless it is there with the same key.

        Raises:
            Covid19netError: the networks cannot be opened or the results written; whatever is wrong with the
            scan is a row.
        """
        folder = folder_of(self._plan.out, case.name)
        stored = read_stored(folder)
        kept = stored is not None and (stored.row["status"] == "done" or not self._plan.retry_failed)
        with Input(case, self._plan, stored if kept and not self._plan.verify else None) as found:
            key = key_of(case, found.content, self._identity)
            if stored and kept and stored.key == key:
                if stored.signature != found.signature:
                    sign_again(folder, replace(stored, signature=found.signature))
                return Outcome(stored.row, again=True)
            models, made = self._opened(), new_folder(folder)
            try:
                row = self._row(case, found, models, made)
                settle(made, folder, Stored(key, found.content, found.signature, sizes_in(made), row))
            finally:
                shutil.rmtree(made, ignore_errors=True)
        return Outcome(row, again=False)

    def _opened(self) -> Models:
        """The networks, opened when first needed: a batch that is all there needs none."""
        with self._opening:
            if self._models is None:
                plan = self._plan  # the other cores are other workers', or other scans' that share a GPU
                use_cores(plan.threads if plan.on_cpu else max(1, cores() // plan.together))
                self._models = load_models(
                    plan.weights, device=plan.device, home=plan.home, cache=plan.cache, threads=plan.threads
                )
            return self._models

    def _row(self, case: Case, found: Input, models: Models, made: Path) -> Row:
        try:
            scan = found.read()
            output = Output(pdf=self._plan.pdf, dicom=self._plan.dicom)
            output.check(scan)
            with self._computing:
                result = self._analyzed(case, scan, models)
                self._write(result, output, made)
        except Exception as error:
            fault = fault_from(error)
            if _is_full(fault):
                raise
            shutil.rmtree(made)
            made.mkdir()
            return failed_row(case, fault, found.reason(fault))
        return done_row(case, result)

    def _analyzed(self, case: Case, scan: Scan, models: Models) -> CaseResult:
        result = analyze(
            scan,
            models,
            every_slice=self._plan.every_slice,
            full_evidence=self._plan.full_evidence,
            clinical=case.clinical,
            prognostic=self._prognostic,
        )
        reading = {"series": case.series, "allow_irregular": self._plan.allow_irregular}
        result.provenance["reading"] = reading
        return result

    def _write(self, result: CaseResult, output: Output, made: Path) -> None:
        if self._plan.keep == "all":
            with self._drawing:
                output.write(result, made)
            return
        record = case_record(result)
        maps = MAPS if self._plan.keep == "maps" else ()
        for name, overlay in zip(maps, (result.lungs, result.heatmap), strict=False):
            write_volume(overlay, made / name)
        record["files"] = {name: record["files"][name] for name in maps}
        text = json.dumps(record, indent=2, allow_nan=False)
        write_whole(made / "result.json", text + "\n")


def lost(case: Case, plan: Plan, identity: str) -> Outcome:
    """Store that the worker of a case died twice, the second time with nothing else under way.

    Args:
        case: whose fault it seems to be.
        plan: of the batch.
        identity: from `identity_of`.

    Raises:
        Covid19netError: it cannot be written.
    """
    folder = folder_of(plan.out, case.name)
    row = failed_row(case, ResourceError(LOST), LOST)
    with Input(case, plan, None) as found:
        made = new_folder(folder)
        key = key_of(case, found.content, identity)
        settle(made, folder, Stored(key, found.content, found.signature, {}, row))
    return Outcome(row, again=False)


def _is_full(fault: Covid19netError) -> bool:
    """Whether the disk is full, which is no fault of the scan."""
    return isinstance(fault.__cause__, OSError) and fault.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)
