"""Windows, training and evaluation: the same three steps for every experiment."""

from vd_forecasting.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
