"""Figures: what they state, how they are saved, and that nothing is cut off or overlaps."""

from itertools import combinations
import subprocess
import sys

import matplotlib as mpl
from matplotlib.text import Text
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from covid19net.errors import InputError
from covid19net.evaluate import Estimate, Stratum, auc, calibrate, operating_point, roc_curve
from covid19net.evaluate.space import principal_components
from covid19net.prognosis.competing import Incidence
from covid19net.prognosis.groups import WaitingCurve
from covid19net.report.figure_diagnosis import (
    calibration_figure,
    decision_figure,
    roc_figure,
    score_figure,
)
from covid19net.report.figure_forest import hazard_figure, selection_figure, stratum_figure
from covid19net.report.figure_space import pca_figure
from covid19net.report.figure_survival import incidence_figure, timed_auc_figure, waiting_figure
from covid19net.report.figures import (
    COLOURS,
    DOUBLE,
    MANY,
    SINGLE,
    folded,
    look,
    nice_ticks,
    p_text,
    plain,
    save_figure,
    sheet,
)

MARK = "demonstration: synthetic patients"
LONG = "A hospital with a very long name in Heilongjiang, second department of radiology, floor three"
HOSTILE = "_$\\frac{1}<script>alert(1)</script>&\x00\n$ 武汉"
# Leukaemia (Miller 1997), data set "aml" of R's package survival: day, and whether the relapse was seen.
MAINTAINED = ([9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0])
NOT_MAINTAINED = ([5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45], [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1])


def curve(name, days, seen):
    """Kaplan-Meier with a made-up band: figures draw what they are given."""
    days, seen = np.array(days, float), np.array(seen, bool)
    steps = np.unique(days[seen])
    left = np.array([1 - (days[seen] == d).sum() / (days >= d).sum() for d in steps])
    waiting = np.append(1.0, np.cumprod(left))
    return WaitingCurve(
        name, np.append(0.0, steps), waiting, (waiting - 0.2).clip(0), (waiting + 0.1).clip(0, 1),
        np.sort(days[~seen]), np.sort(days), len(days), int(seen.sum()), None,
    )  # fmt: skip


def sample(positive, negative, seed=0):
    rng = np.random.default_rng(seed)
    label = np.arange(positive + negative) < positive
    return label, 1 / (1 + np.exp(-rng.normal(size=label.size) - np.where(label, 1.0, -1.0)))


def incidence(name):
    return Incidence(name, np.arange(30.0), np.arange(30) / 40, np.arange(30) / 50, np.arange(30) / 32, 29)


def figures(name, mark=MARK):
    """One of every figure, with this name wherever a name can stand."""
    label, score = sample(60, 40)
    group = curve(name, *MAINTAINED)
    other = curve(name + " 2", *NOT_MAINTAINED)
    space = principal_components(np.random.default_rng(1).normal(size=(100, 6)))
    estimate = Estimate(0.7, 0.6, 0.8)
    odd = Estimate(3, 0.0001, 5000)
    thresholds = np.linspace(0.05, 0.95, 19)
    roc = (name, roc_curve(label, score), auc(label, score))
    return {
        "roc": roc_figure([roc] * 3, 0.5, mark),
        "roc-six": roc_figure([roc] * 6, 0.5, mark),
        "score": score_figure([(name, label, score)], 0.8, mark),
        "score-five": score_figure([(name, label, score)] * 5, 0.8, mark),
        "calibration": calibration_figure([(name, calibrate(label, score))], mark),
        "calibration-three": calibration_figure([(name, calibrate(label, score))] * 3, mark),
        "decision": decision_figure(thresholds, [(name, 0.6 - thresholds)], 0.5 - thresholds, mark),
        "waiting": waiting_figure([(name, [group, other], "log-rank p = 0.065")], mark=mark),
        "waiting-six": waiting_figure([(name, [group, other], "log-rank p = 0.065")] * 6, mark=mark),
        "incidence": incidence_figure([(name, [incidence(name)] * 4)], mark),
        "incidence-three": incidence_figure([(name, [incidence(name)] * 4)] * 3, mark),
        "timed": timed_auc_figure([(name, np.array([5.0, 10, 20]), [estimate] * 3)], mark),
        "hazard": hazard_figure([(name, estimate, 1e-9), (name, odd, 0.5)], mark, sides=("up", "down")),
        "strata": stratum_figure([(name, [Stratum(name, 9, 8, estimate)])], estimate, mark),
        "selection": selection_figure([(name, 0.97), ("age", 0.5)], mark, chosen=["age"]),
        "pca": pca_figure(space, [name] * 50 + ["other"] * 50, mark),
    }  # fmt: skip


def words(figure):
    """Texts that are seen, after layout."""
    figure.draw_without_rendering()
    unseen = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            unseen |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
            unseen |= {tick.label1 for tick in axis.get_minor_ticks()}
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in texts if t not in unseen and (t.axes is None or t.axes.get_visible())]


def numbers_at_risk(axes, groups):
    """Numbers drawn under the axis, (group, day), and the days they stand at."""
    drawn = [t for t in axes.texts if t.get_text().isdigit()]
    counts = np.array([int(t.get_text()) for t in drawn]).reshape(groups, -1)
    return counts, [t.get_position()[0] for t in drawn[: counts.shape[1]]]


@pytest.mark.parametrize(
    ("name", "data", "days", "at_risk"),
    [  # column n.risk of summary(survfit(Surv(time, status) ~ x, aml)) in R, as its manuals print it
        ("Maintained", MAINTAINED, [9, 13, 18, 23, 31, 34, 48], [11, 10, 8, 7, 5, 4, 2]),
        ("Nonmaintained", NOT_MAINTAINED, [5, 8, 12, 23, 27, 30, 33, 43, 45], [12, 10, 8, 6, 5, 4, 3, 2, 1]),
    ],
)
def test_numbers_at_risk_are_those_of_r(name, data, days, at_risk):
    figure = waiting_figure([("", [curve(name, *data)], "")], days)
    counts, at = numbers_at_risk(figure.axes[0], 1)
    assert counts[0].tolist() == at_risk
    assert at == days


def test_numbers_at_risk_stand_under_their_days_and_apart():
    rng = np.random.default_rng(2)
    many = [
        curve(f"group {i}", np.sort(rng.integers(1, 60, 20_000)), rng.random(20_000) < 0.7) for i in range(5)
    ]
    for panels in (1, 2, 3):
        figure = waiting_figure([("Training", many, "log-rank p < 0.0001")] * panels)
        drawn = [t for t in words(figure) if t.get_text().isdigit() or t.get_text() == "Number at risk"]
        boxes = [t.get_window_extent() for t in drawn]
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
        for axes in figure.axes:
            counts, days = numbers_at_risk(axes, 5)
            assert (counts[:, 0] == 20_000).all()
            assert [float(t.get_text()) for t in axes.get_xticklabels()] == days


def test_censored_patients_lie_on_their_curve():
    axes = waiting_figure([("", [curve("a", *MAINTAINED)], "")]).axes[0]
    (ticks,) = [line for line in axes.lines if line.get_marker() == "|"]
    # By hand: 10/11 x 9/10 after day 13, x 7/8 x 6/7 after 23, x 4/5 x 3/4 after 34, x 1/2 after 48
    assert ticks.get_xdata().tolist() == [13, 28, 45, 161]
    assert ticks.get_ydata() == pytest.approx([0.8182, 0.6136, 0.3682, 0.1841], abs=1e-4)


@pytest.mark.parametrize("name", ["Training", LONG, HOSTILE])
def test_no_text_is_cut_off(name):
    for kind, figure in figures(name).items():
        width, height = figure.bbox.size
        for text in words(figure):
            box = text.get_window_extent()
            inside = box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2
            assert inside, f"{kind}: {text.get_text()!r} at {box.extents} in {width} x {height}"


def test_every_figure_can_say_that_it_is_a_demonstration():
    for kind, figure in figures("a").items():
        assert MARK in [text.get_text() for text in words(figure)], kind
    for kind, figure in figures("a", "").items():
        assert MARK not in [text.get_text() for text in words(figure)], kind


def test_names_are_drawn_as_they_are_not_as_formulas():
    assert plain(HOSTILE).startswith("_$\\frac{1}<script>alert(1)</script>& $ ")
    axes = waiting_figure([(HOSTILE, [curve("$x$", *MAINTAINED)], "")]).axes[0]
    legend = axes.figure.legends[0].get_texts()
    assert [t.get_text() for t in legend] == ["$x$"]
    assert not legend[0].get_parse_math()


def test_widths_are_those_of_journal_columns():
    assert sheet(1, 60)[0].get_figwidth() * 25.4 == pytest.approx(SINGLE)
    assert [sheet(n, 60)[0].get_figwidth() * 25.4 for n in (2, 6)] == pytest.approx([DOUBLE] * 2)
    assert len(sheet(5, 60)[1]) == 5


def test_series_differ_in_grey_too():
    looks = [look(i) for i in range(35)]
    assert len(set(looks)) == 35
    assert all(a.dash != b.dash and a.marker != b.marker for a, b in combinations(looks[:5], 2))
    assert COLOURS[:2] == ("#0072B2", "#D55E00")  # Okabe and Ito's blue and vermillion


def test_operating_points_are_marked_where_they_are():
    label, score = sample(30, 20)
    threshold = float(np.sort(score)[25])  # a score itself: it is called negative
    point = operating_point(label, score, threshold)
    axes = roc_figure([("a", roc_curve(label, score), auc(label, score))], threshold).axes[0]
    (marked,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert marked.get_ydata() == pytest.approx([point.sensitivity.value])
    assert marked.get_xdata() == pytest.approx([1 - point.specificity.value])


def test_scores_show_every_patient_once_and_the_p_of_mann_whitney():
    label, score = sample(12, 9)
    score[label] -= 0.2  # p that is neither tiny nor 1
    axes = score_figure([("a", label, score), ("b", np.ones(4, bool), score[:4])]).axes[0]
    clouds = [np.sort(line.get_ydata()) for line in axes.lines if line.get_marker() in "os"]
    assert [len(c) for c in clouds] == [9, 12, 4]
    np.testing.assert_array_equal(clouds[0], np.sort(score[~label]))
    p = mannwhitneyu(score[label], score[~label]).pvalue
    assert [t.get_text() for t in axes.texts] == [p_text(p)]


def test_a_set_of_one_patient_a_group_can_be_drawn():
    label, score = np.array([True, False]), np.array([0.7, 0.4])
    assert [t.get_text() for t in score_figure([("a", label, score)]).axes[0].texts] == ["p = 1.00"]
    save = roc_figure([("a", roc_curve(label, score), auc(label, score))], 0.5)
    assert words(save)


def test_a_hazard_ratio_beyond_the_axis_gets_an_arrow():
    axes = hazard_figure([("a", Estimate(2, 1.5, 3), 0.01), ("b", Estimate(3, 0.0001, 5000), 0.5)]).axes[0]
    assert sorted(line.get_marker() for line in axes.lines if line.get_marker() in "<>") == ["<", ">"]
    texts = [t.get_text() for t in axes.texts]
    assert "2.00 (1.50\N{EN DASH}3.00)" in texts
    assert "3.00 (<0.001\N{EN DASH}5000)" in texts


def test_a_stratum_without_both_classes_is_named():
    axes = stratum_figure(
        [("sex", [Stratum("m", 5, 6, Estimate(0.8, 0.6, 0.9)), Stratum("f", 4, 0, None)])]
    ).axes[0]
    assert {"one class only", "4 / 0", "5 / 6"} <= {t.get_text() for t in axes.texts}


def test_only_the_most_frequent_choices_are_shown_and_the_others_counted():
    axes = selection_figure([(f"f{i}", i / 70) for i in range(67)]).axes[0]
    assert len(axes.patches) == 20
    assert axes.get_yticklabels()[0].get_text() == "f66"
    assert "47 rarer features not shown" in axes.get_xlabel()


def test_shares_of_variance_stand_on_the_axes():
    points = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])  # variances 18 and 2 of 20
    axes = pca_figure(principal_components(points), ["a", "a", "b", "b"]).axes[0]
    assert axes.get_xlabel() == "PC 1 (90.0 % of variance)"
    assert axes.get_ylabel() == "PC 2 (10.0 % of variance)"


def test_fonts_are_embedded_as_truetype(tmp_path):
    pdf, svg, _ = save_figure(figures("Training")["waiting"], tmp_path, "figure-4")
    content = pdf.read_bytes()
    assert b"/FontFile2" in content
    assert b"/CIDFontType2" in content
    assert b"/Type3" not in content
    text = svg.read_text()
    assert "<text" not in text
    assert "<script" not in text


def test_a_figure_has_the_same_bytes_every_time(tmp_path):
    for folder in ("a", "b"):
        for kind, figure in figures(LONG).items():
            if kind in ("waiting", "score", "pca", "hazard"):
                save_figure(figure, tmp_path / folder, kind)
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    assert [p.name for p in first] == [p.name for p in second]
    assert len(first) == 12
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))
    assert not any(b"CreationDate" in p.read_bytes() for p in first if p.suffix == ".pdf")
    assert not any("<dc:date>" in p.read_text() for p in first if p.suffix == ".svg")


def test_the_users_settings_change_nothing_and_are_not_changed(tmp_path):
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "none"}):
        before = dict(mpl.rcParams)
        save_figure(figures("a")["roc"], tmp_path, "theirs")
        assert dict(mpl.rcParams) == before
    save_figure(figures("a")["roc"], tmp_path, "ours")
    assert (tmp_path / "theirs.svg").read_bytes() == (tmp_path / "ours.svg").read_bytes()


def test_ten_thousand_patients_make_a_small_file(tmp_path):
    label, score = sample(6000, 4000)
    space = principal_components(np.column_stack([score, np.random.default_rng(0).normal(size=(10_000, 2))]))
    for name, figure in (
        ("scores", score_figure([("all", label, score)])),
        ("pca", pca_figure(space, ["COVID-19" if x else "other" for x in label])),
    ):
        for path in save_figure(figure, tmp_path, name):
            assert path.stat().st_size < 1 << 20, path.name
        assert "<image" in (tmp_path / f"{name}.svg").read_text()
    assert MANY < 4000


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    figure = figures("a")["roc"]
    (tmp_path / "roc.pdf").write_bytes(b"older")
    real = type(figure).savefig

    def full(self, path, **named):
        if path.suffix == ".png":
            raise OSError(28, "No space left on device")
        real(self, path, **named)

    monkeypatch.setattr(type(figure), "savefig", full)
    with pytest.raises(Exception, match="No space left") as caught:
        save_figure(figure, tmp_path, "roc")
    assert caught.value.exit_code == 5
    assert [p.name for p in tmp_path.iterdir()] == ["roc.pdf"]
    assert (tmp_path / "roc.pdf").read_bytes() == b"older"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_a_name_that_is_a_path_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="no name for a figure"):
        save_figure(figures("a")["roc"], tmp_path, name)


def test_pyplot_is_never_imported():
    modules = "figure_diagnosis, figure_survival, figure_forest, figure_space, figures"
    code = (
        f"import sys; from covid19net.report import {modules}; from pathlib import Path; import tempfile\n"
        "figures.save_figure(figures.sheet(1, 50)[0], Path(tempfile.mkdtemp()), 'a')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.00009, "p < 0.0001"),
        (0.0131, "p = 0.013"),
        (0.05, "p = 0.05"),
        (0.4999, "p = 0.50"),
        (1, "p = 1.00"),
    ],
)
def test_p_values_are_written_as_journals_do(p, text):
    assert p_text(p) == text


@pytest.mark.parametrize(
    ("last", "most", "ticks"),
    [
        (42, 4, [0, 15, 30, 45]),
        (30, 6, [0, 5, 10, 15, 20, 25, 30]),
        (9, 6, [0, 2, 4, 6, 8, 10]),
        (3, 6, [0, 0.5, 1, 1.5, 2, 2.5, 3]),
    ],
)
def test_days_on_the_axis_are_round(last, most, ticks):
    assert nice_ticks(last, most) == pytest.approx(ticks)


def test_a_text_too_long_for_its_place_says_so():
    assert folded("one two three four", 9, 2) == "one two\nthree\N{HORIZONTAL ELLIPSIS}"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: roc_figure([]),
        lambda: waiting_figure([]),
        lambda: waiting_figure([("a", [], "")]),
        lambda: waiting_figure([("a", [curve("a", *MAINTAINED)], "")], [5, 3]),
        lambda: hazard_figure([("a", Estimate(1, 0, 2), 0.5)]),
        lambda: stratum_figure([("a", [])]),
        lambda: selection_figure([("a", 1.2)]),
        lambda: score_figure([("a", np.ones(2, bool), np.ones(3))]),
        lambda: timed_auc_figure([("a", np.array([1.0]), [])]),
        lambda: pca_figure(principal_components(np.eye(3)), ["a"]),
        lambda: p_text(1.5),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw):
    with pytest.raises(InputError):
        draw()


def test_a_slope_wider_than_its_panel_is_not_written_out(tmp_path):
    """Scores that hardly differ have slopes of many digits, which left the panels no room."""
    rng = np.random.default_rng(0)
    label = np.arange(12) % 2 == 0
    scores = 0.5 + 1e-6 * rng.normal(size=12)
    figure = calibration_figure([("training", calibrate(label, scores))] * 3)
    save_figure(figure, tmp_path, "calibration")  # a warning of matplotlib would be an error here
    assert all(axes.get_position().width > 0.15 for axes in figure.axes)
