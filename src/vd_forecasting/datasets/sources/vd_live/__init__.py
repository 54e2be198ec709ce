"""Archives of Taiwan's minute-by-minute VD records, MOTC traffic standard 2.0 in XML and JSON."""

from vd_forecasting.datasets.sources.vd_live.dataset import VDLiveArchiveDataset

__all__ = ["VDLiveArchiveDataset"]
