"""The page on paper, read back with PDFium."""

from dataclasses import replace
import json
import subprocess
import sys

import pytest

from covid19net.cli import main
from covid19net.errors import InputError
from covid19net.prognosis.model import Clinical, predict
from covid19net.report.case import FILES, PDF, write_case
from covid19net.report.patient_page import case_page
from covid19net.report.pdf import check_pdf, page_as_pdf
from covid19net.volume import Finding
from tests.cases import made_up_case
from tests.prognostic_models import made_up_model

pypdfium2 = pytest.importorskip("pypdfium2")

try:
    check_pdf()
    LACKING = ""
except InputError as fault:
    LACKING = str(fault)
needs_pango = pytest.mark.skipif(bool(LACKING), reason=LACKING)

A4 = (595, 842)  # points, ISO 216


def texts(pdf):
    document = pypdfium2.PdfDocument(pdf)
    return [page.get_textpage().get_text_bounded().replace("\r\n", "\n") for page in document]


@pytest.fixture(scope="module")
def pages():
    if LACKING:
        pytest.skip(LACKING)
    case = made_up_case(Finding("weights-demonstration", "trained on synthetic images"))
    case.scan.headers["scan_sha256"] = "0123456789abcdef" * 4
    return page_as_pdf(case_page(case))


def test_the_report_is_two_sheets_of_a4(pages):
    document = pypdfium2.PdfDocument(pages)
    assert len(document) <= 2
    for page in document:
        assert page.get_size() == pytest.approx(A4, abs=1)


@needs_pango
def test_a_report_with_a_doubted_prognosis_is_two_sheets_as_well():
    doubt = Finding("prognosis-not-covid", "the scan is negative: it holds for patients with COVID-19 only")
    case = made_up_case(Finding("weights-demonstration", "trained on synthetic images"), doubt)
    prognosis = predict(made_up_model(), case.features, Clinical(60, "F", True))
    case = replace(case, prognosis=prognosis)
    assert len(texts(page_as_pdf(case_page(case)))) == 2


def test_every_sheet_says_which_scan_and_what_it_is_not(pages):
    found = texts(pages)
    for number, text in enumerate(found, start=1):
        assert "scan 0123456789ab" in text
        assert "not a medical device" in text
        assert f"page {number} of {len(found)}" in text


def test_the_first_sheet_has_warnings_result_and_slices(pages):
    first = texts(pages)[0]
    places = [
        first.index(t) for t in ("For demonstration only", "37", "Negative: not above", "Slice 33 of 40")
    ]
    assert places == sorted(places)


@needs_pango
def test_every_sheet_names_the_patient_where_one_is_named():
    html = case_page(made_up_case(), identity={"Name": "ROE, Richard", "Patient ID": "77-A"})
    assert all("ROE, Richard" in text and "77-A" in text for text in texts(page_as_pdf(html)))


def test_the_same_page_gives_the_same_bytes(pages):
    case = made_up_case(Finding("weights-demonstration", "trained on synthetic images"))
    case.scan.headers["scan_sha256"] = "0123456789abcdef" * 4
    assert page_as_pdf(case_page(case)) == pages


@needs_pango
def test_nothing_is_fetched_for_a_pdf(tmp_path):
    style = tmp_path / "style.css"
    style.write_text("p::before { content: 'SECRET' }")
    links = "".join(f'<link rel={kind} href="{style.as_uri()}">' for kind in ("stylesheet", "attachment"))
    html = f"{links}<p>text"
    pdf = page_as_pdf(html)
    assert "text" in texts(pdf)[0]
    assert "SECRET" not in texts(pdf)[0]
    assert pypdfium2.PdfDocument(pdf).count_attachments() == 0


@needs_pango
def test_the_record_names_the_pdf(tmp_path):
    write_case(made_up_case(), tmp_path, pdf=True)
    assert json.loads((tmp_path / "result.json").read_text())["files"]["report.pdf"] == "report.html on paper"


@needs_pango
def test_a_report_of_another_day_is_the_same_bytes(tmp_path):
    """Ten years on by the clock of Python; else the PDF in DICOM would be another object."""
    script = "from pathlib import Path; import sys; from tests.cases import made_up_case\n"
    script += "from covid19net.report.case import write_case\n"
    script += "write_case(made_up_case(), Path(sys.argv[1]), pdf=True)\n"
    later = "import time, datetime; now = time.time; time.time = lambda: now() + 3.2e8\n"
    later += (
        "class Day(datetime.date):\n    today = classmethod(lambda day: day.fromtimestamp(time.time()))\n"
    )
    later += "datetime.date = Day\n"
    for name, code in (("now", script), ("later", later + script)):
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True)
    for name in (PDF, "report.html"):
        assert (tmp_path / "now" / name).read_bytes() == (tmp_path / "later" / name).read_bytes()


def test_the_pdf_comes_and_goes_with_the_wish_for_it(tmp_path):
    write_case(made_up_case(), tmp_path, pdf=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([PDF, *FILES])
    assert (tmp_path / PDF).read_bytes().startswith(b"%PDF-")
    write_case(made_up_case(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)


def test_without_weasyprint_one_line_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(SystemExit) as stop:
        main(["analyze", str(tmp_path / "no-scan"), "-o", str(tmp_path / "out"), "--pdf"])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "covid19net[pdf]" in err
    assert "no-scan" not in err  # before any work
    assert not (tmp_path / "out").exists()


def test_without_pango_one_line_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "weasyprint.py").write_text("raise OSError('cannot load library libgobject-2.0-0')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match="libpango"):
        check_pdf()
