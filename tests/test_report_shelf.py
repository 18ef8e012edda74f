"""Names of tables and figures on disk: each its own, whatever the sets are called (failure case 52)."""

import pytest

from covid19net.report.shelf import Shelf
from covid19net.study.tables import stems
from covid19net.table import Table


def test_sets_whose_names_make_one_file_name_keep_a_table_each(tmp_path):
    shelf = Shelf(tmp_path)
    for name, stem in stems(("a b", "a/b", "A_B")).items():
        shelf.table(Table(f"strata-{stem}", name, ("x",), (("1",),)))
    made = {path.name: path.read_text().splitlines()[0] for path in (tmp_path / "tables").glob("*.txt")}
    assert made == {"strata-a-b.txt": "a b", "strata-a-b-2.txt": "a/b", "strata-a-b-3.txt": "A_B"}


def test_nothing_on_a_shelf_is_replaced(tmp_path):
    shelf, table = Shelf(tmp_path), Table("one", "t", ("x",), (("1",),))
    shelf.table(table)
    with pytest.raises(ValueError, match="tables/one stands twice"):
        shelf.table(table)


@pytest.mark.parametrize("name", ["S" * 300, "\u96c6" * 300, "../../" + "x" * 300])
def test_a_name_of_any_length_makes_a_file_name(tmp_path, name):
    """255 bytes is what file systems take."""
    Shelf(tmp_path).table(Table(f"strata-{stems([name])[name]}", "t", ("x",), (("1",),)))
    assert len(list(tmp_path.glob("tables/strata-*.csv"))) == 1
