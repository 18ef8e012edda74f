"""Tables for people: escaped everywhere, harmless to spreadsheets (failure case 52), whole or not there."""

import csv
import io

import pytest

from covid19net.cohort import read_manifest, write_table
from covid19net.errors import InputError
from covid19net.table import Table, as_meant, harmless, read_cells

TABLE = Table(
    "table-x", "Sets & <counts>", ("", "a_1 (n = 3)"),
    (("sex", ""), ("  male", "2 (66.7%)"), ("age, years", "49.5 ± 16.1"), ("[x]", "=1+1")),
    ("50% & more",),
)  # fmt: skip


def test_the_console_aligns_numbers_to_the_right():
    lines = TABLE.text().splitlines()
    assert lines[0] == "Sets & <counts>"
    assert lines[2] == "            a_1 (n = 3)"
    assert lines[5] == "  male        2 (66.7%)"
    assert lines[-1] == "50% & more"
    assert set(lines[1]) == {"-"}


def test_html_is_escaped_and_parts_are_marked():
    html = TABLE.html()
    assert "<caption>Sets &amp; &lt;counts&gt;</caption>" in html
    assert '<tr><th scope="row" class="part">male</th><td>2 (66.7%)</td></tr>' in html
    bad = Table("t", "x", ("<script>", 'a"b'), (("<img src=x>", "'&"),), ("<b>",)).html()
    for tag in ("<script", "<img", "<b>", 'a"b'):
        assert tag not in bad


def test_latex_escapes_its_special_characters():
    latex = TABLE.latex()
    assert r"Sets \& \textless{}counts\textgreater{}" in latex
    assert r"\quad male & 2 (66.7\%) \\" in latex
    assert r"49.5 $\pm$ 16.1" in latex
    assert "{[}x] &" in latex  # after \\ a bare bracket would be an option
    every = Table("t", "", ("",), (("\\&%$#_{}~^",),)).latex()
    assert r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{} \\" in every


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|'/C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "--5", "-0.10 (-0.2 to 0.1)"]
)
def test_a_formula_gets_an_apostrophe(cell):
    """Row 52."""
    assert harmless(cell) == f"'{cell}"
    assert as_meant(harmless(cell)) == cell


@pytest.mark.parametrize(
    "cell", ["-5", "+1.25", "-1e-05", "-12%", "NA", "", "a=b", "'quoted'", "2 (66.7%)", "  male"]
)
def test_what_is_no_formula_stays(cell):
    assert harmless(cell) == cell
    assert as_meant(cell) == cell


def test_csv_reads_back():
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows[0] == ["", "a_1 (n = 3)"]
    assert rows[-1] == ["[x]", "'=1+1"]


def test_control_characters_do_not_reach_a_terminal():
    table = Table("t", "a\nb", ("x\x1b[31m", "y"), (("  in\r\nset", "\u202e1"),))
    assert table.text().splitlines()[0] == "a b"
    assert "\x1b" not in table.text()
    assert table.rows == (("  in  set", " 1"),)


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="every row needs 2 cells"):
        Table("t", "", ("a", "b"), (("c",),))


def test_four_files_are_written_whole(tmp_path):
    paths = TABLE.write(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "table-x.csv", "table-x.html", "table-x.tex", "table-x.txt",
    ]  # fmt: skip
    assert {p.suffix: p.read_text(encoding="utf-8") for p in paths}[".tex"] == TABLE.latex()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"table-x.csv: cannot be written"):
        TABLE.write(tmp_path / "file")


def test_a_patient_named_like_a_formula_comes_back(tmp_path):
    """Row 52: written harmless, read as it was."""
    path = write_table(
        tmp_path / "m.csv", [{"patient_id": "=cmd()", "age": 5}, {"patient_id": "-7", "age": 6}]
    )
    assert path.read_text() == "patient_id,age\n'=cmd(),5\n-7,6\n"
    assert [p.patient_id for p in read_manifest(path, needs=["age"])] == ["=cmd()", "-7"]


def test_cells_of_a_file_that_is_no_table_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"x')
    with pytest.raises(InputError, match=r"t.csv: not a CSV table"):
        read_cells(path)
    with pytest.raises(InputError, match="is a directory"):
        read_cells(tmp_path)


def test_the_line_in_which_excel_names_the_delimiter_is_no_header(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_bytes(b"sep=;\r\na;b\r\n1,5;2\r\n")
    assert read_cells(path) == ([["a", "b"], ["1,5", "2"]], True)


@pytest.mark.parametrize("data", [b"PK\x03\x04\x00\x00", "a,b\n1,2\n".encode("utf-16-le"), b"\xff\x00\x81"])
def test_a_workbook_is_said_to_be_no_text(tmp_path, data):
    path = tmp_path / "book.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"book\.csv: not text in UTF-8 or UTF-16; save it as CSV UTF-8"):
        read_cells(path)


def test_a_quote_that_never_ends_is_named_by_its_row(tmp_path):
    path = tmp_path / "quote.csv"
    path.write_text('a,b\n1,2\n"3,4\n5,6\n')
    with pytest.raises(InputError, match="not a CSV table: row 3: "):
        read_cells(path)
