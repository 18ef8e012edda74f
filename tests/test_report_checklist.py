"""The pre-filled checklists: numbers of the published ones, and what only authors can answer."""

import pytest

from covid19net.errors import InputError
from covid19net.report.checklist import CLAIM, FACTS, FILLED, OPEN, PARTLY, TRIPOD, checklist

# Numbers of the published checklist, Collins et al., BMJ 2024;385:e078378, table 2: 27 items, 52 parts
TRIPOD_NUMBERS = (
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 "
    "18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"
)
# Consent, funding, conflicts, registration, involvement, discussion: no record of a study holds them
ONLY_AUTHORS_TRIPOD = "1 2 3a 3c 6c 8b 8c 9c 17 18a 18b 18c 18d 18e 19 25 26 27c"
ONLY_AUTHORS_CLAIM = "1 2 3 5 15 16 17 18 34 40 41 44"


def status(table):
    return {row[0]: row[3] for row in table.rows}


def test_numbers_are_those_of_the_published_checklists():
    assert [item.number for item in TRIPOD] == TRIPOD_NUMBERS.split()
    assert [item.number for item in CLAIM] == [str(number) for number in range(1, 45)]


@pytest.mark.parametrize(
    ("items", "number", "word"),
    [  # topics by number, from the published tables
        (TRIPOD, "12d", "clusters"), (TRIPOD, "13", "imbalance"), (TRIPOD, "14", "fairness"),
        (TRIPOD, "17", "Ethics"), (TRIPOD, "18f", "code"), (TRIPOD, "22", "whole model"),
        (CLAIM, "11", "De-identification"), (CLAIM, "13", "acquisition"), (CLAIM, "20", "share nothing"),
        (CLAIM, "33", "external"), (CLAIM, "39", "Failures"), (CLAIM, "44", "Funding"),
    ],
)  # fmt: skip
def test_topics_stand_at_their_numbers(items, number, word):
    assert word in next(item.topic for item in items if item.number == number)


def test_without_facts_authors_must_answer_everything():
    for table in checklist({}):
        assert set(status(table).values()) == {OPEN}
        assert all("[Authors" in row[4] for row in table.rows)


def test_with_all_facts_only_what_authors_alone_know_is_left():
    tripod, claim = checklist(dict.fromkeys(FACTS, "known"))
    assert [n for n, s in status(tripod).items() if s == OPEN] == ONLY_AUTHORS_TRIPOD.split()
    assert [n for n, s in status(claim).items() if s == OPEN] == ONLY_AUTHORS_CLAIM.split()
    for row in (*tripod.rows, *claim.rows):
        assert ("[Authors" in row[4]) == (row[3] != FILLED)


def test_an_item_with_some_of_its_facts_says_what_is_missing():
    tripod, _ = checklist({"missing": "None was missing"})
    row = next(row for row in tripod.rows if row[0] == "11")
    assert row[3] == PARTLY
    assert row[4] == f"None was missing. [Authors: add {FACTS['excluded']}]"


def test_ethics_are_never_filled():
    tripod, _ = checklist(dict.fromkeys(FACTS, "known"))
    assert status(tripod)["17"] == OPEN


def test_every_fact_is_used_and_every_use_is_known():
    used = {fact for item in (*TRIPOD, *CLAIM) for fact in item.facts}
    assert used == set(FACTS)


def test_an_empty_answer_is_none():
    assert status(checklist({"dates": "  "})[0])["5b"] == OPEN


def test_an_unknown_fact_is_refused():
    with pytest.raises(InputError, match="tresholds"):
        checklist({"tresholds": "0.8"})


def test_the_notes_count():
    tripod, claim = checklist({"dates": "January to March 2020"})
    assert tripod.notes[0] == "52 entries: 1 filled, 0 partly, 51 authors must answer."
    assert claim.notes[0] == "44 entries: 0 filled, 0 partly, 44 authors must answer."
