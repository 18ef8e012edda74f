"""A step of a recipe: a plain command, what it needs, what it leaves, what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
import shlex


@dataclass(frozen=True)
class Cost:
    """What a step takes.

    Attributes:
        units: name of a unit of `estimate.UNITS` -> how many.
        disk: bytes it leaves on disk.
    """

    units: Mapping[str, int] = field(default_factory=dict)
    disk: int = 0


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: to ask for it.
        purpose: in words.
        command: words after `covid19net` that decide what comes out.
        where: further words, of device and threads, that change nothing but rounding.
        needs: names of the steps whose files it reads.
        reads: collections whose downloads it reads.
        files: further files that its command names and that decide what comes out.
        makes: files it leaves; its results are these.
        work: folders of half-done work that belong to these inputs alone.
        cost: estimated.
    """

    name: str
    purpose: str
    command: tuple[str, ...]
    where: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    makes: tuple[Path, ...] = ()
    work: tuple[Path, ...] = ()
    cost: Cost = field(default_factory=Cost)

    @property
    def words(self) -> tuple[str, ...]:
        """All words after `covid19net`."""
        return self.command + self.where

    def line(self) -> str:
        """The plain command, to be copied into a shell."""
        return shlex.join(["covid19net", *self.words])
