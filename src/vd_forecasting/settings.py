"""Kedro's settings for this project."""

from vd_forecasting.datasets.places import folder, local_folder
from vd_forecasting.running import hooks
from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.running.history.keep import History
from vd_forecasting.tracking.hook import LoggedRuns

HOOKS = (
    *(hooks.InertLogs(), hooks.KnownParameters(), hooks.SameData(), hooks.ClaimedFiles()),
    hooks.KernelsAhead(),
    *(hooks.Progress(), hooks.ExperimentLogs(), hooks.Fingerprints(), hooks.FinishedTrainings()),
    History(),
    LoggedRuns(),
)

# It stops every run with an error of its own: it wants a store that MLflow no longer has.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow", "kedro_mlflow")

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment overrides single keys; the default would wipe the whole block around one.
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": {"folder": folder, "local_folder": local_folder},
}
