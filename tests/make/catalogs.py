"""The entries of the project's catalog."""

from typing import Any

from tests import PROJECT
from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.settings import CONFIG_LOADER_ARGS


def catalog_entries() -> dict[str, Any]:
    """Those of ``conf/base``, with paths relative to the project."""
    return dict(ConfigLoader(PROJECT / "conf", env="base", **CONFIG_LOADER_ARGS)["catalog"])
