"""CSV and Parquet tables, wide and long, as VD arrays."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.sources.clock import Clock
from vd_forecasting.datasets.sources.lanes import ERROR_CODES, drop_errors, merge_lanes
from vd_forecasting.datasets.sources.numerals import Numerals
from vd_forecasting.datasets.sources.table_files import Shape, list_files, matches
from vd_forecasting.datasets.sources.table_grid import Block, Grid, told_apart
from vd_forecasting.datasets.sources.table_rows import ReadAgainError, Rows, Texts, as_flag
from vd_forecasting.wording import quoted

_ROW_BYTES = 8
_ALWAYS_PLACES, _PLACES_PER_ROW = 2_000_000, 10
"""A grid with more places than both allow may be of detectors with time stamps of their own."""

_REPEATED = (
    "Set time_column and vd_column to all columns that tell them, lane_column if they are lanes, "
    "timezone if a clock was put back."
)
_MIDNIGHT = re.compile(r"[T ]00:00(:00)?$")


class TableDataset(source.SourceDataset):
    """CSV or Parquet tables: a file, a folder or a zip of them, or a pattern, ``days/*.csv``.

    Options of all tables, beside those of :class:`.clock.Clock` and :class:`.table_files.Shape`:

    - ``time_column``: a column or several whose texts, with a blank between, are a time stamp;
      :data:`.table_rows.FILE_NAME` stands for the name of the file, here and for ``vd_column``.
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
        self._shape = Shape(columns and _listed(columns), encoding, delimiter, self._memory_mb)
        self._numerals = None
        if decimal or thousands:
            decimal = decimal or ("," if thousands == "." else ".")
            self._numerals = Numerals(decimal, thousands or "")
        self._flag_column = flag_column
        flags = bad_flags if isinstance(bad_flags, list | tuple) else [bad_flags]
        self._bad_flags = frozenset(map(as_flag, flags))

    def _exists(self) -> bool:
        return self.filepath.exists() or bool(matches(self.filepath))

    def _read(self) -> tuple[source.Floats, source.Labels]:
        if bool(self._flag_column) != bool(self._bad_flags):
            raise ValueError("flag_column and bad_flags, its values that mean bad, go together")
        if not (self._time_columns or self._clock.start):
            raise ValueError("set time_column, or start and interval where the table has no clock")
        found = list_files(self.filepath)
        rows = Rows(
            found,
            self._shape,
            replace(self.limit, stored=found.size),
            self._numerals,
            flag_column=self._flag_column,
            bad_flags=self._bad_flags,
        )
        try:
            return self._read_rows(rows)
        except ReadAgainError as shown:
            rows = replace(rows, **shown.how, unread_columns=set())
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
        self._scale = source.as_factor(scale)

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
            source.check_size((len(stamps), len(vdids)), rows.limit)
        values = np.concatenate(blocks)
        is_empty = np.asarray(np.isnan(values).all(axis=1))
        times, offset, notes = self._clock.read(stamps, is_empty)
        if self._scale != 1:
            values *= np.float32(self._scale)
        units = {self._feature: self._unit}
        notes += rows.notes
        if repeated := pd.Index(times[~np.isnat(times)]).duplicated().sum():
            notes.append(f"{repeated:,} rows have the time of another. {_REPEATED}")
        vdids = _ids(vdids, notes)
        of_values = source.Labels(times, vdids, [*units], units, utc_offset=offset, notes=notes)
        return values[..., np.newaxis], of_values


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
    :func:`.lanes.merge_lanes`; ``error_codes`` are those of lanes, as their sum shows them no more.

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
        error_codes: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._vd_columns = _listed(vd_column)
        self._lane_column = lane_column
        self._error_codes = error_codes
        self._features = {
            name: Column(entry) if isinstance(entry, str) else Column(**entry)
            for name, entry in features.items()
        }
        self._columns = [_listed(entry.column) for entry in self._features.values()]

    def _read_rows(self, rows: Rows) -> tuple[source.Floats, source.Labels]:
        if self._error_codes is not None and not self._lane_column:
            raise ValueError(
                "error_codes are those of lanes; set lane_column, or cleaning.error_codes"
            )
        if not self._time_columns:
            raise ValueError("set time_column; the number of a step will do, with start, interval")
        blocks, stamps, keys = self._blocks(rows)
        row_steps = len(self._columns[0])
        clock = replace(self._clock, time_unit="h") if row_steps > 1 else self._clock
        if clock.timezone:
            source.check_size((len(stamps), len(keys)), rows.limit)
            stamps = told_apart(stamps, blocks, len(keys))
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
        if len(steps) * len(names) > max(_ALWAYS_PLACES, _PLACES_PER_ROW * sum(map(len, blocks))):
            steps = grid.on_own_clocks(blocks, times, notes)
        source.check_size(grid.shape, rows.limit)
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
            codes = ERROR_CODES if self._error_codes is None else self._error_codes
            errors = drop_errors(values, [*self._features], codes)
            if errors:
                notes.append(f"{errors:,} values of lanes are errors (error_codes, or below zero)")
            values, incomplete = merge_lanes(values, vd_of_lane, [*self._features])
            if incomplete:
                notes.append(
                    f"{incomplete:,} volumes are sums over fewer lanes than their detector has"
                )
        factors = [source.as_factor(entry.scale) for entry in self._features.values()]
        scales = np.array(factors, dtype=np.float32)
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
            source.check_size((held, values.shape[1] + _ROW_BYTES // 4), rows.limit)
        texts_of_stamps = [*stamps]
        if steps > 1:
            hours = [f"{24 * step / steps:.6f}" for step in range(steps)]
            texts_of_stamps = [f"{day} {hour}" if day else "" for day in stamps for hour in hours]
        return blocks, texts_of_stamps, [k if isinstance(k, tuple) else (k,) for k in keys]


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


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _codes(names: Iterable[Any], known: dict[Any, int]) -> npt.NDArray[np.int32]:
    """The number of each name; a new one gets the next."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int32)
