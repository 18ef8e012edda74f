"""Downloads from TCIA: both styles of folders, metadata.csv, and the CT series of a patient.

Style (a) has descriptive names, PATIENT/MM-DD-YYYY-ID-DESCRIPTION-12345/2.000000-DESCRIPTION-12345/1-001.dcm,
style (b) PATIENT/STUDYUID/SERIESUID/*.dcm. Whoever unpacked them may have renamed what stands above the
patients. Series are told by the headers; dates and descriptions come from metadata.csv or descriptive names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path, PureWindowsPath
import re

from covid19net.collections.collection import Gathered, Progress
from covid19net.collections.headers import facts_of
from covid19net.collections.layout import Record, entries, patient_folders, records_of, tables_with
from covid19net.errors import InputError
from covid19net.io.choose import FEWEST_SLICES, NO_SLICES, SHARE_OF_HEIGHT, group_series
from covid19net.io.dicom import survey
from covid19net.io.files import find_files
from covid19net.io.header import Slice

LISTING = ("Series UID", "Subject ID", "Modality", "File Location", "Number of Images")
STUDY = re.compile(r"(\d{2}-\d{2}-\d{4})-(.*)-\w{1,5}")
SERIES = re.compile(r"[\d.]+-(.*)-\w{1,5}")
DATES = ("%m-%d-%Y", "%m/%d/%Y", "%Y-%m-%d", "%Y%m%d")
STRUCTURES = (
    b"1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set Storage (PS3.4 B.5), in the file's meta header
)
SEGMENTS = b"1.2.840.10008.5.1.4.1.1.66.4"  # Segmentation Storage
META = 1024  # bytes that hold the meta header
NO_CONTRAST = re.compile(r"\b(without|w/?o|non[- ]?con\w*)\b", re.IGNORECASE)
CONTRAST = re.compile(r"\b(with(?!out)|w|angio\w*|cta|contrast|iv)\b|\+c\b", re.IGNORECASE)


@dataclass(frozen=True)
class CTSeries:
    """A CT series in a folder.

    Attributes:
        folder: with its files, and those of no other series.
        uid, study: instance UIDs.
        slices: images of the part that would be read.
        spacing: mm between them; infinite where it is not known.
        extent: mm from the first to the last.
        axial: whether they lie across the body.
        scout: whether it holds nothing but scouts or projections.
        original: whether no image is derived or reformatted.
        when: date of the study, perhaps shifted; None where nothing tells it.
        texts: descriptions of study and series, empty where nothing tells them.
        facts: columns of the manifest from the header.
    """

    folder: Path
    uid: str
    study: str
    slices: int
    spacing: float
    extent: float
    axial: bool
    scout: bool
    original: bool
    when: date | None = None
    texts: tuple[str, str] = ("", "")
    facts: Mapping[str, object] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        """Columns of the manifest that the series tells."""
        return {"scan": self.folder, **self.facts, "contrast": contrast_of(" ".join(self.texts))}


@dataclass(frozen=True)
class Patient:
    """What a patient's folder holds.

    Attributes:
        name: of the folder, which is the DICOM PatientID.
        series: every CT series, whether it can be used or not.
        masks: files of structure sets and segmentations.
        other: modalities of the rest, by study.
    """

    name: str
    series: list[CTSeries]
    masks: dict[str, list[Path]]
    other: dict[str, set[str]]


class Listing:
    """The rows of all metadata.csv of a download, found by series UID or by the ends of their places."""

    def __init__(self, folder: Path) -> None:
        tables = tables_with(folder, LISTING)
        if not tables and folder.parent != folder:
            tables = [
                p for p in (folder.parent / "metadata.csv",) if p in tables_with(folder.parent, LISTING)
            ]
        self.rows = [row for path in tables for row in records_of(path)]
        self._by_uid = {row["Series UID"]: row for row in self.rows}
        self._by_place = {_tail(PureWindowsPath(row["File Location"]).parts): row for row in self.rows}

    def of(self, folder: Path, uid: str = "") -> Record:
        """The row of a series, empty where there is none."""
        return self._by_uid.get(uid) or self._by_place.get(_tail(folder.parts), {})


def _tail(parts: Sequence[str]) -> tuple[str, ...]:
    """Patient, study and series folder; what stands above may have been renamed."""
    return tuple(part.lower() for part in parts[-3:])


def date_of(text: str) -> date | None:
    """A date as TCIA and its tables write it; None for anything else."""
    for form in DATES:
        try:
            return datetime.strptime(text.strip().split(" ")[0], form).date()
        except ValueError:
            continue
    return None


def contrast_of(text: str) -> str:
    """Whether a description tells of contrast medium: yes, no, or empty."""
    plain = NO_CONTRAST.sub("", text)
    if CONTRAST.search(plain) and not (NO_CONTRAST.search(text) and not re.search(r"\band\b|&", text, re.I)):
        return "yes"
    return "no" if NO_CONTRAST.search(text) else ""


def patients_of(folder: Path, pattern: str, found: Gathered, progress: Progress) -> Iterator[Patient]:
    """The patients of a download, one after the other.

    Args:
        folder: of the download.
        pattern: regular expression of a patient's whole name.
        progress: told of each patient when the next one is asked for.
        found: gets a gap where metadata.csv lists CT series or images that are not on disk.

    Raises:
        InputError: no patient, a patient twice, or a folder with the files of another patient.
    """
    listing, seen = Listing(folder), dict[str, int]()
    places = patient_folders(folder, pattern)
    if not places:
        raise InputError(f"{folder.name}: no folder here or below is named like a patient of the collection")
    for done, (name, place) in enumerate(sorted(places.items()), start=1):
        yield _patient(name, place, listing, seen)
        progress(done, len(places))
    wanted = [
        r for r in listing.rows if r["Modality"] == "CT" and re.fullmatch(pattern, r["Subject ID"], re.I)
    ]
    absent = sum(row["Series UID"] not in seen for row in wanted)
    short = sum(
        row["Number of Images"].isdigit()
        and seen.get(row["Series UID"], 1 << 30) < int(row["Number of Images"])
        for row in wanted
    )
    found.counts["CT series of metadata.csv that are on disk"] = len(wanted) - absent
    if absent:
        found.gaps.append(f"{absent} of {len(wanted)} CT series in metadata.csv are not on disk")
    if short:
        found.gaps.append(f"{short} CT series hold fewer images than metadata.csv lists")
    if not listing.rows:
        found.notes.append("no metadata.csv: whether the download is complete was not checked")


def _patient(name: str, place: Path, listing: Listing, seen: dict[str, int]) -> Patient:
    patient = Patient(name, [], {}, {})
    for folder in _leaves(place):
        kind = _mask_kind(folder)
        if kind:
            patient.masks.setdefault(kind, []).extend(
                source.path for source in find_files(folder, deep=False).sources if source.path
            )
            continue
        slices = survey(find_files(folder, deep=False)).slices
        ct = [s for s in slices if s.tag("Modality") == "CT"]
        others = {s.tag("Modality") or "unknown" for s in slices} - {"CT"}
        for study in {s.tag("StudyInstanceUID") for s in slices}:
            patient.other.setdefault(study, set()).update(others)
        if any(s.tag("PatientID") not in ("", name) for s in ct):
            raise InputError(f"{name}: a folder of this patient holds files of another one")
        for uid in sorted({s.tag("SeriesInstanceUID") for s in ct}):
            members = [s for s in ct if s.tag("SeriesInstanceUID") == uid]
            seen[uid] = seen.get(uid, 0) + len(members)
            kept = [s for s in members if not NO_SLICES & _kinds(s)]
            patient.series.append(_series(folder, kept, members, listing.of(folder, uid)))
    return patient


def _series(folder: Path, kept: Sequence[Slice], members: Sequence[Slice], row: Record) -> CTSeries:
    """A series of the images that are no scouts; where all are scouts, of these."""
    first = (kept or members)[0]
    part = max(group_series(kept or members), key=lambda each: len(each.slices))
    when, texts = _told(folder, row)
    return CTSeries(
        folder,
        first.tag("SeriesInstanceUID"),
        first.tag("StudyInstanceUID"),
        slices=len(part.slices),
        spacing=part.spacing,
        extent=part.extent,
        axial=part.axial,
        scout=not kept,
        original=not any("DERIVED" in _kinds(plane) for plane in kept),
        when=when,
        texts=texts,
        facts=facts_of(first),
    )


def _leaves(place: Path) -> Iterator[Path]:
    """Folders with files, in a folder and below it."""
    inside = entries(place)
    if any(entry.is_file() for entry in inside):
        yield place
    for entry in inside:
        if entry.is_dir():
            yield from _leaves(Path(entry.path))


def _mask_kind(folder: Path) -> str:
    """RTSTRUCT or SEG where a folder holds such objects, by the meta header of its first file."""
    for source in find_files(folder, deep=False).sources[:1]:
        head = source.read(0, META)
        return "RTSTRUCT" if STRUCTURES in head else "SEG" if SEGMENTS in head else ""
    return ""


def _told(folder: Path, row: Record) -> tuple[date | None, tuple[str, str]]:
    """Date and descriptions of a series, from metadata.csv or descriptive folder names."""
    study, series = STUDY.fullmatch(folder.parent.name), SERIES.fullmatch(folder.name)
    when = date_of(row.get("Study Date", "")) or (date_of(study[1]) if study else None)
    texts = row.get("Study Description", ""), row.get("Series Description", "")
    return when, (texts[0] or (study[2] if study else ""), texts[1] or (series[1] if series else ""))


def _kinds(plane: Slice) -> set[str]:
    return set(plane.tag("ImageType").upper().split("\\"))


def usable(series: Sequence[CTSeries]) -> list[CTSeries]:
    """Axial series of some slices, no scouts; derived ones, such as averages over breathing, among them."""
    return [s for s in series if s.axial and not s.scout and s.slices >= FEWEST_SLICES]


def originals(series: Sequence[CTSeries]) -> list[CTSeries]:
    """Usable series of which no image is derived."""
    return [s for s in usable(series) if s.original]


def finest(series: Sequence[CTSeries]) -> CTSeries:
    """The series whose slices are closest, among those about as tall as the tallest, as the reader does."""
    tallest = max(s.extent for s in series)
    tall = [s for s in series if s.extent >= SHARE_OF_HEIGHT * tallest]
    return min(tall, key=lambda s: (round(s.spacing, 2), -s.slices, s.uid))


def referred(patient: Patient, kind: str, series: Sequence[CTSeries]) -> list[CTSeries]:
    """The series that some mask object of a kind names: their UIDs stand in its file as text."""
    texts = [path.read_bytes() for path in patient.masks.get(kind, [])]
    names = {
        s.uid: re.compile(rb"(?<![\d.])" + re.escape(s.uid.encode()) + rb"(?![\d.])") for s in series if s.uid
    }
    return [s for s in series if s.uid and any(names[s.uid].search(text) for text in texts)]
