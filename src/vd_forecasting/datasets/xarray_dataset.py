"""Labelled arrays of several variables as one netCDF-4 file."""

from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import xarray as xr
from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj
from xarray.backends import H5NetCDFStore

from vd_forecasting.datasets.atomic import replacing
from vd_forecasting.datasets.hdf5_writing import file_for_hdf5


class XarrayDataset(AbstractDataset[Any, Any]):
    """Loads and saves an ``xarray.Dataset`` as netCDF-4, which is HDF5 with named dimensions.

    Its attributes may be strings, numbers and lists of strings; netCDF has no None and no bool.

    Example::

        predictions:
          type: vd_forecasting.datasets.XarrayDataset
          filepath: data/07_model_output/predictions.nc
          holds: vd_forecasting.artefacts.Forecasts

    Args:
        filepath: of the netCDF file.
        holds: dotted name of the type to load and save, with ``from_xarray`` and ``to_xarray``;
            None for a bare ``xarray.Dataset``.
        metadata: for plugins.
    """

    def __init__(
        self, *, filepath: str, holds: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._holds = holds
        self.metadata = metadata

    def load(self) -> Any:
        try:
            data = xr.load_dataset(self._filepath, engine="h5netcdf")
            data = data.assign_attrs(_lists_of_one(self._filepath, data.attrs))
            return load_obj(self._holds).from_xarray(data) if self._holds else data
        except FileNotFoundError as error:
            raise DatasetError(f"{self._filepath}: no such file") from error
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(
                f"{self._filepath}: not a readable netCDF-4 file ({error}); "
                "delete it and run the pipeline that makes it again"
            ) from error

    def save(self, data: Any) -> None:
        if not isinstance(data, xr.Dataset):
            data = data.to_xarray()
        compression = {name: {"zlib": True, "complevel": 1} for name in data.data_vars}
        with (
            replacing(self._filepath) as temporary,
            file_for_hdf5(temporary) as raw,
            h5netcdf.File(raw, "w") as file,
        ):
            data.dump_to_store(H5NetCDFStore(file), encoding=compression)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def _exists(self) -> bool:
        return self._filepath.is_file()


def _lists_of_one(path: Path, attrs: dict[str, Any]) -> dict[str, list[str]]:
    """The attributes that were saved as a list of one string, which h5netcdf loads as a string."""
    with h5py.File(path, "r") as file:
        return {
            name: [value]
            for name, value in attrs.items()
            if isinstance(value, str) and file.attrs.get_id(name).shape == (1,)
        }
