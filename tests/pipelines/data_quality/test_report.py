from itertools import groupby

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.figure import Figure

from tests.make.arrays import distinct, raw_array
from tests.make.parameters import CLEANING, REPORT, SPLIT
from vd_forecasting.parameters import Cleaning, Split
from vd_forecasting.pipelines.data_engineering.clean import clean
from vd_forecasting.pipelines.data_quality.coverage_plots import no_map
from vd_forecasting.pipelines.data_quality.pipeline import create_pipeline
from vd_forecasting.pipelines.data_quality.report import report_quality
from vd_forecasting.pipelines.data_quality.stretches import Gap, longest_gaps

NAN = np.nan


ALL_BUT_A_LITTLE = Split(train=0.9, val=0.05, test=0.05)
"""Before the test split lie all steps of a file of a few."""


def page_of(raw: xr.DataArray, cleaning: Cleaning = CLEANING) -> str:
    return report_quality(*clean(raw, cleaning), cleaning, ALL_BUT_A_LITTLE, REPORT).text


def section(page: str, title: str) -> str:
    return page.split(f"## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


@pytest.fixture
def small_page() -> str:
    """Two VDs, six steps, of which the file holds five; 14 of its 20 values survive."""
    values = distinct(5, 2, 2)
    values[0, 0, 0] = -99  # error code
    values[1, 0, 0] = 250  # impossible
    values[1:5, 1, 1] = NAN
    return page_of(raw_array(values, minutes=[0, 5, 10, 20, 25]))


def test_summary(small_page: str) -> None:
    assert small_page.startswith("# Data quality: test.h5\n\n## What to look at\n\n- **VD-1: ")
    summary = section(small_page, "In short")
    assert "**1 of 2 detectors is fit for training** (at least 50 % of avg_speed and" in summary
    assert "**41.7 % of values are missing** after cleaning" in summary  # 10 of 24
    assert "in the raw file it was 20 %." in summary  # 4 of 20
    assert "removed 2 of 16 recorded values (12.5 %)" in summary
    assert "1 step of the regular grid had none and was added as missing." in summary
    assert "The longest gap is 25 min, from 2024-03-01 00:05 (VD-1)." in summary
    assert "](figure:coverage)" in small_page


def test_file_table(small_page: str) -> None:
    assert dict(rows(section(small_page, "The file"))[2:]) == {
        "detectors": "2",
        "features": "avg_speed (km/h), total_volume (veh/5 min)",
        "time steps": "6, one every 5 min",
        "first step": "2024-03-01 00:00",
        "last step": "2024-03-01 00:25",
        "span": "30 min",
    }


def test_observed_table(small_page: str) -> None:
    assert rows(section(small_page, "Observed values"))[2:] == [
        ["VD-0", "100 % → 50 %", "100 % → 83.3 %"],
        ["VD-1", "100 % → 83.3 %", "20 % → 16.7 %"],
    ]


def test_rules_table(small_page: str) -> None:
    table = rows(section(small_page, "What each rule did"))
    assert table[0] == ["rule", "time steps", "avg_speed", "total_volume"]
    assert table[2:4] == [["error codes", "–", "1", "0"], ["physical range", "–", "1", "0"]]
    assert table[8:] == [
        ["absent steps", "1 added", "0", "0"],
        ["no vehicles", "–", "0", "0"],
        ["highest rate", "–", "0", "0"],
        ["stuck values", "–", "0", "0"],
        ["**all**", "", "**2**", "**0**"],
    ]


def test_limits_table(small_page: str) -> None:
    assert rows(section(small_page, "The limits"))[2:] == [
        ["avg_speed", "km/h", "−99, 999", "0 to 200", "3 h"],
        ["total_volume", "veh/5 min", "−99", "off", "off"],
    ]


def test_gaps_table(small_page: str) -> None:
    day = "2024-03-01"
    assert rows(section(small_page, "Longest gaps"))[2:] == [
        ["VD-1", "total_volume", f"{day} 00:05", f"{day} 00:25", "25 min"],
        ["VD-0", "avg_speed", f"{day} 00:00", f"{day} 00:05", "10 min"],
        ["VD-0", "all features", f"{day} 00:15", f"{day} 00:15", "5 min"],
        ["VD-1", "avg_speed", f"{day} 00:15", f"{day} 00:15", "5 min"],
    ]


def test_unfit_table(small_page: str) -> None:
    text = section(small_page, "Detectors unfit for training")
    assert "Needed: 50 % of avg_speed and total_volume (each), before the test split." in text
    assert rows(text)[2:] == [["VD-1", "observed: total_volume 16.7 %"]]


def test_whether_a_detector_is_fit_shows_before_the_test_split() -> None:
    values = distinct(10, 2, 1)
    values[4:, 0], values[:5, 1] = NAN, NAN  # 4 of the 8 steps before the test split, and 3
    page = report_quality(*clean(raw_array(values), CLEANING), CLEANING, SPLIT, REPORT).text
    assert rows(section(page, "Detectors unfit for training"))[2:] == [
        ["VD-1", "observed: avg_speed 37.5 %"]
    ]


def test_time_stamps_are_counted() -> None:
    raw = raw_array(distinct(7, 1, 1), minutes=[0, 5, 15, 10, 10, 21, 25])
    assert (
        "7 time stamps, among them 2 out of order, 1 off the regular grid and 1 duplicates; no step"
    ) in page_of(raw)


def test_perfect_file() -> None:
    page = page_of(raw_array(distinct(6, 1, 1)))
    assert "**1 of 1 detector is fit for training**" in page
    assert "**0 % of values are missing**" in page
    assert "All 6 time stamps are in order; no step of the regular grid is absent." in page
    assert "longest gap" not in page
    assert section(page, "Longest gaps").strip() == "None: every value is observed."
    assert section(page, "Detectors unfit for training").strip() == "None."


def test_no_fit_detector_is_said_first() -> None:
    page = page_of(raw_array(np.full((6, 3, 2), NAN)))
    assert page.split("\n\n")[1].startswith("> **No detector is fit for training.**")
    assert rows(section(page, "Detectors unfit for training"))[2] == ["VD-0", "no value at all"]
    gap = rows(section(page, "Longest gaps"))[2:]
    assert gap == [
        ["all detectors", "all features", "2024-03-01 00:00", "2024-03-01 00:25", "30 min"]
    ]


def test_many_vds_are_summarised() -> None:
    values = distinct(10, 60, 1)
    for n in range(25):
        values[: 1 + n // 5, n] = NAN
    text = section(page_of(raw_array(values)), "Observed values")
    tables = rows(text)
    worst = tables.index(["detector", "avg_speed"])
    quantiles = dict(tables[2:worst])
    assert quantiles["lowest"] == "50 % → 50 %"
    assert quantiles["25 %"] == "77.5 % → 77.5 %"  # between the 15th, 70 %, and the 16th, 80 %
    assert quantiles["median"] == quantiles["highest"] == "100 % → 100 %"
    listed = tables[worst + 2 :]
    assert len(listed) == 20
    assert listed[0] == ["VD-20", "50 % → 50 %"]
    assert listed[-1] == ["VD-9", "80 % → 80 %"]


def test_many_unfit_vds_are_counted() -> None:
    text = section(page_of(raw_array(np.full((6, 100, 1), NAN))), "Detectors unfit for training")
    assert len(rows(text)) == 42
    assert "… and 60 more." in text


def test_tables_stay_narrow() -> None:
    features = [f"channel_{n}" for n in range(14)]
    page = page_of(raw_array(distinct(6, 2, 14), features=features))
    assert max(len(row) for row in rows(page)) <= 8
    head = [row for row in rows(section(page, "Observed values")) if row[0] == "detector"]
    assert [name for row in head for name in row[1:]] == features


def test_names_from_the_file_cannot_break_a_table() -> None:
    page = page_of(raw_array(np.full((6, 2, 1), NAN), vdids=["a|b\nc", "<b>"]))
    assert "| a\\|b c | no value at all |" in page
    assert "| &lt;b> | no value at all |" in page


def test_plots_are_shown_where_there_is_something_to_show() -> None:
    page = page_of(raw_array(distinct(6, 1, 1)))
    assert section(page, "Where they are").strip() == no_map()
    assert "it needs total_volume and one of" in section(page, "Flow, speed and occupancy")
    raw = raw_array(distinct(6, 1, 2)).assign_coords(
        position_lon=("vd", [121.0]), position_lat=("vd", [25.0])
    )
    page = page_of(raw)
    assert "](figure:map)" in section(page, "Where they are")
    assert "](figure:typical_week)" in section(page, "A typical week")
    fundamental = section(page, "Flow, speed and occupancy")
    assert "](figure:fundamental_diagram)" in fundamental


def test_captions_of_the_page_are_the_titles_of_its_figures() -> None:
    raw = raw_array(distinct(6, 1, 2)).assign_coords(
        position_lon=("vd", [121.0]), position_lat=("vd", [25.0])
    )
    page = report_quality(*clean(raw, CLEANING), CLEANING, SPLIT, REPORT)
    assert list(page.figures) == ["coverage", "map", "typical_week", "fundamental_diagram"]
    for name, figure in page.figures.items():
        assert isinstance(figure, Figure)
        titles = [text.get_text() for text in figure.texts]
        assert any(f"![{title}](figure:{name})" in page.text for title in titles)


def test_what_has_nothing_to_show_is_drawn_but_not_shown() -> None:
    page = report_quality(*clean(raw_array(distinct(6, 1, 1)), CLEANING), CLEANING, SPLIT, REPORT)
    assert set(page.figures) == {"coverage", "map", "typical_week", "fundamental_diagram"}
    assert "figure:map" not in page.text
    assert "figure:fundamental_diagram" not in page.text


def test_the_pipeline_is_one_node_for_one_page() -> None:
    [node] = create_pipeline().nodes
    assert node.name == "data_engineering.report_quality"
    assert set(node.inputs) == {
        *("vd_clean", "cleaning_log"),
        *("params:cleaning", "params:split", "params:report"),
    }
    assert node.outputs == ["data_quality"]


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    values = distinct(4000, 2, 1)
    values[7, 0] = NAN
    values[1:, 1] = NAN
    table = rows(section(page_of(raw_array(values)), "Observed values"))
    assert table[2:] == [["VD-0", ">99.9 % → >99.9 %"], ["VD-1", "<0.1 % → <0.1 %"]]


def test_gaps_that_begin_and_end_together_are_one() -> None:
    values = distinct(10, 3, 2)
    values[2:5] = NAN  # all
    values[6:8, 0] = NAN  # one VD
    values[6:8, 1, 1] = NAN  # one feature of another
    values[9, :2, 0] = NAN  # one feature of two
    assert longest_gaps(raw_array(values), 10) == [
        Gap(2, 3, (0, 1, 2), (0, 1)),
        Gap(6, 2, (0,), (0, 1)),
        Gap(6, 2, (1,), (1,)),
        Gap(9, 1, (0, 1), (0,)),
    ]


def test_a_gap_of_most_features_is_described_in_few_words() -> None:
    values = distinct(6, 1, 5)
    values[:3, 0, :4] = NAN
    values[:2, 0, 4] = NAN
    table = rows(section(page_of(raw_array(values)), "Longest gaps"))
    assert [row[1] for row in table[2:]] == ["all but lane_count", "lane_count"]


@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 70), st.integers(1, 2))),
    st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_longest_gaps_agree_with_a_plain_search(missing: np.ndarray, count: int) -> None:
    expected = []
    for vd, feature in np.ndindex(missing.shape[1:]):
        at = 0
        for gone, run in groupby(missing[:, vd, feature].tolist()):
            length = len(list(run))
            if gone:
                expected.append((at, length, vd, feature))
            at += length
    found = longest_gaps(raw_array(np.where(missing, NAN, 1.0)), count)
    told = [
        (gap.start, gap.length, vd, feature)
        for gap in found
        for vd in gap.vds
        for feature in gap.features
    ]
    assert len(told) == len(set(told))
    assert set(told) <= set(expected)
    lengths = [gap.length for gap in found]
    assert lengths == sorted(lengths, reverse=True)
    left_out = [run for run in expected if run not in told]
    if left_out:
        assert len(found) == count
        assert max(length for _, length, *_ in left_out) <= lengths[-1]
