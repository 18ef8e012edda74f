"""A job's process seen from outside: started, limited, listened to, and stopped with all it started."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
import os
from pathlib import Path
import select
import signal
import subprocess
import sys
import time

INTERVAL = 0.1  # seconds between looks; a process fills some 100 MB in that time
TAIL = 4096  # bytes of stderr that are kept
PROC = Path("/proc")


class Stop(StrEnum):
    """Why a process was stopped."""

    MEMORY = "memory"
    TIME = "time"
    CANCELLED = "cancelled"
    DRAINED = "drained"


@dataclass(frozen=True)
class Limits:
    """What a process may use: bytes in memory, seconds by the clock."""

    memory: int
    seconds: float


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        code: its exit code, or minus the signal that ended it.
        stop: why it was stopped; None when it ended by itself.
        said: the end of what it wrote to stderr.
        peak: bytes in memory at most, as far as was seen.
    """

    code: int
    stop: Stop | None
    said: str
    peak: int


def watch(
    command: Callable[[int], Sequence[str]],
    folder: Path,
    limits: Limits,
    *,
    stop: Callable[[], Stop | None],
    progress: Callable[[str], None],
) -> Ending:
    """Run a command to its end.

    Args:
        command: gives the command line; its argument is the file descriptor for lines of progress.
        folder: for its temporary files.
        limits: of the process and all it starts.
        stop: asked again and again whether to stop.
        progress: is given the latest line of progress.
    """
    told, telling = os.pipe()
    seconds = int(limits.seconds * (os.cpu_count() or 1)) + 1  # of all processors
    limited = [sys.executable, "-m", "covid19net.service.child", "--memory", str(limits.memory)]
    limited += ["--seconds", str(seconds), "--folder", str(folder), "--parent", str(os.getpid())]
    try:
        process = subprocess.Popen(
            [*limited, "--", *command(telling)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=[telling], start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(told)
        raise
    finally:
        os.close(telling)
    with process, Ears(process, told, progress) as ears:
        try:
            why, peak = _attend(process, limits, stop, ears)
        finally:
            kill_group(process.pid)  # also what it may have left behind
        code = process.wait()
        ears.listen(0)
        return Ending(code, why, ears.said.decode(errors="replace"), peak)


def _attend(
    process: "subprocess.Popen[bytes]", limits: Limits, stop: Callable[[], Stop | None], ears: "Ears"
) -> tuple[Stop | None, int]:
    """Wait for the process to end, or for a reason to stop it."""
    end = time.monotonic() + limits.seconds
    peak = 0
    while process.poll() is None:
        used = resident(process.pid)
        peak = max(peak, used)
        if used > limits.memory:
            return Stop.MEMORY, peak
        if time.monotonic() > end:
            return Stop.TIME, peak
        if why := stop():
            return why, peak
        ears.listen(INTERVAL)
    return None, peak


class Ears:
    """What a process says: progress, of which the latest line counts, and stderr, of which the end stays."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", told: int, progress: Callable[[str], None]
    ) -> None:
        self.said = b""
        self._told, self._progress = told, progress
        self._stderr = process.stderr.fileno() if process.stderr else -1
        self._open = {told, self._stderr}
        self._line = b""

    def __enter__(self) -> "Ears":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._told)

    def listen(self, seconds: float) -> None:
        """Take what has been said, or wait for something for so long."""
        if not self._open:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while self._open:
            ready, _, _ = select.select(list(self._open), [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return
            for descriptor in ready:
                self._hear(descriptor)
            if seconds and time.monotonic() > end:  # it does not stop talking
                return

    def _hear(self, descriptor: int) -> None:
        block = os.read(descriptor, 1 << 16)
        if not block:
            self._open.discard(descriptor)
        elif descriptor == self._stderr:
            self.said = (self.said + block)[-TAIL:]
        else:
            *whole, self._line = (self._line + block)[-TAIL:].split(b"\n")
            if whole:
                self._progress(whole[-1].decode(errors="replace"))


def kill_group(leader: int) -> None:
    """End a process and all it started, at once."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def resident(process: int) -> int:
    """Bytes in memory of a process and all it started; 0 where the system does not tell (no /proc)."""
    total = 0
    with suppress(OSError, ValueError, IndexError):  # it has just ended
        total = int((PROC / str(process) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for thread in (PROC / str(process) / "task").iterdir():
            total += sum(resident(int(child)) for child in (thread / "children").read_text().split())
    return total
