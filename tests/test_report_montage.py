"""The picture of a case."""

import numpy as np
import pytest

from covid19net.report.montage import (
    LUNG_WINDOW,
    OUTLINE,
    _header,
    _panel_of,
    chosen_slices,
    montage,
    warm_colours,
)
from covid19net.volume import Box, Finding
from tests.cases import made_up_case


def test_slices_are_spread_head_first_with_the_hottest_among_them():
    heat = np.zeros((100, 4, 4), np.uint8)
    heat[37] = 90
    chosen = chosen_slices(heat, Box((10, 0, 0), (90, 4, 4)))
    assert len(chosen) == 8
    assert chosen == sorted(chosen, reverse=True)
    assert 37 in chosen
    assert min(chosen) < 25
    assert max(chosen) > 75


def test_a_thin_box_shows_each_slice_once():
    assert chosen_slices(np.zeros((9, 4, 4), np.uint8), Box((2, 0, 0), (5, 4, 4))) == [4, 3, 2]


def test_heat_grows_brighter():
    brightness = warm_colours(np.linspace(0, 1, 20)).sum(-1)
    assert (np.diff(brightness) > 0).all()


def test_the_patients_right_is_on_the_left_of_the_picture():
    case = made_up_case()  # heat only in the right lung, at low x
    picture = np.asarray(montage(case)).astype(int)
    panel = picture[-400:-80]  # the lowest row of slices: image, heat map, image, heat map
    heat = (panel[..., 0] - panel[..., 2] > 60).any(axis=0)  # warm colours: more red than blue
    columns = np.flatnonzero(heat)
    width = picture.shape[1]
    second, fourth = columns[columns < width // 2], columns[columns >= width // 2]
    for found, panel_left in ((second, 14 + 400 + 7), (fourth, 14 + 807 + 14 + 400 + 7)):
        assert found.size
        assert (found - panel_left).mean() < 200  # left half of its 400-pixel panel


def test_the_outline_is_drawn_and_only_on_the_first_of_a_pair():
    picture = np.asarray(montage(made_up_case()))
    outline = (picture == OUTLINE).all(-1)
    assert outline[:, : 14 + 400].any()
    assert not outline[:, 14 + 400 + 7 : 14 + 807].any()


def test_bone_is_white_and_air_black():
    low, high = LUNG_WINDOW
    assert (low, high) == (-600 - 750, -600 + 750)  # level -600, width 1500: the usual lung window


@pytest.mark.parametrize("code", ["weights-demonstration", "coverage", "out-of-distribution"])
def test_what_no_reader_may_miss_stands_on_a_banner(code):
    plain, warned = montage(made_up_case()), montage(made_up_case(Finding(code, "read this")))
    banner = np.array((150, 60, 0))
    assert not (np.asarray(plain) == banner).all(-1).any()
    assert (np.asarray(warned) == banner).all(-1).any()


def test_no_side_is_named_when_the_orientation_is_unknown():
    """Row 25: no left/right claims."""
    known, unknown = made_up_case(), made_up_case(Finding("orientation-unknown", "no side is certain"))
    assert "right" in " ".join(text for text, *_ in _header(known, 900))
    assert not {"right", "left"} & {w.strip(",:") for text, *_ in _header(unknown, 900) for w in text.split()}
    assert _panel_of(known).sides == ("R", "L")
    assert _panel_of(unknown).sides == ("?", "?")
