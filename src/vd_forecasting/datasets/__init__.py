"""Catalog datasets: everything that touches files."""

from vd_forecasting.datasets.atomic import AtomicCSVDataset, AtomicJSONDataset, AtomicTextDataset
from vd_forecasting.datasets.checkpoint import CheckpointDataset
from vd_forecasting.datasets.page import PageDataset
from vd_forecasting.datasets.record import RecordDataset
from vd_forecasting.datasets.sources import (
    LongTableDataset,
    NoSource,
    PandasHDF5Dataset,
    PemsNpzDataset,
    VDLiveArchiveDataset,
    WideTableDataset,
)
from vd_forecasting.datasets.training_state import TrainingState, TrainingStateDataset
from vd_forecasting.datasets.vd_hdf5 import VDHDF5Dataset
from vd_forecasting.datasets.xarray_dataset import XarrayDataset

__all__ = [
    "AtomicCSVDataset",
    "AtomicJSONDataset",
    "AtomicTextDataset",
    "CheckpointDataset",
    "LongTableDataset",
    "NoSource",
    "PageDataset",
    "PandasHDF5Dataset",
    "PemsNpzDataset",
    "RecordDataset",
    "TrainingState",
    "TrainingStateDataset",
    "VDHDF5Dataset",
    "VDLiveArchiveDataset",
    "WideTableDataset",
    "XarrayDataset",
]
