"""Kedro's settings for this project."""

from vd_forecasting.datasets.places import folder, local_folder
from vd_forecasting.running import hooks
from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.running.history.keep import History

HOOKS = (
    *(hooks.InertLogs(), hooks.KnownParameters(), hooks.SameData(), hooks.ClaimedFiles()),
    hooks.KernelsAhead(),
    *(hooks.Progress(), hooks.ExperimentLogs(), hooks.Fingerprints(), hooks.FinishedTrainings()),
    History(),
)

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment overrides single keys; the default would wipe the whole block around one.
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": {"folder": folder, "local_folder": local_folder},
}
