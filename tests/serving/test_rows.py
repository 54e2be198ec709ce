"""Rows of a request: what is taken, and the line that refuses the rest."""

import json
import re
from typing import Any

import numpy as np
import pytest

from tests.make.arrays import make_clean
from tests.make.recent_files import recent_file
from tests.make.served import as_csv, as_json, rows_of, served
from vd_forecasting.parameters import Cleaning, FeatureCleaning
from vd_forecasting.pipelines.forecast.clean_recent import clean_recent
from vd_forecasting.serving import rows as module
from vd_forecasting.serving.refused import RefusedError
from vd_forecasting.serving.rows import read_rows, to_vd_array

ROWS = rows_of(recent_file(first=490))
NESTED = b"[" * 100_000


def refused(body: bytes, content_type: str = "application/json") -> RefusedError:
    with pytest.raises(RefusedError) as found:
        to_vd_array(read_rows(body, content_type), served().checkpoint)
    return found.value


def changed(at: int, **cells: Any) -> bytes:
    """The rows, one of them with other cells."""
    return as_json([row | (cells if number == at else {}) for number, row in enumerate(ROWS, 1)])


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"", 400, "body: empty"),
        (b"\xff\xfe{", 400, "body: byte 0 is not UTF-8"),
        (b'{"rows": [', 400, "body: not JSON: .*send a list of rows"),
        (b"9" * 5000, 400, "body: not JSON: .*digits"),
        (NESTED, 400, "body: nested too deeply"),
        (b"null", 422, "rows: are null, must be a list"),
        (b'{"rows": {}}', 422, "rows: are an object of 0, must be a list"),
        (b'{"row": []}', 422, "body: has 'row'; it may have model and rows"),
        (b'{"model": 1, "rows": []}', 422, "model: is 1, must be a name"),
        (b"[1]", 422, "row 1: is 1, must be an object"),
        (b"[]", 422, "rows: have no timestamp; their columns are none"),
        (b'[{"timestamp": "2024-01-01"}]', 422, "rows: have no vdid; their columns are 'timest"),
        (changed(2, avg_speed=True), 422, "row 2: avg_speed is true, must be a number, or null"),
        (changed(2, avg_speed="60"), 422, 'row 2: avg_speed is "60", must be a number'),
        (changed(3, avg_speed=[1]), 422, "row 3: avg_speed is a list of 1, must be a number"),
        (changed(3, avg_speed=1e39), 422, r"row 3: avg_speed is 1e\+39, which nothing measures"),
        (changed(3, avg_speed=10**400), 422, "row 3: avg_speed is an integer beyond"),
        (changed(3, avg_speed=float("inf")), 422, "row 3: avg_speed is Infinity, which nothing"),
        (changed(4, timestamp="yesterday"), 422, 'row 4: timestamp is "yesterday", must be ISO'),
        (changed(4, timestamp=1709000000), 422, "row 4: timestamp is 1709000000, must be ISO"),
        (changed(4, timestamp="٢٠٢٤-01-01"), 422, "row 4: timestamp is .*, must be ISO 8601"),
        (changed(4, timestamp="2024-03-05T16:00Z"), 422, "row 4: .* has a UTC offset, unlike row"),
        (changed(4, vdid=None), 422, "row 4: vdid is null, must be text"),
        (changed(4, vdid=""), 422, 'row 4: vdid is "", must be text'),
        (changed(4, **{k: ROWS[0][k] for k in ("timestamp", "vdid")}), 422, "row 4: VD-0 at .* 1"),
        (as_json([row | {"vdid": "X"} for row in ROWS]), 422, "vdid: no row is of a detector"),
        (as_json(ROWS[:3]), 422, "timestamp: the rows are of one time"),
        (changed(1, timestamp="1999-03-05T16:00"), 422, "timestamp: the rows span .* up to 8"),
    ],
)
def test_json_at_fault_is_one_line_that_names_the_row(body: bytes, status: int, line: str) -> None:
    found = refused(body)
    assert found.status == status
    assert str(found).isprintable()
    assert re.search(line, str(found)), found


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"timestamp,vdid\n1,2,3\n", 422, "row 1: has 3 cells, the header has 2"),
        (b"timestamp,vdid,vdid\n", 422, "header: has 'vdid' twice"),
        (b"timestamp,vdid\n", 422, "rows: have no avg_speed, which the model reads"),
        (b'"' + b"x" * 200_000, 400, "body: not CSV: field larger"),
        (b"\n\n,\n", 422, "header: has '' twice"),
        (as_csv(ROWS).replace(b"VD-1,", b"VD-1,1_0", 1), 422, "row 2: avg_speed is .*, must be"),
        (as_csv(ROWS).replace(b"VD-1,", b"VD-1,inf", 1), 422, "row 2: avg_speed is .*, must be"),
    ],
)
def test_csv_at_fault_is_one_line_that_names_the_row(body: bytes, status: int, line: str) -> None:
    found = refused(body, "text/csv")
    assert found.status == status
    assert re.search(line, str(found)), found


@pytest.mark.parametrize(
    ("content_type", "line"),
    [
        ("", "Content-Type is not given; send application/json or text/csv"),
        ("multipart/form-data; boundary=x", "Content-Type is 'multipart/form-data'"),
        ("text/csv; charset=latin-1", "charset 'latin-1' is not taken; send UTF-8"),
    ],
)
def test_other_types_are_refused(content_type: str, line: str) -> None:
    found = refused(as_json(ROWS), content_type)
    assert (found.status, line in str(found)) == (415, True)


def test_missing_values_may_be_null_nan_empty_or_absent() -> None:
    rows = [dict(row) for row in ROWS]
    del rows[0]["avg_speed"]
    rows[1]["avg_speed"], rows[2]["avg_speed"] = None, float("nan")
    array, _ = to_vd_array(read_rows(as_json(rows), "application/json"), served().checkpoint)
    text = [dict.fromkeys(ROWS[0], "") | row for row in rows]
    same, _ = to_vd_array(
        read_rows(b"\xef\xbb\xbf" + as_csv(text), "text/csv; charset=UTF-8"), served().checkpoint
    )
    np.testing.assert_array_equal(array.values, same.values)
    assert np.isnan(array.values[0, :, 0]).all()


def test_rows_in_any_order_and_of_other_detectors_are_taken_and_the_latter_named() -> None:
    first, notes = to_vd_array(read_rows(as_json(ROWS), "application/json"), served().checkpoint)
    assert notes == ["rows of 1 detector that the model does not know: 'VD-2'"]
    body = as_json(ROWS[::-1])
    same, _ = to_vd_array(read_rows(body, "application/json"), served().checkpoint)
    np.testing.assert_array_equal(first.values, same.values)
    np.testing.assert_array_equal(first["time"].values, recent_file(first=490)["time"].values)


def test_detectors_without_rows_are_named() -> None:
    body = as_json([row for row in ROWS if row["vdid"] == "VD-0"])
    _, notes = to_vd_array(read_rows(body, "application/json"), served().checkpoint)
    assert notes == ["no rows of 1 detector that the model could forecast: 'VD-1'"]


def test_rows_of_a_shorter_interval_are_resampled_as_a_file_is() -> None:
    """Volumes of a minute add up to those of five."""
    best = served().checkpoint
    rules = Cleaning.model_validate_json(best["cleaning"])
    volume = FeatureCleaning(unit="veh/interval", aggregate="sum")
    features = {**rules.features, "total_volume": volume}
    best = best | {"cleaning": rules.model_copy(update={"features": features}).text}
    raw = make_clean(120, interval="1min").isel(vd=[0, 1])
    units = ("feature", ["km/h", "veh/min", "%"])
    expected = clean_recent(raw.assign_coords(unit=units), best)
    array, _ = to_vd_array(read_rows(as_json(rows_of(raw)), "application/json"), best)
    found = clean_recent(array, best)
    assert found["unit"].values.tolist() == ["km/h", "veh/5 min", "%"]
    np.testing.assert_array_equal(found["unit"].values, expected["unit"].values)
    np.testing.assert_array_equal(found["time"].values, expected["time"].values)
    np.testing.assert_array_equal(found.values, expected.values)


def test_scattered_rows_do_not_take_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PLACES", 10)
    monkeypatch.setattr(module, "PLACES_PER_ROW", 1)
    body = as_json([row for row in ROWS if row["vdid"] == "VD-0"] + [ROWS[1]])
    assert "11 of 2 detectors at 10 times" in str(refused(body))


def test_names_of_a_row_each_of_its_own_take_no_time() -> None:
    rows = [{f"name{number}": 1} for number in range(50_000)]
    assert "rows: have no timestamp" in str(refused(json.dumps(rows).encode()))
