"""Formats that detector data come in; each is read as a VD array."""

from vd_forecasting.datasets.sources.long_table import LongTableDataset
from vd_forecasting.datasets.sources.pandas_hdf5 import PandasHDF5Dataset
from vd_forecasting.datasets.sources.pems_npz import PemsNpzDataset
from vd_forecasting.datasets.sources.source import NoSource, SourceDataset
from vd_forecasting.datasets.sources.vd_live import VDLiveArchiveDataset
from vd_forecasting.datasets.sources.wide_table import WideTableDataset

__all__ = [
    "LongTableDataset",
    "NoSource",
    "PandasHDF5Dataset",
    "PemsNpzDataset",
    "SourceDataset",
    "VDLiveArchiveDataset",
    "WideTableDataset",
]
