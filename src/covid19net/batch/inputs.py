"""The input of a case: its state, its bytes, and where they lie, fetched first where they lie elsewhere."""

from pathlib import Path
import re
from tempfile import TemporaryDirectory
from types import TracebackType

from covid19net.batch.cases import DICOMWEB, Case
from covid19net.batch.keys import content_of, signature_of
from covid19net.batch.plan import Plan
from covid19net.batch.store import Stored
from covid19net.errors import Covid19netError, InputError
from covid19net.io import read_ct
from covid19net.io.read import open_path
from covid19net.volume import Scan

ABSENT = "there is no such file or folder"
SCAN = "the scan"  # what it is called in the reason of a failure
PART = "a file"
FETCHED = "fetched-series"  # folder of one
_SERIES = re.compile(r"dicomweb:(https?://.+)/studies/([0-9.]+)/series/([0-9.]+)/?")


class Input:
    """What a case is made from; what is fetched lies in a folder that goes when the context ends.

    Args:
        case: whose input it is.
        plan: of the batch.
        stored: of the case, whose hash holds as long as the files look untouched; None: they are hashed.
    """

    def __init__(self, case: Case, plan: Plan, stored: Stored | None) -> None:
        self._case = case
        self._plan = plan
        self._fetched: TemporaryDirectory[str] | None = None
        self.fault: Covid19netError | None = None
        self.signature, self.content = "", ""
        try:
            self.signature = signature_of(case.scan)
            if stored is not None and stored.signature == self.signature:
                self.content = stored.content
            else:
                self.content = content_of(self.path(), named=not case.scan.startswith(DICOMWEB))
        except OSError as error:
            self.fault = InputError(error.strerror or ABSENT)
        except Covid19netError as error:
            self.fault = error

    def __enter__(self) -> "Input":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fetched is not None:
            self._fetched.cleanup()

    def path(self) -> Path:
        """Where the scan lies; it is fetched when first asked for.

        Raises:
            InputError: no address of a series, or it cannot be fetched.
        """
        if not self._case.scan.startswith(DICOMWEB):
            return Path(self._case.scan)
        if self._fetched is None:
            self._fetched = TemporaryDirectory(prefix="covid19net-")
            fetch(self._case.scan, Path(self._fetched.name) / FETCHED, self._plan)
        return Path(self._fetched.name) / FETCHED

    def read(self) -> Scan:
        """Read the scan.

        Raises:
            Covid19netError: as `read_ct`, or what was wrong with the input before.
        """
        if self.fault is not None:
            raise self.fault
        return read_ct(self.path(), series=self._case.series, allow_irregular=self._plan.allow_irregular)

    def reason(self, fault: Covid19netError) -> str:
        """Why the scan could not be analyzed, without the names of its files: they can name a person."""
        text, path = str(fault), Path(self._case.scan)
        if self._case.scan.startswith(DICOMWEB):
            if self._fetched is None:
                return text  # names the server alone
            path = Path(self._fetched.name) / FETCHED
        for name in (str(path), path.name):
            text = _replaced(text, name, SCAN)
        try:
            with open_path(path) as found:
                names = {part for source in found.sources for part in (source.name, Path(source.name).name)}
        except (Covid19netError, OSError, RuntimeError):
            names = set()
        for name in sorted(names, key=len, reverse=True):
            text = _replaced(text, name, PART)
        return text.removeprefix(f"{SCAN}: ")


def _replaced(text: str, name: str, instead: str) -> str:
    """A name standing by itself, or before a colon, replaced."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", instead, text) if name else text


def fetch(address: str, folder: Path, plan: Plan) -> None:
    """Fetch a series over DICOMweb.

    Args:
        address: "dicomweb:" and the address of a series: http(s)://SERVER/studies/UID/series/UID.
        folder: for its files; it is made.
        plan: of the batch, for the headers.

    Raises:
        InputError: no such address, or the server does not give the series.
        ResourceError: it is larger than any scan, or the disk is full.
    """
    found = _SERIES.fullmatch(address)
    if found is None:
        raise InputError(f"not the address of a series: {DICOMWEB}https://SERVER/studies/UID/series/UID")
    from covid19net.io.dicomweb import Server, fetch_series

    fetch_series(Server(found[1], plan.headers), found[2], found[3], folder)
