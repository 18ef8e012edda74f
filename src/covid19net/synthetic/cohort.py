"""A synthetic cohort on disk: scans, masks, truth, and the manifest."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
import json
from multiprocessing import get_context
from pathlib import Path
import shutil
import tempfile
from typing import Any

from covid19net.cohort import write_table
from covid19net.errors import InputError
from covid19net.io import write_dicom_series, write_volume
from covid19net.io.files import write_fault
from covid19net.phantom.centres import Plan
from covid19net.synthetic.subjects import MADE_BY, Options, Subject, draw_subject, manifest_row, truth_of

MASKS = ("lungs", "lobes", "lesions")
TRUTH = "truth.json"
OWN = {"ct", "ct.nii.gz", TRUTH, *(f"{name}.nii.gz" for name in MASKS)}


def write_subject(subject: Subject, folder: Path, options: Options) -> dict[str, Any]:
    """Write scan, masks and truth of a patient: all, or nothing; truth.json comes last.

    Args:
        subject: from `draw_subject`.
        folder: of the patient; made anew, an older synthetic patient is replaced.
        options: how the cohort is made.

    Returns:
        The truth as written.

    Raises:
        InputError: the folder holds something else, or cannot be written.
        ResourceError: the disk is full.
    """
    if not _ours(folder):
        raise InputError(f"{folder}: holds something else than a synthetic patient and is left alone")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.parent))
    try:
        case = subject.case
        if options.form == "dicom":
            names = {"PatientID": subject.patient_id, "SliceThickness": f"{subject.scanner.thickness:g}"}
            write_dicom_series(case.volume, scratch / "ct", names)
        else:
            write_volume(case.volume, scratch / "ct.nii.gz")
        for name in MASKS:
            write_volume(getattr(case, name), scratch / f"{name}.nii.gz")
        truth = truth_of(subject, options)
        (scratch / TRUTH).write_text(json.dumps(truth, indent=2, allow_nan=False) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        scratch.replace(folder)
    except OSError as error:
        raise write_fault(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return truth


def _ours(folder: Path) -> bool:
    """Whether a folder is absent or holds a synthetic patient or parts of one, and so may be replaced."""
    if not folder.exists():
        return True
    try:
        if not folder.is_dir() or folder.resolve() == Path.cwd():
            return False
        truth = folder / TRUTH
        if truth.exists():
            return str(json.loads(truth.read_text()).get("synthetic", "")).startswith("covid19net.phantom")
        return {place.name for place in folder.iterdir()} <= OWN
    except (OSError, ValueError, AttributeError):
        return False


def _made(folder: Path, plan: Plan, options: Options) -> dict[str, Any] | None:
    """Truth of a patient who is there already, made with the same options; None otherwise."""
    try:
        truth: dict[str, Any] = json.loads((folder / TRUTH).read_text())
    except (OSError, ValueError):
        return None
    wanted = {
        "synthetic": MADE_BY,
        "seed": options.seed, "number": plan.number, "grid": options.grid,
        "confounder": options.confounder, "class": plan.kind,
    }  # fmt: skip
    scan = folder / ("ct" if options.form == "dicom" else "ct.nii.gz")
    same = all(truth.get(key) == value for key, value in wanted.items())
    return truth if same and scan.exists() and (truth["days"] is not None) == plan.followed else None


def _make(plan: Plan, folder: Path, options: Options) -> dict[str, Any]:
    return _made(folder, plan, options) or write_subject(draw_subject(plan, options), folder, options)


def folder_of(plan: Plan) -> str:
    """Folder of a patient inside the cohort's."""
    return f"cases/{plan.centre.name.lower()}-{plan.number:07d}"


def make_cohort(
    plans: Sequence[Plan],
    out: Path,
    options: Options,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw, scan and write a cohort; patients who are there already are kept.

    Args:
        plans: from `plan_cohort`.
        out: folder; gets cases/, manifest.csv (what a hospital would know) and truth.csv (what was planted).
        options: how.
        workers: processes.
        progress: called with the number of patients done and in all.

    Returns:
        The manifest.

    Raises:
        InputError: the folder cannot be written.
        ResourceError: the disk is full.
    """
    truths: dict[int, dict[str, Any]] = {}
    with _pool(workers) as submit:
        jobs = {submit(_make, plan, out / folder_of(plan), options): i for i, plan in enumerate(plans)}
        for job in as_completed(jobs):
            truths[jobs[job]] = job.result()
            if progress:
                progress(len(truths), len(plans))
    rows = []
    for i, plan in enumerate(plans):
        folder = folder_of(plan)
        scan = f"{folder}/ct" if options.form == "dicom" else f"{folder}/ct.nii.gz"
        rows.append(manifest_row(plan, truths[i], scan, folder))
    write_table(out / "truth.csv", [truths[i] for i in range(len(plans))])
    return write_table(out / "manifest.csv", rows)


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., "Future[dict[str, Any]]"]]:
    """A function that submits work to processes; what was not begun is dropped at a fault."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool.submit
    finally:
        pool.shutdown(cancel_futures=True)
