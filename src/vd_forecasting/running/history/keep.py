"""Keeps what ``kedro runs`` needs of a run, once it has ended."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from vd_forecasting.artefacts import Config, Forecasts
from vd_forecasting.datasets.places import stamp
from vd_forecasting.evaluation.aligned import align
from vd_forecasting.evaluation.daily_errors import daily_errors
from vd_forecasting.evaluation.errors import sum_errors
from vd_forecasting.parameters import Tracking
from vd_forecasting.provenance import digest
from vd_forecasting.running.failure import in_one_line
from vd_forecasting.running.history.kept import KeptData, KeptExperiment, KeptRun, keep, load_runs
from vd_forecasting.running.kedro_private import file_of
from vd_forecasting.running.options import typed_command
from vd_forecasting.running.runners import NodesFailed
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.plan import flat
from vd_forecasting.vocabulary import EVERY_EXPERIMENT

logger = logging.getLogger(__name__)

Stamps = dict[str, tuple[int | str, ...] | None]


class History:
    """Keeps a run and the experiments whose forecasts it made; never makes it fail.

    Also after a run that failed. One that was interrupted or killed is not kept: the same command
    finishes it. Everything is found in the files that the run left, so the runner does not matter.
    """

    def __init__(self) -> None:
        self._began, self._clock = datetime.now().astimezone(), time.monotonic()
        self._before: Stamps = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Note which forecasts are there already."""
        self._began, self._clock = datetime.now().astimezone(), time.monotonic()
        self._before = _stamps(pipeline, catalog) if _most(catalog) else {}

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._keep(pipeline, catalog, {})

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._keep(pipeline, catalog, _reasons(error))

    def _keep(
        self, pipeline: Pipeline, catalog: CatalogProtocol, reasons: Mapping[str, str]
    ) -> None:
        folder = history_folder(catalog)
        if not self._before or folder is None:
            return
        try:
            now = _stamps(pipeline, catalog)
            made = [name for name in self._before if now[name] not in (None, self._before[name])]
            if not made:
                return
            run = KeptRun(
                command=typed_command(),
                began=self._began,
                seconds=round(time.monotonic() - self._clock, 1),
                experiments={name: kept_experiment(name, catalog) for name in made},
                failed={
                    name: reasons.get(name, "it did not run")
                    for name in self._before
                    if name not in made
                },
            )
            number = keep(run, folder, _most(catalog))
        except Exception as error:  # what was made is there, and counts more than the note of it
            logger.warning("This run is not kept for kedro runs: %s", in_one_line(error))
            logger.debug("The error was raised here:", exc_info=error)
        else:
            logger.info("Kept as run %d of kedro runs list", number)


def history_folder(catalog: CatalogProtocol) -> Path | None:
    """Where runs are kept, which is on this machine; None if the catalog does not say."""
    path = file_of(catalog.get("history_of_0"))
    return path.parent if isinstance(path, Path) else None


def load_history(catalog: CatalogProtocol) -> Mapping[int, KeptRun]:
    """The runs that are kept, by number; a ValueError, in one line, if none is to be kept."""
    folder = history_folder(catalog)
    runs = load_runs(folder) if folder else {}
    if not runs and not _most(catalog):
        raise ValueError(
            "tracking.history is 0, so no run is kept; tracking: {history: 50} in "
            "conf/local/parameters.yml keeps the last 50"
        )
    return runs


def _most(catalog: CatalogProtocol) -> int:
    """How many runs are kept."""
    given = catalog.load("params:tracking") if "params:tracking" in catalog else {}
    return Tracking.model_validate(given).history


def _stamps(pipeline: Pipeline, catalog: CatalogProtocol) -> Stamps:
    """Of each experiment that a pipeline forecasts test with: another stamp once it has done so.

    It is that of the node's fingerprint, which is saved behind the last of its outputs.
    """
    makers = fingerprint.makers_of([pipeline])
    found: Stamps = {}
    for name in EVERY_EXPERIMENT:
        if node := makers.get(f"{name}.predictions"):
            path = file_of(catalog.get(fingerprint.FINGERPRINT.format(node.name)))
            found[name] = stamp(path) if path is not None and path.exists() else None
    return found


def _reasons(error: Exception) -> dict[str, str]:
    """Why experiments failed, by name."""
    found: dict[str, str] = {}
    for failure in error.failures if isinstance(error, NodesFailed) else []:
        found.setdefault(failure.node.rpartition(".")[0], failure.reason)
    return found


def kept_experiment(name: str, catalog: CatalogProtocol) -> KeptExperiment:
    """What to keep of an experiment, from the files that it left."""
    makers = fingerprint.makers_of(pipelines.values())
    every = Pipeline({node.name: node for node in makers.values()}.values())
    upstream = every.to_outputs(f"{name}.predictions").nodes  # in the order in which they ran
    loaded = (fingerprint.load_fingerprint(node, catalog) for node in upstream)
    records = [record for record in loaded if record is not None]
    raw = [file for one in records for key, file in one["inputs"].items() if key not in makers]
    config: Config = catalog.load(f"{name}.config")
    forecasts: Forecasts = catalog.load(f"{name}.predictions")
    # The sums of MAPE are of no use here.
    summed = sum_errors(align({config.model: forecasts}), mape_min_truth=0.0)
    return KeptExperiment(
        parameters={
            key: value for one in records for key, value in flat(one["parameters"]).items()
        },
        code={key: value for one in records for key, value in one["code"].items()},
        versions={key: value for one in records for key, value in one["versions"].items()},
        data=KeptData(
            file=config.source,
            sha256=raw[0][1] if raw else None,
            detectors=len(config.vdids),
            vdids=digest(list(config.vdids)),
            start=min(split["train"].start for split in (*config.earlier.values(), config.split)),
            end=config.split["test"].end,
            interval_minutes=config.interval_minutes,
        ),
        seeds=len(config.training.seeds),
        errors=daily_errors(summed, config.model),
    )
