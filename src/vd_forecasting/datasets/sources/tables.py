"""CSV and Parquet tables, wide and long, as VD arrays."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.sources.clock import Clock
from vd_forecasting.datasets.sources.lanes import merge_lanes
from vd_forecasting.datasets.sources.numerals import Numerals
from vd_forecasting.datasets.sources.table_files import Shape, list_files, matches
from vd_forecasting.datasets.sources.table_rows import ReadAgainError, Rows, Texts, as_flag
from vd_forecasting.datasets.timestamps import DatetimeArray
from vd_forecasting.detector_clocks import cells_of, phase_of, shortest_interval
from vd_forecasting.wording import in_words, quoted

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
            source.check_size((len(stamps), len(keys)), rows.limit)
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


@dataclass(frozen=True)
class Block:
    """R rows: the numbers of their stamps and keys [R], and values [R, F]."""

    stamp: npt.NDArray[np.int32]
    key: npt.NDArray[np.int32]
    values: source.Floats

    def __len__(self) -> int:
        return len(self.stamp)

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
class Clocks:
    """Those of detectors, each with a phase of its own on one grid."""

    since: npt.NDArray[np.timedelta64]  # of stamps, from a point of the grid
    phases: npt.NDArray[np.timedelta64]  # [N]
    interval: np.timedelta64
    in_use: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """The steps of the grid with a row."""

    def cells(
        self, stamp: npt.NDArray[np.int32], at: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
    ) -> npt.NDArray[np.int64]:
        """Steps of the grid of rows, −1 for those that belong nowhere."""
        step, place = at
        cells = cells_of(self.since[stamp], self.phases[place], self.interval)
        return np.where((step < 0) | (place < 0), -1, cells)


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
    clocks: "Clocks | None" = None

    def on_own_clocks(
        self, blocks: Sequence[Block], times: DatetimeArray, notes: list[str]
    ) -> DatetimeArray:
        """The steps, fewer than before where each detector has time stamps of its own: cleaning
        puts every detector on the grid of the quickest, by its own phase, and so does this."""
        steps = np.unique(times[self.step_of_stamp >= 0])
        stamps, places = [], []
        for block in blocks:
            step, place = self.places(block)
            fits = (step >= 0) & (place >= 0) & ~np.isnan(block.values).all(axis=1)
            stamps.append(block.stamp[fits])
            places.append(place[fits])
        own, place = times[np.concatenate(stamps)], np.concatenate(places)
        order = np.lexsort((own, place))
        ends = np.searchsorted(place[order], np.arange(1, self.shape[1]))
        series = np.split(own[order], ends)
        interval = shortest_interval(series, steps)
        if interval is None:
            return steps
        start = steps[0].astype("datetime64[D]").astype("datetime64[ns]") - interval
        phases = np.array([phase_of(one - start, interval) for one in series])
        clocks = Clocks(times - start, phases, interval)
        in_use = [np.unique(clocks.cells(block.stamp, self.places(block))) for block in blocks]
        clocks.in_use = np.unique(np.concatenate(in_use))
        clocks.in_use = clocks.in_use[clocks.in_use >= 0]
        self.clocks, self.shape = clocks, (len(clocks.in_use), *self.shape[1:])
        notes.append(
            f"detectors report at different times, the quickest every {in_words(interval)}; each "
            f"was put on this grid by its own phase, as cleaning does: {len(steps):,} time stamps "
            f"became {len(clocks.in_use):,}"
        )
        return np.asarray(start + clocks.in_use * interval)

    def places(self, block: Block) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Steps and detectors of rows [R]."""
        step, place = self.step_of_stamp[block.stamp], self.place_of_key[block.key]
        if self.clocks is not None:
            cells = self.clocks.cells(block.stamp, (step, place))
            step = np.where(cells < 0, -1, np.searchsorted(self.clocks.in_use, cells))
        return step, place

    def filled(self, blocks: Iterable[Block]) -> source.Floats:
        """The values [T, N, F]; of several at one place the last one that is not missing."""
        dense = np.full(self.shape, np.nan, dtype=np.float32)
        seen = np.zeros(self.shape[0] * self.shape[1], dtype=bool)
        for block in blocks:
            step, place = self.places(block)
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


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _codes(names: Iterable[Any], known: dict[Any, int]) -> npt.NDArray[np.int32]:
    """The number of each name; a new one gets the next."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int32)
