"""Files of arrays: HDF5 of this project and of pandas, npz, netCDF, checkpoints, records."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import torch
import xarray as xr
from kedro.io import DatasetError

from tests.benchmarks.fuzzing import losses
from tests.benchmarks.fuzzing.mutations import ODD_TEXTS, bytes_changed, damaged, tree_changed
from tests.benchmarks.fuzzing.target import Target, problem_of
from tests.make import exports
from tests.make.arrays import make_clean
from tests.make.artefacts import (
    make_baselines,
    make_config,
    make_cost,
    make_history,
    make_predictions,
)
from tests.make.checkpoints import make_checkpoint
from tests.make.windows import make_independent_windows, make_joint_windows
from vd_forecasting.artefacts import BaselineForecasts, Forecasts, WindowBlocks, WindowSet
from vd_forecasting.datasets import (
    CheckpointDataset,
    PandasHDF5Dataset,
    PemsNpzDataset,
    RecordDataset,
    VDHDF5Dataset,
    XarrayDataset,
)
from vd_forecasting.models.checkpoint import check_checkpoint, load_forecasters
from vd_forecasting.pipelines.training.windows import CALENDAR

_SHAPES = (
    (0,),
    (1,),
    (3,),
    (2, 3),
    (12, 3, 3),
    (12, 2, 3),
    (3, 3, 12),
    (1, 1, 1),
    (2**40, 1, 1),
    (),
)
_KINDS = ("f2", "f4", "f8", "i1", "i8", "u8", "?", "c8", "S5", "S0", "M8", h5py.string_dtype())


def _saved(save: Callable[[Path], object]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        save(path)
        return path.read_bytes()


# --- HDF5 -----------------------------------------------------------------------------------------


def _odd_value(random: Random) -> Any:
    """What may stand in a data set or an attribute."""
    match random.randrange(6):
        case 0:
            return random.choice(ODD_TEXTS).replace("\0", "")
        case 1:
            return [random.choice(ODD_TEXTS).replace("\0", "") for _ in range(random.randrange(5))]
        case 2:
            return random.choice((0, -1, 2**63 - 1, 1e308, np.nan, np.inf, True, 5))
        case 3:
            return np.bytes_(random.randbytes(random.choice((1, 7, 4000))))
        case 4:
            return h5py.Empty(random.choice(("f4", "S3")))
        case _:
            size = random.choice((0, 1, 2, 3, 12, 500))
            return np.arange(size).astype(random.choice(("f4", "i8", "f8", "S8", "u1")))


def hdf5_changed(content: bytes, random: Random) -> bytes:
    """A few changes of the objects of a file, now and then of its bytes."""
    if random.random() < 0.7:
        buffer = io.BytesIO(content)
        with suppress(ValueError), h5py.File(buffer, "r+") as file:
            for _ in range(random.choice((1, 1, 2, 4))):
                _change_hdf5(file, random)
        content = buffer.getvalue()
    return damaged(content, random, 0.5)


def _change_hdf5(file: h5py.File, random: Random) -> None:
    names: list[str] = []
    file.visit(names.append)
    if not names:
        return
    place = f"/{random.choice(names)}"
    item = file[place]
    with suppress(Exception):  # HDF5 does not take it
        match random.randrange(9):
            case 0 | 1:
                attrs = random.choice((item, file)).attrs
                name = random.choice((*attrs, "x", "units", "tz"))
                if name in attrs and random.random() < 0.3:
                    del attrs[name]
                else:
                    attrs[name] = _odd_value(random)
            case 2:
                file.move(place, random.choice((f"{place}x", "/x")))
            case 3 | 4:
                _replace(file, place, random)
            case 5 | 6 if isinstance(item, h5py.Dataset) and item.ndim:
                _write_again(file, item, random)
            case _ if isinstance(item, h5py.Dataset) and item.size:
                at = tuple(random.randrange(size) for size in item.shape)
                if item.dtype.kind in "iuf":
                    item[at] = random.choice((-1, 0, 1e9, np.nan, np.inf))
                elif h5py.check_string_dtype(item.dtype):
                    item[at] = random.choice(ODD_TEXTS)


def _replace(file: h5py.File, place: str, random: Random) -> None:
    """By nothing, a link, a group, or other values."""
    del file[place]
    match random.randrange(7):
        case 0:
            return
        case 1:
            link = random.choice(("/metadata", "/nowhere", place))
            file[place] = random.choice((h5py.SoftLink(link), h5py.ExternalLink("/etc/x", link)))
        case 2:
            file.create_group(f"{place}/{random.choice(('x', 'values'))}")
        case 3 | 4:
            file[place] = _odd_value(random)
        case _:
            shape, kind = random.choice(_SHAPES), random.choice(_KINDS)
            chunks = random.choice((None, tuple(min(size, 512) or 1 for size in shape) or None))
            file.create_dataset(place, shape, kind, chunks=chunks)


def _write_again(file: h5py.File, item: h5py.Dataset, random: Random) -> None:
    """The same values in another type, shape or order of bytes, or with filters."""
    values, place = item[()], item.name
    if values.dtype.kind in "iuf":
        values = values.astype(random.choice(("f2", ">f4", "f8", "i4", "f4")))
    match random.randrange(5):
        case 0:
            values = values[..., :-1]
        case 1:
            values = values[:-1]
        case 2:
            values = np.concatenate([values, values[:1]])
        case 3:
            values = values.T
    del file[place]
    filters = random.choice(
        (
            {},
            {"compression": "lzf"},
            {"compression": "gzip", "shuffle": True},
            {"fletcher32": True},
            {"scaleoffset": 2},
        )
    )
    file.create_dataset(place, data=values, **filters)


def _hdf5_target(
    name: str,
    contents: Callable[[], list[bytes]],
    read: Callable[[Path], Any],
    judge: Callable[[Path, Any, Any], str] | None = None,
) -> Target:
    contents = cache(contents)

    def make(path: Path, random: Random) -> None:
        path.write_bytes(hdf5_changed(random.choice(contents()), random))

    return Target(
        name,
        "a.nc" if name.endswith("nc") else "a.h5",
        make,
        read,
        judge or (lambda path, made, found: ""),
    )


def _vd_files() -> list[bytes]:
    sample = exports.sample(12, 3)
    compressed = _saved(lambda path: VDHDF5Dataset(filepath=str(path)).save(sample))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["data/features"] = sample.to_numpy()
        for name, dim in (("vdids", "vd"), ("feature_names", "feature")):
            file[f"metadata/{name}"] = [*map(str, sample[dim].to_numpy())]
        stamps = np.datetime_as_string(sample["time"].to_numpy(), "s")
        file["metadata/timestamps"] = [f"{stamp}+08:00" for stamp in stamps]
        file.create_group("metadata/vd_info").create_group(str(sample["vd"].to_numpy()[0]))
        file.attrs["description"] = "made"
    return [compressed, buffer.getvalue()]


def _frames() -> list[bytes]:
    sample = exports.sample(12, 3)
    return [
        _saved(partial(exports.write_pandas_hdf5, vd=sample, unit=unit)) for unit in ("ns", "us")
    ]


def _judge_values(compare: Callable[[Path, xr.DataArray], str]) -> Callable[..., str]:
    return lambda path, _, array: problem_of(array, path) or compare(path, array)


# --- netCDF ---------------------------------------------------------------------------------------


def _netcdf(held: Any) -> bytes:
    return _saved(lambda path: XarrayDataset(filepath=str(path)).save(held))


def _windows() -> list[bytes]:
    clean = make_clean(100)
    joint = WindowBlocks({1: make_joint_windows(clean[:90]), 2: make_joint_windows(clean)})
    return [_netcdf(joint), _netcdf(WindowBlocks.of_one(make_independent_windows(clean)))]


def _predictions() -> xr.Dataset:
    vdids, features = ("VD-1", "VD-2"), ("avg_speed",)
    return make_predictions(origins=8, horizons=3, vdids=vdids, features=features, seeds=(1, 2))


def _forecasts() -> list[bytes]:
    return [_netcdf(Forecasts.from_xarray(_predictions()))]


def _baselines() -> list[bytes]:
    one = _predictions().sel(seed=1, drop=True)
    return [_netcdf(BaselineForecasts.from_xarray(make_baselines(one)))]


def _read_netcdf(path: Path, kind: type[Any]) -> Any:
    holds = f"vd_forecasting.artefacts.{kind.__name__}"
    found = XarrayDataset(filepath=str(path), holds=holds).load()
    found = found.last if isinstance(found, WindowBlocks) else found
    found.data.load()
    return found


def _use_windows(path: Path, made: Any, windows: WindowSet) -> str:
    """Use all that the pipelines ask windows for."""
    times, vds = windows.data.sizes["time"], len(windows.vdids)
    features, targets = len(windows.features), len(windows.targets)
    shapes = {
        "values": (windows.values.shape, (times, vds, features)),
        "observed": (windows.observed.shape, (times, vds, features)),
        "scaler": (windows.scaler["std"].shape, (vds, features)),
        "range": (windows.range["low"].shape, (vds, features)),
        "calendar": (windows.calendar.shape, (times, len(CALENDAR))),
        "target scaler": (windows.target_scaler[0].shape, (vds, targets)),
        "target series": (windows.target_series[0].shape, (times, vds, targets)),
    }
    for split in ("train", "val", "test"):
        if len(windows.starts(split)):
            windows.target_steps(windows.origins(split))
            windows.to_possible(windows.last_values(windows.origins(split)))
            windows.forecast_coordinates(split)
    windows.forecast_attributes("lstm")
    if not (windows.models and windows.lengths and len(windows.units) == features):
        return "no models, lengths or units"
    if windows.values.dtype != np.float32 or windows.observed.dtype != np.bool_:
        return f"types {windows.values.dtype} and {windows.observed.dtype}"
    return "".join(f"{name}: {a} in place of {b}" for name, (a, b) in shapes.items() if a != b)


def _use_forecasts(path: Path, made: Any, found: Any) -> str:
    """Use all that the reports ask forecasts for."""
    first = found.seeds if isinstance(found, Forecasts) else found.models
    dims = ("origin", "horizon", "vd", "feature")
    expected = (len(first), len(found.origins), len(found.horizons), len(found.vdids))
    shape = found.prediction.transpose(..., *dims).to_numpy().shape
    if isinstance(found, Forecasts):
        if found.truth.transpose(*dims).shape != shape[1:] or found.best_seed not in first:
            return "truth or best seed do not fit"
        float(found.data["mase_scale"].sum() + found.data["free_flow_speed"].sum())
    elif len(found.fit_seconds) != len(first):
        return "fit_seconds do not fit"
    if not (found.mode and found.source and found.units and found.interval_minutes > 0):
        return "attributes are empty"
    found.sel(vd=found.vdids[:1])
    return "" if shape[:4] == expected else f"shape {shape} in place of {expected}"


# --- npz, checkpoints, records --------------------------------------------------------------------


def _make_npz(path: Path, random: Random) -> None:
    values = np.arange(72, dtype=random.choice(("f4", "f8", "i4", "u1", ">f8"))).reshape(8, 3, 3)
    values = random.choice((values, values, values[..., :1], values[..., 0], values.T, values[:0]))
    array = io.BytesIO()
    np.lib.format.write_array(array, values, version=random.choice(((1, 0), (2, 0))))
    packed = io.BytesIO()
    codec = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(packed, "w", codec) as archive:
        content = array.getvalue()
        if random.random() < 0.7:  # of the header, most changes matter
            content = bytes_changed(content[:128], random) + content[128:]
        archive.writestr(
            random.choice(("data.npy",) * 9 + ("x.npy",)), damaged(content, random, 0.2)
        )
    path.write_bytes(damaged(packed.getvalue(), random, 0.3))


def _odd_part(random: Random) -> Any:
    """What may stand in a checkpoint."""
    shape = random.choice(((), (0,), (1, 2), (3, 3), (8, 32), (1, 10**6)))
    return random.choice(
        (
            *(None, True, -1, 0, 1, 10**9, 2**70, 0.5, np.nan, -1.5, "", "lstm", "xlstm", "VD-1"),
            *(
                [],
                {},
                (),
                [1],
                ["VD-1"],
                {"a": 1},
                1j,
                b"x",
                {1, 2},
                torch.Size([1]),
                torch.float16,
            ),
            *(torch.zeros(shape), torch.ones(1, 2), torch.full((1, 2), np.nan)),
            *(torch.zeros(1).expand(1, 10**6), torch.ones(1, 2, dtype=torch.float64)),
            *(torch.ones(1, 2, dtype=torch.bool), torch.ones(2).to_sparse(), np.float64(1)),
            *(torch.nn.Parameter(torch.ones(1, 2)), torch.empty(1, 2, device="meta")),
        )
    )


def _make_checkpoint(path: Path, random: Random, model: str) -> None:
    changed = tree_changed(_whole_checkpoint(model), random, _odd_part)
    buffer = io.BytesIO()
    try:
        torch.save(changed, buffer)
    except (TypeError, NotImplementedError, RuntimeError):  # torch does not write it
        buffer = io.BytesIO()
        torch.save(_whole_checkpoint(model), buffer)
    content = buffer.getvalue()
    if random.random() < 0.3:
        content = _members_changed(content, random)
    path.write_bytes(damaged(content, random, 0.3))


@cache
def _whole_checkpoint(model: str) -> dict[str, Any]:
    return make_checkpoint(model)


def _members_changed(content: bytes, random: Random) -> bytes:
    """A zip with changed bytes in one of its files, whose checksum is right."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(packed, "w") as changed:
        names = whole.namelist()
        chosen = random.choice([*names, *(name for name in names if name.endswith("data.pkl"))])
        for name in names:
            inside = whole.read(name)
            changed.writestr(name, bytes_changed(inside, random) if name == chosen else inside)
    return packed.getvalue()


def _read_checkpoint(path: Path) -> Any:
    """Read and check it, as the catalog does."""
    found = CheckpointDataset(filepath=str(path)).load()
    try:
        check_checkpoint(found)
    except ValueError as error:  # as Kedro does with a validator
        raise DatasetError(f"{path}: {error}") from error
    return found


def _use_checkpoint(path: Path, made: Any, found: Any) -> str:
    """Forecast with it."""
    for forecaster in load_forecasters(found).values():
        channels = found["network"]["num_channels"]
        with torch.inference_mode():
            forecaster(torch.zeros(1, found["sequence_length"], channels))
    return ""


def _records() -> dict[str, Any]:
    made = {"Config": make_config, "Cost": make_cost, "History": make_history}
    return {name: make(_predictions()).model_dump(mode="json") for name, make in made.items()}  # type: ignore[operator]


def _record_target(name: str) -> Target:
    records = cache(_records)

    def make(path: Path, random: Random) -> None:
        odd: Any = partial(_odd_json)
        changed = tree_changed(records()[name], random, odd)
        path.write_bytes(damaged(json.dumps(changed).encode(), random, 0.4))

    def read(path: Path) -> Any:
        return RecordDataset(filepath=str(path), holds=f"vd_forecasting.artefacts.{name}").load()

    return Target(f"record_{name.lower()}", "a.json", make, read)


def _odd_json(random: Random) -> Any:
    return random.choice((None, True, -1, 1e999, 10**40, {}, [], "", 0, *ODD_TEXTS))


def targets() -> Iterator[Target]:
    """All files of arrays."""
    read_vd: Any = lambda path: VDHDF5Dataset(filepath=str(path)).load().load()  # noqa: E731
    yield _hdf5_target("vd_hdf5", _vd_files, read_vd, _judge_values(losses.different_vd))
    yield _hdf5_target(
        "pandas_hdf5",
        _frames,
        lambda path: PandasHDF5Dataset(filepath=str(path), feature="avg_speed").load().load(),
        _judge_values(losses.different_frame),
    )
    read_npz: Any = lambda path: PemsNpzDataset(filepath=str(path)).load().load()  # noqa: E731
    yield Target("pems_npz", "a.npz", _make_npz, read_npz, _judge_values(losses.different_npz))
    yield _hdf5_target(
        "windows.nc", _windows, partial(_read_netcdf, kind=WindowBlocks), _use_windows
    )
    yield _hdf5_target(
        "predictions.nc", _forecasts, partial(_read_netcdf, kind=Forecasts), _use_forecasts
    )
    yield _hdf5_target(
        "baselines.nc", _baselines, partial(_read_netcdf, kind=BaselineForecasts), _use_forecasts
    )
    for model in ("lstm", "xlstm"):
        yield Target(
            f"checkpoint_{model}",
            "a.pt",
            partial(_make_checkpoint, model=model),
            _read_checkpoint,
            _use_checkpoint,
        )
    for name in ("Config", "Cost", "History"):
        yield _record_target(name)
