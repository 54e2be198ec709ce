"""From a recent detector file to forecasts by trained models."""

from vd_forecasting.pipelines.forecast.pipeline import create_pipeline

__all__ = ["create_pipeline"]
