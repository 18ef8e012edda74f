"""The recipe of the public collections: lungs, auxiliary EGFR, diagnosis, weight set, studies.

VESSEL12 (and LCTSC, NSCLC-Radiomics) train the lungs, the coronacases of COVID-19-CT-Seg-20 test them; NSCLC
Radiogenomics is the auxiliary task; iCTCF's Union hospital trains the diagnosis, Liyuan and COVID-CT-MD
validate it; COVID-19-NY-SBU is a pilot of the prognosis.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from covid19net.cohort import sidecar_of
from covid19net.collections import collection_of
from covid19net.errors import InputError
from covid19net.reproduce.estimate import IMAGE, LUNG_STATE, LUNG_WEIGHTS, SLICES, STATE
from covid19net.reproduce.inventory import Holding, Wanted
from covid19net.reproduce.step import Cost, Step

NAME = "public-1"  # of the weight set
WANTED = (
    Wanted(
        "vessel12", "train the lungs", "others train them, or the bundled network finds them",
        r"VESSEL12_\d\d\.mhd", r"VESSEL12_\d\d\.mhd",
    ),
    Wanted(
        "lctsc", "train the lungs, too", "fewer lungs are learned from", r"LCTSC-(Train|Test)-S\d-\d{3}",
        r"LCTSC-(Train|Test)-S\d-\d{3}",
    ),
    Wanted(
        "nsclc-radiomics", "train the lungs, too; its licence may forbid commercial use",
        "fewer lungs are learned from", r"LUNG1-\d{3}", r"LUNG1-\d{3}",
    ),
    Wanted(
        "seg20", "test the lungs on COVID-19", "the lungs are not tested on COVID-19",
        r"coronacases_\d+\.nii(\.gz)?", r"coronacases_\d+\.nii(\.gz)?",
    ),
    Wanted(
        "nsclc-radiogenomics", "step one, EGFR", "step two starts from random numbers", r"(R01|AMC)-\d{3}",
        r"(R01|AMC)-\d{3}",
    ),
    Wanted(
        "ictcf", "step two, training and validation 1", "there is no diagnosis: nothing can be made",
        r"Patient \d+(\.zip)?", r"Patient \d+(\.zip)?",
    ),
    Wanted(
        "covid-ct-md", "validation 2", "no second hospital validates",
        r"(COVID-19|Cap|Normal)[ _](cases|subjects)", r"(P|cap|normal)\d+",
    ),
    Wanted("ny-sbu", "pilot of the prognosis", "there is no prognosis", r"A\d{6}", r"A\d{6}"),
)  # fmt: skip
LUNGS = ("vessel12", "lctsc", "nsclc-radiomics")
TEST_OF_LUNGS = "seg20"
EGFR, TRAINING, OUTSIDE, STAY = "nsclc-radiogenomics", "ictcf", "covid-ct-md", "ny-sbu"
PUBLISHED = {  # patients that can be used, about
    "vessel12": 20, "lctsc": 60, "nsclc-radiomics": 409, "seg20": 10, EGFR: 152, TRAINING: 1083, OUTSIDE: 229,
    STAY: 60,
}  # fmt: skip
MASKS = {"lctsc": "mask from a structure set", "nsclc-radiomics": "mask from a segmentation"}  # made anew
LUNG_STEPS = {"full": 2400, "cpu": 600, "quick": 40}


@dataclass(frozen=True)
class Place:
    """Where things lie.

    Attributes:
        data: folder of the downloads.
        out: folder of the results.
    """

    data: Path
    out: Path

    def manifest(self, name: str) -> Path:
        """The manifest of a collection, or of several."""
        return self.out / "manifests" / f"{name}.csv"


@dataclass(frozen=True)
class Choice:
    """How the recipe is followed.

    Attributes:
        recipe: of COVID-19Net, as `train` takes it.
        lung_steps: of the lung network; None for as many as go with the recipe.
        lungs_from: weight set whose lung network is trained on; None starts from random numbers, but with
            the recipe "quick" from the bundled one, for its few steps teach none.
        allow_incomplete: whether collections may differ from their published counts.
        seed: of training and bootstraps.
        device: of training and analysis.
        workers: threads.
        licence: of the weights, for their cards.
        origin: who makes them, for their cards.
    """

    recipe: str = "full"
    lung_steps: int | None = None
    lungs_from: str | None = None
    allow_incomplete: bool = False
    seed: int = 0
    device: str = "auto"
    workers: int = 2
    licence: str = "none stated"
    origin: str = "covid19net reproduce public"

    @property
    def where(self) -> tuple[str, ...]:
        """Words of device and threads."""
        return "--device", self.device, "--workers", str(self.workers)

    @property
    def card(self) -> tuple[str, ...]:
        """Words for the cards."""
        return (
            "--seed", str(self.seed), "--name", NAME, "--licence", self.licence, "--origin", self.origin,
        )  # fmt: skip


def missing_lines(found: Mapping[str, Holding]) -> list[str]:
    """For each collection that is not there: size, licence, address, and what happens without it."""
    lines = []
    for wanted in WANTED:
        if wanted.name not in found:
            facts = collection_of(wanted.name)
            lines.append(
                f"{wanted.name}: missing ({wanted.purpose}); {facts.size}; licence {facts.licence}; "
                f"{facts.address}; without it {wanted.without}"
            )
    return lines


def steps_of(found: Mapping[str, Holding], place: Place, choice: Choice) -> list[Step]:
    """The steps that the collections at hand allow, in order.

    Args:
        found: from `take_inventory`.
        place: where things lie.
        choice: how the recipe is followed.

    Raises:
        InputError: no iCTCF: no diagnosis.
    """
    if TRAINING not in found:
        facts = collection_of(TRAINING)
        raise InputError(
            f"{place.data}: no {TRAINING} ({facts.title}), and so no patient with COVID-19 beside one with "
            f"other pneumonia to learn the diagnosis from; get it from {facts.address}"
        )
    kitchen = _Kitchen(found, place, choice)
    return [*kitchen.manifests(), *kitchen.lungs(), *kitchen.networks(), *kitchen.studies()]


class _Kitchen:
    """Makes the steps of what is at hand."""

    def __init__(self, found: Mapping[str, Holding], place: Place, choice: Choice) -> None:
        self.found, self.place, self.choice = found, place, choice
        self.has_lungs = any(name in found for name in LUNGS)
        self.public = place.out / NAME

    def patients(self, name: str) -> int:
        """About how many patients of a collection will be used."""
        return min(self.found[name].patients, PUBLISHED[name]) if name in self.found else 0

    def manifests(self) -> Iterator[Step]:
        """A manifest of each collection, checked."""
        for name, holding in self.found.items():
            if name == TEST_OF_LUNGS and not self.has_lungs:
                continue
            out = self.place.manifest(name)
            words: tuple[str, ...] = ("cohort", "from", name, str(holding.folder), "--out", str(out))
            if self.choice.allow_incomplete:
                words += ("--allow-incomplete",)
            units = {"header": holding.files}
            if name in MASKS:
                units[MASKS[name]] = self.patients(name)
            yield Step(
                f"manifest-{name}", f"a manifest of {collection_of(name).title}", words, reads=(name,),
                makes=(out, sidecar_of(out)), cost=Cost(units),
            )  # fmt: skip
            checks = self.place.out / "checks" / name
            yield Step(
                f"check-{name}", "what would fool a study",
                ("cohort", "check", str(out), "--out", str(checks)),
                needs=(f"manifest-{name}",), makes=(checks / "cohort-check.txt",),
            )  # fmt: skip

    def joined(self, name: str, parts: Sequence[str]) -> tuple[Path, list[Step]]:
        """One manifest of several, and the step that makes it, where there are several."""
        if len(parts) == 1:
            return self.place.manifest(parts[0]), []
        words: list[str] = []
        if name == "diagnosis":  # each hospital apart
            for i, part in enumerate(parts):
                words += ["--set", f"{part}:validation=validation {i + 1}"]
        out = self.place.manifest(name)
        names = [str(self.place.manifest(part)) for part in parts]
        step = Step(
            f"manifest-{name}", f"{' and '.join(parts)} in one manifest",
            ("cohort", "join", *names, "--out", str(out), *words),
            needs=tuple(f"manifest-{part}" for part in parts), makes=(out, sidecar_of(out)),
        )  # fmt: skip
        return out, [step]

    def lungs(self) -> Iterator[Step]:
        """Training of the lung network."""
        parts = [name for name in (*LUNGS, TEST_OF_LUNGS) if name in self.found]
        if not self.has_lungs:
            return
        manifest, before = self.joined("lungs", parts)
        yield from before
        out, choice = self.place.out / "lungs", self.choice
        count = choice.lung_steps or LUNG_STEPS.get(choice.recipe, LUNG_STEPS["full"])
        start = choice.lungs_from or ("bundled" if choice.recipe == "quick" else "")
        words = ["train", "lungs", str(manifest), "--out", str(out), "--steps", str(count)]
        words += ["--from", start] if start else []
        patients = sum(map(self.patients, parts))
        yield Step(
            "lungs", "the network that finds the lungs", (*words, *choice.card), choice.where,
            needs=tuple(step.name for step in before) or (f"manifest-{parts[0]}",), reads=tuple(parts),
            makes=(out / "lungs.safetensors", out / "lungs.json"), work=(out / "work",),
            files=_those_there(Path(start) / "lungs.safetensors"),
            cost=Cost(
                {"scan hashed": patients, "scan and mask read": patients, "lung step": count},
                patients * SLICES + LUNG_WEIGHTS + LUNG_STATE,
            ),
        )  # fmt: skip

    def networks(self) -> Iterator[Step]:
        """Both steps of COVID-19Net, and the weight set."""
        parts = [TRAINING, *(name for name in [OUTSIDE] if name in self.found)]
        manifest, before = self.joined("diagnosis", parts)
        yield from before
        start: tuple[str, ...] = ()
        if EGFR in self.found:
            yield self.training("auxiliary", self.place.manifest(EGFR), (EGFR,), "egfr")
            start = ("--from", str(self.place.out / "auxiliary"))
        yield self.training("diagnosis", manifest, tuple(parts), "diagnosis", start)
        made = ["lungs"] * self.has_lungs + ["auxiliary"] * bool(start) + ["diagnosis"]
        tasks = {"lungs": "lungs", "auxiliary": "egfr", "diagnosis": "diagnosis"}
        yield Step(
            NAME, "one weight set of them",
            ("weights", "join", *(str(self.place.out / name) for name in made), "--out", str(self.public)),
            needs=tuple(made),
            makes=tuple(
                self.public / f"{tasks[n]}.{ending}" for n in made for ending in ("safetensors", "json")
            ),
            work=(self.public,), cost=Cost(disk=LUNG_WEIGHTS),
        )  # fmt: skip

    def training(
        self, name: str, manifest: Path, parts: tuple[str, ...], task: str, start: tuple[str, ...] = ()
    ) -> Step:
        """Training of COVID-19Net for one task."""
        out, choice = self.place.out / name, self.choice
        finder = ("--lungs", str(self.place.out / "lungs")) if self.has_lungs else ("--find-lungs",)
        words = (
            "train", name, str(manifest), "--out", str(out), "--recipe", choice.recipe,
            "--leave-out", *finder, *start,
            "--cache", str(self.place.out / "images"), *choice.card,
        )  # fmt: skip
        patients = sum(map(self.patients, parts))
        needs = [f"manifest-{parts[0] if manifest.stem in self.found else manifest.stem}"]
        needs += ["lungs"] if self.has_lungs else []
        needs += ["auxiliary"] if start else []
        units = {"scan hashed": patients, "lung image": patients, "image scored": patients}
        units |= samples_of(choice.recipe)
        return Step(
            name, f"COVID-19Net, {name}", words, choice.where, needs=tuple(needs), reads=parts,
            makes=(out / f"{task}.safetensors", out / f"{task}.json", out / "scores.csv"),
            work=(out / "work",), files=_those_there(Path(choice.recipe)),
            cost=Cost(units, patients * IMAGE + STATE),
        )  # fmt: skip

    def studies(self) -> Iterator[Step]:
        """A study of the diagnosis, and one of the prognosis."""
        parts = [TRAINING, *(name for name in [OUTSIDE] if name in self.found)]
        manifest, _ = self.joined("diagnosis", parts)
        yield self.study("diagnosis", manifest, parts, ("--threshold", "card"))
        if STAY in self.found:
            choices: tuple[str, ...] = ("--model", "penalised", "--missing", "exclude")
            choices += ("--age-band", "middle")
            yield self.study("prognosis", self.place.manifest(STAY), [STAY], choices)

    def study(self, name: str, manifest: Path, parts: Sequence[str], choices: tuple[str, ...]) -> Step:
        """A study with the weights that were made."""
        out = self.place.out / f"study-{name}"
        words = (
            "study", str(manifest), "--out", str(out), "--weights", str(self.public),
            "--seed", str(self.choice.seed), "--draws", "0", *choices,
        )  # fmt: skip
        makes = [out / "report.html", out / "results.json"]
        makes += [out / "prognosis.json"] if name == "prognosis" else []
        units = {"scan analyzed": sum(map(self.patients, parts)), "study": 1}
        return Step(
            f"study-{name}", f"study of the {name}, report included", words, self.choice.where,
            needs=(f"manifest-{manifest.stem}", NAME), reads=tuple(parts), makes=tuple(makes),
            cost=Cost(units, 50 << 20),
        )  # fmt: skip


def _those_there(*paths: Path) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.is_file())


def samples_of(recipe: str) -> dict[str, int]:
    """Samples that a recipe draws at most, by the unit of their size."""
    from covid19net.preprocess import IMAGE_SHAPE
    from covid19net.train.recipes import find_recipe

    found: dict[str, int] = {}
    for stage in find_recipe(recipe):
        size = " x ".join(str(n // by) for n, by in zip(IMAGE_SHAPE, stage.shrink, strict=True))
        unit = f"sample at {size}"
        found[unit] = found.get(unit, 0) + stage.schedule.steps * stage.schedule.batch
    return found
