"""The weight sets there are: what ships with the package, what is published, and what is installed.

A set is a folder with, for each task, TASK.safetensors and its model card TASK.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import re
from typing import Any

from covid19net.errors import InputError, WeightsError
from covid19net.volume import Finding
from covid19net.weights.cards import TASKS, card_text, read_card
from covid19net.weights.files import WeightFile, read_checked, sha256_of, write_atomically

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parent / "bundled"

# What ships with the package: file name -> SHA-256. The files are trusted because of this table, not because
# of the cards beside them: whoever could exchange a file could exchange its card as well.
_SHIPPED = """
039a16fed101eb2af7cc55da299ba8582908144def77eb39b853d1aa23725790  diagnosis.d32b82cd0d7e.ov2.backbone.bin
d15596a230dab93be04c3e6c73654719f30418921150604d14e27945eaefa4fc  diagnosis.d32b82cd0d7e.ov2.backbone.xml
dbb07018c31cecaa706e705bfcab5728cde0e8488a8c2454df9312cd8b8e60df  diagnosis.d32b82cd0d7e.ov2.head.bin
efb9403fd5bcff3b317cc9bc2c70e4b31574fb17ad27695548a296908b8e669d  diagnosis.d32b82cd0d7e.ov2.head.xml
d32b82cd0d7e448b7914b0665766bf265c3382eec704c0ca5aa6b9b55b4e1309  diagnosis.safetensors
e77a912001f93a467a8f8392f684111631740232b13869bd86b2b03b054bc148  lungs.da88e9273049.ov3.network.bin
18a4c4a96911db9a656d94ff5f22241a408864d3c2e4d42dc76f53e8f6c08ae5  lungs.da88e9273049.ov3.network.xml
da88e9273049bf7e18602266491e55b1d85132b21a160e3c6e1fabb3818731f6  lungs.safetensors
"""  # as sha256sum writes it
BUNDLED_SHA256: Mapping[str, str] = {
    name: digest for digest, name in map(str.split, _SHIPPED.split("\n")[1:-1])
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class PublishedFile:
    """One file of a published set: its task, its path at the origin, and how to know it.

    Attributes:
        task: "lungs", "diagnosis" or "egfr".
        path: inside the origin's repository.
        sha256: of the file.
        size: in bytes.
        training_data: what the network has seen, as far as the publication says.
        metrics: as published.
    """

    task: str
    path: str
    sha256: str
    size: int
    training_data: str
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedSet:
    """A set of weights that others have published and that does not ship with the package.

    Attributes:
        name: to install and find it by.
        base_url: the files' paths are added to it.
        licence: as stated at the origin.
        origin: who published it, where, at which version.
        files: one for each task.
    """

    name: str
    base_url: str
    licence: str
    origin: str
    files: tuple[PublishedFile, ...]


# Sizes and SHA-256 are those of the Git-LFS pointers at e3feba4. The address names another commit, with the
# same pointers, by its full hash.
WANG2020 = PublishedSet(
    name="wang2020",
    base_url="https://media.githubusercontent.com/media/wangshuocas/COVID-19/b7a494741ffc369cfb268377f506c8c95d6f631a",
    licence="none stated",
    origin="Wang et al. 2020, Eur Respir J 56:2000775; github.com/wangshuocas/COVID-19 at e3feba4",
    files=(
        PublishedFile(
            task="lungs",
            path="ERSCOVIDTest/model/lungSegmentation.hdf5",
            sha256="f6b948d423e412f487b9a6a8a287b05a61d1fc8c800929f3d6fa7c3a61c2946f",
            size=119991728,
            training_data="ImageNet, then VESSEL12",
        ),
        PublishedFile(
            task="diagnosis",
            path="ERSCOVIDTest/model/myDenseNetv2_COVID-19.h5",
            sha256="211e76245a098dd35f90a2726792211179d32efdaec37b3174735e5f5d8dd818",
            size=3846552,
            training_data="EGFR status of 4,106 patients with lung cancer (Sichuan), then 709 chest CT "
            "(Wuhan, Henan): 560 of COVID-19, 149 of other pneumonia",
            metrics={"published AUC": {"training": 0.90, "validation 1": 0.87, "validation 2": 0.88}},
        ),
        PublishedFile(
            task="egfr",
            path="ERSCOVIDTest/model/myDenseNetv2_EGFR_pretrain.h5",
            sha256="df6307835db32766880a6535339295f55f3feb81845d96a3827a4a2d62ac314a",
            size=3846552,
            training_data="EGFR status of 4,106 patients with lung cancer (Sichuan)",
        ),
    ),
)
PUBLISHED = {WANG2020.name: WANG2020}


@dataclass(frozen=True)
class WeightSet:
    """The networks for one analysis, and what a reader of its results must know of them.

    Attributes:
        name: of the set.
        lungs: DenseNet121-FPN.
        diagnosis: COVID-19Net for COVID-19 against other pneumonia.
        findings: for example that the lungs come from another set.
        egfr: COVID-19Net of the auxiliary task, where the set holds one.
    """

    name: str
    lungs: WeightFile
    diagnosis: WeightFile
    findings: tuple[Finding, ...] = ()
    egfr: WeightFile | None = None


@dataclass(frozen=True)
class SetListing:
    """One line of the list of sets.

    Attributes:
        name: to find or install it by.
        state: "bundled", "installed", "damaged" or "published" (known, not installed).
        tasks: what it holds.
        licence: of its files, joined with "; " where they differ.
        origin: likewise.
        note: the fault of a damaged set, otherwise "".
    """

    name: str
    state: str
    tasks: tuple[str, ...]
    licence: str
    origin: str
    note: str = ""


def weight_files(folder: Path) -> dict[str, WeightFile]:
    """Read the model cards of a folder: task -> weight file. The weights themselves are not opened.

    Raises:
        WeightsError: not a folder, no weights in it, weights without a card, or a card of another task.
    """
    try:
        if not folder.is_dir():
            raise WeightsError(f"{folder}: no such folder of weights")
        held = [task for task in TASKS if _holds(folder, task)]
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be read: {error.strerror}") from error
    if not held:
        names = " or ".join(f"{task}.safetensors" for task in TASKS)
        raise WeightsError(f"{folder}: no weights: expected {names} with model cards")
    found = {}
    for task in held:
        card_path = folder / f"{task}.json"
        card = read_card(card_path)
        if card.task != task:
            raise WeightsError(f"{card_path}: the card is for {card.task!r}, not {task!r}")
        found[task] = WeightFile(card_path.with_suffix(".safetensors"), card)
    return found


def _holds(folder: Path, task: str) -> bool:
    return any((folder / f"{task}{suffix}").exists() for suffix in (".safetensors", ".json"))


def bundled_files() -> dict[str, WeightFile]:
    """The weight files that ship with the package, each compared with the table of trusted SHA-256.

    Raises:
        WeightsError: one is missing or was exchanged.
    """
    found = weight_files(BUNDLED_FOLDER)
    for weights in found.values():
        trusted = BUNDLED_SHA256.get(weights.path.name)
        if weights.card.sha256 != trusted:
            raise WeightsError(
                f"{weights.path}: not the file that ships with this version of covid19net; "
                f"expected SHA-256 {trusted}. Install the package again."
            )
    return found


def check_bundled() -> None:
    """Hash every file that ships with the package.

    Raises:
        WeightsError: one is missing or has other bytes.
    """
    for name, trusted in BUNDLED_SHA256.items():
        path = BUNDLED_FOLDER / name
        if not path.is_file() or sha256_of(path) != trusted:
            raise WeightsError(
                f"{path}: missing or damaged; expected SHA-256 {trusted}. Install the package again."
            )


def _installed(home: Path | None) -> dict[str, Path]:
    try:
        if home is None or not home.is_dir():
            return {}
        return {p.name: p for p in sorted(home.iterdir()) if p.is_dir() and _NAME.fullmatch(p.name)}
    except OSError as error:
        raise WeightsError(f"{home}: the installed weights cannot be listed: {error.strerror}") from error


def _folder_of(name: str | Path, home: Path | None) -> Path:
    """The folder of an installed set, or the folder itself."""
    if isinstance(name, Path) or "/" in name or "\\" in name:
        return Path(name)
    installed = _installed(home)
    if name in installed:
        return installed[name]
    known = ", ".join([BUNDLED, *installed])
    hint = f"; {name} is published and can be installed" if name in PUBLISHED else ""
    raise WeightsError(f"unknown weights {name!r}: there are {known}{hint}; a folder is written as ./{name}")


def new_set_folder(name: str, home: Path) -> Path:
    """The folder a set of this name is to be written into; it is not made yet.

    Raises:
        InputError: not a plain name, or one that the package itself uses.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a set: letters, digits, '.', '_' and '-', at most 64")
    if name == BUNDLED or name in PUBLISHED:
        raise InputError(f"{name!r} is a name the package uses itself: choose another")
    return home / name


def find_set(name: str | Path, home: Path | None) -> WeightSet:
    """Find a set of weights and read its model cards. The weights themselves are not opened.

    Args:
        name: "bundled", the name of an installed set, or a folder (a Path, or text with a slash).
        home: folder that holds the installed sets, or None.

    Returns:
        The set. Without lungs of its own it takes the bundled ones, and a finding says so.

    Raises:
        WeightsError: unknown, incomplete or damaged.
    """
    if name == BUNDLED:
        found, folder = bundled_files(), BUNDLED_FOLDER
    else:
        folder = _folder_of(name, home)
        found = weight_files(folder)
    if "diagnosis" not in found:
        raise WeightsError(f"{folder / 'diagnosis.safetensors'}: the set holds no diagnosis network")
    findings = []
    if "lungs" not in found:
        found["lungs"] = bundled_files()["lungs"]
        findings.append(
            Finding("weights-lungs-bundled", "The weight set has no lung network; the bundled one was used.")
        )
    if found["diagnosis"].card.demonstration:
        findings.append(
            Finding(
                "weights-demonstration",
                "The diagnosis network was trained on synthetic images: "
                "its probability says nothing about a patient.",
            )
        )
    shrink = found["diagnosis"].card.options.get("shrink", [1, 1, 1])
    if shrink != [1, 1, 1]:
        size = " x ".join(map(str, shrink))
        findings.append(
            Finding(
                "weights-reduced",
                f"The diagnosis network was trained at reduced size, for teaching: {size} voxels of the lung "
                "image (z, y, x) are one for it.",
            )
        )
    title = found["diagnosis"].card.name
    return WeightSet(title, found["lungs"], found["diagnosis"], tuple(findings), found.get("egfr"))


def lung_weights(name: str | Path, home: Path | None) -> WeightFile:
    """The lung network of a set, which need not hold a diagnosis network.

    Args:
        name: as for `find_set`.
        home: likewise.

    Raises:
        WeightsError: unknown or damaged, or without a lung network.
    """
    found = bundled_files() if name == BUNDLED else weight_files(_folder_of(name, home))
    if "lungs" not in found:
        raise WeightsError(f"{name}: the set holds no lung network")
    return found["lungs"]


def _listing(name: str, state: str, folder: Path) -> SetListing:
    try:
        found = bundled_files() if state == BUNDLED else weight_files(folder)
    except WeightsError as error:
        return SetListing(name, "damaged", (), "", "", str(error))
    licences = dict.fromkeys(weights.card.licence for weights in found.values())
    origins = dict.fromkeys(weights.card.origin for weights in found.values())
    return SetListing(name, state, tuple(found), "; ".join(licences), "; ".join(origins))


def list_sets(home: Path | None) -> tuple[SetListing, ...]:
    """Every set that can be used now, and the published ones that could be installed.

    Args:
        home: folder that holds the installed sets, or None.
    """
    installed = _installed(home)
    listings = [_listing(BUNDLED, BUNDLED, BUNDLED_FOLDER)]
    listings += [_listing(name, "installed", folder) for name, folder in installed.items()]
    for known in PUBLISHED.values():
        if known.name not in installed:
            tasks = tuple(file.task for file in known.files)
            listings.append(SetListing(known.name, "published", tasks, known.licence, known.origin))
    return tuple(listings)


def join_sets(folders: Sequence[Path], out: Path) -> dict[str, WeightFile]:
    """Copy the networks of several folders into one set: lungs of one, diagnosis of another.

    Args:
        folders: each with weights of other tasks than the rest.
        out: folder of the set; weights of the same tasks are replaced, others are not there.

    Returns:
        Task -> weight file of the set.

    Raises:
        WeightsError: no weights in a folder, damaged ones, a task in two of them, or a folder that cannot be
            written.
        ResourceError: the disk is full.
    """
    found: dict[str, WeightFile] = {}
    for folder in folders:
        for task, weights in weight_files(folder).items():
            if task in found:
                raise WeightsError(f"{folder}: {task} weights are in {found[task].path.parent} too")
            found[task] = weights
    others = sorted({path.stem for path in out.glob("*.safetensors")} - found.keys())
    if others:
        raise WeightsError(
            f"{out}: holds {', '.join(others)} weights that are not joined; give another folder"
        )
    for task, weights in found.items():
        data = read_checked(weights.path, sha256=weights.card.sha256, size=weights.card.size)
        write_atomically(out / f"{task}.safetensors", data)
        write_atomically(out / f"{task}.json", card_text(weights.card).encode())
    return weight_files(out)
