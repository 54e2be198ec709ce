"""Catalog datasets: everything that touches files."""

from vd_forecasting.datasets.atomic import (
    AtomicBytesDataset,
    AtomicCSVDataset,
    AtomicJSONDataset,
    AtomicTableDataset,
    AtomicTextDataset,
    RecordDataset,
)
from vd_forecasting.datasets.frames import Frames, FramesDataset
from vd_forecasting.datasets.page import PageDataset
from vd_forecasting.datasets.sources.pandas_hdf5 import PandasHDF5Dataset
from vd_forecasting.datasets.sources.pems_npz import PemsNpzDataset
from vd_forecasting.datasets.sources.source import NoSource
from vd_forecasting.datasets.sources.tables import LongTableDataset, WideTableDataset
from vd_forecasting.datasets.sources.vd_live.dataset import VDLiveArchiveDataset
from vd_forecasting.datasets.study import Studies, StudyDataset
from vd_forecasting.datasets.tensors import CheckpointDataset, TrainingState, TrainingStateDataset
from vd_forecasting.datasets.vd_hdf5 import VDHDF5Dataset
from vd_forecasting.datasets.xarray_dataset import XarrayDataset

__all__ = [
    "AtomicBytesDataset",
    "AtomicCSVDataset",
    "AtomicJSONDataset",
    "AtomicTableDataset",
    "AtomicTextDataset",
    "CheckpointDataset",
    "Frames",
    "FramesDataset",
    "LongTableDataset",
    "NoSource",
    "PageDataset",
    "PandasHDF5Dataset",
    "PemsNpzDataset",
    "RecordDataset",
    "Studies",
    "StudyDataset",
    "TrainingState",
    "TrainingStateDataset",
    "VDHDF5Dataset",
    "VDLiveArchiveDataset",
    "WideTableDataset",
    "XarrayDataset",
]
