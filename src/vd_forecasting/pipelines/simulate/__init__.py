"""The sample data: detectors on a simulated freeway corridor."""

from vd_forecasting.pipelines.simulate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
