"""One template for the forecasts of all experiments.

::

    vd_raw, best_model ──► clean_recent ──► clean
    clean, best_model, windows ──► make_recent_windows ──► recent, in memory
    recent, best_model, windows, config, training_history, refit_state ──► refit ──► refitted,
        in memory: none, unless it is asked for
    recent, best_model, refitted ──► forecast_recent ──► forecasts
    recent, forecasts, metrics ──► find_drift ──► drift, in memory, and scores
    forecasts ──► write_table ──► table
    recent, forecasts, drift ──► write_page ──► page

``best_model``, ``windows``, ``config``, ``training_history`` and ``metrics`` are those of the
experiment, and are read only.
"""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.forecast.clean_recent import clean_recent
from vd_forecasting.pipelines.forecast.drift import find_drift
from vd_forecasting.pipelines.forecast.forecast_recent import forecast_recent
from vd_forecasting.pipelines.forecast.page import write_page
from vd_forecasting.pipelines.forecast.recent_windows import make_recent_windows
from vd_forecasting.pipelines.forecast.refit import refit
from vd_forecasting.pipelines.forecast.table import write_table
from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.running.failure import NEW_DATA

OF_EXPERIMENT = ("best_model", "windows", "config", "training_history", "metrics")


def _node(function: Callable[..., Any], inputs: list[str], outputs: Any) -> Node:
    """A node named after its function."""
    return Node(function, inputs, outputs, name=function.__name__)


def create_pipeline(mode: str, model: str) -> Pipeline:
    """Forecast with the model of one experiment, in the namespace ``forecast_{mode}_{model}``."""
    experiment = f"{mode}_{model}"
    settings = [f"params:{name}" for name in ("baselines", "forecast", "intervals", "compute")]
    template = Pipeline(
        [
            _node(clean_recent, ["vd_raw", "best_model"], "clean"),
            _node(
                make_recent_windows, ["clean", "best_model", "windows", "params:forecast"], "recent"
            ),
            _node(
                refit,
                [
                    *("recent", "best_model", "windows", "config", "training_history"),
                    *("params:forecast", "params:compute", "refit_state"),
                ],
                "refitted",
            ),
            _node(forecast_recent, ["recent", "best_model", *settings, "refitted"], "forecasts"),
            _node(find_drift, ["recent", "forecasts", "metrics"], ["drift", "scores"]),
            _node(write_table, ["forecasts"], "table"),
            _node(
                write_page,
                ["recent", "forecasts", "drift", "config", "params:tuned", "params:report"],
                "page",
            ),
        ],
        tags=NEW_DATA,
    )
    return across_namespaces(
        template,
        namespace=f"forecast_{experiment}",
        inputs={
            "vd_raw": "vd_raw",
            **{name: f"{experiment}.{name}" for name in OF_EXPERIMENT},
        },
        parameters={
            **{name: name for name in (*settings, "params:report")},
            "params:tuned": f"params:{experiment}.tuned",
        },
    )
