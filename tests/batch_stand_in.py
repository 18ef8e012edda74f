"""Workers of a batch that read, hash and store as the real one does, but analyze in no time, or die."""

from contextlib import suppress
from dataclasses import replace
import os
from pathlib import Path
import signal
import time

from covid19net.batch.worker import Worker
from tests.cases import made_up_case

PAUSE = 0.2  # seconds of a case, so that a batch can be killed in its midst


class Quick(Worker):
    """The result is made up from the mean of the scan; what was analyzed and stored is written down."""

    def __call__(self, case):
        outcome = super().__call__(case)
        if not outcome.again:
            self.log(f"stored {case.name} {os.getpid()}")
        return outcome

    def log(self, line):
        with (self._plan.out.parent / "log").open("a") as file:
            file.write(line + "\n")

    def _opened(self):
        return None

    def _analyzed(self, case, scan, _models):
        time.sleep(PAUSE)
        self.log(f"analyzed {case.name} {os.getpid()}")
        share = float(scan.volume.hu.mean()) / 4096 + 0.5
        result = replace(made_up_case(), probability=share, scan=scan, clinical=case.clinical)
        return replace(result, features=result.features * share)


class Deadly(Quick):
    """Dies, as for lack of memory, over patients named KILL, and once over those named ONCE."""

    def _analyzed(self, case, scan, models):
        once = self._plan.out.parent / f"{case.name}.died"
        if case.name.startswith("KILL") or (case.name.startswith("ONCE") and not once.exists()):
            with suppress(OSError):
                once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._analyzed(case, scan, models)


class Unable(Quick):
    """Dies before it can begin."""

    def __init__(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)


def logged(out: Path, what: str) -> list[str]:
    """Names of the cases that were analyzed or stored."""
    path = out.parent / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1] for line in lines if line.startswith(what)]
