"""What a cleaned file holds and what is wrong with it, as a page with figures."""

from vd_forecasting.pipelines.data_quality.pipeline import create_pipeline

__all__ = ["create_pipeline"]
