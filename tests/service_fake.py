"""An analysis for tests of the service: quick, and as ill behaved as its input asks. Run as a script.

The input's first word says what happens; the result holds the SHA-256 of the input, so that a result under
another job's name is found out.
"""

from hashlib import sha256
import json
import os
from pathlib import Path
import sys
import time


def command(scan: Path, out: Path, telling: int) -> list[str]:
    """The command line, as the worker's `Command`."""
    return [sys.executable, "-S", str(Path(__file__)), str(scan), str(out), str(telling)]


def bytes_of(scan: Path) -> bytes:
    files = sorted(scan.iterdir()) if scan.is_dir() else [scan]
    return b"".join(file.read_bytes() for file in files)


def write(out: Path, content: bytes) -> None:
    """A result in two files, the record last; slowly enough to be caught in the middle."""
    digest = sha256(content).hexdigest()
    (out / "dicom").mkdir(parents=True)
    (out / "dicom" / "report.sr.dcm").write_bytes(digest.encode() * 1000)
    time.sleep(0.02)
    record = {
        "probability": int(digest[:8], 16) / 2**32,
        "decision": {"call": "negative", "threshold": 0.5},
        "findings": [],
        "seconds": {"all": 0.1},
        "sha256": digest,
    }
    (out / "result.json").write_text(json.dumps(record))


def use_memory(_out: Path, _rest: bytes) -> None:
    """In steps, as an analysis would."""
    kept = []
    while True:
        kept.append(b"x" * 20_000_000)


def want_array(_out: Path, _rest: bytes) -> None:
    """At once, untouched."""
    bytearray(60 * 10**9)


def have_a_child(_out: Path, _rest: bytes) -> None:
    """Memory is used by another process that this one started."""
    os.execv(sys.executable, [sys.executable, "-S", "-c", CHILD])


def sleep(out: Path, rest: bytes) -> None:
    (out.parent / "temporary").write_bytes(b"x")
    time.sleep(float(rest))


def end_by_signal(_out: Path, rest: bytes) -> None:
    os.kill(os.getpid(), int(rest))


def refuse(_out: Path, rest: bytes) -> None:
    sys.stderr.write("a warning\nerror: 000001: it is no chest CT\n")
    raise SystemExit(int(rest))


def flood(_out: Path, _rest: bytes) -> None:
    os.write(2, b"x" * 5_000_000)
    raise SystemExit(2)


CHILD = (
    "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', "
    "'kept = [b\"x\" * 20_000_000 for _ in range(100)]; import time; time.sleep(60)'])"
)


def fill(out: Path, rest: bytes) -> None:
    """Write bytes, and say what `analyze` says where there is no room."""
    out.mkdir(parents=True)
    try:
        (out / "large").write_bytes(bytes(int(rest)))
    except OSError as error:
        sys.stderr.write(f"error: {out}: cannot be written ({error.strerror})\n")
        raise SystemExit(5) from error
    (out / "large").unlink()
    out.rmdir()


HABITS = {
    b"memory": use_memory, b"array": want_array, b"child": have_a_child, b"sleep": sleep,
    b"signal": end_by_signal, b"exit": refuse, b"flood": flood, b"fill": fill, b"plain": lambda *_: None,
}  # fmt: skip


def main() -> None:
    scan, out, telling = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    content = bytes_of(scan)
    os.write(telling, b"0.000 reading\n0.500 lungs\n")
    word, _, rest = content.partition(b" ")
    HABITS[word](out, rest.split(b" ")[0])
    write(out, content)


if __name__ == "__main__":
    main()
