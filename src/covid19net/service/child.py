"""What becomes of a job's process before its command runs: limits it cannot lift.

`python -m covid19net.service.child --memory BYTES --seconds SECONDS --folder DIR --parent PID -- COMMAND...`

Memory is limited where it is asked for (RLIMIT_DATA), so that an array of 60 GB is refused at once; what is
used is watched from outside. RLIMIT_AS is of no use here: it counts mapped model files and libraries, and the
reserves of every thread. An analysis of 1.2 GB in memory has 2.4 GB of addresses, and 1.5 GB of data.
"""

import argparse
import os
from pathlib import Path
import signal
import sys

SPARE = (
    1.5  # memory that may be asked for, as a share of what may be used: reserves of allocators and threads
)
LARGEST_FILE = 4 << 30  # bytes
NICENESS = 10  # the service answers first
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def limit(memory: int, seconds: int, parent: int) -> None:
    """Limit this process and all it starts.

    Args:
        memory: bytes that may be in use.
        seconds: of a processor's time.
        parent: process with which this one ends, so that no analysis outlives a killed service.
    """
    import resource

    os.umask(0o077)
    os.nice(NICENESS)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go where memory is short
    if os.getppid() != parent:  # it ended before it was asked for
        raise SystemExit(1)
    asked = int(memory * SPARE)
    for kind, most in (
        (resource.RLIMIT_DATA, asked),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),  # a core file would hold the patient's images
    ):
        hard = resource.getrlimit(kind)[1]
        within = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (within, within))


def main() -> None:
    """Limit this process, then be the command."""
    parser = argparse.ArgumentParser()
    for option in ("--memory", "--seconds", "--parent"):
        parser.add_argument(option, type=int, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    limit(given.memory, given.seconds, given.parent)
    os.putenv("TMPDIR", given.folder)  # goes when the job ends, however that happens
    os.execv(given.command[0], given.command)


if __name__ == "__main__":
    main()
