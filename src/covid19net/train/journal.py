"""What is noted of a training run: a line of JSON for every step and judgement, and TensorBoard's curves."""

from collections.abc import Iterator
from contextlib import contextmanager
import json
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from covid19net.errors import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Journal:
    """Notes what a run does; made by `journal`. Steps count from 1."""

    def __init__(self, lines: TextIO | None, curves: "SummaryWriter | None") -> None:
        self.lines = lines
        self.curves = curves

    def note(self, step: int, **values: float) -> None:
        """Write one line, {"step": step, name: value, ...}, and a point on each curve."""
        if self.lines is not None:
            self.lines.write(json.dumps({"step": step, **values}) + "\n")
            self.lines.flush()  # no line may be missing that a checkpoint thinks written
        if self.curves is not None:
            for name, value in values.items():
                self.curves.add_scalar(name, value, step)


@contextmanager
def journal(metrics: Path | None, tensorboard: Path | None, step: int) -> Iterator[Journal]:
    """Open the records of a run; what they hold of later steps than `step` is cut off.

    Args:
        metrics: a file of JSON lines, or None.
        tensorboard: a folder, or None.
        step: number of steps done, those of the checkpoint from which the run goes on.

    Raises:
        InputError: TensorBoard is not installed.
    """
    curves = _curves(tensorboard, step) if tensorboard is not None else None
    lines = _lines(metrics, step) if metrics is not None else None
    try:
        yield Journal(lines, curves)
    finally:
        if lines is not None:
            lines.close()
        if curves is not None:
            curves.close()


def _lines(path: Path, step: int) -> TextIO:
    if path.exists():
        kept = [line for line in path.read_text().splitlines(keepends=True) if _is_of(line, step)]
        fresh = path.with_name(path.name + ".part")
        fresh.write_text("".join(kept))
        fresh.replace(path)
    return path.open("a")


def _is_of(line: str, step: int) -> bool:
    """Whether a line is whole and of one of the first `step` steps."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:  # cut off while it was written
        return False


def _curves(folder: Path, step: int) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "curves need TensorBoard, which is not installed: pip install 'covid19net[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)
