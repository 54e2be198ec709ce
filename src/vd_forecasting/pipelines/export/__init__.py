"""From a trained experiment to a model for other programs."""

from vd_forecasting.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
