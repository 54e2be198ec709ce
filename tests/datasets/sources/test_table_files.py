"""Tables as people keep them: lanes, clocks, encodings, numerals, folders and odd lines."""

import gzip
import zipfile
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from kedro.io import DatasetError

from tests.make.parameters import CLEANING
from tests.make.refused import refusal
from tests.make.tables import load_long, load_wide
from vd_forecasting.datasets.sources import source, table_rows, tables
from vd_forecasting.pipelines.data_engineering.clean import clean

HEAD = "timestamp,vdid,speed,volume,laneoccupy"


def text(path: Path, *lines: str, **options: Any) -> xr.DataArray:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_long(path, **options)


def notes(found: xr.DataArray) -> str:
    return "; ".join(found.attrs.get("ingest_notes", ()))


def stamps(found: xr.DataArray) -> list[str]:
    return [str(time)[:16] for time in found["time"].values]


ONE = {"features": {"total_volume": "v"}, "vd_column": "id", "time_column": "t"}


# Rows that share a time and a detector

LANES = [
    "t,id,lane,speed,v,occ",
    "2024-03-04 08:00,A,1,90,81,6",
    "2024-03-04 08:00,A,2,80,42,5",
    "2024-03-04 08:00,A,3,60,29,4",
    "2024-03-04 08:00,B,1,50,0,0",
    "2024-03-04 08:05,A,1,90,10,6",
]
LANE_FEATURES = {"avg_speed": "speed", "total_volume": "v", "avg_occupancy": "occ"}


def test_lanes_are_merged(path: Path) -> None:
    found = text(path, *LANES, **ONE | {"features": LANE_FEATURES}, lane_column="lane")
    speed = (90 * 81 + 80 * 42 + 60 * 29) / 152
    expected = np.array([[speed, 152, 5], [50, 0, 0]])
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-6)
    assert notes(found) == "1 volumes are sums over fewer lanes than their detector has"


@pytest.mark.parametrize(
    ("wrong", "errors", "expected"),
    [
        ("-99,-99,-99", 4, [80, 255, 6, 6]),  # 255 vehicles do occur
        ("255,-1,999", 4, [80, 255, 6, 6]),
        ("-3,45,-4", 2, [80, 300, 6, 1]),  # degrees below zero are no error
    ],
)
def test_errors_of_a_lane_are_missing_before_it_is_merged(
    path: Path, wrong: str, errors: int, expected: list[float]
) -> None:
    lines = ["t,id,lane,speed,v,occ", "2024-03-04,A,1,80,255,6", f"2024-03-04,A,2,{wrong}"]
    keys: dict[str, Any] = ONE | {"features": LANE_FEATURES | {"temperature": "occ"}}
    found = text(path, *lines, **keys, lane_column="lane")
    np.testing.assert_allclose(found.values[0, 0], expected)
    assert f"{errors} values of lanes are errors" in notes(found)


def test_error_codes_of_lanes_can_be_set(path: Path) -> None:
    lines = ["t,id,lane,v", "2024-03-04,A,1,80", "2024-03-04,A,2,999"]
    assert text(path, *lines, **ONE, lane_column="lane").item() == 80
    assert text(path, *lines, **ONE, lane_column="lane", error_codes=[80]).item() == 999
    line = "error_codes are those of lanes; set lane_column, or cleaning.error_codes"
    assert refusal(load_long, path, **ONE, error_codes=[80]) == line


def test_rows_at_one_place_are_counted_and_the_keys_named(path: Path) -> None:
    found = text(path, *LANES, **ONE)
    assert found.sel(vd="A").values[0] == 29
    assert notes(found).startswith(
        "2 rows have the time step and detector of another, such as 'A' at 2024-03-04T08:00:00"
    )
    assert "lane_column" in notes(found)
    assert "not read: 'lane', 'occ', 'speed'" in notes(found)


def test_a_vdid_in_two_columns(path: Path) -> None:
    lines = ["t,id,v,direction", "2024-03-04,A,5,N", "2024-03-04,A,6,S", "2024-03-04,A,7,"]
    found = text(path, *lines, **ONE | {"vd_column": ["id", "direction"]})
    assert found["vd"].values.tolist() == ["A-N", "A-S"]
    assert notes(found) == "1 rows have no usable time stamp or no VDID; left out"


def test_rows_of_a_wide_table_at_one_time_are_counted(path: Path) -> None:
    path.write_text("time,A\n2024-03-04,1\n2024-03-04,2\n")
    assert notes(load_wide(path)).startswith("1 rows have the time of another. Set time_column")


def test_an_hour_that_comes_twice_is_told_apart_by_its_order(path: Path) -> None:
    hours = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    lines = [f"2024-10-27 {hour},{vd},{n}" for n, hour in enumerate(hours) for vd in "AB"]
    found = text(path, "t,id,v", *lines, **ONE, timezone="Europe/Berlin")
    assert found.values[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert (np.diff(found["time"].values) == np.timedelta64(30, "m")).all()
    assert notes(found) == (
        "2 time stamps of an hour that Europe/Berlin repeats, such as 2024-10-27T02:00:00, come "
        "twice; the first is taken for summer time"
    )


def test_a_clock_that_knows_no_summer_time_is_read_as_standard_time(path: Path) -> None:
    hours = [f"2023-03-26 {hour:02d}:00" for hour in range(5)]
    found = text(path, "t,id,v", *(f"{h},A,1" for h in hours), **ONE, timezone="Europe/London")
    assert stamps(found) == [hour.replace(" ", "T") for hour in hours]
    assert found.attrs["utc_offset"] == "+00:00"
    assert "such as 2023-03-26T01:00:00, so all are read as standard time" in notes(found)


def test_empty_rows_in_the_hour_that_is_skipped_say_nothing_of_the_clock(path: Path) -> None:
    rows = ["2023-03-26 00:00,A,1", "2023-03-26 01:00,A,", "2023-03-26 02:00,A,1"]
    found = text(path, "t,id,v", *rows, **ONE, timezone="Europe/London")
    assert stamps(found) == ["2023-03-26T00:00", "2023-03-26T01:00"]


def test_an_hour_that_comes_twice_in_a_wide_table(path: Path) -> None:
    hours = ["02:00", "02:00", "03:00"]
    path.write_text("time,A\n" + "".join(f"2024-10-27 {hour},1\n" for hour in hours))
    found = load_wide(path, timezone="Europe/Berlin")
    assert stamps(found) == ["2024-10-27T02:00", "2024-10-27T03:00", "2024-10-27T04:00"]


# Clocks


def test_detectors_with_seconds_of_their_own_share_a_grid(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = pd.date_range("2024-03-04", periods=50, freq="5min")
    rows = [
        (time + pd.Timedelta(7 * vd, "s"), vd, 50 * vd + step)
        for vd in range(30)
        for step, time in enumerate(times)
    ]
    content = ["t,id,v", *(f"{time},{vd},{v}" for time, vd, v in rows)]
    whole = text(path, *content, **ONE)
    assert whole.shape == (1500, 30, 1)
    monkeypatch.setattr(tables, "_ALWAYS_PLACES", 1000)
    small = text(path, *content, **ONE)
    assert small.shape[0] <= 51
    assert small.count() == whole.count() == 1500
    for vd in range(30):  # nothing is lost, and the order stays
        kept, own = (one.values[:, vd, 0] for one in (small, whole))
        np.testing.assert_array_equal(kept[~np.isnan(kept)], own[~np.isnan(own)])
    (told,) = small.attrs["ingest_notes"]
    assert told.startswith("detectors report at different times, the quickest every 5 min; each")
    cleaned = [clean(one, CLEANING)[0].load() for one in (whole, small)]
    xr.testing.assert_equal(*cleaned)


def test_a_sparse_table_of_one_clock_keeps_its_time_stamps(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ALWAYS_PLACES", 1)
    days = [pd.Timestamp("2024-03-04") + pd.Timedelta(vd, "D") for vd in range(20)]
    rows = [
        f"{day + pd.Timedelta(5 * n, 'min')},{vd},1"
        for vd, day in enumerate(days)
        for n in range(9)
    ]
    found = text(path, "t,id,v", *rows, **ONE)
    assert found.shape == (180, 20, 1)
    assert notes(found) == ""


@pytest.mark.parametrize(
    ("columns", "row", "options", "expected"),
    [
        ("d,h", "20/03/2023,00:14:00", {"time_format": "%d/%m/%Y %H:%M:%S"}, "2023-03-20T00:14"),
        ("d,h", "2023-03-20,24", {"time_unit": "h"}, "2023-03-21T00:00"),
        ("d,h", "2023-03-20,600", {"time_unit": "s"}, "2023-03-20T00:10"),
        ("d,h", "2023-03-20 00:00:00,00:10", {}, "2023-03-20T00:10"),
        ("d,h", "20230501,2400", {"time_format": "%Y%m%d %H%M"}, "2023-05-02T00:00"),
        ("t", "2023-05-01 24:00:00", {}, "2023-05-02T00:00"),
        ("t", "2023-05-01T24:00+08:00", {}, "2023-05-02T00:00"),
        ("t", "01.05.2023 24:00", {"time_format": "%d.%m.%Y %H:%M"}, "2023-05-02T00:00"),
        ("t", "2023-05-01 08:24:00", {}, "2023-05-01T08:24"),
        ("t", "2023-05-01 00:15", {"time_shift": "-15min"}, "2023-05-01T00:00"),
        ("t", "1709510400", {}, "2024-03-04T00:00"),
        ("t", "1709510400.0", {}, "2024-03-04T00:00"),
        ("t", "1709510400000", {}, "2024-03-04T00:00"),
        ("t", "1709510400", {"timezone": "Asia/Taipei"}, "2024-03-04T08:00"),
        ("t", "45355.0034722222", {}, "2024-03-04T00:05"),
        ("t", "2024030408", {"time_format": "%Y%m%d%H"}, "2024-03-04T08:00"),
    ],
)  # fmt: skip
def test_clocks(path: Path, columns: str, row: str, options: dict[str, Any], expected: str) -> None:
    names = columns.split(",")
    found = text(path, f"{columns},id,v", f"{row},A,1", **ONE | {"time_column": names} | options)
    assert stamps(found) == [expected]


def test_numbers_taken_for_a_clock_are_told(path: Path) -> None:
    found = text(path, "t,id,v", "1709510400,A,1", **ONE)
    assert notes(found).startswith("time stamps such as '1709510400' are read as s since 1970")
    assert found.attrs["utc_offset"] == "+00:00"


def test_stamps_that_are_no_such_number_are_left_out(path: Path) -> None:
    rows = ["unix,,veh", "1709510400,A,1", "1709510700,A,2", "1709511000,A,3", "-1,A,4"]
    found = text(path, "t,id,v", *rows, **ONE)
    assert stamps(found) == ["2024-03-04T00:00", "2024-03-04T00:05", "2024-03-04T00:10"]
    assert "2 rows have no usable time stamp" in notes(found)


def test_a_day_without_its_hour_is_no_midnight(path: Path) -> None:
    found = text(
        path,
        "d,h,id,v",
        "2024-03-04,,A,1",
        "2024-03-04,08:00,A,2",
        **ONE | {"time_column": ["d", "h"]},
    )
    assert stamps(found) == ["2024-03-04T08:00"]
    assert notes(found).startswith("1 rows have no usable time stamp")


def test_tables_without_a_clock(path: Path) -> None:
    path.write_text("A,B\n1,2\n3,4\n")
    clock = {"start": "2024-03-04", "interval": "5min"}
    found = load_wide(path, time_column=[], **clock)
    assert stamps(found) == ["2024-03-04T00:00", "2024-03-04T00:05"]
    found = text(path, "t,id,v", "1,0,5", "3,0,6", **ONE | clock)
    assert stamps(found) == ["2024-03-04T00:00", "2024-03-04T00:10"]


def test_hours_across_columns(path: Path) -> None:
    hours = [f"H{hour:02d}" for hour in range(24)]
    row = ",".join(str(hour) for hour in range(24))
    found = text(
        path, f"t,id,{','.join(hours)}", f"2024-03-04,A,{row}",
        **ONE | {"features": {"total_volume": {"column": hours}}},
    )  # fmt: skip
    assert found.values.ravel().tolist() == [*range(24)]
    assert stamps(found)[-1] == "2024-03-04T23:00"


# Numerals


@pytest.mark.parametrize(
    ("delimiter", "cells", "options", "expected"),
    [
        (";", ["20", "572", "1.188"], {}, [20, 572, 1188]),
        (";", ["20", "92,5", "1.188,5"], {}, [20, 92.5, 1188.5]),
        (";", ["20", "1 188"], {}, [20, 1188]),
        (";", ["20", "1\u202f188"], {}, [20, 1188]),
        (",", ["20", '"1,188"'], {}, [20, 1188]),
        (",", ["20", '"1,5"'], {}, [20, 1.5]),
        (";", ["0.512", "20"], {}, [0.512, 20]),
        (";", ["90.125", "20", "80.5"], {}, [90.125, 20, 80.5]),
        (",", ["572", "1.188"], {"thousands": "."}, [572, 1188]),
        (";", ["572", "1.188"], {"decimal": "."}, [572, 1.188]),
        (";", ["572", "12.5"], {"thousands": "."}, [572, np.nan]),
    ],
)
def test_numerals(
    path: Path, delimiter: str, cells: list[str], options: dict[str, Any], expected: list[float]
) -> None:
    rows = [f"2024-03-04 0{n}:00{delimiter}A{delimiter}{cell}" for n, cell in enumerate(cells)]
    found = text(
        path, delimiter.join(["t", "id", "v"]), *rows, delimiter=delimiter, **ONE | options
    )
    np.testing.assert_array_equal(found.values.ravel(), np.array(expected, "float32"))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["5 %", "7%", "", "12.5 %"], [5, 7, np.nan, 12.5]),
        (["60 km/h", "70", "80\u00a0km/h"], [60, 70, 80]),
        (["60,5 km/h", "1.070 km/h"], [60.5, 1070]),
        (["12 veh/5 min"], [12]),
    ],
)
def test_a_unit_behind_the_numbers_of_a_column(
    path: Path, cells: list[str], expected: list[float]
) -> None:
    rows = [f"2024-03-04 0{n}:00;A;{cell}" for n, cell in enumerate(cells)]
    found = text(path, "t;id;v", *rows, delimiter=";", **ONE)
    np.testing.assert_array_equal(found.values.ravel(), np.array(expected, "float32"))
    assert "column 'v' has '" in notes(found)
    assert f"such as {cells[0]!r}; read without it, so check its unit and scale" in notes(found)
    assert "hold no number" not in notes(found)


def test_several_units_in_a_column_are_told_and_missing(path: Path) -> None:
    rows = ["2024-03-04,A,60 km/h", "2024-03-05,A,40 mph"]
    found = text(path, "t,id,v", *rows, **ONE)
    assert found.isnull().all()
    assert notes(found) == (
        "column 'v' has several units behind its numbers, 'km/h', 'mph'; missing there, bring them "
        "to one; 2 cells hold no number, such as '60 km/h'; missing"
    )


def test_a_letter_behind_few_numbers_is_no_unit(path: Path) -> None:
    rows = ["2024-03-04,A,60", "2024-03-05,A,40e"]
    found = text(path, "t,id,v", *rows, **ONE)
    np.testing.assert_array_equal(found.values.ravel(), [60, np.nan])
    assert notes(found) == "1 cells hold no number, such as '40e'; missing"


def test_numbers_that_contradict_each_other_are_told(path: Path) -> None:
    found = text(path, "t,id,v", "2024-03-04,A,572", "2024-03-05,A,1.188", **ONE)
    assert notes(found).startswith("column 'v' holds 572 and 1.188, read as a fraction; if")
    found = text(path, "t;id;v", "2024-03-04;A;1188", "2024-03-05;A;1.188", **ONE, delimiter=";")
    assert notes(found).startswith("column 'v' holds 1188 and 1.188, read as a fraction; if")


# Bytes


def test_bytes_of_another_encoding_are_told_with_the_key(path: Path) -> None:
    path.write_bytes("t,id,v\n2024-03-04,Sörby,1\n".encode("latin-1"))
    message = refusal(load_long, path, **ONE)
    assert "not UTF-8" in message
    assert "'2024-03-04,Sörby,1" in message or "Sörby" in message
    assert "set encoding" in message
    assert load_long(path, **ONE, encoding="latin-1")["vd"].values.tolist() == ["Sörby"]
    assert "encoding 'latin-11' is not known" in refusal(
        load_long, path, **ONE, encoding="latin-11"
    )


def test_utf_16_says_so_itself(path: Path) -> None:
    path.write_bytes("t,id,v\n2024-03-04,Sörby,1\n".encode("utf-16"))
    assert load_long(path, **ONE)["vd"].values.tolist() == ["Sörby"]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\xd0\xcf\x11\xe0" + bytes(20), "an Excel workbook"),
        (b"BZh91AY", "a bzip2 file"),
    ],
)
def test_other_files_are_called_by_their_names(path: Path, head: bytes, name: str) -> None:
    path.write_bytes(head)
    assert f"not a table but {name}" in refusal(load_long, path)


def test_an_excel_workbook_is_no_zip_of_tables(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    assert "an Excel workbook; save it as CSV" in refusal(load_long, tmp_path / "a.xlsx")


# Shapes


def test_no_row_of_names(path: Path) -> None:
    lines = ["2024-03-04 00:00,400001,4,50", "2024-03-04 00:05,400001,4,60"]
    path.write_text("\n".join(lines))
    assert "if there is no row of names, set columns" in refusal(load_long, path, **ONE)
    found = text(path, *lines, **ONE, columns=["t", "id", "district", "v"])
    assert found.values.ravel().tolist() == [50, 60]
    found = text(path, *(f"{line},7,8" for line in lines), **ONE, columns=["t", "id", "x", "v"])
    assert found.values.ravel().tolist() == [50, 60]


def test_lines_before_the_names_delimiters_at_the_end_and_units(path: Path) -> None:
    found = text(
        path, "Traffic report", "Site: M1,,,", "", "t,id,v,", ",,[veh],", "2024-03-04,A,5,",
        "2024-03-05,A,6,", **ONE,
    )  # fmt: skip
    assert found.values.ravel().tolist() == [5, 6]
    assert found["vd"].values.tolist() == ["A"]
    assert "2 rows stand before the names of the columns" in notes(found)
    assert "such as '[veh]'" in notes(found)
    path.write_text("time,A,\n2024-03-04,1,\n")
    assert load_wide(path)["vd"].values.tolist() == ["A"]


@pytest.mark.parametrize("kind", ["folder", "pattern", "zip"])
def test_several_files(tmp_path: Path, kind: str) -> None:
    days = {f"d{day}.csv": f"t,id,v\n2024-03-0{day},A,{day}\n" for day in (4, 5)}
    folder = tmp_path / "days"
    folder.mkdir()
    for name, content in days.items():
        (folder / name).write_text(content)
    (folder / "readme.pdf").write_bytes(b"%PDF")
    (folder / "d6.csv.gz").write_bytes(gzip.compress(b"t,id,v\n2024-03-06,A,6\n"))
    with zipfile.ZipFile(tmp_path / "days.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"deep/{file.name}")
    where = {"folder": folder, "pattern": folder / "*.csv*", "zip": tmp_path / "days.zip"}[kind]
    found = load_long(where, **ONE)
    assert found.values.ravel().tolist() == [4, 5, 6]
    if kind != "pattern":
        assert f"1 file of the {kind} not read, such as" in notes(found)


def test_other_tables_beside_those_that_are_meant_are_named(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("Made in 2024\n")
    (tmp_path / "d4.csv").write_text("t,id,w\n2024-03-04,A,1\n")
    assert "README.txt: has no column 't'" in refusal(load_long, tmp_path, **ONE)
    (tmp_path / "d5.csv").write_text("t,id,v\n2024-03-05,A,1\n")
    found = load_long(tmp_path, **ONE)
    assert found.values.ravel().tolist() == [1]
    expected = (
        "2 files are other tables and left out, such as README.txt: has no column 't'; it has"
    )
    assert notes(found).startswith(expected)
    (tmp_path / "d5.csv").write_text("time,A\n2024-03-05,1\n")
    assert load_wide(tmp_path)["vd"].values.tolist() == ["A"]


def test_names_of_files_as_a_column(tmp_path: Path) -> None:
    for vd in ("VD-1.5", "VD-2"):
        (tmp_path / f"{vd}.csv").write_text("t,v\n08:00,5\n")
    found = load_long(
        tmp_path, **ONE | {"vd_column": "file_name", "start": None}, time_format="%H:%M"
    )
    assert found["vd"].values.tolist() == ["VD-1.5", "VD-2"]


def test_wide_files_may_lack_detectors(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,A,B\n2024-03-04,1,2\n")
    (tmp_path / "b.csv").write_text("time,B,C\n2024-03-05,3,4\n")
    found = load_wide(tmp_path)
    np.testing.assert_array_equal(found.values[..., 0], [[1, 2, np.nan], [np.nan, 3, 4]])
    assert "2 files lack columns, such as 'a.csv' without 'C'" in notes(found)


def test_flags(path: Path) -> None:
    lines = [
        "t,id,v,error",
        "2024-03-04,A,5,0",
        "2024-03-05,A,6,1",
        "2024-03-06,A,7,1.0",
        "2024-03-07,A,8,",
    ]
    assert "column 'error' is not read" in notes(text(path, *lines, **ONE))
    found = text(path, *lines, **ONE, flag_column="error", bad_flags=[1])
    np.testing.assert_array_equal(found.values.ravel(), [5, np.nan, np.nan, 8])
    assert notes(found) == "2 rows are marked as bad by 'error'; their values are missing"
    assert "go together" in refusal(load_long, path, **ONE, flag_column="error")


def test_numbers_as_vdids_lose_the_point_of_a_float(path: Path) -> None:
    found = text(path, "t,id,v", "2024-03-04,400001.0,5", "2024-03-05,400001,6", **ONE)
    assert found["vd"].values.tolist() == ["400001"]
    found = text(path, "t,id,v", "2024-03-04,12.0,5", "2024-03-05,12.5,6", **ONE)
    assert found["vd"].values.tolist() == ["12.0", "12.5"]


# Parquet


def test_cell_types_of_parquet(arrow: ModuleType, tmp_path: Path) -> None:
    types = {
        "decimal": arrow.array([Decimal("80.5"), None], arrow.decimal128(6, 2)),
        "nullable": arrow.array([80, None], arrow.int16()),
        "half": arrow.array(np.array([80, np.nan], "float16")),
        "bytes": arrow.array([b"80", None], arrow.binary()),
        "truth": arrow.array([True, None]),
        "date": arrow.array([1, None], arrow.timestamp("s")),
    }
    days = arrow.array(np.array(["2024-03-04", "2024-03-05"], "M8[D]"))
    table = arrow.table({"time": days, **types})
    arrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = load_wide(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found.values[0, :, 0], [80.5, 80, 80, 80, np.nan, np.nan])
    assert found[1].isnull().all()
    assert notes(found).startswith("2 cells hold no number, such as 'True'")


def test_damaged_zips_and_empty_folders_are_told(tmp_path: Path) -> None:
    where = tmp_path / "days.zip"
    with zipfile.ZipFile(where, "w") as archive:
        archive.writestr("a.csv", "t,id,v\n2024-03-04,A,1\n")
    content = where.read_bytes()
    where.write_bytes(content.replace(b"2024-03-04,A", b"2024-03-04,B", 1))
    assert "a.csv: Bad CRC-32" in refusal(load_long, where, **ONE)
    where.write_bytes(content[:20])
    assert "a zip, in a zip or damaged" in refusal(load_long, where, **ONE)
    (tmp_path / "days").mkdir()
    assert "the folder holds no table" in refusal(load_long, tmp_path / "days", **ONE)
    assert "no such file" in refusal(load_long, tmp_path / "days" / "*.csv", **ONE)


def test_a_frame_of_pandas_with_its_times_as_index(arrow: ModuleType, tmp_path: Path) -> None:
    index = pd.date_range("2024-03-04", periods=2, freq="5min", name="time")
    frame = pd.DataFrame({"A": pd.array([1, None], dtype="Int64"), "B": [3.5, 4]}, index=index)
    frame.to_parquet(tmp_path / "a.parquet")
    found = load_wide(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found.values[..., 0], [[1, 3.5], [np.nan, 4]])
    assert stamps(found) == ["2024-03-04T00:00", "2024-03-04T00:05"]


def test_a_day_and_a_time_of_day_in_parquet(arrow: ModuleType, tmp_path: Path) -> None:
    columns = {
        "day": arrow.array([19786], arrow.date32()),
        "clock": arrow.array([300], arrow.time32("s")),
        "A": arrow.array([5]),
    }
    arrow.parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    found = load_wide(tmp_path / "a.parquet", time_column=["day", "clock"])
    assert stamps(found) == ["2024-03-04T00:05"]


# Damage


def damaged(path: Path, name: str, codec: int) -> None:
    """A zip of three tables, of which the second has other bytes than were packed."""
    with zipfile.ZipFile(path, "w", codec) as archive:
        for day in (4, 5, 6):
            archive.writestr(f"d{day}.csv", f"t,id,v\n2024-03-0{day},A,{day}\n" * 50)
        place = archive.getinfo(name).header_offset
    content = bytearray(path.read_bytes())
    content[place + 45 : place + 50] = b"\xff" * 5
    path.write_bytes(content)


@pytest.mark.parametrize(
    "codec", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_member_of_a_zip_is_skipped_whatever_the_codec(
    tmp_path: Path, codec: int
) -> None:
    damaged(tmp_path / "days.zip", "d5.csv", codec)
    found = load_long(tmp_path / "days.zip", **ONE)
    assert found.values.ravel().tolist() == [4, 6]
    told = found.attrs["ingest_notes"]
    assert told[0] == "1 broken file skipped"
    assert told[1].startswith("d5.csv: ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(b"t,id,v\n2024-03-05,A,5\n" * 9, mtime=0)[:-9], "not a whole CSV file"),
        ("t,id,v\n2024-03-05,Sörby,5\n".encode("latin-1"), "not UTF-8"),
        (b"t,id,v\n2024-03-05,A,5\n2024-03-05,A,5,7\n", "has 3 columns, but a row of 4 cells"),
        (b"", "it is empty"),
        (b"%PDF-1.7", "not a table but a PDF file"),
        (b"PAR1 and no more", "not a Parquet file"),
    ],
)
def test_a_damaged_file_of_a_folder_is_skipped_counted_and_named(
    tmp_path: Path, arrow: ModuleType, content: bytes, why: str
) -> None:
    (tmp_path / "d4.csv").write_text("t,id,v\n2024-03-04,A,4\n")
    (tmp_path / "d5.csv").write_bytes(content)
    (tmp_path / "d6.csv").symlink_to("d4.csv")
    found = load_long(tmp_path, **ONE)
    assert found.values.ravel().tolist() == [4]
    told = found.attrs["ingest_notes"]
    assert told[0] == "2 broken files skipped"
    assert told[1] == "d6.csv: a link, a device or the like; not followed"
    assert told[2].startswith(f"d5.csv: {why}")
    (tmp_path / "d4.csv").write_bytes(content)
    assert refusal(load_long, tmp_path, **ONE).startswith(f"d5.csv: {why}")


def test_no_row_of_a_damaged_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "_CELLS_AT_ONCE", 6)
    rows = "".join(f"2024-03-05 0{hour}:00,A,one\n" for hour in range(9))
    (tmp_path / "d5.csv").write_text(f"t,id,v\n{rows}2024-03-05,A,5,7\n")
    for day in (4, 6):
        (tmp_path / f"d{day}.csv").write_text(f"t,id,v\n2024-03-0{day},A,{day}\n")
    found = load_long(tmp_path, **ONE)
    assert found.values.ravel().tolist() == [4, 6]
    assert "hold no number" not in notes(found)


# Bounds


def test_what_unpacks_beyond_measure_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ALWAYS_UNPACKED_BYTES", 10_000)
    path.write_bytes(gzip.compress(b"t,id,v\n" + b"\n" * 1_000_000))
    assert "more than 200 times what is stored is refused" in refusal(load_long, path, **ONE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.csv", b"t,id,v\n" + b"\n" * 10_000_000)
    assert "more than 200 times what is stored is refused" in refusal(load_long, path, **ONE)


def test_a_line_is_bounded(path: Path) -> None:
    path.write_bytes(gzip.compress(b"t,id,v\n" + b"a," * 5_000_000))
    message = refusal(load_long, path, **ONE)
    assert "a line of more than 8," in message
    assert "set memory_mb in its catalog entry" in message


def test_a_grid_much_larger_than_its_file_names_the_key(path: Path) -> None:
    times = pd.date_range("2024-03-04", periods=1000, freq="min")
    path.write_text("t,id,v\n" + "".join(f"{time},{n},1\n" for n, time in enumerate(times)))
    assert load_long(path, **ONE).shape == (1000, 1000, 1)
    message = refusal(load_long, path, **ONE, memory_mb=0)
    assert "1,000 × 1,000 × 1 values: 4.00 MB of memory" in message
    assert "set memory_mb in its catalog entry" in message


def test_names_of_files_are_one_line_in_notes(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "a.csv").write_text("time,VD-1\n2024-03-04,1\n")
    (tmp_path / "days" / "b\n2024: fine.csv").write_text("day,VD-1\n2024-03-05,2\n")
    notes = load_wide(tmp_path / "days").attrs["ingest_notes"]
    assert any("b 2024: fine.csv" in note for note in notes)
    assert not any("\n" in note for note in notes)


def test_lanes_with_numbers_beyond_measure_become_infinite(path: Path) -> None:
    path.write_text(
        "timestamp,vdid,lane,speed,laneoccupy,volume\n"
        "2024-03-04T00:00,VD-1,1,1e300,5,3e38\n2024-03-04T00:00,VD-1,2,80,5,3e38\n"
    )
    speed, occupancy, volume = load_long(path, lane_column="lane").to_numpy()[0, 0]
    assert (speed, occupancy, volume) == (np.inf, 5, np.inf)


def test_text_of_parquet_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    names = pa.array([b"A", b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"t": ["2024-03-05", "2024-03-06"], "id": names, "v": [1, 2]}), path)
    assert refusal(load_long, path, **ONE).startswith("damaged Parquet file (")


def test_damaged_metadata_of_parquet_do_not_end_the_process(tmp_path: Path) -> None:
    """pyarrow 26 aborts where sizes that the metadata holds contradict its types."""
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    table = pd.DataFrame({"time": ["2024-03-05", "2024-03-06"], "A": [1.0, None]})
    table.to_parquet(path)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    messages = set()
    for at in range(footer, footer + 60):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        try:
            load_wide(path)
        except DatasetError as error:
            messages.add(str(error).removeprefix(f"{path}: "))
    assert len(messages) > 5
    assert any("histogram size mismatch" in message for message in messages)


def test_lists_in_the_metadata_of_parquet_are_no_longer_than_the_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    footer = b"\x15\x04\x19\xfc" + b"\xa0\xf7\x36"  # version 2; a list of 900,000 columns
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert "Exceeded size limit" in refusal(load_wide, path)
