"""The words and numbers of a patient's page, rounded as people read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from covid19net.cohort import source_from
from covid19net.cohort.sources import LEARNED
from covid19net.diagnose import Decision
from covid19net.pipeline import CaseResult
from covid19net.prognosis.model import Prognosis
from covid19net.report.montage import BANNERS
from covid19net.volume import Finding

DASH, MINUS, TIMES, SPACE = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{NO-BREAK SPACE}"
MOST_DIGITS = 4  # after the point of a percentage, to tell a probability from the threshold
LONGEST = 130  # characters of a text from a model card; the record has all of it
DEMONSTRATION = ("weights-demonstration", "prognosis-demonstration")
# Findings that open the page, most urgent first: code, title, what it means for who reads the page.
URGENT = {
    "out-of-distribution": (
        "This scan is unlike those the network learned from",
        "Do not rely on probability, marked areas or prognosis; read the images by themselves.",
    ),
    "orientation-unknown": (
        "Left and right are not known",
        "No side is named on this page, and pictures may show the patient mirrored.",
    ),
    "map-unreliable": ("The marked areas are not reliable", "They are struck through below."),
    "coverage": (
        "The lungs are not shown completely",
        "Disease beyond the end of the scan was not seen; volumes and shares are of the part shown.",
    ),
    "missing-slices": ("Slices are missing", "What lies in the gaps was not seen."),
    "odd-slices": ("Slices may be damaged", "What they show may not be real."),
}
LIMITS = (
    "The network knows two answers, COVID-19 and other pneumonia. It does not recognise healthy lungs, "
    "tumours, oedema or anything else, and gives a probability for them too.",
    "The probability is the network's own. How likely COVID-19 is in a patient depends also on how common "
    "it is among those scanned, and on the laboratory test.",
    "Marked areas are where the network's answer came from, not where disease is; an unmarked area may be "
    "diseased.",
    "The outline of the lungs may leave out thin consolidation along the pleura and large dense masses at "
    "the mediastinum.",
    "For one series of a chest CT of an adult. Not tested in children or after removal of a lung.",
)


@dataclass(frozen=True)
class Warned:
    """A warning that opens the page.

    Attributes:
        title: what is the matter.
        sentences: of the findings, and what they mean for the reader.
    """

    title: str
    sentences: tuple[str, ...]


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def shortened(text: str) -> str:
    """At most `LONGEST` characters, cut between words."""
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rsplit(" ", 1)[0].rstrip(" ,;:") + " \N{HORIZONTAL ELLIPSIS}"


def percent(share: float, digits: int = 0) -> str:
    """A share as a percentage; what is not quite nothing, or not quite everything, stays so."""
    least = 0.5 * 10 ** -(digits + 2)
    if 0 < share < least:
        return f"<{SPACE}{2 * least:.{digits}%}".replace("%", f"{SPACE}%")
    if 1 - least < share < 1:
        return f">{SPACE}{1 - 2 * least:.{digits}%}".replace("%", f"{SPACE}%")
    return f"{share:.{digits}%}".replace("%", f"{SPACE}%")


def told_apart(probability: float, threshold: float) -> tuple[str, str]:
    """Both as percentages, with digits until they differ where the numbers do."""
    for digits in range(MOST_DIGITS + 1):
        both = percent(probability, digits), percent(threshold, digits)
        if both[0] != both[1] or probability == threshold:
            break
    return both


def signed(value: float, digits: int) -> str:
    """A number with a true minus sign, and none before a zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS if float(text) else "")


def warnings_of(findings: Sequence[Finding]) -> tuple[list[Warned], list[str]]:
    """Findings as warnings, demonstration first and the rest by urgency, and as notes."""
    demonstration = [sentence(f.message) for f in findings if f.code in DEMONSTRATION]
    shown = [Warned("For demonstration only", tuple(demonstration))] if demonstration else []
    codes = list(dict.fromkeys([*URGENT, *sorted(BANNERS - set(DEMONSTRATION))]))
    for code in codes:
        said = [sentence(f.message) for f in findings if f.code == code]
        title, meaning = URGENT.get(code, (sentence(code.replace("-", " ")).rstrip("."), ""))
        if said:
            shown.append(Warned(title, tuple(filter(None, (*said, meaning)))))
    notes = [sentence(f.message) for f in findings if f.code not in {*codes, *DEMONSTRATION}]
    return shown, notes


def call_of(decision: Decision, threshold: str) -> str:
    """The call in one line."""
    where = "above" if decision.call == "positive" else "not above"
    return f"{decision.call.capitalize()}: {where} the threshold of {threshold}"


def meaning_of(decision: Decision, probability: str) -> tuple[str, ...]:
    """What the call means, and what it does not."""
    if decision.call == "positive":
        says = (
            f"If this patient has pneumonia, the network takes it for COVID-19 rather than another pneumonia "
            f"({probability})."
        )
        hold = "It does not prove COVID-19: other pneumonia, and lungs without any, can score as high."
    elif decision.call == "negative":
        says = (
            "If this patient has pneumonia, the network does not take it for COVID-19 at this threshold "
            f"({probability})."
        )
        hold = "It does not exclude COVID-19, and does not mean that the lungs are healthy."
    else:
        says = "No call: the score is not above the threshold, but part of the lungs is not shown."
        hold = "COVID-19 is a disease of the lung bases: what was not scanned cannot be ruled out."
    return says, f"{hold} The laboratory test and the radiologist's own reading come first."


def people_of(result: CaseResult) -> str:
    """Age, sex and comorbidity as given, else as in the scan's headers; empty where nothing is known."""
    clinical, headers = result.clinical, result.scan.headers
    age = clinical.age if clinical.age is not None else headers.get("patient_age_years")
    sex = {"F": "female", "M": "male"}.get(clinical.sex or headers.get("patient_sex", ""))
    ill = {True: "with comorbidity", False: "no comorbidity", None: None}[clinical.comorbidity]
    years = None if age is None else f"{age:.0f}{SPACE}years"
    return ", ".join(filter(None, (years, sex, ill)))


def facts_of(result: CaseResult) -> list[tuple[str, str]]:
    """What the head of the page says of patient and scan."""
    volume, headers = result.scan.volume, result.scan.headers
    spacing, shape = volume.spacing, volume.shape
    kvp, kernel = headers.get("kvp"), headers.get("kernel")
    thick = headers.get("slice_thickness_mm")
    technique = (
        f"{kvp:.0f}{SPACE}kV" if kvp else "",
        f"kernel {kernel}" if kernel else "",
        f"{thick:.2g}{SPACE}mm thick" if thick else "",
    )
    facts = {
        "Patient": people_of(result),
        "Scan (SHA-256)": headers.get("scan_sha256", "")[:12],
        "Slices": f"{shape[0]}, every {spacing[0]:.3g}{SPACE}mm",
        "Pixels": f"{shape[2]}{SPACE}{TIMES}{SPACE}{shape[1]}, {spacing[2]:.2f}{SPACE}mm",
        "Scanner": " ".join(filter(None, (headers.get("manufacturer"), headers.get("model")))),
        "Technique": ", ".join(filter(None, technique)),
        "Format": headers.get("format", ""),
    }
    return [(label, value) for label, value in facts.items() if value]


def stay_of(prognosis: Prognosis) -> list[tuple[str, str]]:
    """Risk and expected stay of a prognosis, rounded to whole days."""
    curve = prognosis.curve
    horizon = f"{curve.horizon:.0f}{SPACE}days"
    early, late = (None if day is None else f"{day:.0f}" for day in curve.median_limits)
    level = percent(curve.level)
    side = "at or above" if prognosis.group == "high" else "below"
    if curve.median is None:
        median = f"beyond the {horizon} of follow-up"
    else:
        to = f"{DASH}{late}" if late else f" to beyond {curve.horizon:.0f}"
        median = f"{curve.median:.0f}{SPACE}days ({level} interval {early or '?'}{to})"
    return [
        ("Median expected stay", median),
        (f"Mean stay within {horizon}", f"{curve.mean:.0f}{SPACE}days"),
        ("Risk", f"{signed(prognosis.risk, 2)}, {side} the training median of {signed(prognosis.cut, 2)}"),
    ]


def no_outlook(result: CaseResult) -> str:
    """Why there is no prognosis."""
    if result.prognosis_missing:
        return f"No prognosis: it needs {', '.join(result.prognosis_missing)}."
    return "No prognosis: the analysis was run without a prognostic model."


def origin_of(result: CaseResult) -> list[tuple[str, str]]:
    """How the result came to be, from its provenance; what that does not hold is left out."""
    made = result.provenance
    weights, engine = _mapping(made.get("weights")), _mapping(made.get("engine"))
    networks = [("Diagnosis network", weights.get("diagnosis")), ("Lung network", weights.get("lungs"))]
    rows = [(label, _card(_mapping(card))) for label, card in networks]
    rows += [(f"Data of the {label.lower()}", _sources(_mapping(card))) for label, card in networks]
    model = _mapping(made.get("prognosis"))
    rows.append(("Prognostic model", _card(model) if model else ""))
    engines = [f"{name} with {_engine(_mapping(engine[name]))}" for name in ("diagnosis", "lungs") if engine]
    libraries = " ".join(f"{name} {number}," for name, number in _mapping(made.get("versions")).items())
    software = f"covid19net {made.get('version', '')}", *engines, libraries.rstrip(",")
    rows.append(("Software", "; ".join(filter(None, software))))
    rows.append(("Options", _options(_mapping(made.get("options")), _mapping(made.get("reading")))))
    rows.append(("Series", str(result.scan.headers.get("series_uid", ""))))
    return [(label, text) for label, text in rows if text]


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _card(card: dict[str, Any]) -> str:
    parts = [
        f"{card.get('name', '')} (SHA-256 {str(card.get('sha256', ''))[:12]})",
        f"licence: {card['licence']}" if card.get("licence") else "",
        f"learned from: {shortened(card['training_data'])}" if card.get("training_data") else "",
    ]
    return "; ".join(filter(None, parts))


def _sources(card: dict[str, Any]) -> str:
    """The collections behind a network by their role, each with licence and citation."""
    said: dict[str, list[str]] = {}
    for source in map(source_from, card.get("sources", [])):
        said.setdefault(source.role or LEARNED, []).append(str(source))
    return "; ".join(f"{role}: {', '.join(names)}" for role, names in said.items())


def _engine(engine: dict[str, Any]) -> str:
    return " ".join(str(engine[key]) for key in ("engine", "version", "device", "precision") if key in engine)


def _options(options: dict[str, Any], reading: dict[str, Any]) -> str:
    said = []
    if "every_slice" in options:
        said.append(
            "lungs found on " + ("every slice" if options["every_slice"] else "slices up to 5 mm apart")
        )
    if reading.get("series"):
        said.append("series chosen by the user")
    if reading.get("allow_irregular"):
        said.append("irregular slices allowed by the user")
    return "; ".join(said)
