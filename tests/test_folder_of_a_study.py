"""The folder of a study: nothing in it that no study wrote is ever replaced."""

import pytest

from covid19net.errors import InputError
from covid19net.study.run import check_place

RECORD = '{\n "schema": "covid19net-study/1.0",\n "command": ""\n}\n'


@pytest.mark.parametrize("name", ["tables", "figures", "features.csv", "prognosis.json", "report.html"])
def test_work_of_ones_own_is_not_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.png").write_bytes(b"x")
    with pytest.raises(InputError, match=f"holds {name}, which a study would replace"):
        check_place(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": "of something else"}')
    with pytest.raises(InputError, match=f"holds results.json, {name}"):
        check_place(tmp_path)
    assert (tmp_path / name / "mine.png").read_bytes() == b"x"


def test_an_earlier_study_is(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "results.json").write_text(RECORD)
    check_place(tmp_path)


def test_a_new_folder_and_one_with_other_things_are_taken(tmp_path):
    (tmp_path / "manifest.csv").write_text("patient_id\n")
    (tmp_path / "analyses").mkdir()
    check_place(tmp_path)
    check_place(tmp_path / "new" / "one")
    assert not (tmp_path / "new").exists()  # asked for, not made: a study that fails leaves nothing


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out: cannot be written"):
        check_place(tmp_path / "out")
