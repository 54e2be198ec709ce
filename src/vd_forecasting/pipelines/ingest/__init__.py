"""From the format that detector data come in to the VD HDF5 layout."""

from vd_forecasting.pipelines.ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
