"""Where the data of a study come from and what may be claimed: its section, its record, its methods."""

from collections.abc import Mapping, Sequence
from typing import Any

from covid19net.cohort import DataSource, Patient, banded, cautions, learned_from, source_from, sources_of
from covid19net.report.shelf import Shelf
from covid19net.report.study_page import Banner, ListPart, Paragraph, Part, Section
from covid19net.study.results import Material, Results
from covid19net.table import Table

HEADER = ("source", "collection", "used for", "licence", "cite", "address")
NOT_STATED = "not stated"
OWN = (
    "The manifest names no collection and has no file of sources beside it: where its patients come from, "
    "and what may be claimed, only its authors can say."
)
STORED = (
    "What the weights were made from is not recorded with stored features; covid19net weights card tells it."
)


def weights_sources(material: Material) -> tuple[DataSource, ...]:
    """Sources of the diagnosis weights, as far as their card names them."""
    return () if material.card is None else tuple(map(source_from, material.card.sources))


def model_sources(material: Material, patients: Sequence[Patient]) -> tuple[DataSource, ...]:
    """What a prognostic model was made from: where its patients come from, and what taught the network."""
    own = sources_of(material.sources, patients, material.patients)
    return (*own, *learned_from(weights_sources(material)))


def warnings_of(results: Results) -> tuple[str, ...]:
    """What a reader of the numbers must know first, a line each: licences, refused uses, ages from bands."""
    material = results.material
    lines = list(cautions(material.sources))
    for use, column, done in (
        ("diagnosis", "label", results.diagnosis is not None),
        ("prognosis", "days", bool(results.prognoses)),
    ):
        used = sources_of(material.sources, _having(material.patients, column), material.patients)
        lines += cautions(used, [use] if done else [])
    lines += [f"the weights: {line}" for line in cautions(learned_from(weights_sources(material)))]
    return tuple(dict.fromkeys([*lines, *_bands(results)]))


def _having(patients: Sequence[Patient], column: str) -> list[Patient]:
    return [patient for patient in patients if column in patient.values]


def band_warnings(patients: Sequence[Patient], bands: str) -> list[str]:
    """That ages are the middles of bands, where they are."""
    count = len(banded(patients)) if bands == "middle" else 0
    said = f"ages of {count} of {len(patients)} patients are middles of age bands, not known in years"
    return [said] if count else []


def _bands(results: Results) -> list[str]:
    followed: dict[str, Patient] = {}
    for study in results.prognoses:
        for judged in study.sets.values():
            followed |= {patient.patient_id: patient for patient in judged.followed.part.patients}
    return band_warnings(list(followed.values()), results.options.age_band)


def sentence(line: str) -> str:
    """A line as a sentence."""
    return f"{line[0].upper()}{line[1:]}."


def provenance_record(results: Results) -> dict[str, Any]:
    """For results.json."""
    return {
        "sources": [source.facts() for source in results.material.sources],
        "weights_sources": [source.facts() for source in weights_sources(results.material)],
        "warnings": list(warnings_of(results)),
    }


def source_words(results: Results) -> list[str]:
    """Who made the data, with citation and licence, in sentences."""
    said, material = [], results.material
    if material.sources:
        said.append(f"Patients come from {'; '.join(map(str, material.sources))}.")
    if made := learned_from(weights_sources(material)):
        said.append(f"The network learned from {'; '.join(map(str, made))}.")
    return said


def provenance_words(results: Results) -> list[str]:
    """For the methods text: who made the data, and where ages are bands."""
    return [*source_words(results), *map(sentence, _bands(results))]


def provenance_facts(results: Results, known: Mapping[str, str]) -> dict[str, str]:
    """Answers to checklist items, with what they add to those that are known."""
    added = {"data_sources": source_words(results), "missing": [sentence(line) for line in _bands(results)]}
    return {key: " ".join(filter(None, [known.get(key), *words])) for key, words in added.items() if words}


def provenance_section(results: Results, shelf: Shelf) -> Section:
    """Data and what may be claimed."""
    material = results.material
    made = weights_sources(material)
    everyone = (*material.sources, *made)
    parts: list[Part] = [Banner(sentence(line)) for line in warnings_of(results)]
    if everyone:
        rows = [_row(source, "patients of this study") for source in material.sources]
        rows += [_row(source, f"weights {source.role}".strip()) for source in made]
        parts.append(shelf.table(Table("sources", "Sources of data", HEADER, tuple(rows))))
    parts += [] if material.sources else [Paragraph(OWN)]
    parts.append(Paragraph(_weights(material, made)))
    listed = {
        "What may be claimed:": [f"{s.collection}: {s.claims}" for s in everyone if s.claims],
        "Awaiting confirmation on the collections' pages:": [
            f"{s.collection}: {fact}" for s in everyone for fact in s.unconfirmed
        ],
    }
    for heading, lines in listed.items():
        parts += [Paragraph(heading), ListPart(tuple(dict.fromkeys(lines)))] if lines else []
    return Section("Data and what may be claimed", tuple(parts))


def _row(source: DataSource, use: str) -> tuple[str, ...]:
    cells = (source.title, source.collection, use, source.licence, source.citation, source.address)
    return tuple(cell or NOT_STATED for cell in cells)


def _weights(material: Material, made: Sequence[DataSource]) -> str:
    card = material.card
    if card is None:
        return STORED
    named = "" if made else f" They were made from: {card.training_data.rstrip('.')}."
    return f"Licence of the diagnosis weights {card.name}: {card.licence}.{named}"
