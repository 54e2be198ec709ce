"""Runs of two small experiments whose results are made up, with the catalog of the project.

::

    params ─► train ─► config, training_history ─┐
                 └───► metrics ──────────────────┴─► write ─► training_report
    training_report of both ─► compare ─► compare_single_vd.page
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Node, Pipeline

from tests.make.artefacts import make_config, make_fit_errors, make_history, make_predictions
from tests.make.catalogs import catalog_entries
from vd_forecasting.artefacts import Config, Forecasts, History
from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.pipelines.reporting.scores import errors_and_metrics
from vd_forecasting.rendering.page import Page
from vd_forecasting.running import hooks
from vd_forecasting.running.failure import TAKES_FAILURES, Failure
from vd_forecasting.running.runners import SequentialRunner
from vd_forecasting.tracking import hook

LSTM, XLSTM = "single_vd_lstm", "single_vd_xlstm"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63f8"
    "ffff3f0300050001a5f645400000000049454e44ae426082"
)


@cache
def _results(model: str, epochs: int) -> tuple[Config, History, dict[str, Any]]:
    predictions = make_predictions(model=model, origins=300, horizons=3)
    forecasts, fit_errors = Forecasts.from_xarray(predictions), make_fit_errors(predictions)
    _, metrics = errors_and_metrics(forecasts, fit_errors, 1.0)
    return make_config(predictions), make_history(predictions, epochs=epochs), metrics


def train(model: str, training: Mapping[str, Any]) -> tuple[Config, History, dict[str, Any]]:
    if training["fails"]:
        raise ValueError("the loss is not a number")
    return _results(model, training["epochs"])


def write(config: Config, history: History, metrics: dict[str, Any], words: str) -> Page:
    if not words:
        raise ValueError("there are no words")
    return Page(f"{words}\n\n![curves](figure:curves)\n", {"curves": PIXEL})


def compare(lstm: Page | Failure, xlstm: Page | Failure) -> Page:
    given = [one.text for one in (lstm, xlstm) if isinstance(one, Page)]
    return Page(
        "\n".join(["# Comparison", *given]).replace("figure:curves", "figure:both"), {"both": PIXEL}
    )


def _experiment(name: str) -> Pipeline:
    made = ["config", "training_history", "metrics"]
    return Pipeline(
        [
            Node(train, ["params:model", "params:training"], made, name="train"),
            Node(write, [*made, "params:words"], "training_report", name="write"),
        ],
        namespace=name,
    )


PIPELINE = (
    _experiment(LSTM)
    + _experiment(XLSTM)
    + across_namespaces(
        Pipeline([Node(compare, ["lstm", "xlstm"], "page", name="compare", tags=TAKES_FAILURES)]),
        namespace="compare_single_vd",
        inputs={"lstm": f"{LSTM}.training_report", "xlstm": f"{XLSTM}.training_report"},
    )
)


class TrackedProject:
    """The pipeline in the working directory."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {
            "tracking": {"mlflow_uri": "sqlite:///mlflow.db"},
            **{
                name: {
                    "model": name.rpartition("_")[2],
                    "training": {"epochs": 4, "fails": False, "seeds": [42]},
                    "words": "It went well.",
                }
                for name in (LSTM, XLSTM)
            },
        }

    def catalog(self) -> DataCatalog:
        catalog = DataCatalog.from_config(catalog_entries())
        catalog["parameters"] = self.parameters
        for name in (LSTM, XLSTM):
            for key, value in self.parameters[name].items():
                catalog[f"params:{name}.{key}"] = value
        return catalog

    def run(self, pipeline: Pipeline = PIPELINE, catalog: CatalogProtocol | None = None) -> None:
        """Run as a session of Kedro does."""
        catalog, manager = catalog or self.catalog(), _create_hook_manager()
        manager.register(hooks.Fingerprints())
        manager.register(hook.LoggedRuns())
        given = {
            "pipeline_names": ["all"], "env": "quick", "project_path": Path.cwd().as_posix()
        }  # fmt: skip
        common = {"run_params": given, "pipeline": pipeline, "catalog": catalog}
        manager.hook.before_pipeline_run(**common)
        try:
            SequentialRunner().run(pipeline, catalog, manager)
        except Exception as error:
            manager.hook.on_pipeline_error(error=error, **common)
            raise
        manager.hook.after_pipeline_run(run_result={}, **common)


@contextmanager
def tracked_project(folder: Path) -> Iterator[TrackedProject]:
    """Nothing has run yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for module in (hooks, hook):
            patch.setattr(module, "pipelines", {"all": PIPELINE})
        yield TrackedProject()
