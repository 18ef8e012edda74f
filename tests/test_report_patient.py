"""A patient's page, read back with an HTML parser."""

from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
import re

import numpy as np
from PIL import Image
import pytest

from covid19net.diagnose import Decision
from covid19net.explain import Stability, check_map
from covid19net.prognosis.model import Clinical, predict
from covid19net.report.montage import BANNERS, slice_pairs
from covid19net.report.patient_page import case_page
from covid19net.report.patient_words import percent, signed, told_apart, warnings_of
from covid19net.volume import Finding
from tests.cases import made_up_case
from tests.prognostic_models import made_up_model

HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}</style><!--"
DEMONSTRATION = Finding(
    "weights-demonstration", "trained on synthetic images: it says nothing about a patient"
)
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Tags with their attributes, text, and the section that each text stands in."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open, self.sections = [], [], [], {}
        self.feed(html)
        assert not self.open, "a tag was left open"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        text = " ".join(data.split())
        if text and self.open and self.open[-1][0] != "style":
            self.texts.append(text)
            for name in {attributes.get("aria-labelledby") for _, attributes in self.open}:
                self.sections.setdefault(name, []).append(text)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]

    def section(self, name):
        return " ".join(self.sections[name])


def with_prognosis(risk_feature=0.0, *, demonstration=True, **clinical):
    features = np.zeros(64)
    features[3] = risk_feature
    known = Clinical(**({"age": 60, "sex": "F", "comorbidity": True} | clinical))
    prognosis = predict(made_up_model(demonstration=demonstration), features, known)
    return replace(made_up_case(), prognosis=prognosis)


def test_the_page_runs_nothing_and_loads_nothing():
    html = case_page(with_prognosis())
    read = Reader(html)
    assert not {"script", "link", "iframe", "object", "form", "a"} & {tag for tag, _ in read.tags}
    policy = [m["content"] for m in read.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert all(image["src"].startswith("data:image/") for image in read.all("img"))
    without_pictures = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", html)
    assert "://" not in without_pictures
    assert "url(" not in without_pictures
    assert "@import" not in without_pictures


def test_hostile_text_is_shown_and_never_run():
    case = made_up_case(Finding("files-skipped", HOSTILE), Finding("coverage", HOSTILE))
    case.scan.headers["model"] = HOSTILE
    card = {"name": HOSTILE, "sha256": HOSTILE, "licence": HOSTILE, "training_data": HOSTILE}
    weights = {"lungs": card, "diagnosis": card}
    case = replace(case, provenance=case.provenance | {"weights": weights, "version": HOSTILE})
    read = Reader(case_page(case, identity={HOSTILE: HOSTILE}))
    assert not read.all("script")
    assert sum("<script>alert(1)</script>" in text for text in read.texts) >= 6
    assert sum("{{ 7 * 7 }}" in text for text in read.texts) >= 6
    assert [body["data-running"].startswith(HOSTILE) for body in read.all("body")] == [True]
    assert all(not name.startswith("on") for _, attributes in read.tags for name in attributes)


def test_the_collections_behind_the_weights_are_cited():
    """With licence and citation, by role; a network that names none has no such row."""
    case, of = made_up_case(), {"licence": "CC BY 4.0", "citation": "Ning 2020"}
    sources = [
        {"collection": "ictcf", "title": "iCTCF", "role": "learned from", **of},
        {"collection": "md", "title": "COVID-CT-MD", "role": "measured on", "licence": "unknown"},
    ]
    weights = case.provenance["weights"]
    weights = weights | {"diagnosis": weights["diagnosis"] | {"sources": sources}}
    told = Reader(case_page(replace(case, provenance=case.provenance | {"weights": weights})))
    origin = told.section("origin")
    assert "learned from: iCTCF (CC BY 4.0; Ning 2020); measured on: COVID-CT-MD (unknown)" in origin
    assert "Data of the diagnosis network" in origin
    assert "Data of the lung network" not in origin


def test_readers_who_cannot_see_get_headings_language_and_texts_for_pictures():
    read = Reader(case_page(with_prognosis()))
    assert read.all("html") == [{"lang": "en"}]
    assert all(image["alt"].strip() for image in read.all("img"))
    assert len(read.all("h1")) == 1
    headings = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(headings))
    labels = {attributes.get("id") for _, attributes in read.tags}
    assert {section["aria-labelledby"] for section in read.all("section")} <= labels
    (scale,) = [d for d in read.all("div") if d.get("role") == "img"]
    assert "this scan at 37\N{NO-BREAK SPACE}%, the threshold at 80\N{NO-BREAK SPACE}%" in scale["aria-label"]
    assert all(cell.get("scope") for cell in read.all("th"))


def test_sections_come_in_the_order_a_reader_needs_them():
    read = Reader(case_page(made_up_case()))
    order = [section["aria-labelledby"] for section in read.all("section")]
    assert order == ["warnings", "result", "slices", "map", "quantity", "outlook", "origin", "use"]


def test_warnings_are_ordered_demonstration_first_then_by_urgency_and_notes_last():
    shown, notes = warnings_of(
        [
            Finding("files-skipped", "2 files were skipped"),
            Finding("coverage", "the scan ends inside the lungs"),
            Finding("out-of-distribution", "unlike"),
            DEMONSTRATION,
            Finding("prognosis-demonstration", "synthetic patients"),
        ]
    )
    assert [w.title for w in shown] == [
        "For demonstration only",
        "This scan is unlike those the network learned from",
        "The lungs are not shown completely",
    ]
    assert shown[0].sentences[1] == "Synthetic patients."
    assert shown[2].sentences[0] == "The scan ends inside the lungs."
    assert notes == ["2 files were skipped."]


@pytest.mark.parametrize("code", sorted(BANNERS))
def test_what_is_a_banner_on_the_picture_is_a_warning_on_the_page(code):
    shown, notes = warnings_of([Finding(code, "what it is")])
    assert len(shown) == 1
    assert "What it is." in shown[0].sentences
    assert not notes


def test_demonstration_stands_in_the_warnings_and_beside_the_number():
    read = Reader(case_page(made_up_case(DEMONSTRATION)))
    assert "For demonstration only" in read.section("warnings")
    assert "Demonstration: not about a patient" in read.section("result")
    assert "Demonstration" not in Reader(case_page(made_up_case())).section("result")


def test_a_scan_without_findings_says_so():
    assert "Nothing was found" in Reader(case_page(made_up_case())).section("warnings")


def test_nobody_is_named_unless_asked_for():
    named = case_page(made_up_case(), identity={"Name": "ROE, Richard", "Patient ID": "77-A", "Born": ""})
    read = Reader(named)
    assert "ROE, Richard" in read.texts
    assert "77-A" in read.texts
    assert "Born" not in read.texts
    assert read.all("body")[0]["data-running"].startswith("ROE, Richard")
    assert "identity" not in {
        d.get("class", "").split()[-1] for d in Reader(case_page(made_up_case())).all("dl")
    }


@pytest.mark.parametrize(
    ("probability", "threshold", "both"),
    [
        (0.85816, 0.5342, ("86_%", "53_%")),
        (0.5341, 0.5342, ("53.41_%", "53.42_%")),
        (0.531, 0.534, ("53.1_%", "53.4_%")),
        (0.5, 0.5, ("50_%", "50_%")),
        (0.0004, 0.8, ("<_1_%", "80_%")),
        (0.9996, 0.8, (">_99_%", "80_%")),
    ],
)
def test_a_probability_is_rounded_but_never_onto_the_threshold(probability, threshold, both):
    spaced = tuple(text.replace("_", "\N{NO-BREAK SPACE}") for text in both)
    assert told_apart(probability, threshold) == spaced


def test_numbers_are_rounded_for_people():
    assert percent(0.0) == "0\N{NO-BREAK SPACE}%"
    assert percent(0.123, 1) == "12.3\N{NO-BREAK SPACE}%"
    assert signed(-0.2136, 2) == "\N{MINUS SIGN}0.21"
    assert signed(-0.001, 2) == "0.00"
    texts = " ".join(Reader(case_page(with_prognosis())).texts)
    assert not re.search(r"\d\.\d{3}", texts)


def test_the_call_is_explained_both_ways():
    said = Reader(case_page(made_up_case())).section("result")
    assert "Negative: not above the threshold of 80 %" in said
    assert "does not exclude COVID-19" in said
    positive = replace(made_up_case(), probability=0.9, decision=Decision("positive", 0.8))
    assert "does not prove COVID-19" in Reader(case_page(positive)).section("result")
    cut = replace(made_up_case(), decision=Decision("indeterminate", 0.8))
    assert "part of the lungs is not shown" in Reader(case_page(cut)).section("result")


def test_the_scale_is_drawn_to_scale():
    read = Reader(case_page(made_up_case()))
    at = {d["class"].split()[0]: d.get("style") for d in read.all("div") if d.get("class")}
    assert at["pointer"] == "left: 37.0%"
    assert at["threshold"] == "left: 80.0%"


def test_a_label_at_the_end_of_the_scale_stays_on_it():
    read = Reader(case_page(replace(made_up_case(), probability=0.995)))
    assert [d["class"] for d in read.all("div") if "at-value" in d.get("class", "")] == ["label at-value end"]


def test_slices_are_pictures_with_a_caption_each():
    read = Reader(case_page(made_up_case()))
    pictures = [i for i in read.all("img") if i["src"].startswith("data:image/jpeg")]
    assert len(pictures) == 6
    picture = Image.open(BytesIO(b64decode(pictures[0]["src"].split(",")[1])))
    assert picture.size == (int(pictures[0]["width"]), int(pictures[0]["height"]))
    # slices lie 5 mm apart from z = -200 mm: slice 33 from the feet has index 32
    assert "Slice 33 of 40 from the feet, z \N{MINUS SIGN}40 mm" in read.texts


def test_pairs_show_the_outline_left_and_the_heat_right():
    for z, picture in slice_pairs(made_up_case(), 3):
        pixels = np.asarray(picture).astype(int)
        assert 5 <= z < 35
        left, right = pixels[:, :400], pixels[:, 407:]
        assert (left[..., 2] - left[..., 0] > 100).any()  # cyan outline
        assert not (right[..., 2] - right[..., 0] > 100).any()
        assert (right[..., 0] - right[..., 2] > 60).any()  # warm heat
        assert not (left[..., 0] - left[..., 2] > 60).any()


def test_no_side_is_named_where_none_is_known():
    case = made_up_case(Finding("orientation-unknown", "the file does not say which side is which"))
    read = Reader(case_page(case))
    texts = " ".join(read.texts).replace("Left of each pair:", "").replace("Right:", "")
    assert "Right lung" not in texts
    assert "right is on the left" not in texts
    assert "Left and right are not known" in read.section("warnings")


def test_the_evidence_for_the_map_is_told():
    """All heat is in the right lung, alike in each slice; lungs are 80 of the box's 100 columns: 1 / 0.8."""
    said = Reader(case_page(made_up_case())).section("map")
    assert "The map passed its checks" in said
    assert "100 % (1.2 \N{MULTIPLICATION SIGN} chance)" in said
    assert "Right / left lung 100 % / 0 %" in said
    assert "33 % / 33 % / 33 %" in said
    assert "not tested" in said


def test_a_map_that_fails_is_struck_through_with_the_reason():
    evidence = made_up_case().map_evidence
    unstable = replace(evidence, stability=Stability(flip=0.2, noise=0.9))
    case = replace(made_up_case(*check_map(unstable)), map_evidence=unstable)
    read = Reader(case_page(case))
    assert "struck through" in read.section("map")
    assert "left and right are exchanged" in read.section("map")
    assert "not reliable" in read.section("warnings")
    for (_, struck), (_, plain) in zip(slice_pairs(case, 2), slice_pairs(made_up_case(), 2), strict=True):
        changed = np.flatnonzero((np.asarray(struck) != np.asarray(plain)).any(axis=(0, 2)))
        assert changed.min() >= 400  # the outline on the left stays
        # A map of 400 x 297 drawn 256 high is 345 wide; 30 at either side stay free; a line is 11 wide.
        assert 345 - 2 * 30 <= changed.size <= 345 - 2 * 30 + 11
        assert np.array_equal(np.asarray(struck)[:26], np.asarray(plain)[:26])  # where R and L stand


def test_an_empty_map_says_so():
    assert "The map is empty" in Reader(case_page(replace(made_up_case(), map_evidence=None))).section("map")


def test_no_side_of_the_map_is_told_where_none_is_known():
    case = made_up_case(Finding("orientation-unknown", "no side"))
    assert "Right / left lung sides not known" in Reader(case_page(case)).section("map")


def test_the_lungs_are_measured_by_side_and_third():
    """Boxes of 30 x 70 x 40 voxels of 5 x 1.5 x 1.5 mm: 945 ml each, a third is 315 ml, all at -850 HU."""
    said = Reader(case_page(made_up_case())).section("quantity")
    assert "Both lungs 1890 ml \N{MINUS SIGN}850 HU 0 % 0 % Right lung 940 ml" in said
    assert "upper third 320 ml" in said or "upper third 310 ml" in said
    assert said.count("third ") == 6
    assert "\N{MINUS SIGN}700 to \N{MINUS SIGN}300 HU" in said


def test_the_prognosis_is_told_in_whole_days():
    prognosis = with_prognosis(1.5).prognosis
    said = Reader(case_page(with_prognosis(1.5))).section("outlook")
    assert f"{prognosis.group.capitalize()} risk of a long stay" in said
    early, late = prognosis.curve.median_limits
    median = prognosis.curve.median
    assert f"{median:.0f} days (95 % interval {early:.0f}\N{EN DASH}{late:.0f})" in said
    assert "Demonstration" in said
    assert "Demonstration" not in Reader(case_page(with_prognosis(demonstration=False))).section("outlook")


def test_a_missing_prognosis_says_why():
    lacking = replace(made_up_case(), prognosis_missing=("age", "sex"))
    assert "it needs age, sex" in Reader(case_page(lacking)).section("outlook")
    assert "without a prognostic model" in Reader(case_page(made_up_case())).section("outlook")


def test_the_same_result_gives_the_same_page():
    case = with_prognosis()
    assert case_page(case) == case_page(replace(case, seconds={"lungs": 99.0}))


def test_the_intended_use_is_on_the_page():
    assert "not a medical device" in Reader(case_page(made_up_case())).section("use")
