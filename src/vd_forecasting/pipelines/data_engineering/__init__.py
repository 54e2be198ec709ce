"""From a raw detector file to clean data, and what was found in it."""

from vd_forecasting.pipelines.data_engineering.pipeline import create_pipeline

__all__ = ["create_pipeline"]
