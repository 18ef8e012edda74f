"""Runs steps one after the other, with a record by which a run that was stopped goes on.

A step is done when its record holds the key of what decides it (version, command, downloads, files of the
steps it needs) and its files are as they were left. Anything else is done anew; half-done work stays where
the key is the same, for the commands themselves go on where they stopped.
"""

from collections.abc import Callable, Mapping, Sequence
import hashlib
import json
from pathlib import Path
import shutil
from time import perf_counter
from typing import Any

from covid19net import __version__
from covid19net.errors import InputError
from covid19net.reproduce.inventory import Holding
from covid19net.reproduce.step import Step
from covid19net.table import write_whole
from covid19net.weights.files import sha256_of

RECORD = "recipe.json"
SCHEMA = "covid19net-reproduce/1"
Tell = Callable[[str, Step], None]  # "kept" or "begun"


class Record:
    """What has been done in a folder, in the file recipe.json."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._path = out / RECORD
        self.steps: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            try:
                told = json.loads(self._path.read_text(encoding="utf-8"))
                self.steps = dict(told["steps"]) if told["schema"] == SCHEMA else {}
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise InputError(f"{self._path}: not the record of a recipe: {error}") from error

    def note(self, step: Step, **facts: object) -> None:
        """Keep facts of a step, at once."""
        self.steps[step.name] = {"command": step.line(), **facts}
        told = {"schema": SCHEMA, "version": __version__, "steps": self.steps}
        write_whole(self._path, json.dumps(told, indent=1) + "\n")

    def is_done(self, step: Step, key: str) -> bool:
        """Whether a step was done from these very inputs and its files are still as it left them."""
        past = self.steps.get(step.name, {})
        return past.get("key") == key and "made" in past and past["made"] == self.made(step)

    def made(self, step: Step) -> dict[str, str]:
        """SHA-256 of the files that a step makes, those that are there."""
        return {
            path.relative_to(self.out).as_posix(): sha256_of(path) for path in step.makes if path.is_file()
        }


def run_steps(
    steps: Sequence[Step],
    record: Record,
    found: Mapping[str, Holding],
    run: Callable[[tuple[str, ...]], None],
    tell: Tell,
    *,
    only: str = "",
) -> None:
    """Do what is not done.

    Args:
        steps: in order.
        record: of the folder.
        found: the downloads.
        run: runs a plain command, given its words after `covid19net`.
        tell: called before each step with "kept" (nothing to do) or "begun".
        only: name of the one step to do.

    Raises:
        InputError: no step of this name, one that needs another that is not done, or a command that left
            less than it should.
        Covid19netError: whatever a command raises.
    """
    if only and only not in {step.name for step in steps}:
        raise InputError(f"{only}: no such step; there are {', '.join(step.name for step in steps)}")
    by_name = {step.name: step for step in steps}
    for step in steps:
        if only and step.name != only:
            continue
        for need in step.needs:
            if not _is_current(by_name[need], by_name, record, found):
                raise InputError(f"{step.name} needs the step {need}, which is not done")
        key = key_of(step, record, found)
        if record.is_done(step, key):
            tell("kept", step)
            continue
        tell("begun", step)
        _do(step, key, record, run)


def _is_current(
    step: Step, by_name: Mapping[str, Step], record: Record, found: Mapping[str, Holding]
) -> bool:
    """Whether a step and all it needs are done, from inputs and with files as they are now."""
    needs = all(_is_current(by_name[need], by_name, record, found) for need in step.needs)
    return needs and record.is_done(step, key_of(step, record, found))


def left_to_do(steps: Sequence[Step], record: Record, found: Mapping[str, Holding]) -> list[Step]:
    """Steps that are not done, and those that need one of them: they may turn out to be done already."""
    left: dict[str, Step] = {}
    for step in steps:
        if set(step.needs) & left.keys() or not record.is_done(step, key_of(step, record, found)):
            left[step.name] = step
    return list(left.values())


def _do(step: Step, key: str, record: Record, run: Callable[[tuple[str, ...]], None]) -> None:
    if record.steps.get(step.name, {}).get("key", key) != key:
        for place in step.work:  # of other inputs, which a training rightly refuses to go on from
            _set_aside(place)
    record.note(step, key=key)
    start = perf_counter()
    run(step.words)
    lacking = [path.name for path in step.makes if not path.is_file()]
    if lacking:
        raise InputError(f"{step.name}: the command left no {', '.join(lacking)}")
    record.note(step, key=key, seconds=round(perf_counter() - start, 1), made=record.made(step))


def _set_aside(place: Path) -> None:
    """Rename a folder, over what was set aside before: it may hold days of work."""
    if place.exists():
        aside = place.with_name(f"{place.name}-old")
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)


def key_of(step: Step, record: Record, found: Mapping[str, Holding]) -> str:
    """SHA-256 of everything that decides what a step makes; where the folders lie does not."""
    places = {record.out.resolve(): "OUT"} | {
        found[name].folder.resolve(): f"<{name}>" for name in step.reads
    }
    words = [_placed(word, places) for word in step.command]
    parts = [__version__, *words, *(found[name].digest for name in step.reads), *map(sha256_of, step.files)]
    for need in step.needs:
        parts += [f"{path} {digest}" for path, digest in sorted(record.steps[need]["made"].items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _placed(word: str, places: Mapping[Path, str]) -> str:
    """A word of a command; a path at or below one of some folders by the folder's name."""
    path = Path(word)
    for folder, name in places.items() if path.is_absolute() else ():
        if path.is_relative_to(folder):
            return f"{name}/{path.relative_to(folder).as_posix()}"
    return word
