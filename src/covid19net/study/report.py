"""The report of a study, composed: cohort, diagnosis, prognosis, methods, audit of the paper, checklists."""

from pathlib import Path

from covid19net.cohort import table_one
from covid19net.evaluate.audit import audit
from covid19net.evaluate.results import EXAMPLE, read_results
from covid19net.report.checklist import checklist
from covid19net.report.discharge import INTENDED_USE
from covid19net.report.shelf import MARK, Shelf
from covid19net.report.study_page import Banner, ListPart, Paragraph, Part, Section, page, write_page
from covid19net.study import tables
from covid19net.study.diagnosis_report import diagnosis_sections, space_section
from covid19net.study.facts import facts_of
from covid19net.study.guard import guard
from covid19net.study.methods import methods, versions
from covid19net.study.prognosis_report import prognosis_sections
from covid19net.study.provenance import (
    provenance_facts,
    provenance_section,
    provenance_words,
    warnings_of,
)
from covid19net.study.results import Results
from covid19net.table import Table

MOST_FAILURES = 50  # rows on the page


def compose(results: Results, folder: Path) -> tuple[str, ...]:
    """Write every table and figure, and report.html last.

    Args:
        results: from `compute`.
        folder: gets tables/, figures/ and report.html.

    Returns:
        The main results, one line each.
    """
    shelf = Shelf(folder, MARK if results.material.demonstration else "")
    sections = [_cohort(results, shelf), provenance_section(results, shelf)]
    if results.diagnosis is not None:
        sections += diagnosis_sections(results.diagnosis, shelf)
    sections += space_section(results.sets, shelf)
    for found in results.prognoses:
        sections += prognosis_sections(found, shelf)
    sections += [_methods(results), _audit(), _checklists(results, shelf)]
    title = f"Study of {results.source.manifest.stem}"
    subtitle = (
        f"{len(results.material.found)} patients; covid19net {versions()['covid19net']}; weights "
        f"{results.material.weights_sha256[:12] or 'not known'}"
    )
    write_page(folder / "report.html", page(title, subtitle, sections, INTENDED_USE))
    return tuple(summary(results))


def summary(results: Results) -> list[str]:
    """The main results, one line each."""
    lines = [f"warning: {line}" for line in warnings_of(results)]
    if results.diagnosis is not None:
        for name, measured in results.diagnosis.sets.items():
            found = measured.performance
            lines.append(
                f"{name}: AUC {tables.ratio(found.auc)}, sensitivity "
                f"{tables.percent(found.point.sensitivity)} %, specificity "
                f"{tables.percent(found.point.specificity)} %"
            )
    for study in results.prognoses:
        for name, judged in study.sets.items():
            named = f"{name} (resubstitution)" if name == results.options.training else name
            p = "NA" if judged.test is None else tables.p_value(judged.test.p)
            lines.append(
                f"{study.word}, {named}: concordance {tables.ratio(judged.concordance)}, log-rank p {p}"
            )
        warning = study.support.warning
        lines += [f"WARNING: {study.word}: {warning}"] if warning else []
    return lines + list(results.absent)


def _cohort(results: Results, shelf: Shelf) -> Section:
    material = results.material
    parts: list[Part] = []
    verdict = guard({results.source.manifest.stem: material.patients})
    said = f"Verdict on the cohort: {'; '.join(verdict.lines())}."
    parts.append(Banner(said, "warning") if verdict.warns else Paragraph(said))
    if material.demonstration:
        parts.append(
            Banner(
                "Demonstration: patients or weights are synthetic. No number of this report says anything "
                "about people.",
                "demonstration",
            )
        )
    if material.failures:
        parts.append(
            Banner(
                f"{len(material.failures)} of {len(material.patients)} patients have no result and are "
                "left out."
            )
        )
    parts += [Banner(note, "warning") for note in dict.fromkeys(_notes(results))]
    parts.append(shelf.table(table_one(material.patients)))
    if material.failures:
        rows = tuple((f.patient_id, str(f.row), f.reason) for f in material.failures)
        shown = rows[:MOST_FAILURES]
        more = (f"and {len(rows) - len(shown)} more, in results.json",) if len(rows) > len(shown) else ()
        table = Table("left-out", "Patients without a result", ("patient", "row", "reason"), shown, more)
        parts.append(shelf.table(table))
    parts += [ListPart(results.absent)] if results.absent else []
    return Section("Cohort", tuple(parts))


def _notes(results: Results) -> list[str]:
    """What was left out or filled in."""
    return [
        f"{name}: {note}"
        for study in results.prognoses
        for name, judged in study.sets.items()
        for note in judged.followed.notes
    ]


def _methods(results: Results) -> Section:
    options = results.options
    said = methods(results.sets, results.diagnosis, results.prognoses, options)
    said[1:1] = provenance_words(results)
    facts = {**versions(), "seed": str(options.seed), "bootstrap draws": str(options.draws)}
    weights = results.material.weights_sha256
    facts |= {"weights, SHA-256": weights or "not known", "command": results.source.command or "not known"}
    rows = tuple((name, value) for name, value in facts.items())
    return Section(
        "Methods", (*map(Paragraph, said), Table("versions", "Versions and seeds", ("", ""), rows))
    )


def _audit() -> Section:
    doubts = audit(read_results(EXAMPLE).rows)
    text = (
        "The paper's own Table 2 under the same audit (covid19net audit --example). Its numbers stand "
        "beside those of this study as printed."
    )
    return Section(
        "Audit of the published table", (Paragraph(text), ListPart(tuple(doubt.in_words for doubt in doubts)))
    )


def _checklists(results: Results, shelf: Shelf) -> Section:
    text = (
        "TRIPOD+AI and CLAIM, filled in as far as the software knows the answers. What only the authors "
        "of a study can answer is marked so."
    )
    facts = facts_of(results)
    facts = {**facts, **provenance_facts(results, facts)}
    return Section(
        "Reporting checklists",
        (Paragraph(text), *(shelf.table(table) for table in checklist(facts))),
    )
