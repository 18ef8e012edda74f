"""The manifest: Excel's habits accepted, faults named by row and column (failure cases 14, 15 and 30)."""

import pytest

from covid19net.cohort import check_survival, check_two_classes, read_manifest, unknown_columns, write_table
from covid19net.errors import InputError


@pytest.fixture
def write(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    def write_table(text: str, encoding: str = "utf-8"):
        path = tmp_path / "cohort.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write_table


GOOD = "patient_id,scan,label,age,sex,comorbidity\np1,a,covid,61.5,F,yes\np2,b,other,40,m,0\n"


def test_a_plain_table(write):
    first, second = read_manifest(write(GOOD), needs=["scan", "label", "age"])
    assert (first.patient_id, first.row) == ("p1", 2)
    assert first.values["age"] == 61.5
    assert first.values["comorbidity"] is True
    assert first.values["scan"].is_absolute()
    assert second.values["sex"] == "M"
    assert "days" not in second.values


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GOOD.replace("\n", "\r\n"), "utf-8-sig"),
        (GOOD.replace(",", ";").replace("61.5", "61,5"), "utf-8-sig"),
        (GOOD.replace(",", "\t"), "utf-16"),
        ("\n".join(line + ",,,," for line in GOOD.splitlines()) + "\n,,,,,,,\n", "utf-8"),
    ],
)
def test_excels_habits_are_accepted(write, text, encoding):
    """Row 14."""
    patients = read_manifest(write(text, encoding), needs=["age"])
    assert [p.values["age"] for p in patients] == [61.5, 40]


def test_every_fault_is_named_by_row_and_column_at_once(write):
    """Row 14."""
    text = "patient_id,scan,label,age,days\np1,a,positive,,3\np2,nowhere,other,-3,-1\n,b,covid,x,5\n"
    with pytest.raises(InputError) as error:
        read_manifest(write(text), needs=["scan", "label", "age"])
    message = str(error.value)
    for part in (
        "7 faults",
        "row 2 column label: 'positive' is not one of covid, other",
        "row 2 column age: is empty",
        "row 3 column scan: no such file or folder",
        "row 3 column age: -3 does not lie between 0 and 120",
        "row 3 column days: -1 does not lie between 0 and 3650",
        "row 4 column patient_id: is empty",
        "row 4 column age: 'x' is not a number",
    ):
        assert part in message
    assert "\n" not in message


def test_a_missing_column_is_named(write):
    with pytest.raises(InputError, match="column label is missing"):
        read_manifest(write("patient_id,scan\np1,a\n"), needs=["label"])


def test_a_doubled_patient_is_named_with_its_rows(write):
    """Row 15."""
    with pytest.raises(InputError, match="patient_id p1 stands in rows 2, 4"):
        read_manifest(write("patient_id,scan,label\np1,a,covid\np2,b,other\np1,b,other\n"))


@pytest.mark.parametrize("text", ["", "\n\n", "patient_id,scan\n"])
def test_an_empty_table_is_refused(write, text):
    with pytest.raises(InputError, match=r"cohort.csv"):
        read_manifest(write(text))


def test_what_is_no_table_is_refused(write, tmp_path):
    path = write("x")
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(InputError, match="not text"):
        read_manifest(path)
    with pytest.raises(InputError, match="no such file"):
        read_manifest(tmp_path / "absent.csv")


def test_nan_is_missing_not_a_number(write):
    with pytest.raises(InputError, match="row 2 column age: is empty"):
        read_manifest(write("patient_id,scan,age\np1,a,NaN\n"), needs=["age"])


def test_one_class_is_refused_with_the_counts(write):
    """Row 30."""
    patients = read_manifest(write(GOOD.replace("other", "covid")))
    with pytest.raises(InputError, match="two classes are needed, found 2 covid"):
        check_two_classes(patients)


def test_follow_up_without_an_event_is_refused(write):
    """Row 30."""
    text = "patient_id,scan,days,discharged\np1,a,3,0\np2,b,9,no\n"
    with pytest.raises(InputError, match="none of 2 patients was discharged"):
        check_survival(read_manifest(write(text)))
    with pytest.raises(InputError, match="not filled in row 3"):
        check_survival(read_manifest(write("patient_id,scan,days,discharged\np1,a,3,1\np2,b,,1\n")))


def test_a_manifest_cannot_show_what_another_file_holds(write):
    with pytest.raises(InputError) as error:
        read_manifest(write("patient_id,scan\np1,/etc/passwd-not-there\n"))
    assert "passwd" not in str(error.value)


def test_one_scan_for_two_patients_is_refused(write):
    with pytest.raises(InputError, match="rows 2, 3 name the same scan"):
        read_manifest(write("patient_id,scan\np1,a\np2,./a\n"))


def test_a_column_of_ones_own_holds_yes_or_no(write):
    table = write("patient_id,scan,kras\np1,a,yes\np2,b,\n")
    first, second = read_manifest(table, may=["kras"])
    assert first.values["kras"] is True
    assert "kras" not in second.values
    with pytest.raises(InputError, match="row 3 column kras: is empty"):
        read_manifest(table, needs=["kras"])


def test_a_table_is_written_whole(tmp_path):
    rows = [{"a": 1, "b": ["x", "y"], "c": None}, {"a": "2,5", "b": [], "c": "z"}]
    path = write_table(tmp_path / "new" / "t.csv", rows)
    assert path.read_text() == 'a,b,c\n1,x y,\n"2,5",,z\n'
    assert [p.name for p in path.parent.iterdir()] == ["t.csv"]


def test_more_cells_than_columns_are_a_fault(write):
    """A decimal comma in a table with commas moves all that follows; each moved cell could pass its check."""
    text = "patient_id,age,days,note\np1,61,5,7,stable\np2,40,9,\n"
    with pytest.raises(InputError, match=r"1 fault: row 2: 5 cells under 4 columns"):
        read_manifest(write(text), needs=["age"])


def test_nobody_goes_home_dead(write):
    text = "patient_id,days,discharged,died\np1,5,1,0\np2,9,yes,yes\n"
    with pytest.raises(InputError, match=r"1 fault: row 3: both discharged and died"):
        read_manifest(write(text), needs=["days"])


def test_scans_that_are_not_read_need_not_be_there(write):
    text = "patient_id,scan\np1,gone/p1.nii.gz\n"
    (patient,) = read_manifest(write(text), scans=False)
    assert patient.values["scan"].name == "p1.nii.gz"
    with pytest.raises(InputError, match="row 2 column scan: no such file or folder"):
        read_manifest(write(text))


def test_columns_that_nobody_knows_are_named(write):
    assert unknown_columns(write("Patient_ID,Gender,discharge,age\np1,F,1,3\n")) == ["Gender", "discharge"]
