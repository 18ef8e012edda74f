"""Commands that train networks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from covid19net.cli.terminal import HomeOption, cache_folder, home_of, say

if TYPE_CHECKING:
    from rich.progress import Progress

    from covid19net.models import Models
    from covid19net.train.fit import Site
    from covid19net.train.two_step import TaskName
    from covid19net.weights import WeightFile

train_app = typer.Typer(no_args_is_help=True, help="Train the networks on a manifest of your own.")

ManifestArgument = Annotated[Path, typer.Argument(metavar="MANIFEST", help="CSV with one row a patient.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the weight set to write.")]
RecipeOption = Annotated[
    str, typer.Option(help="full (GPU), cpu, coarse, fine, quick, or a JSON file (train recipe).")
]
SetOption = Annotated[str | None, typer.Option("--set", help="Value of the column set to learn from.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of lung images [OUT/work/images].")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of starting weights and choice of tuning patients.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Threads that prepare images and draw samples.")]
NameOption = Annotated[str, typer.Option(help="Of the weight set, for its card.")]
LicenceOption = Annotated[str, typer.Option(help="Of the weights, for their card.")]
OriginOption = Annotated[str, typer.Option(help="Who trains, for the card.")]
BoardOption = Annotated[bool, typer.Option("--tensorboard", help="Write curves for TensorBoard too.")]
FindOption = Annotated[
    bool, typer.Option("--find-lungs", help="Find the lungs of rows without a mask with the bundled network.")
]
LeaveOption = Annotated[
    bool, typer.Option("--leave-out", help="Leave out scans that cannot be used, named in OUT/left-out.csv.")
]
LungsOption = Annotated[
    str | None, typer.Option("--lungs", help="Find them with the lung network of this weight set instead.")
]


@train_app.command("recipe")
def recipe(
    name: Annotated[str, typer.Argument(help="full, cpu, coarse, fine, quick, or a JSON file.")],
) -> None:
    """Show a recipe as JSON, to be changed and given back with --recipe."""
    from covid19net.train.recipes import find_recipe, recipe_text

    say(recipe_text(find_recipe(name)))


@train_app.command("lungs")
def lungs(  # noqa: PLR0913 - each argument is an option of the command
    manifest: ManifestArgument,
    out: OutOption,
    steps: Annotated[int | None, typer.Option(min=1, help="Batches of 8 slices [2400].")] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Starting weights of the DenseNet121 encoder, safetensors.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Weight set whose lung network is trained on.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    workers: WorkersOption = 2,
    name: NameOption = "trained",
    licence: LicenceOption = "none stated",
    origin: OriginOption = "not stated",
    tensorboard: BoardOption = False,
    leave_out: LeaveOption = False,
    home: HomeOption = None,
) -> None:
    """Learn to find the lungs from scans with lung masks."""
    from dataclasses import replace

    from covid19net.train.lung_cohort import FULL, Start, train_lungs_from
    from covid19net.weights import lung_weights

    begin = Start(encoder, lung_weights(start, home_of(home)) if start else None)
    schedule = replace(FULL, steps=steps or FULL.steps, seed=seed)
    work = out / "work"
    with joined(device) as here, training_bar("lungs", "Dice") as bar:
        site = site_at(here, workers, work / "tensorboard" if tensorboard else None, bar.step)
        site = replace(site, checkpoint=work / "lungs.safetensors", metrics=work / "lungs.jsonl")
        weights = train_lungs_from(
            manifest, out, schedule, start=begin, site=site, leave_out=leave_out,
            progress=lambda done, count: bar.part("slices", done, count),
            name=name, licence=licence, origin=origin, training_command=typed_command(),
        )  # fmt: skip
    if weights is not None:
        measured = weights.card.metrics
        say(f"Dice on {measured['patients']} tuning patients {measured['dice_tuning']:.4f}")
        for title, facts in measured["validation"].items():
            say(f"Dice on {facts['patients']} patients of {title} {facts['dice']:.4f}")
        say(f"written: {weights.path}")
        say_sources(weights)


def two_step(task: "TaskName", purpose: str) -> None:
    """Add the command of one of the two steps."""

    def command(  # noqa: PLR0913 - each argument is an option of the command
        manifest: ManifestArgument,
        out: OutOption,
        start: Annotated[Path | None, typer.Option("--from", help="Weight set to start from.")] = None,
        column: Annotated[
            str | None, typer.Option(help="What to learn: egfr, label, or a yes-or-no column.")
        ] = None,
        training_set: SetOption = None,
        recipe: RecipeOption = "full",
        cache: CacheOption = None,
        seed: SeedOption = 0,
        device: DeviceOption = "auto",
        workers: WorkersOption = 2,
        name: NameOption = "trained",
        licence: LicenceOption = "none stated",
        origin: OriginOption = "not stated",
        tensorboard: BoardOption = False,
        find_lungs: FindOption = False,
        lungs: LungsOption = None,
        leave_out: LeaveOption = False,
        home: HomeOption = None,
    ) -> None:
        from covid19net.train.recipes import find_recipe
        from covid19net.train.two_step import TASKS, Plan, Workplace, train_task, with_column

        chosen = with_column(TASKS[task], column, training_set)
        plan = Plan(
            chosen, find_recipe(recipe), start, seed, name, licence, origin, typed_command(), leave_out
        )
        place = Workplace(out, out / "work", cache or out / "work" / "images")
        with joined(device) as here, training_bar(task) as bar:
            weights = train_task(
                manifest, plan, place, models=lung_models(home, lungs) if find_lungs or lungs else None,
                site=site_at(here, workers, out / "work" / "tensorboard" if tensorboard else None, bar.step),
                progress=bar.part,
            )  # fmt: skip
        if weights is not None:
            show_card(weights)

    command.__doc__ = purpose
    train_app.command(task)(command)


two_step("auxiliary", "Step one: learn EGFR status, or any yes-or-no column, from the lung image.")
two_step("diagnosis", "Step two: learn COVID-19 against other pneumonia, from the network of step one.")


def typed_command() -> str:
    """The command as typed, for the card; of paths only the last part: folders can name people."""
    words = []
    for word in sys.argv[1:]:
        option, sign, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
        is_path = "/" in value and "://" not in value and " " not in value
        words.append(option + sign + (Path(value).name if is_path else value))
    return shlex.join(["covid19net", *words])


def lung_models(home: Path | None, lungs: str | None) -> "Models":
    """Networks of which the lungs' is used: that of a weight set, or the bundled one."""
    from covid19net.models import load_models

    return load_models(lungs=lungs, home=home_of(home), cache=cache_folder())


@contextmanager
def joined(device: str) -> Iterator[str]:
    """This process's device, joined with the others where torchrun started several."""
    from covid19net.train.together import local_device, together

    known = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "TORCHELASTIC_RESTART_COUNT": 0}
    rank, world, local, attempt = (int(os.environ.get(name, default)) for name, default in known.items())
    here = local_device(device, local)
    address = f"tcp://{os.environ.get('MASTER_ADDR', 'localhost')}:{os.environ.get('MASTER_PORT', '29500')}"
    with together(rank, world, address, device=here, attempt=attempt):
        yield here


def site_at(
    device: str, workers: int, tensorboard: Path | None, step: Callable[[int, int, float, float | None], None]
) -> "Site":
    """Where the steps take place."""
    from covid19net.train.fit import Site

    return Site(device=device, workers=workers, tensorboard=tensorboard, progress=step)


class TrainingBar:
    """A bar for the steps with loss, score and time left, and one for what is done before and after them."""

    def __init__(self, title: str, measure: str, bar: "Progress | None") -> None:
        self._title = title
        self._measure = measure
        self._bar = bar
        self._task = bar.add_task(title, total=None) if bar else None
        self._score = ""

    def step(self, done: int, steps: int, loss: float, score: float | None) -> None:
        """After a training step."""
        if score is not None:
            self._score = f", {self._measure} {score:.3f}"
        self._show(f"{self._title}: loss {loss:.3f}{self._score}", done, steps)

    def part(self, what: str, done: int, count: int) -> None:
        """While images are made or scored."""
        self._show(f"{self._title}: {what}", done, count)

    def _show(self, text: str, done: int, count: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=done, total=count)


@contextmanager
def training_bar(title: str, measure: str = "AUC") -> Iterator[TrainingBar]:
    """A bar with the time left on stderr; silent when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield TrainingBar(title, measure, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield TrainingBar(title, measure, bar)


def show_card(weights: "WeightFile") -> None:
    """What was measured, in a few lines."""
    card = weights.card
    for name, facts in sorted(card.metrics.items(), key=lambda entry: entry[0] == "tuning"):
        if isinstance(facts, dict) and "auc" in facts:
            found = facts["auc"]
            title = (
                "tuning (weights and threshold were chosen on them: too good)" if name == "tuning" else name
            )
            say(
                f"{title}: AUC {found['value']:.3f} (95% CI {found['low']:.3f}-{found['high']:.3f}), "
                f"{facts['positive']} against {facts['negative']} patients"
            )
    say(f"threshold {card.options['threshold']:g} (largest sensitivity plus specificity on tuning patients)")
    say(f"written: {weights.path}; use it with --weights {weights.path.parent}/")
    if card.demonstration:
        say("demonstration weights: trained on synthetic patients; they say nothing about a person")
    say_sources(weights)


def say_sources(weights: "WeightFile") -> None:
    """What the weights were made from and measured on, their licence, and what binds their users."""
    from covid19net.cohort import cautions, learned_from, source_from

    sources = [source_from(facts) for facts in weights.card.sources]
    for source in sources:
        say(f"{source.role}: {source}")
    for line in cautions(learned_from(sources), [weights.card.task]):
        say(f"warning: {line}")
    if sources:
        say(f"licence of the weights: {weights.card.licence}")
