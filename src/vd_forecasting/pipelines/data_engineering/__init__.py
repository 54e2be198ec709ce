"""From a raw detector file to clean data on a regular time grid."""

from vd_forecasting.pipelines.data_engineering.pipeline import create_pipeline

__all__ = ["create_pipeline"]
