"""Trained experiments with all that a forecast needs of them, loaded and learnt once."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from vd_forecasting.artefacts import RecentForecasts, RecentWindows, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.parameters import Forecast, Intervals
from vd_forecasting.pipelines.forecast.clean_recent import FILE_OFFSET, clean_recent
from vd_forecasting.pipelines.forecast.forecast import Learnt, apply, learn, learn_baselines
from vd_forecasting.pipelines.forecast.recent_windows import append_recent, fewest_steps
from vd_forecasting.pipelines.training.evaluate import check_same_windows
from vd_forecasting.running.staleness.fingerprint import makers_of
from vd_forecasting.running.staleness.inputs import find_untrained
from vd_forecasting.serving.refused import RefusedError
from vd_forecasting.vd_array import DIMS, MINUTES_PER_DAY
from vd_forecasting.vocabulary import EVERY_EXPERIMENT
from vd_forecasting.wording import listed, plural

logger = logging.getLogger(__name__)

PIPELINES = ["forecast", "forecast_global_vd"]
LAST = Forecast(origins="last")

MOST_WINDOWS = 10_000
"""Forecast for one answer; a network that forecasts detectors one by one has a window of each."""

Answer = tuple[RecentWindows, RecentForecasts]


@dataclass(frozen=True)
class ServedModel:
    """One experiment."""

    checkpoint: Checkpoint
    trained: WindowSet
    known: WindowSet
    """The few steps of training that flags need."""
    learnt: Learnt
    metrics: Mapping[str, Any]
    intervals: Intervals

    @property
    def name(self) -> str:
        return f"{self.trained.mode}_{self.learnt.models.network}"

    def forecast(self, raw: xr.DataArray) -> Answer:
        """What ``kedro run --pipeline forecast`` makes of a file with these values.

        Raises:
            ValueError: one line; as its nodes say.
            RefusedError: 422; the rows make more windows than one answer may take.
        """
        return self._forecast(clean_recent(raw, self.checkpoint))

    @cached_property
    def example(self) -> Answer:
        """The forecast from the end of the comparison's data, of which it sees a day."""
        trained = self.trained
        steps = trained.sequence_length + round(MINUTES_PER_DAY / trained.interval_minutes)
        few = trained.data.isel(time=slice(-steps, None))
        physical = few["values"] * few["std"] + few["mean"]
        clean = physical.where(few["observed"]).transpose(*DIMS)
        return self._forecast(
            clean.assign_attrs(source_file=trained.source, **{FILE_OFFSET: trained.utc_offset})
        )

    def _forecast(self, clean: xr.DataArray) -> Answer:
        recent = append_recent(self.known, self.trained, clean, LAST)
        of_each = sum(len(recent.parts(name)) for name in recent.models)
        if (windows := of_each * len(recent.firsts)) > MOST_WINDOWS:
            steps = recent.sequence_length - 1 + MOST_WINDOWS // of_each
            raise RefusedError(
                422,
                f"rows: make {plural(windows, 'window')}, more than the {MOST_WINDOWS:,} of one "
                f"request; send the last {steps:,} steps",
            )
        return recent, apply(self.learnt, recent, LAST, self.intervals)

    @cached_property
    def relative_error(self) -> float:
        """The error promised, divided by persistence's, a mean over features and horizons."""
        own, reference = (
            np.array([self.metrics[key][name]["mae"] for name in self.trained.targets], float)
            for key in ("by_horizon", "persistence_by_horizon")
        )
        is_known = np.isfinite(own) & (reference > 0)
        return float(np.mean(own[is_known] / reference[is_known])) if is_known.any() else np.inf


def load_models(catalog: CatalogProtocol, env: str | None) -> dict[str, ServedModel]:
    """The experiments that were trained, those with the lowest relative error first.

    One line of the log names those that were not. None at all is a ValueError of one line.
    """
    pipeline = sum((pipelines[name] for name in PIPELINES), Pipeline([]))
    makers = makers_of(pipelines.values())
    found = find_untrained(pipeline, makers, catalog, {"env": env} if env else {})
    failures = {name.partition(".")[0]: failure for name, failure in found.items()}
    for failure in (one for one in failures.values() if one.is_error):
        logger.warning("%s", failure)
    if missing := [name for name, failure in failures.items() if not failure.is_error]:
        logger.info("not trained, so not served: %s", listed(missing))
    models = list[ServedModel]()
    for name in (name for name in EVERY_EXPERIMENT if name not in failures):
        models.append(load_model(catalog, name, models[-1:]))
    return {model.name: model for model in sorted(models, key=lambda model: model.relative_error)}


def load_model(
    catalog: CatalogProtocol, name: str, before: Sequence[ServedModel] = ()
) -> ServedModel:
    """One experiment; its baselines are those of one ``before`` if that has the same windows, and
    learnt else."""
    best_model, blocks, metrics = (
        catalog.load(f"{name}.{of}") for of in ("best_model", "windows", "metrics")
    )
    trained = WindowSet(blocks.last.data.load())
    check_same_windows(best_model, trained)
    logger.info("▸ %s", name)
    same = (
        one.learnt.models.baselines for one in before if one.trained.data.identical(trained.data)
    )
    baselines = next(same, None) or learn_baselines(trained, catalog.load("params:baselines"))
    return ServedModel(
        checkpoint=best_model,
        trained=trained,
        known=fewest_steps(trained),
        learnt=learn(trained, best_model, baselines),
        metrics=metrics,
        intervals=catalog.load("params:intervals"),
    )
