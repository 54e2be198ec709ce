"""Rows of a request as a VD array: in the long form, a row per time and detector, JSON or CSV.

Cells have the units that the model was trained on. Rows may come in any order; of detectors that
the model does not know they are left out and named. A row is called by its number, from 1.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.datasets.timestamps import parse_timestamps
from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.serving.refused import RefusedError
from vd_forecasting.vd_array import DIMS, as_interval
from vd_forecasting.wording import in_words, per_words, plural, quoted

TIME, VD = "timestamp", "vdid"
SOURCE = "rows"
"""Begins the line that says what is wrong with them."""

MOST_SPAN = pd.Timedelta("8D")
"""From the first to the last row: the seven days that intervals look at, and a window before."""
MOST_PLACES, PLACES_PER_ROW = 2_000_000, 10
"""More places, times by detectors, than both allow would mostly be empty."""
LARGEST = float(np.finfo("float32").max)

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_MISSING = {"", "nan", "null"}
_EXAMPLE = "2026-03-02T08:05:00+08:00"


@dataclass(frozen=True)
class Rows:
    """Rows of one request."""

    model: str | None
    """The experiment asked for in the body."""
    names: Collection[str]
    """Of the columns."""
    cells: Callable[[str], Sequence[Any]]
    """Those of a column, one for each row."""
    number: Callable[[Any], float | None]
    """Reads a cell of a feature, NaN where it is missing; None of what is no number."""


def read_rows(body: bytes, content_type: str) -> Rows:
    """The rows of a body, ``application/json`` or ``text/csv``, in UTF-8."""
    kind, *others = (part.strip().lower() for part in content_type.split(";"))
    readers = {"application/json": _read_json, "text/csv": _read_csv}
    if kind not in readers:
        given = f"is {kind!r}" if kind else "is not given"
        raise RefusedError(415, f"Content-Type {given}; send application/json or text/csv")
    for name, _, charset in (other.partition("=") for other in others):
        if name.strip() == "charset" and charset.strip(' "') not in {"utf-8", "utf8", "us-ascii"}:
            raise RefusedError(415, f"Content-Type: charset {charset!r} is not taken; send UTF-8")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedError(400, f"body: byte {error.start} is not UTF-8; send UTF-8") from error
    if not text.strip():
        raise RefusedError(400, f"body: empty; send rows with {TIME}, {VD} and features")
    return readers[kind](text)


def _read_json(text: str) -> Rows:
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise RefusedError(400, "body: nested too deeply; send a list of rows") from error
    except ValueError as error:  # also of an integer with thousands of digits
        raise RefusedError(400, f"body: not JSON: {error}; send a list of rows") from error
    model, rows = None, found
    if isinstance(found, dict):
        if unknown := found.keys() - {"model", "rows"}:
            raise RefusedError(
                422, f"body: has {quoted(sorted(unknown), 1)}; it may have model and rows"
            )
        model, rows = found.get("model"), found.get("rows")
        if model is not None and not isinstance(model, str):
            raise RefusedError(422, f"model: is {shown(model)}, must be a name; see GET /models")
    if not isinstance(rows, list):
        raise RefusedError(422, f"rows: are {shown(rows)}, must be a list of rows")
    for at, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise RefusedError(
                422, f"row {at}: is {shown(row)}, must be an object with {TIME}, {VD} and features"
            )
    names = dict.fromkeys(name for row in rows for name in row)
    return Rows(model, names, lambda name: [row.get(name) for row in rows], json_number)


def _read_csv(text: str) -> Rows:
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise RefusedError(400, f"body: not CSV: {error}") from error
    except ValueError as error:
        raise RefusedError(400, "body: has no header; begin with timestamp,vdid,…") from error
    names = [name.strip() for name in header]
    if twice := duplicates(names):
        raise RefusedError(422, f"header: has {quoted(twice, 1)} twice; name each column once")
    for at, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise RefusedError(
                422, f"row {at}: has {plural(len(row), 'cell')}, the header has {len(names)}"
            )
    place = {name: at for at, name in enumerate(names)}
    return Rows(None, names, lambda name: [row[place[name]] for row in rows], csv_number)


def json_number(cell: Any) -> float | None:
    """A number, or null for a missing one."""
    if cell is None:
        return np.nan
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    try:
        return float(cell)
    except OverflowError:
        return np.inf


def csv_number(cell: str) -> float | None:
    """A number with a decimal point; nothing, ``nan`` or ``null`` for a missing one."""
    text = cell.strip()
    if text.lower() in _MISSING:
        return np.nan
    return float(text) if _NUMBER.fullmatch(text) else None


def to_vd_array(rows: Rows, checkpoint: Checkpoint) -> tuple[xr.DataArray, list[str]]:
    """The rows of the detectors and features of a model, and notes on what is left out.

    Raises:
        RefusedError: 422, with the row and the column at fault.
    """
    for name in (TIME, VD, *checkpoint["input_features"]):
        if name not in rows.names:
            why = "" if name in {TIME, VD} else ", which the model reads"
            known = quoted([*rows.names], 8) or "none"
            raise RefusedError(422, f"rows: have no {name}{why}; their columns are {known}")
    vdids, stamps, of_model = rows.cells(VD), rows.cells(TIME), checkpoint["vdids"]
    vd_of_row = _detectors(vdids, of_model)
    ours = np.flatnonzero(vd_of_row >= 0)
    times, time_of_row, offset = _times(stamps)
    values = [_numbers(rows, name) for name in checkpoint["input_features"]]  # checks all rows
    if not len(ours):
        wanted = quoted(of_model, 3)
        raise RefusedError(422, f"{VD}: no row is of a detector of the model, {wanted}")
    notes = _notes({*vdids}, of_model)
    used, vd = np.unique(vd_of_row[ours], return_inverse=True)
    steps, time = np.unique(time_of_row[ours], return_inverse=True)
    span = pd.Timedelta(times[steps[-1]] - times[steps[0]])
    if len(steps) < 2 or span > MOST_SPAN:
        what = f"span {in_words(span.to_timedelta64())}" if len(steps) > 1 else "are of one time"
        raise RefusedError(
            422, f"{TIME}: the rows {what}; send a window, or up to {MOST_SPAN.days} days"
        )
    if len(steps) * len(used) > max(MOST_PLACES, PLACES_PER_ROW * len(ours)):
        raise RefusedError(
            422,
            f"rows: {len(ours):,} of {len(used):,} detectors at {len(steps):,} times leave most "
            "places empty; send all detectors at the same times",
        )
    place = time * len(used) + vd
    first, again = _first_repeated(place)
    if again is not None:
        at = ours[again]
        raise RefusedError(
            422,
            f"row {at + 1}: {vdids[at]} at {stamps[at]} is row {ours[first] + 1} "
            "already; send each detector and time once",
        )
    cells = np.full((len(steps) * len(used), len(values)), np.nan, "float32")
    cells[place] = np.stack(values, axis=1)[ours]
    attrs = {"source_file": SOURCE} | ({"utc_offset": offset} if offset else {})
    coords = {
        "time": times[steps],
        "vd": np.array(of_model)[used],
        "feature": checkpoint["input_features"],
        "unit": ("feature", _units(checkpoint)),
    }
    shape = (len(steps), len(used), len(values))
    return xr.DataArray(cells.reshape(shape), coords, DIMS, "features", attrs), notes


def _notes(there: set[str], of_model: Sequence[str]) -> list[str]:
    """What is said of detectors that only the rows or only the model have."""
    notes = []
    if unknown := sorted(there - {*of_model}):
        number = plural(len(unknown), "detector")
        notes.append(f"rows of {number} that the model does not know: {quoted(unknown, 3)}")
    if missing := [name for name in of_model if name not in there]:
        number = plural(len(missing), "detector")
        notes.append(f"no rows of {number} that the model could forecast: {quoted(missing, 3)}")
    return notes


def _units(checkpoint: Checkpoint) -> list[str]:
    """By feature; what counts per interval of the model counts per interval of the rows."""
    per = f"/{per_words(as_interval(checkpoint['interval_minutes']))}"
    units = (checkpoint["units"][name] for name in checkpoint["input_features"])
    return [f"{unit.removesuffix(per)}/interval" if unit.endswith(per) else unit for unit in units]


def _detectors(cells: Sequence[Any], known: Sequence[str]) -> npt.NDArray[np.intp]:
    """Which detector of a model each row is of, by position, −1 for another one."""
    for at, cell in enumerate(cells, 1):
        if not (isinstance(cell, str) and cell.strip()):
            raise RefusedError(422, f"row {at}: {VD} is {shown(cell)}, must be text")
    place = {name: at for at, name in enumerate(known)}
    return np.array([place.get(cell, -1) for cell in cells], dtype=np.intp)


def _times(cells: Sequence[Any]) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[Any], str | None]:
    """The different times, ascending, which of them each row has, and their UTC offset."""
    for at, cell in enumerate(cells, 1):
        if not (isinstance(cell, str) and cell.isascii() and cell.strip()):
            raise RefusedError(422, _not_a_time(at, cell))
    texts = dict.fromkeys(cells)
    parsed, offset = parse_timestamps(texts)
    by_text = dict(zip(texts, parsed, strict=True))
    with_offset = {text: _has_offset(text) for text in texts}
    for at, cell in enumerate(cells, 1):
        if np.isnat(by_text[cell]):
            raise RefusedError(422, _not_a_time(at, cell))
        if with_offset[cell] != with_offset[cells[0]]:
            raise RefusedError(
                422,
                f"row {at}: {TIME} {cell} has {'a' if with_offset[cell] else 'no'} UTC offset, "
                "unlike row 1; give all of them one, or none",
            )
    times, place = np.unique(parsed, return_inverse=True)
    of_text = dict(zip(texts, place, strict=True))
    return times, np.array([of_text[cell] for cell in cells], dtype=np.intp), offset


def _has_offset(text: str) -> bool:
    clock = text.strip()[10:]  # what follows YYYY-MM-DD
    return clock[-1:] in {"Z", "z"} or "+" in clock or "-" in clock


def _not_a_time(at: int, cell: Any) -> str:
    return f"row {at}: {TIME} is {shown(cell)}, must be ISO 8601, such as {_EXAMPLE}"


def _numbers(rows: Rows, name: str) -> npt.NDArray[np.float64]:
    """The values of a feature, one per row, NaN where missing."""
    cells = rows.cells(name)
    values = np.empty(len(cells))
    for at, cell in enumerate(cells):
        value = rows.number(cell)
        if value is None:
            raise RefusedError(
                422, f"row {at + 1}: {name} is {shown(cell)}, must be a number, or null"
            )
        if abs(value) > LARGEST:
            raise RefusedError(
                422,
                f"row {at + 1}: {name} is {shown(cell)}, which nothing measures; send null where "
                "a value is missing",
            )
        values[at] = value
    return values


def _first_repeated(places: npt.NDArray[Any]) -> tuple[int, int | None]:
    """Positions of a place and of its first repetition; None for the latter if there is none."""
    order = np.argsort(places, kind="stable")
    again = np.flatnonzero(np.diff(places[order]) == 0)
    if not len(again):
        return 0, None
    at = again[np.argmin(order[again + 1])]
    return int(order[at]), int(order[at + 1])


def shown(value: Any) -> str:
    """A value in a few characters, as JSON writes it; of a large one the kind."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "an integer beyond 10^20"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]}…"
