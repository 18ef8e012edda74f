"""The one-file page of a study, read back with an HTML parser."""

from base64 import b64decode
import re

import pytest

from covid19net.errors import InputError
from covid19net.report.figures import save_figure, sheet
from covid19net.report.study_page import (
    Banner,
    FigurePart,
    ListPart,
    Paragraph,
    Section,
    page,
    write_page,
)
from covid19net.table import Table
from tests.html_reader import Reader

HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}</style><!--"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9"/></svg>'
TABLE = Table("table-1", "Patients", ("", "n"), (("all", "9"), ("  part", "4")), ("A note.",))


def whole(name="Training"):
    parts = (
        Paragraph(name),
        TABLE,
        ListPart((name, "two")),
        Banner(name, "note"),
        FigurePart(name, SVG, name),
        Table(name, name, (name,), ((name,),), (name,)),
    )
    return page(name, name, [Section(name, parts), Section("Second", (Paragraph("text"),))], name)


def test_hostile_text_is_shown_and_never_run():
    read = Reader(whole(HOSTILE))
    assert not read.all("script")
    assert "{{ 7 * 7 }}" in " ".join(read.texts)
    assert "49" not in " ".join(read.texts)
    assert len(read.all("style")) == 1
    assert read.all("img")[0]["alt"] == HOSTILE
    assert sum(HOSTILE in text for text in read.texts) >= 8  # title, subtitle, paragraph, table, list, footer


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    paths = save_figure(sheet(1, 40)[0], tmp_path, "empty")
    parts = tuple(FigurePart("c", path, "a") for path in paths if path.suffix != ".pdf")
    html = page("t", "s", [Section("a", (*parts, TABLE))])
    read = Reader(html)
    addresses = [a[k] for _, a in read.tags for k in ("src", "href", "data", "srcset", "action") if k in a]
    assert len(addresses) == 3
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", html)
    svg = b64decode(read.all("img")[0]["src"].split(",")[1]).decode()
    assert not re.search(r"""(href|src)=["'](?!#|data:)""", svg)
    policy = next(m["content"] for m in read.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_demonstration_and_warnings_come_first_and_once():
    demo, warning, note = Banner("D", "demonstration"), Banner("W"), Banner("N", "note")
    html = page("t", "s", [Section("a", (note, warning)), Section("b", (demo, warning, Paragraph("P")))])
    texts = Reader(html).texts
    order = [texts.index(word) for word in ("D", "W", "Contents", "N", "P")]
    assert order == sorted(order)
    assert texts.count("W") == 1
    assert texts.count("D") == 1


def test_contents_lead_to_the_sections():
    read = Reader(whole())
    targets = [a["href"].removeprefix("#") for a in read.all("a")]
    assert targets == [h["id"] for h in read.all("h2") if "id" in h] == ["section-1", "section-2"]
    assert "1. Training" in read.texts


def test_tables_figures_and_lists_can_be_heard():
    read = Reader(whole())
    assert read.all("html")[0]["lang"] == "en"
    assert {th["scope"] for th in read.all("th")} == {"col", "row"}
    assert read.all("img")[0]["alt"] == "Training"
    assert [len(read.all(tag)) for tag in ("li", "caption", "figcaption")] == [2 + 2, 2, 1]
    with pytest.raises(InputError, match="cannot see it"):
        FigurePart("c", SVG, " ")


def test_it_is_made_for_a4():
    html = whole()
    assert "size: A4" in html
    assert "table-header-group" in html
    assert "break-inside: avoid" in html


def test_a_picture_arrives_unchanged():
    data = Reader(whole()).all("img")[0]["src"]
    assert data.startswith("data:image/svg+xml;base64,")
    assert b64decode(data.split(",")[1]).decode() == SVG


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not a picture")
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    for source in (tmp_path / "a.png", tmp_path / "a.gif", tmp_path / "absent.svg", "no picture"):
        with pytest.raises(InputError):
            page("t", "s", [Section("a", (FigurePart("c", source, "a"),))])


def test_a_banner_of_another_kind_is_refused():
    with pytest.raises(InputError, match="danger"):
        Banner("x", "danger")


def test_the_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "study.html"
    write_page(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("covid19net.report.study_page._write", full)
    with pytest.raises(Exception, match="No space left") as caught:
        write_page(path, "new")
    assert caught.value.exit_code == 5
    assert [p.name for p in tmp_path.iterdir()] == ["study.html"]
    assert path.read_bytes() == b"\xc3\xa9\n"
