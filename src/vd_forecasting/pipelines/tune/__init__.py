"""From windows to the settings with the lowest validation loss."""

from vd_forecasting.pipelines.tune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
