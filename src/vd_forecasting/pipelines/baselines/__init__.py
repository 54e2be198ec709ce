"""Forecasts without a network, on the windows of the networks: what these have to beat."""

from vd_forecasting.pipelines.baselines.pipeline import create_pipeline

__all__ = ["create_pipeline"]
