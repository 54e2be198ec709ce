"""Labelled arrays in netCDF files."""

import copy
import inspect
import io
import pickle
import weakref
from itertools import count
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
from kedro.io import DataCatalog, DatasetError

from tests.make.arrays import make_clean
from tests.make.artefacts import make_predictions
from tests.make.held_frames import frames_held
from tests.make.windows import make_joint_windows
from vd_forecasting.artefacts import Forecasts
from vd_forecasting.datasets import XarrayDataset, atomic, xarray_dataset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "a.nc"


@pytest.fixture
def dataset(path: Path) -> XarrayDataset:
    return XarrayDataset(filepath=str(path))


def predictions() -> xr.Dataset:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5, 2, 3, 1)).astype(np.float32)
    truth[1, 0, 2] = np.nan
    times = np.datetime64("2015-01-01T23:55", "ns") + np.arange(5) * np.timedelta64(5, "m")
    dims = ("origin", "horizon", "vd", "feature")
    return xr.Dataset(
        {
            "prediction": (dims, truth + 1),
            "truth": (dims, truth),
            "persistence": (("origin", "vd", "feature"), truth[:, 0]),
            "observed": (dims, ~np.isnan(truth)),
        },
        {
            "origin": times,
            "horizon": [1, 2],
            "vd": ["VD-1", "None", "國道/5"],
            "feature": ["avg_speed"],
            "unit": ("feature", ["km/h"]),
        },
        {"interval_minutes": 5.0, "source": "a.h5", "train_end": 3, "model": ""},
    )


def test_round_trip(dataset: XarrayDataset) -> None:
    assert not dataset.exists()
    dataset.save(predictions())
    assert dataset.exists()
    loaded = dataset.load()
    xr.testing.assert_identical(loaded, predictions())
    for name, variable in predictions().variables.items():
        assert loaded[name].dtype == variable.dtype


@pytest.mark.parametrize(
    "names", [["avg_speed"], ["avg_speed", "total_volume"], ["車速"], ["a", "a"]]
)
def test_a_list_of_strings_stays_a_list_however_short(
    dataset: XarrayDataset, names: list[str]
) -> None:
    dataset.save(xr.Dataset(attrs={"target_features": names, "source": names[0]}))
    attrs = dataset.load().attrs
    assert list(attrs["target_features"]) == names
    assert not isinstance(attrs["target_features"], str)
    assert attrs["source"] == names[0]


def test_a_scalar_and_an_empty_variable(dataset: XarrayDataset) -> None:
    data = xr.Dataset({"a": ((), 1.5), "b": (("time", "vd"), np.zeros((0, 3), np.float32))})
    dataset.save(data)
    xr.testing.assert_identical(dataset.load(), data)


def test_what_was_loaded_can_be_saved_over_its_own_file(dataset: XarrayDataset) -> None:
    dataset.save(predictions())
    dataset.save(dataset.load())
    xr.testing.assert_identical(dataset.load(), predictions())


def test_a_failed_save_keeps_the_old_file(path: Path, dataset: XarrayDataset) -> None:
    dataset.save(predictions())
    with pytest.raises(DatasetError):
        dataset.save(predictions().assign_attrs(odd=None))
    xr.testing.assert_identical(dataset.load(), predictions())
    assert [file.name for file in path.parent.iterdir()] == ["a.nc"]


@pytest.mark.parametrize("content", [None, b"", b"no netCDF", "truncated"])
def test_an_unreadable_file_is_named_in_one_line(
    path: Path, dataset: XarrayDataset, content: bytes | str | None
) -> None:
    if isinstance(content, str):
        dataset.save(predictions())
        content = path.read_bytes()[:5000]
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(DatasetError) as error:
        dataset.load()
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_it_comes_from_the_catalog_and_pickles(tmp_path: Path) -> None:
    catalog = DataCatalog.from_config(
        {
            "a": {
                "type": "vd_forecasting.datasets.XarrayDataset",
                "filepath": str(tmp_path / "a.nc"),
                "metadata": {"kedro-viz": {"layer": "models"}},
            }
        }
    )
    dataset = pickle.loads(pickle.dumps(catalog["a"]))
    assert not getattr(dataset, "_SINGLE_PROCESS", False)
    dataset.save(predictions())
    xr.testing.assert_identical(catalog.load("a"), predictions())


@pytest.fixture
def forecasts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> XarrayDataset:
    """For forecasts of which none are small."""
    monkeypatch.setattr(xarray_dataset, "SMALL_BYTES", 0)
    return XarrayDataset(
        filepath=str(tmp_path / "predictions.nc"), holds="vd_forecasting.artefacts.Forecasts"
    )


def forecasts(origins: int = 300, vds: int = 20) -> Forecasts:
    """More than a chunk along every dim that is cut."""
    return Forecasts.from_xarray(
        make_predictions(vdids=[f"{n}" for n in range(vds)], origins=origins, horizons=2)
    )


def test_forecasts_stay_in_their_file_until_they_are_asked_for(
    forecasts_file: XarrayDataset,
) -> None:
    saved = forecasts()
    forecasts_file.save(saved)
    loaded = forecasts_file.load()
    for name in ("prediction", "truth", "persistence"):
        assert loaded.data[name].chunks is not None
    assert loaded.data["mase_scale"].chunks is None
    elsewhere = pickle.loads(pickle.dumps(loaded))
    few = {"vd": ["3", "17"], "origin": saved.origins[[7, 250, 299]]}
    for found in (loaded, elsewhere, copy.deepcopy(loaded)):
        xr.testing.assert_equal(found.sel(**few).truth.compute(), saved.sel(**few).truth)
    xr.testing.assert_identical(loaded.data.compute(), saved.to_xarray())


def test_small_forecasts_are_in_memory_once_they_are_loaded(
    forecasts_file: XarrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = forecasts()
    forecasts_file.save(saved)
    size = sum(saved.data[name].nbytes for name in ("prediction", "truth", "persistence"))
    for most, is_lazy in ((size, False), (size - 1, True)):
        monkeypatch.setattr(xarray_dataset, "SMALL_BYTES", most)
        loaded = forecasts_file.load()
        assert (loaded.truth.chunks is not None) == is_lazy
        xr.testing.assert_identical(loaded.data.compute(), saved.to_xarray())


def test_a_file_that_was_replaced_is_not_read_as_if_it_were_the_same(
    forecasts_file: XarrayDataset,
) -> None:
    forecasts_file.save(forecasts())
    loaded = forecasts_file.load()
    forecasts_file.save(forecasts(origins=299))
    with pytest.raises(DatasetError, match=r"predictions\.nc: has changed .* load it again"):
        loaded.truth.compute()


def test_forecasts_can_be_saved_over_their_own_file(forecasts_file: XarrayDataset) -> None:
    forecasts_file.save(forecasts())
    before = forecasts_file.filepath.read_bytes()
    forecasts_file.save(forecasts_file.load())
    xr.testing.assert_identical(forecasts_file.load().data.compute(), forecasts().to_xarray())
    forecasts_file.save(forecasts())
    assert forecasts_file.filepath.read_bytes() == before
    with frames_held(inspect.unwrap(h5py.Dataset.__setitem__)) as held:
        forecasts_file.save(forecasts())
    assert held
    assert forecasts_file.filepath.read_bytes() == before, "whoever looks on"


def test_what_is_made_block_by_block_is_written_block_by_block(
    forecasts_file: XarrayDataset,
) -> None:
    whole = forecasts()
    made: list[weakref.ref[np.ndarray]] = []
    most = 0

    def block(block_info: Any = None) -> np.ndarray:
        nonlocal most
        where = tuple(slice(*ends) for ends in block_info[None]["array-location"])
        values = whole.prediction.values[where].copy()
        made.append(weakref.ref(values))
        most = max(most, sum(reference() is not None for reference in made))
        return values

    sizes = ((1,), (128, 128, 44), (2,), (8, 8, 4), (3,))
    lazy = da.map_blocks(block, chunks=sizes, meta=np.empty((0,) * 5, "float32"))
    dims = whole.prediction.dims
    forecasts_file.save(Forecasts.from_xarray(whole.data.assign(prediction=(dims, lazy))))
    assert most <= 2, "one that is written, one that is made"
    xr.testing.assert_equal(forecasts_file.load().prediction.compute(), whole.prediction)


@pytest.mark.parametrize("name", ["truth", "unit", "interval_minutes"])
def test_a_file_without_something_it_needs(forecasts_file: XarrayDataset, name: str) -> None:
    data = forecasts(origins=3, vds=1).to_xarray()
    data.attrs.pop(name, None)
    bare = XarrayDataset(filepath=str(forecasts_file.filepath))
    bare.save(data.drop_vars(name, errors="ignore"))
    with pytest.raises(DatasetError, match=rf"predictions.nc: .*it has no {name}.*delete it"):
        forecasts_file.load()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("truth", ("origin", [1.0] * 3), r"truth has the dims \('origin',\)"),
        ("free_flow_speed", ("vd", ["fast"]), "free_flow_speed has the dims .* and type"),
        ("best_seed", "last", "best_seed is 'last', must be of type Integral"),
        ("best_seed", 7, r"its seeds are \[42\], the best of them 7"),
        ("interval_minutes", 0.0, "its interval is 0.0 minutes"),
    ],
)
def test_a_file_of_another_form_is_refused(
    forecasts_file: XarrayDataset, name: str, value: Any, message: str
) -> None:
    data = forecasts(origins=3, vds=1).to_xarray()
    data = data.assign({name: value}) if name in data else data.assign_attrs({name: value})
    XarrayDataset(filepath=str(forecasts_file.filepath)).save(data)
    with pytest.raises(DatasetError, match=rf"predictions.nc: .*{message}.*delete it"):
        forecasts_file.load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_end": 10_000}, "its splits end at"),
        ({"train_end": 0}, "its splits end at"),
        ({"prediction_length": 0}, "its lengths are"),
        ({"target_features": ["noise"]}, r"its target features \['noise'\]"),
    ],
)
def test_windows_that_do_not_fit_together_are_refused(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    dataset = XarrayDataset(filepath=str(path), holds="vd_forecasting.artefacts.WindowSet")
    windows = make_joint_windows(make_clean(100))
    dataset.save(windows)
    assert dataset.load().data.identical(windows.data)
    dataset.save(windows.data.assign_attrs(changes))
    with pytest.raises(DatasetError, match=message):
        dataset.load()


@pytest.mark.parametrize("odd", [b"x" * 4000, [1.0, 2.0]])
def test_a_list_of_dims_that_would_crash_hdf5_is_refused(
    forecasts_file: XarrayDataset, odd: Any
) -> None:
    forecasts_file.save(forecasts(origins=3, vds=1))
    with h5py.File(forecasts_file.filepath, "a") as file:
        file["mase_scale"].attrs["DIMENSION_LIST"] = odd
    with pytest.raises(DatasetError, match="mase_scale has an attribute DIMENSION_LIST"):
        forecasts_file.load()


def test_arrays_without_names_of_dims(forecasts_file: XarrayDataset) -> None:
    forecasts_file.save(forecasts(origins=3, vds=1))
    with h5py.File(forecasts_file.filepath, "a") as file:
        del file["mase_scale"]
        file["mase_scale"] = np.ones((1, 3))
    with pytest.raises(DatasetError, match="/mase_scale has no names of its dims"):
        forecasts_file.load()


@pytest.mark.parametrize("name", ["source", "vd", "units"])
def test_text_that_is_not_utf8_is_refused(forecasts_file: XarrayDataset, name: str) -> None:
    forecasts_file.save(forecasts(origins=3, vds=1))
    with h5py.File(forecasts_file.filepath, "a") as file:
        if name in file:
            file[name][0] = b"\xff-1"
        elif name == "units":
            file["horizon"].attrs[name] = np.bytes_(b"\xff")
        else:
            file.attrs[name] = np.bytes_(b"\xff.h5")
    with pytest.raises(DatasetError, match="'utf-8' codec can't"):
        forecasts_file.load()


def test_several_values_for_missing_are_refused(forecasts_file: XarrayDataset) -> None:
    """xarray would take all values for missing."""
    forecasts_file.save(forecasts(origins=3, vds=1))
    for first, second in ((np.nan, np.array([1, 2], "f4")), (np.float32(-1), np.float32(-2))):
        with h5py.File(forecasts_file.filepath, "a") as file:
            file["persistence"].attrs["_FillValue"] = first
            file["persistence"].attrs["missing_value"] = second
        with pytest.raises(DatasetError, match=r"/persistence has [23] values"):
            forecasts_file.load()


@pytest.mark.parametrize("number", range(1, 16, 2))
def test_an_interrupt_while_a_file_is_written_stays_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = XarrayDataset(filepath=str(tmp_path / "stored.nc"))
    before, after = (xr.Dataset({"a": ("x", np.full(5000, of))}) for of in (1.0, 2.0))
    dataset.save(before)
    writes = count(1)

    class Interrupted(io.FileIO):
        def write(self, content: Any) -> int:
            if next(writes) == number:
                raise KeyboardInterrupt
            return super().write(content)

    class Later(atomic._FailingLater, Interrupted):
        """Fails where the file is interrupted."""

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_FailingLater", Later)
        with pytest.raises(KeyboardInterrupt):
            dataset.save(after)
    assert dataset.load().identical(before)
    assert [path.name for path in tmp_path.iterdir()] == ["stored.nc"]
