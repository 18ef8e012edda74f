"""TRIPOD+AI and CLAIM checklists, filled as far as a study's own records go.

TRIPOD+AI: Collins et al., BMJ 2024;385:e078378, 27 items in 52 parts. CLAIM: Tejani et al., Radiol Artif
Intell 2024;6:e240300 (update of 2024), 44 items. The topics are in our words; journals want the official
forms, for which these tables are the notes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from covid19net.errors import InputError
from covid19net.table import Table

FILLED, PARTLY, OPEN = "filled", "partly", "authors must answer"

FACTS: dict[str, str] = {
    "goal": "aim of the study: development, evaluation or both, and of what",
    "data_sources": "where training and evaluation data came from",
    "dates": "when patients were scanned and followed",
    "centres": "hospitals: number, place",
    "eligibility": "rules by which rows of the manifest were used",
    "excluded": "numbers included and left out, with reasons",
    "follow_up": "events, censored, median follow-up",
    "preprocessing": "what is done to a scan before the network",
    "acquisition": "scanners, slice thickness, kernels",
    "deidentified": "what is kept of headers and names",
    "missing": "missing values and how they were handled",
    "label": "how the manifest says who has COVID-19",
    "outcome": "end point, time origin, censoring, competing events",
    "predictors": "features and covariates offered to the model",
    "partitions": "sets, how patients were assigned, level at which they are disjoint",
    "sizes": "patients and events of every set",
    "diagnosis_model": "network, input, output, parameters",
    "prognosis_model": "Cox model: selected covariates, coefficients, cut",
    "training": "loss, optimiser, steps, augmentation, seeds",
    "initialisation": "weights training started from",
    "selection": "how the final model and its covariates were chosen",
    "ensemble": "ensembling, or that there is none",
    "internal_validation": "tuning patients, bootstrap, optimism",
    "imbalance": "handling of unequal classes",
    "threshold": "output, threshold and how it was found",
    "measures": "performance measures, intervals and tests",
    "performance": "performance with intervals in every set",
    "calibration": "calibration in every set",
    "strata": "performance within centres, sexes, ages, scanners",
    "robustness": "sensitivity analyses",
    "explainability": "maps and how they were checked",
    "failures": "what the wrongly classified have in common",
    "external": "performance in centres not used for training",
    "set_differences": "how the sets differ: characteristics, acquisition",
    "characteristics": "table of patient characteristics by set",
    "updating": "recalibration or updating, or that there was none",
    "software": "packages and versions",
    "weights": "weight files with SHA-256, licence, where to get them",
    "code": "where the code is, its licence and version",
    "bad_input": "what the software refuses or flags",
    "user_role": "what a user has to do and to know",
}


@dataclass(frozen=True)
class Item:
    """An item of a checklist.

    Attributes:
        number: such as "12c".
        section: of the report it belongs to.
        topic: in our words.
        facts: of `FACTS`, which answer it; none where only the authors can.
        authors: whether the facts leave a part that only the authors know.
    """

    number: str
    section: str
    topic: str
    facts: tuple[str, ...] = ()
    authors: bool = False


def _items(section: str, *rows: tuple[str, str, str]) -> tuple[Item, ...]:
    """Items of a section from number, topic and facts; a fact list that ends in "+" needs the authors too."""
    return tuple(
        Item(number, section, topic, tuple(facts.removesuffix("+").split()), facts.endswith("+"))
        for number, topic, facts in rows
    )


TRIPOD = (
    *_items(
        "Title and abstract",
        ("1", "Title names model study, population and outcome", ""),
        ("2", "Abstract after TRIPOD+AI for Abstracts", ""),
    ),
    *_items(
        "Introduction",
        ("3a", "Clinical context, reasons, earlier models", ""),
        ("3b", "Whom the model is for, purpose and users in the care pathway", "user_role +"),
        ("3c", "Known inequalities of health between social groups", ""),
        ("4", "Objectives: development, evaluation or both", "goal"),
    ),
    *_items(
        "Methods",
        (
            "5a",
            "Sources of development and evaluation data, why these, for whom they stand",
            "data_sources +",
        ),
        ("5b", "Dates of recruitment and end of follow-up", "dates"),
        ("6a", "Setting, number and place of centres", "centres +"),
        ("6b", "Who was eligible", "eligibility +"),
        ("6c", "Treatments and how they were dealt with", ""),
        ("7", "Preparation and quality control of data, alike in all social groups", "preprocessing +"),
        ("8a", "Outcome: definition, horizon, when and how assessed, why this one", "outcome label +"),
        ("8b", "Assessors of a subjective outcome", ""),
        ("8c", "Blinding of outcome assessment", ""),
        ("9a", "Candidate predictors and any choice before modelling", "predictors selection"),
        ("9b", "Definition of predictors, when and how measured", "predictors acquisition +"),
        ("9c", "Assessors of subjective predictors", ""),
        ("10", "Sample size: how arrived at, whether enough", "sizes +"),
        ("11", "Missing data, and why any were left out", "missing excluded"),
        ("12a", "Use of the data: development, evaluation, partitions", "partitions"),
        ("12b", "Form, scaling and transformation of predictors", "preprocessing prognosis_model"),
        (
            "12c",
            "Type of model, why, every building step, tuning, internal validation",
            "diagnosis_model prognosis_model training internal_validation",
        ),
        ("12d", "Differences between clusters such as hospitals", "strata"),
        ("12e", "Measures and plots of performance, and why", "measures"),
        ("12f", "Updating of the model after evaluation", "updating"),
        ("12g", "How predictions were calculated in the evaluation", "code weights"),
        ("13", "Class imbalance and recalibration after its treatment", "imbalance"),
        ("14", "What was done for fairness, and why", "strata +"),
        ("15", "Output, classes, and where thresholds come from", "threshold"),
        ("16", "Differences between development and evaluation data", "set_differences"),
        ("17", "Ethics committee, consent or waiver", ""),
    ),
    *_items(
        "Open science",
        ("18a", "Funding, role of funders", ""),
        ("18b", "Conflicts of interest", ""),
        ("18c", "Protocol", ""),
        ("18d", "Registration", ""),
        ("18e", "Availability of data", ""),
        ("18f", "Availability of analysis code", "code"),
    ),
    *_items("Patient involvement", ("19", "Patients and public in the study, or that there were none", "")),
    *_items(
        "Results",
        ("20a", "Flow of participants, with and without outcome, follow-up", "excluded follow_up"),
        ("20b", "Characteristics by source, missing values, treatments", "characteristics missing +"),
        ("20c", "Development and evaluation data compared", "characteristics set_differences"),
        ("21", "Participants and events in each analysis", "sizes"),
        ("22", "The whole model, so that others can use it, and its terms", "prognosis_model weights code"),
        ("23a", "Performance with intervals, also in key groups", "performance calibration strata"),
        ("23b", "Differences of performance between clusters", "strata"),
        ("24", "Results of updating", "updating"),
    ),
    *_items(
        "Discussion",
        ("25", "Interpretation, with fairness and earlier studies", ""),
        ("26", "Limitations and what they do to bias and generality", ""),
        ("27a", "Poor or absent input in use", "bad_input"),
        ("27b", "What users do and must know", "user_role +"),
        ("27c", "Next steps for research", ""),
    ),
)

CLAIM = (
    *_items(
        "Title and abstract",
        ("1", "Title or abstract names the AI technology", ""),
        ("2", "Structured abstract", ""),
    ),
    *_items(
        "Introduction",
        ("3", "Background, intended use and role of the AI", ""),
        ("4", "Aims and hypotheses", "goal +"),
    ),
    *_items(
        "Methods: design",
        ("5", "Prospective or retrospective", ""),
        ("6", "Goal of the study", "goal"),
    ),
    *_items(
        "Methods: data",
        ("7", "Sources of data", "data_sources"),
        ("8", "Who and what was included and excluded", "eligibility excluded +"),
        ("9", "Preprocessing", "preprocessing"),
        ("10", "Choice of parts of the data", "eligibility preprocessing"),
        ("11", "De-identification", "deidentified +"),
        ("12", "Missing data", "missing"),
        ("13", "Image acquisition", "acquisition +"),
    ),
    *_items(
        "Methods: reference standard",
        ("14", "Definition", "label +"),
        ("15", "Why this one", ""),
        ("16", "Source of annotations, who made them", ""),
        ("17", "Annotation of the test set", ""),
        ("18", "Agreement within and between annotators", ""),
    ),
    *_items(
        "Methods: partitions",
        ("19", "How data were assigned", "partitions"),
        ("20", "Level at which partitions share nothing", "partitions"),
        ("21", "Intended size of the test sample", "sizes +"),
    ),
    *_items(
        "Methods: model and training",
        ("22", "The model in detail", "diagnosis_model prognosis_model"),
        ("23", "Software", "software"),
        ("24", "Initial parameters", "initialisation"),
        ("25", "Training", "training"),
        ("26", "How the final model was chosen", "selection"),
        ("27", "Ensembles", "ensemble"),
    ),
    *_items(
        "Methods: evaluation",
        ("28", "Measures of performance", "measures"),
        ("29", "Significance and uncertainty", "measures"),
        ("30", "Robustness, sensitivity", "robustness"),
        ("31", "Explainability and how it was checked", "explainability"),
        ("32", "Evaluation on internal data", "internal_validation"),
        ("33", "Testing on external data", "external+"),
        ("34", "Registration as a clinical trial", ""),
    ),
    *_items(
        "Results",
        ("35", "Numbers included and excluded", "excluded"),
        ("36", "Characteristics by partition", "characteristics"),
        ("37", "Performance with uncertainty", "performance calibration"),
        ("38", "Diagnostic performance and its precision", "performance threshold"),
        ("39", "Failures", "failures"),
    ),
    *_items(
        "Discussion",
        ("40", "Limitations", ""),
        ("41", "What it means for practice, intended use", ""),
    ),
    *_items(
        "Other",
        ("42", "Full protocol or further technical detail", "code +"),
        ("43", "Availability of software, model and data", "code weights +"),
        ("44", "Funding, role of funders", ""),
    ),
)


def checklist(facts: Mapping[str, str]) -> tuple[Table, Table]:
    """Both checklists with the answers a study can give by itself.

    An item is "filled" when every fact it needs is there, "partly" when some are or when a part is left that
    only the authors know, and else "authors must answer"; the two last say so in the answer.

    Args:
        facts: some of `FACTS` with their answers; an empty answer counts as none.

    Returns:
        TRIPOD+AI and CLAIM, columns item, section, topic, status and answer.

    Raises:
        InputError: a fact of another name, which would be lost without a word.
    """
    unknown = sorted(set(facts) - set(FACTS))
    if unknown:
        raise InputError(f"no such facts: {', '.join(unknown)}; there are {', '.join(FACTS)}")
    known = {name: text.strip() for name, text in facts.items() if text.strip()}
    return (
        _table("tripod-ai", "TRIPOD+AI (Collins et al., BMJ 2024;385:e078378)", TRIPOD, known),
        _table(
            "claim", "CLAIM, 2024 update (Tejani et al., Radiol Artif Intell 2024;6:e240300)", CLAIM, known
        ),
    )


def _table(name: str, title: str, items: tuple[Item, ...], known: Mapping[str, str]) -> Table:
    rows = [(item.number, item.section, item.topic, *_answer(item, known)) for item in items]
    states = [row[3] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (FILLED, PARTLY, OPEN))
    notes = (
        f"{len(rows)} entries: {counts}.",
        "Topics in our own short words; the published checklist is what counts and what a journal asks for.",
    )
    return Table(name, title, ("Item", "Section", "Topic", "Status", "Answer"), tuple(rows), notes)


def _answer(item: Item, known: Mapping[str, str]) -> tuple[str, str]:
    """Status and answer."""
    given = [known[fact] for fact in item.facts if fact in known]
    lacking = [FACTS[fact] for fact in item.facts if fact not in known]
    if not given:
        return OPEN, "[Authors: to be answered]"
    text = " ".join(dict.fromkeys(part if part.endswith((".", "!", "?")) else f"{part}." for part in given))
    left = ["what only you know of this"] if item.authors else []
    if not lacking and not left:
        return FILLED, text
    return PARTLY, f"{text} [Authors: add {'; '.join(lacking + left)}]"
