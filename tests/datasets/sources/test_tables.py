"""Wide and long tables: what is read of them, and what is refused."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.make.exports import (
    LONG_COLUMNS,
    assert_same,
    loaded_or_told,
    long_frame,
    sample,
    write_long_csv,
    write_wide_csv,
)
from tests.make.refused import refusal
from tests.make.tables import load_long, load_wide
from vd_forecasting.datasets.sources import table_rows

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def wide(path: Path, *rows: str, header: str = "time,VD-1,VD-2") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


# What is loaded


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_wide_table_comes_back(tmp_path: Path, name: str) -> None:
    speeds = sample().isel(feature=[0])
    assert_same(load_wide(write_wide_csv(tmp_path / name, speeds)), speeds)


def test_a_long_table_comes_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "_CELLS_AT_ONCE", 1000)
    vd = sample().sel(feature=list(LONG_COLUMNS))
    assert_same(load_long(write_long_csv(path, vd)), vd)


def test_rows_in_any_order(path: Path) -> None:
    vd = sample(steps=50).sel(feature=list(LONG_COLUMNS))
    frame = long_frame(vd).sample(frac=1, random_state=0)
    frame.to_csv(path, index=False)
    found = load_long(path)
    assert_same(found.sel(vd=vd["vd"].values), vd)


def test_the_last_value_of_several_wins(path: Path) -> None:
    path.write_text(
        "timestamp,vdid,speed,laneoccupy,volume\n"
        "2024-03-04T00:00,A,1,2,3\n2024-03-04T00:00,A,10,,30\n2024-03-04 00:05,A,,,\n"
    )
    found = load_long(path)
    np.testing.assert_array_equal(found[:, 0], [[10, 2, 30], [np.nan, np.nan, np.nan]])


def test_units_and_scales(path: Path) -> None:
    path.write_text("t,id,o\n2024-03-04T00:00,A,0.25\n")
    found = load_long(
        path,
        time_column="t",
        vd_column="id",
        features={"avg_occupancy": {"column": "o", "unit": "%", "scale": 100}},
    )
    assert found.item() == 25
    assert found["unit"].values.tolist() == ["%"]
    wide(path, "2024-03-04,10,", header="time,國道,VD-2")
    found = load_wide(path, unit="m/s", scale=3.6)
    np.testing.assert_array_equal(found.values.ravel(), np.array([36, np.nan], "float32"))
    assert found["vd"].values.tolist() == ["國道", "VD-2"]
    assert found["unit"].values.tolist() == ["m/s"]


def test_rows_without_a_place_are_counted(path: Path) -> None:
    path.write_text(
        "timestamp,vdid,speed,laneoccupy,volume\n"
        "2024-03-04T00:00,A,1,2,3\n,A,1,2,3\nyesterday,A,1,2,3\n2024-03-04T00:05,,1,2,3\n"
    )
    found = load_long(path)
    assert found.shape == (2, 1, 3)
    assert found[1].isnull().all()
    assert found.attrs["ingest_notes"] == ("3 rows have no usable time stamp or no VDID; left out",)


@pytest.mark.parametrize("cell", ["", "nan", "NA", "-", "none"])
def test_words_for_missing(path: Path, cell: str) -> None:
    found = load_wide(wide(path, f"2024-03-04,1,{cell}"))
    np.testing.assert_array_equal(found.values.ravel(), [1, np.nan])
    assert "ingest_notes" not in found.attrs


@pytest.mark.parametrize("cell", ["fast", "[veh]", "0x10", "0xAF", "1;2", "True", "1.2.3"])
def test_what_is_no_number_is_missing_and_counted(path: Path, cell: str) -> None:
    found = load_wide(wide(path, f"2024-03-04,1,{cell}"))
    np.testing.assert_array_equal(found.values.ravel(), [1, np.nan])
    assert found.attrs["ingest_notes"][0].startswith("1 cells hold no number, such as ")


def test_huge_numbers_become_infinite(path: Path) -> None:
    found = load_wide(wide(path, "2024-03-04,1e300,-1e999"))
    np.testing.assert_array_equal(found.values.ravel(), [np.inf, -np.inf])


def test_another_encoding_and_delimiter(path: Path) -> None:
    path.write_bytes("time;國道一號\n2024-03-04;5\n".encode("big5"))
    found = load_wide(path, encoding="big5", delimiter=";")
    assert found["vd"].values.tolist() == ["國道一號"]


def test_some_columns(path: Path) -> None:
    found = load_wide(wide(path, "2024-03-04,1,2"), vd_columns=["VD-2"])
    assert found.values.ravel().tolist() == [2]


def test_locations(path: Path, tmp_path: Path) -> None:
    where = tmp_path / "where.csv"
    where.write_text("sensor_id,latitude,longitude\nVD-2,25,121\n")
    found = load_wide(wide(path, "2024-03-04,1,2"), locations=str(where))
    np.testing.assert_array_equal(found["position_lat"], [np.nan, 25])


# Time


def times_of(path: Path, *stamps: str, **options: Any) -> tuple[list[str], dict[str, Any]]:
    rows = [f"{stamp},{n},0" for n, stamp in enumerate(stamps)]
    found = load_wide(wide(path, *rows), **options)
    return [str(t)[:16] for t in found["time"].values], found.attrs


def test_stamps_without_an_offset_stay(path: Path) -> None:
    assert times_of(path, "2024-03-04 05:00") == (
        ["2024-03-04T05:00"],
        {"source_file": "table.csv"},
    )


def test_offsets_are_brought_to_the_first(path: Path) -> None:
    times, attrs = times_of(path, "2024-03-04T05:00+08:00", "2024-03-03T21:05Z", "")
    assert times == ["2024-03-04T05:00", "2024-03-04T05:05", "NaT"]
    assert attrs["utc_offset"] == "+08:00"


def test_a_zone_makes_neither_gap_nor_duplicate_in_spring(path: Path) -> None:
    times, attrs = times_of(
        path, "2024-03-10 01:55", "2024-03-10 03:00", timezone="America/Los_Angeles"
    )
    assert times == ["2024-03-10T01:55", "2024-03-10T02:00"]
    assert attrs["utc_offset"] == "-08:00"


def test_an_hour_that_is_skipped_or_repeated_is_told(path: Path) -> None:
    times, attrs = times_of(
        path, "2024-03-10 02:30", "2024-11-03 01:30", "2024-11-03 02:00", timezone="US/Pacific"
    )
    assert times == ["NaT", "NaT", "2024-11-03T02:00"]
    assert attrs["ingest_notes"][0].startswith("2 time stamps lie in an hour that daylight-saving")


def test_a_zone_with_mixed_stamps(path: Path) -> None:
    times, attrs = times_of(
        path, "2024-03-04 08:00", "2024-03-04T00:05Z", "2024-03-04T05:10+05:00",
        timezone="Asia/Taipei",
    )  # fmt: skip
    assert times == ["2024-03-04T08:00", "2024-03-04T08:05", "2024-03-04T08:10"]
    assert attrs["utc_offset"] == "+08:00"


def test_formats(path: Path) -> None:
    assert times_of(path, "2024/03/04 5:00", "x", time_format="%Y/%m/%d %H:%M")[0] == [
        "2024-03-04T05:00",
        "NaT",
    ]
    times, attrs = times_of(
        path, "04.03.2024 05:00 +0800", "03.03.2024 21:05 +0000", time_format="%d.%m.%Y %H:%M %z"
    )
    assert (times, attrs["utc_offset"]) == (["2024-03-04T05:00", "2024-03-04T05:05"], "+08:00")


def test_a_year_nobody_measured_is_blank(path: Path) -> None:
    times, _ = times_of(path, "0001-01-01T00:00:00", "2024-03-04 05:00", "2250-01-01")
    assert times == ["NaT", "2024-03-04T05:00", "NaT"]


@pytest.mark.parametrize(
    ("stamp", "options", "message"),
    [
        ("4.3.2024 5:00", {}, "such as '4.3.2024 5:00', is ISO 8601; set time_format"),
        ("2024-03-04", {"time_format": "%Y"}, "is of the form '%Y'"),
        ("2024-03-04", {"timezone": "Asia/Taipeh"}, "timezone 'Asia/Taipeh' is not known"),
        ("2024-03-04", {"timezone": "../../etc/passwd"}, "is not known"),
        ("", {}, "none of its 1 time stamps"),
    ],
)
def test_clocks_that_cannot_be_read(
    path: Path, stamp: str, options: dict[str, Any], message: str
) -> None:
    assert message in refusal(load_wide, wide(path, f"{stamp},1,2"), **options)


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("time,A\n", "no rows"),
        ("when,A\n2024-03-04,1\n", "has no column 'time'; it has 'when', 'A'"),
        ("time\n2024-03-04\n", "has no column but 'time'"),
        ("time,A,A\n2024-03-04,1,2\n", "has the column 'A' more than once"),
        ("time,A\n2024-03-04,1,2\n", "cells|fields"),
        ("time,A\n2024-03-04,1\n2024-03-05,1,2,3,4\n", "fields|cells"),
        ('time,A\n"2024-03-04,1\n', "EOF|end of|time stamps"),
    ],
)
def test_wide_tables_that_are_none(path: Path, content: str, message: str) -> None:
    path.write_text(content)
    assert re.search(message, refusal(load_wide, path))


def test_long_tables_that_are_none(path: Path) -> None:
    path.write_text("timestamp,vdid,speed\n")
    assert "has no column 'laneoccupy'" in refusal(load_long, path)
    path.write_text("timestamp,vdid,speed,laneoccupy,volume\n")
    assert "no rows" in refusal(load_long, path)
    path.write_text("timestamp,vdid,speed,laneoccupy,volume\n2024-03-04,,1,2,3\n")
    assert "empty: 1 time steps, 0 VDs" in refusal(load_long, path)


def test_a_table_too_large_for_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vd_forecasting.datasets.sources.source.MOST_VALUE_BYTES", 100)
    vd = sample(steps=20).sel(feature=list(LONG_COLUMNS))
    assert "is refused" in refusal(load_long, write_long_csv(path, vd))


# Parquet


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    assert refusal(load_wide, path) == (
        "to read Parquet, the package pyarrow is needed; pip install -e '.[ingest]'"
    )


def test_parquet_comes_back(arrow: ModuleType, tmp_path: Path) -> None:
    vd = sample().sel(feature=list(LONG_COLUMNS))
    frame = long_frame(vd)
    stamps = arrow.array(np.repeat(vd["time"].values, vd.sizes["vd"]))
    for column in (stamps, arrow.array(frame["timestamp"].to_numpy(dtype=object))):
        arrays = {name: arrow.array(frame[name].to_numpy()) for name in LONG_COLUMNS.values()}
        vdids = arrow.array(frame["vdid"].to_numpy(dtype=object)).dictionary_encode()
        table = arrow.table({"timestamp": column, "vdid": vdids, **arrays})
        arrow.parquet.write_table(table, tmp_path / "a.parquet")
        assert_same(load_long(tmp_path / "a.parquet"), vd)


def test_parquet_with_zone_nulls_and_integers(arrow: ModuleType, tmp_path: Path) -> None:
    stamps = arrow.array([1709510400, None], arrow.timestamp("s", "Asia/Taipei"))
    table = arrow.table({"time": stamps, "A": arrow.array([1, None]), "B": arrow.array(["x", "2"])})
    arrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = load_wide(tmp_path / "a.parquet")
    assert found.attrs["utc_offset"] == "+08:00"
    assert str(found["time"].values[0])[:16] == "2024-03-04T08:00"
    np.testing.assert_array_equal(found.values[..., 0], [[1, np.nan], [np.nan, 2]])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1"])
def test_broken_parquet(arrow: ModuleType, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    assert "not a Parquet file" in refusal(load_wide, tmp_path / "a.parquet")


# Fuzz


@given(content=st.binary(max_size=300))
@FUZZ
def test_any_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(b"time,A\n" + content)
    loaded_or_told(lambda: load_wide(path))


CELL = st.one_of(
    st.sampled_from(
        ["", "1", "2024-03-04T00:00", "2024-11-03 01:30", "9" * 400, "-0", "nan", "VD"]
    ),
    st.floats().map(str),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters='",\r\n'), max_size=8),
)


@given(rows=st.lists(st.tuples(CELL, CELL, CELL, CELL, CELL), min_size=1, max_size=8))
@FUZZ
def test_any_cells(path: Path, rows: list[tuple[str, ...]]) -> None:
    lines = ["timestamp,vdid,speed,laneoccupy,volume", *map(",".join, rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = loaded_or_told(lambda: load_long(path, timezone="America/Los_Angeles"))
    if found is not None:  # no zero that nobody wrote
        zeros = sum(float_or_none(cell) == 0 for row in rows for cell in row[2:])
        assert int((found == 0).sum()) <= zeros


def float_or_none(cell: str) -> float | None:
    try:
        return float(cell) if abs(float(cell)) > 1e-40 else 0.0  # too small for float32
    except ValueError:
        return None
