"""Kedro's settings for this project."""

from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.running.hooks import (
    ExperimentLogs,
    Fingerprints,
    FinishedTrainings,
    KnownParameters,
    Progress,
)

HOOKS = (KnownParameters(), Progress(), ExperimentLogs(), Fingerprints(), FinishedTrainings())

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment overrides single keys; the default would wipe the whole block around one.
    "merge_strategy": {"parameters": "soft"},
}
