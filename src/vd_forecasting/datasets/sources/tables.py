"""CSV and Parquet tables, read a batch of rows at a time; every cell of a CSV as the text it is."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.sources.clock import Clock
from vd_forecasting.datasets.sources.lanes import merge_lanes
from vd_forecasting.datasets.sources.numerals import PLAIN, Evidence, Numerals, as_numbers
from vd_forecasting.datasets.sources.table_files import Shape, TableFile, matches, open_files
from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.wording import quoted

Texts = npt.NDArray[np.object_]

FILE_NAME = "file_name"
"""Stands for a column that holds the name of the file, without its suffix."""

_CELLS_AT_ONCE = 1_000_000
_ROW_BYTES = 8
_REPEATED = (
    "Set time_column and vd_column to all columns that tell them, lane_column if they are lanes, "
    "timezone if a clock was put back."
)
_MIDNIGHT = re.compile(r"[T ]00:00(:00)?$")
_LIKE_A_FLAG = re.compile(r"(error|flag|status|quality|qc|valid|suspect|fault)\w*", re.IGNORECASE)


class ReadAgainError(Exception):
    """The file shows that its numbers are written otherwise than they were read."""

    def __init__(self, numerals: Numerals, note: str) -> None:
        super().__init__(note)
        self.numerals = numerals


@dataclass
class Rows:
    """The rows of some files, and sentences about what is left out of them."""

    files: Sequence[TableFile]
    shape: Shape
    numerals: Numerals | None = None
    """None: found out."""
    flag_column: str | None = None
    bad_flags: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    unread_columns: set[str] = field(default_factory=set)

    def columns(self, needed: Sequence[str]) -> list[str]:
        """Columns with a name, of all files."""
        found: dict[str, None] = {}
        for file in self.files:
            with file.open(self.shape, needed) as table:
                found |= dict.fromkeys(name for name in table.names if name)
        return [*found]

    def batches(
        self, labels: Sequence[str], columns: Sequence[str]
    ) -> Iterator[tuple[list[Texts], source.Floats]]:
        """Some rows at a time: each of ``labels`` as texts [R], and ``columns`` as numbers [R, F].

        What is missing is counted in notes, added at the end.
        """
        texts = [*dict.fromkeys([*labels, *([self.flag_column] if self.flag_column else [])])]
        batch_rows = max(_CELLS_AT_ONCE // len({*texts, *columns}), 1)
        evidence = Evidence(self.numerals or PLAIN)
        count: Counter[str] = Counter()
        example, lacking = "", ""
        for file in self.files:
            with file.open(self.shape, [name for name in texts if name != FILE_NAME]) as table:
                names = [str(name) for name in table.names]
                self._check(names, texts, columns)
                there = {*names}
                some = [name for name in columns if name in there]
                read = [name for name in dict.fromkeys([*texts, *some, ""]) if name in there]
                self.unread_columns |= there - {*read}
                count["before"] += table.rows_before
                if len(some) < len(columns):
                    count["lacking"] += 1
                    first = next(name for name in columns if name not in there)
                    lacking = lacking or f"{file.name!r} without {first!r}"
                for frame in table.frames(read, batch_rows):
                    if FILE_NAME in texts and FILE_NAME not in read:
                        frame[FILE_NAME] = file.stem
                    cells = frame[some].to_numpy()
                    values, unread = as_numbers(cells, evidence.numerals)
                    evidence.see(some, cells, values, unread)
                    example = example or next(iter(unread), "")
                    count["rows"] += len(frame)
                    if "" in read:
                        count["unnamed"] += int((as_texts(frame[""]) != "").sum())
                    count["unread"] += len(unread)
                    if len(some) < len(columns):
                        values = _placed(values, some, columns)
                    if self.flag_column:
                        flags = pd.Series(as_texts(frame[self.flag_column])).map(_flag)
                        is_bad = flags.isin(self.bad_flags).to_numpy()
                        values[is_bad] = np.nan
                        count["flagged"] += int(is_bad.sum())
                    yield [as_texts(frame[name]) for name in labels], values
        if not count["rows"]:
            raise ValueError("it is empty: it has columns, but no rows")
        if self.numerals is None:
            self._weigh(evidence)
        flag_like = sorted(filter(_LIKE_A_FLAG.fullmatch, self.unread_columns))
        notes = {
            "before": "rows stand before the names of the columns; left out",
            "lacking": f"files lack columns, such as {lacking}; missing there",
            "unnamed": "cells stand in a column without a name; left out",
            "unread": f"cells hold no number, such as {example!r}; missing",
            "flagged": f"rows are marked as bad by {self.flag_column!r}; their values are missing",
        }
        self.notes += [f"{count[key]:,} {text}" for key, text in notes.items() if count[key]]
        if flag_like and not self.flag_column:
            self.notes.append(
                f"column {flag_like[0]!r} is not read; if it marks bad values, set flag_column and "
                "bad_flags"
            )

    def _check(self, there: Sequence[str], texts: Sequence[str], columns: Sequence[str]) -> None:
        found = {*there, FILE_NAME}
        missing = [name for name in texts if name not in found]
        if len(self.files) == 1 or not found & {*columns}:
            missing += [name for name in columns if name not in found]
        if missing:
            hint = ""
            if len(there) == 1:
                hint = "; check the delimiter"
            elif any(re.match(r"[\d.,:/ -]+$", name) for name in there):
                hint = "; if there is no row of names, set columns"
            raise ValueError(f"has no column {missing[0]!r}; it has {quoted(there)}{hint}")
        wanted = {*texts, *columns}
        if twice := [name for name in duplicates(there) if name in wanted]:
            raise ValueError(f"has the column {twice[0]!r} more than once")

    def _weigh(self, evidence: Evidence) -> None:
        other = evidence.shown(self.shape.delimiter)
        if other is not None:
            raise ReadAgainError(
                other,
                f"numbers are written with the decimal mark {other.decimal!r} and thousands "
                f"{other.thousands!r}; set decimal and thousands if they are not",
            )
        self.notes += [
            f"column {name!r} holds {bare:g} and {grouped}, read as a fraction; if the mark stands "
            f"for thousands, set thousands: {evidence.numerals.decimal!r}"
            for name, bare, grouped in evidence.contradictions()
        ]


class TableDataset(source.SourceDataset):
    """CSV or Parquet tables: a file, a folder or a zip of them, or a pattern, ``days/*.csv``.

    Options of all tables, beside those of :class:`.clock.Clock` and :class:`.table_files.Shape`:

    - ``time_column``: a column or several whose texts, with a blank between, are a time stamp;
      :data:`FILE_NAME` stands for the name of the file, here and for ``vd_column``.
    - ``decimal``, ``thousands``: marks in numbers, found out by default.
    - ``flag_column``, ``bad_flags``: where it holds one of these, the values of a row are missing.
    """

    def __init__(
        self,
        *,
        time_column: str | Sequence[str] = (),
        time_format: str | None = None,
        timezone: str | None = None,
        time_unit: str | None = None,
        time_shift: str | None = None,
        start: Any = None,
        interval: str | None = None,
        columns: Sequence[str] | None = None,
        encoding: str = "utf-8-sig",
        delimiter: str = ",",
        decimal: str | None = None,
        thousands: str | None = None,
        flag_column: str | None = None,
        bad_flags: Any = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._time_columns = _listed(time_column)
        self._clock = Clock(time_format, timezone, time_unit, time_shift, start, interval)
        self._shape = Shape(columns and _listed(columns), encoding, delimiter)
        self._numerals = None
        if decimal or thousands:
            decimal = decimal or ("," if thousands == "." else ".")
            self._numerals = Numerals(decimal, thousands or "")
        self._flag_column = flag_column
        flags = bad_flags if isinstance(bad_flags, list | tuple) else [bad_flags]
        self._bad_flags = frozenset(map(_flag, flags))

    def _exists(self) -> bool:
        return self.filepath.exists() or bool(matches(self.filepath))

    def _read(self) -> tuple[source.Floats, source.Labels]:
        if bool(self._flag_column) != bool(self._bad_flags):
            raise ValueError("flag_column and bad_flags, its values that mean bad, go together")
        if not (self._time_columns or self._clock.start):
            raise ValueError("set time_column, or start and interval where the table has no clock")
        notes: list[str] = []
        with open_files(self.filepath, notes) as files:
            rows = Rows(
                files, self._shape, self._numerals, self._flag_column, self._bad_flags, [*notes]
            )
            try:
                return self._read_rows(rows)
            except ReadAgainError as shown:
                rows = replace(rows, numerals=shown.numerals, notes=[*notes, str(shown)])
            return self._read_rows(rows)  # what was read before is let go

    def _read_rows(self, rows: Rows) -> tuple[source.Floats, source.Labels]:
        raise NotImplementedError


class WideTableDataset(TableDataset):
    """Loads a CSV or Parquet table, time × detector, of one feature.

    Cells without a number are missing; text that stands for no number is counted in a note.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.WideTableDataset
          filepath: data/01_raw/speeds.csv      # .csv, .csv.gz or .parquet
          time_column: time
          feature: avg_speed
          unit: km/h                            # optional, as are the following
          vd_columns: [VD-1, VD-2]              # all but the time by default
          scale: 1                              # factor to that unit
          time_format: "%Y/%m/%d %H:%M"         # ISO 8601 by default
          timezone: Asia/Taipei                 # of time stamps without an offset
          locations: data/01_raw/where.csv      # columns sensor_id, latitude, longitude
          encoding: big5
          delimiter: ";"

    A table without a clock has ``start`` and ``interval`` instead of ``time_column``.
    """

    def __init__(
        self,
        *,
        feature: str,
        unit: str | None = None,
        vd_columns: Sequence[str] | None = None,
        scale: float = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._feature = feature
        self._unit = unit
        self._vd_columns = None if vd_columns is None else [str(name) for name in vd_columns]
        self._scale = scale

    def _read_rows(self, rows: Rows) -> tuple[source.Floats, source.Labels]:
        vdids = self._vd_columns
        if vdids is None:
            labels = {*self._time_columns, self._flag_column}
            vdids = [name for name in rows.columns(self._time_columns) if name not in labels]
        if not vdids:
            raise ValueError(f"has no column but {quoted(self._time_columns)}")
        stamps: list[str] = []
        blocks: list[source.Floats] = []
        for texts, block in rows.batches(self._time_columns, vdids):
            first = len(stamps)
            stamps += _stamps(texts) if texts else map(str, range(first, first + len(block)))
            blocks.append(block)
            source.check_size((len(stamps), len(vdids)))
        values = np.concatenate(blocks)
        is_empty = np.asarray(np.isnan(values).all(axis=1))
        times, offset, notes = self._clock.read(stamps, is_empty)
        if self._scale != 1:
            values *= np.float32(self._scale)
        units = {self._feature: self._unit}
        notes += rows.notes
        if repeated := pd.Index(times[~np.isnat(times)]).duplicated().sum():
            notes.append(f"{repeated:,} rows have the time of another. {_REPEATED}")
        labels_ = source.Labels(
            times, _ids(vdids, notes), [*units], units, utc_offset=offset, notes=notes
        )
        return values[..., np.newaxis], labels_


@dataclass(frozen=True)
class Column:
    """Where a feature stands in the table, and in which unit."""

    column: str | Sequence[str]
    """A list is a day: its steps, one after the other."""
    unit: str | None = None
    scale: float = 1
    """Factor from the numbers in the table to that unit."""


class LongTableDataset(TableDataset):
    """Loads a CSV or Parquet table with a row per time step and detector.

    Rows may come in any order and be absent; of several for one time step and detector, the last
    value that is not missing wins, and they are counted in a note. So are rows without a usable
    time stamp or VDID, which are left out, and cells that hold no number. ``vd_column`` may be a
    list: its texts, with a dash between, are the VDID. With ``lane_column``, a row is a lane: see
    :func:`.lanes.merge_lanes`.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.LongTableDataset
          filepath: data/01_raw/detectors.csv   # .csv, .csv.gz or .parquet
          time_column: timestamp
          vd_column: vdid
          features:                             # name in this project: column, or more about it
            avg_speed: {column: speed, unit: km/h}
            avg_occupancy: {column: laneoccupy, unit: "%", scale: 100}
            total_volume: volume

    The other options of :class:`WideTableDataset`, from ``time_format`` to ``delimiter``, hold too.
    """

    def __init__(
        self,
        *,
        vd_column: str | Sequence[str],
        features: Mapping[str, str | Mapping[str, Any]],
        lane_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._vd_columns = _listed(vd_column)
        self._lane_column = lane_column
        self._features = {
            name: Column(entry) if isinstance(entry, str) else Column(**entry)
            for name, entry in features.items()
        }
        self._columns = [_listed(entry.column) for entry in self._features.values()]

    def _read_rows(self, rows: Rows) -> tuple[source.Floats, source.Labels]:
        if not self._time_columns:
            raise ValueError("set time_column; the number of a step will do, with start, interval")
        blocks, stamps, keys = self._blocks(rows)
        row_steps = len(self._columns[0])
        clock = replace(self._clock, time_unit="h") if row_steps > 1 else self._clock
        if clock.timezone:
            stamps = _told_apart(stamps, blocks, len(keys))
        is_empty = np.ones(len(stamps), dtype=bool)
        for block in blocks:
            is_empty[block.stamp[~np.isnan(block.values).all(axis=1)]] = False
        times, offset, notes = clock.read(stamps, is_empty)
        notes += rows.notes
        steps = np.unique(times[~np.isnat(times)])
        step_of_stamp = pd.Index(steps).get_indexer(pd.Index(times))  # −1: not there
        series = [
            (vdid, *key[1:])
            for vdid, key in zip(_ids([key[0] for key in keys], notes), keys, strict=True)
        ]
        is_used = np.zeros(len(keys), dtype=bool)
        for block in blocks:
            is_used[block.key[step_of_stamp[block.stamp] >= 0]] = True
        used = dict.fromkeys(one for one, is_in in zip(series, is_used, strict=True) if is_in)
        names = [one for one in used if one[0]]
        place_of = {one: place for place, one in enumerate(names)}
        grid = Grid(
            step_of_stamp,
            np.array([place_of.get(one, -1) for one in series], dtype=np.intp),
            (len(steps), len(names), len(self._features)),
        )
        values = grid.filled(blocks)
        if grid.lost:
            notes.append(f"{grid.lost:,} rows have no usable time stamp or no VDID; left out")
        if grid.repeated:
            step, place = np.unravel_index(grid.example, grid.shape[:2])
            unread = quoted(sorted(rows.unread_columns)) or "none"
            notes.append(
                f"{grid.repeated:,} rows have the time step and detector of another, such as "
                f"{' lane '.join(names[place])!r} at {str(steps[step])[:19]}; the last of each "
                f"value is kept. {_REPEATED} Columns not read: {unread}"
            )
        vdids = [*dict.fromkeys(one[0] for one in names)]
        if self._lane_column and names:
            vd_of_lane = pd.Index(vdids).get_indexer(pd.Index([one[0] for one in names]))
            values, incomplete = merge_lanes(values, vd_of_lane, [*self._features])
            if incomplete:
                notes.append(
                    f"{incomplete:,} volumes are sums over fewer lanes than their detector has"
                )
        scales = np.array([entry.scale for entry in self._features.values()], dtype=np.float32)
        if (scales != 1).any():
            values *= scales
        units = {name: entry.unit for name, entry in self._features.items()}
        return values, source.Labels(steps, vdids, [*units], units, utc_offset=offset, notes=notes)

    def _blocks(self, rows: Rows) -> "tuple[list[Block], list[str], list[tuple[str, ...]]]":
        """The rows, with the texts of their stamps and keys: VDID, or VDID and lane."""
        steps = len(self._columns[0])
        if any(len(names) != steps for names in self._columns):
            raise ValueError("its features have lists of columns of different length")
        stamps: dict[str, int] = {}
        keys: dict[Any, int] = {}
        blocks, held = list[Block](), 0
        labels = [*self._time_columns, *self._vd_columns]
        labels += [self._lane_column] if self._lane_column else []
        split = len(self._time_columns)
        for texts, values in rows.batches(labels, [n for names in self._columns for n in names]):
            vdid = _joined(texts[split : split + len(self._vd_columns)], "-")
            named = zip(vdid, texts[-1], strict=True) if self._lane_column else vdid
            block = Block(_codes(_stamps(texts[:split]), stamps), _codes(named, keys), values)
            blocks.append(block if steps == 1 else block.spread(steps))
            held += len(values)
            source.check_size((held, values.shape[1] + _ROW_BYTES // 4))
        texts_of_stamps = [*stamps]
        if steps > 1:
            hours = [f"{24 * step / steps:.6f}" for step in range(steps)]
            texts_of_stamps = [f"{day} {hour}" if day else "" for day in stamps for hour in hours]
        return blocks, texts_of_stamps, [k if isinstance(k, tuple) else (k,) for k in keys]


@dataclass(frozen=True)
class Block:
    """R rows: the numbers of their stamps and keys [R], and values [R, F]."""

    stamp: npt.NDArray[np.int32]
    key: npt.NDArray[np.int32]
    values: source.Floats

    def spread(self, steps: int) -> "Block":
        """A row of its own for each step that a row holds; ``steps`` columns are a feature."""
        stamp = self.stamp[:, np.newaxis] * steps + np.arange(steps)
        values = self.values.reshape(len(stamp), -1, steps).swapaxes(1, 2)
        return Block(
            stamp.ravel().astype(np.int32),
            np.repeat(self.key, steps),
            values.reshape(stamp.size, -1),
        )


@dataclass
class Grid:
    """Where rows belong, −1 for nowhere: by stamp and by key; and what befell them."""

    step_of_stamp: npt.NDArray[np.intp]
    place_of_key: npt.NDArray[np.intp]
    shape: tuple[int, int, int]
    lost: int = 0
    """Rows that belong nowhere."""
    repeated: int = 0
    """Rows whose place another row had before; ``example`` is such a place."""
    example: int = 0

    def filled(self, blocks: Iterable[Block]) -> source.Floats:
        """The values [T, N, F]; of several at one place the last one that is not missing."""
        source.check_size(self.shape)
        dense = np.full(self.shape, np.nan, dtype=np.float32)
        seen = np.zeros(self.shape[0] * self.shape[1], dtype=bool)
        for block in blocks:
            step, place = self.step_of_stamp[block.stamp], self.place_of_key[block.key]
            fits = (step >= 0) & (place >= 0)
            self.lost += int((~fits).sum())
            flat = (step * self.shape[1] + place)[fits]
            again = _again(seen, flat)
            if again.any():
                self.example = self.example if self.repeated else int(flat[again][0])
                self.repeated += int(again.sum())
            for feature in range(self.shape[2]):
                known = fits & ~np.isnan(block.values[:, feature])
                # where places repeat, NumPy keeps the last value
                dense[step[known], place[known], feature] = block.values[known, feature]
        return dense


def _told_apart(stamps: list[str], blocks: Sequence[Block], keys: int) -> list[str]:
    """The stamps, and at the end again those that a detector has more than once.

    In ``blocks``, all but its first row with such a stamp get the latter: in the hour that
    daylight-saving time repeats, they mean another time.
    """
    source.check_size((len(stamps), keys))
    later = np.arange(len(stamps), dtype=np.int32)
    seen = np.zeros(len(stamps) * keys, dtype=bool)
    stamps = [*stamps]
    for block in blocks:
        again = _again(seen, block.stamp.astype(np.int64) * keys + block.key)
        for code in np.unique(block.stamp[again]):
            if later[code] == code:
                later[code] = len(stamps)
                stamps.append(stamps[code])
        block.stamp[again] = later[block.stamp[again]]
    return stamps


def _again(seen: npt.NDArray[np.bool_], places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of ``places`` were seen before; all are then."""
    again: npt.NDArray[np.bool_] = seen[places] | pd.Index(places).duplicated()
    seen[places] = True
    return again


def _stamps(texts: Sequence[Texts]) -> list[str]:
    """Stamps of one or several columns; a date that became a stamp has a midnight of its own."""
    if len(texts) == 1:
        return [*texts[0]]
    days = np.array([_MIDNIGHT.sub("", text) for text in texts[0]], dtype=object)
    return _joined([days, *texts[1:]], " ")


def _joined(texts: Sequence[Texts], mark: str) -> list[str]:
    """The texts of several columns as one, "" where a part is blank."""
    if len(texts) == 1:
        return [*texts[0]]
    return [mark.join(parts) if all(parts) else "" for parts in zip(*texts, strict=True)]


def _ids(names: Sequence[str], notes: list[str]) -> list[str]:
    """Numbers without the ".0" that they get where a column of them once lacked some."""
    if not all(re.fullmatch(r"(\d+(\.0+)?)?", name) for name in names):
        return [*names]
    whole = [name.partition(".")[0] for name in names]
    if example := next((name for name in names if "." in name), ""):
        notes.append(f"VDIDs such as {example!r} are read as {example.partition('.')[0]!r}")
    return whole


def _placed(values: source.Floats, names: Sequence[str], columns: Sequence[str]) -> source.Floats:
    """Values [R, some] of some of the columns as [R, F] of all, NaN for the others."""
    all_of_them = np.full((len(values), len(columns)), np.nan, dtype=np.float32)
    all_of_them[:, pd.Index(columns).get_indexer(pd.Index(names))] = values
    return all_of_them


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _flag(value: Any) -> str:
    """A flag as text; numbers that are equal as the same."""
    text = str(value).strip().lower()
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _codes(names: Iterable[Any], known: dict[Any, int]) -> npt.NDArray[np.int32]:
    """The number of each name; a new one gets the next."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int32)


def as_texts(column: "pd.Series[Any]") -> Texts:
    """A column as stripped text, "" where it has none; time stamps as ISO 8601."""
    codes, cells = pd.factorize(column.to_numpy(dtype=object), use_na_sentinel=True)
    texts = np.array([_as_text(cell) for cell in cells] + [""], dtype=object)
    return texts[codes]  # the code of a missing cell is −1


def _as_text(cell: Any) -> str:
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="backslashreplace").strip()
    return str(cell).strip()
