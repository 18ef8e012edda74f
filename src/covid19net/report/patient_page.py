"""A patient's result as one HTML page: warnings first, then what was found, how, and where it does not hold.

The page needs nothing but itself: pictures are embedded as data, there are no scripts, and its content
security policy lets a browser load nothing. It names no person unless an identity is given.
"""

from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from covid19net.pipeline import CaseResult
from covid19net.prognosis.model import Prognosis
from covid19net.report import patient_words as words
from covid19net.report.discharge import INTENDED_USE, MEANING, curve_picture, expected_stay
from covid19net.report.montage import slice_pairs, warm_colours
from covid19net.report.patient_measures import evidence_of, quantity_of
from covid19net.report.template import filled

if TYPE_CHECKING:
    from PIL import Image

TITLE = "Chest CT report"
SLICES = 6  # that leave room for the result on the first sheet of paper
JPEG = {"quality": 90, "subsampling": 0}  # colours of the outline at full resolution
OF_PROGNOSIS = ("prognosis-not-covid", "prognosis-range")  # findings told again beside it
DASHED = " Dashed: the same, where a patient who dies is never discharged."
NEAR_AN_END = 14.0  # percent of the scale; a label there is set to the inside


def case_page(result: CaseResult, *, identity: Mapping[str, str] | None = None) -> str:
    """Compose the page of one patient; every text is escaped.

    It does not hold the day it was made: the same result gives the same page, and so the same DICOM object.

    Args:
        result: from `analyze`.
        identity: what to call the patient by, label -> value; None for a page that names nobody.

    Returns:
        HTML.
    """
    banners, notes = words.warnings_of(result.findings)
    codes = {finding.code for finding in result.findings}
    named = {label: value for label, value in (identity or {}).items() if value}
    return filled(
        "patient.html",
        title=TITLE,
        maker=f"covid19net {result.provenance.get('version', '')}",
        running=_running(result, named),
        identity=list(named.items()),
        facts=words.facts_of(result),
        banners=banners,
        notes=notes,
        demonstration="weights-demonstration" in codes,
        score=_score(result),
        slices=_slices(result),
        legend=_png(warm_colours(np.linspace(0, 1, 160))[None].repeat(12, 0).astype(np.uint8)),
        orientation="The patient's right is on the left of each picture."
        if result.sides_known
        else "Which side of the patient is which is not known.",
        evidence=evidence_of(result.map_evidence),
        quantity=quantity_of(result.quantification),
        outlook=_outlook(result),
        origin=words.origin_of(result),
        use=INTENDED_USE,
        limits=words.LIMITS,
    )


def _running(result: CaseResult, named: Mapping[str, str]) -> str:
    """What stands at the foot of every sheet of paper, so that one alone can still be told whose it is."""
    scan = result.scan.headers.get("scan_sha256", "")[:12]
    whose = list(named.values())[:2]  # the name and a number
    parts = (*whose, f"scan {scan}" if scan else "", INTENDED_USE.split(".")[0])
    return " \N{MIDDLE DOT} ".join(filter(None, parts))


def _score(result: CaseResult) -> dict[str, Any]:
    probability, threshold = words.told_apart(result.probability, result.decision.threshold)
    at, limit = 100 * result.probability, 100 * result.decision.threshold
    call = words.call_of(result.decision, threshold)
    return {
        "probability": probability,
        "threshold": threshold,
        "call": call,
        "says": words.meaning_of(result.decision, probability),
        "alt": f"Scale from 0 to 100 %: this scan at {probability}, the threshold at {threshold}. {call}.",
        "value_at": round(at, 2),
        "threshold_at": round(limit, 2),
        "value_side": _side(at),
        "threshold_side": _side(limit),
        "ticks": (0, 20, 40, 60, 80, 100),
    }


def _side(at: float) -> str:
    """How a label is set that belongs to a place on the scale, so that it stays on it."""
    return "start" if at < NEAR_AN_END else "end" if at > 100 - NEAR_AN_END else "middle"


def _slices(result: CaseResult) -> list[dict[str, Any]]:
    shown = []
    count = result.scan.volume.shape[0]
    for z, picture in slice_pairs(result, SLICES):
        height = float((result.scan.volume.affine @ [z, 0, 0, 1])[2])
        name = f"slice {z + 1} of {count} from the feet"
        shown.append(
            {
                "data": _data(picture, "jpeg", **JPEG),
                "alt": f"CT {name}: the outline of the lungs, and beside it the marked areas",
                "caption": f"{words.sentence(name).rstrip('.')}, z {words.signed(height, 0)}{words.SPACE}mm",
                "width": picture.width,
                "height": picture.height,
            }
        )
    return shown


def _outlook(result: CaseResult) -> dict[str, Any]:
    prognosis = result.prognosis
    if prognosis is None:
        return {"missing": words.no_outlook(result)}
    picture = BytesIO()
    size = curve_picture(prognosis, picture)
    return {
        "missing": "",
        "group": f"{prognosis.group.capitalize()} risk of a long stay",
        "demonstration": prognosis.about.demonstration,
        "doubts": [words.sentence(f.message) for f in result.findings if f.code in OF_PROGNOSIS],
        "facts": words.stay_of(prognosis),
        "curve": _address(picture.getvalue(), "png"),
        "size": size,
        "alt": _curve_in_words(prognosis),
        "meaning": MEANING + (DASHED if prognosis.curve.with_competing is not None else ""),
    }


def _curve_in_words(prognosis: Prognosis) -> str:
    curve = prognosis.curve
    some = np.searchsorted(curve.day, [10, 20, 30]).clip(0, len(curve.day) - 1)
    days = ", ".join(f"{words.percent(curve.probability[i])} by day {curve.day[i]:.0f}" for i in some)
    return f"Curve of the probability of discharge by day: {days}; {expected_stay(prognosis)}"


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    return _data(Image.fromarray(pixels), "png")


def _data(picture: "Image.Image", kind: str, **options: Any) -> str:  # noqa: ANN401
    content = BytesIO()
    picture.save(content, kind, **options)
    return _address(content.getvalue(), kind)


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
