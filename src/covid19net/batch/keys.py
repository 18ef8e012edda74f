"""Whether a stored result is still the result: a key of everything it was made from, the input's bytes first.

Hashing a terabyte to find that nothing has changed would take hours. So the state of the files (name, size,
times of change, place on the disk) is kept beside the hash, as version control does: while it is the same,
the bytes are not read again. A copy, a restored file or a touched one is hashed again, and its result kept
where the bytes are the same.
"""

from collections.abc import Iterator
import hashlib
import json
from pathlib import Path

from covid19net.batch.cases import DICOMWEB, Case
from covid19net.io.files import find_files, is_image_name

_PARTNERS = (".mhd", ".nhdr")  # headers whose numbers lie in another file of the folder


def files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file that reading a scan may look at: its name within the scan, and its path; by name.

    Of one file that may be a slice of a series, or a header with its numbers elsewhere, all its folder.

    Raises:
        InputError: a folder that cannot be listed.
        ResourceError: more files than any scan has.
    """
    alone = path.suffix.lower() == ".zip" or (
        is_image_name(path.name) and path.suffix.lower() not in _PARTNERS
    )
    if path.is_dir():
        folder, deep = path, True
    elif alone or not path.exists():
        yield path.name, path
        return
    else:
        folder, deep = path.parent, False
    for source in find_files(folder, deep=deep).sources:
        if source.path is not None:
            yield source.path.relative_to(folder).as_posix(), source.path


def signature_of(scan: str) -> str:
    """The state of a scan's files, without reading them; of a series to be fetched its address.

    Raises:
        OSError: a file is not there.
        InputError: as `files_of`.
        ResourceError: likewise.
    """
    digest = hashlib.sha256(scan.encode("utf-8", "surrogateescape"))
    if not scan.startswith(DICOMWEB):
        for name, path in files_of(Path(scan)):
            found = path.stat()
            state = (name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            digest.update(repr(state).encode())
    return digest.hexdigest()


def content_of(path: Path, *, named: bool = True) -> str:
    """SHA-256 of the bytes of a scan's files and of their names within it.

    Args:
        path: of the scan.
        named: whether names count; files that were fetched are named in the order in which they came.

    Raises:
        OSError: a file cannot be read.
        InputError: as `files_of`.
        ResourceError: likewise.
    """
    parts = []
    for name, each in files_of(path):
        with each.open("rb") as file:
            parts.append([name if named else "", hashlib.file_digest(file, "sha256").hexdigest()])
    return hashlib.sha256(json.dumps(parts if named else sorted(parts)).encode()).hexdigest()


def key_of(case: Case, content: str, identity: str) -> str:
    """Key of a result: of its input, of what is known of the patient, and of how it was made.

    Args:
        case: what was analyzed.
        content: from `content_of`.
        identity: from `identity_of`.
    """
    facts = (content, case.scan.startswith(DICOMWEB), case.series, case.age, case.sex, case.comorbidity)
    return hashlib.sha256(json.dumps([facts, identity]).encode()).hexdigest()
