"""The pipelines."""

from vd_forecasting.running import spawned as spawned
