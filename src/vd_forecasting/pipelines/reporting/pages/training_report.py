"""The page of one experiment; its text is ``templates/training_report.md.j2``."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from vd_forecasting.artefacts import Config, History, Outcome
from vd_forecasting.evaluation.aligned import align, most_congested_day
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.pipelines.reporting.costs import Costs, cost_rows, labelled_fits
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.pipelines.reporting.pages.tables import (
    MAX_ROWS,
    DetectorTable,
    Rows,
    detector_table,
    parameter_rows,
    persistence_rows,
    summary_rows,
)
from vd_forecasting.pipelines.reporting.plots.error_plots import plot_error_by_horizon
from vd_forecasting.pipelines.reporting.plots.forecast_plots import plot_forecast
from vd_forecasting.pipelines.reporting.plots.learning_plots import (
    plot_learning_curves,
    plot_metric_evolution,
)
from vd_forecasting.rendering.markdown import code
from vd_forecasting.rendering.page import Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vocabulary import MODES_IN_WORDS, NAMES
from vd_forecasting.wording import duration, listed, number

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_SHOWN_VDS = 10
_FORECAST_DAYS = 3


@dataclass(frozen=True)
class TrainingReport:
    """What the template shows."""

    config: Config
    name: str
    """Name of the model, in print."""
    mode: str
    """In words."""
    headline: str
    details: list[str]
    scored: str
    detectors: str
    splits: Rows
    costs: Rows
    cut_short: list[str]
    fits: Rows
    """Empty for a single training."""
    fits_not_shown: int
    errors: dict[str, Rows]
    """By feature with its unit."""
    summary: Rows
    by_detector: DetectorTable | None
    features: list[str]
    """With their units."""
    parameters: Rows


def write_training_report(outcome: Outcome, errors: Errors) -> Page:
    """Report one experiment beside persistence.

    Args:
        outcome: of the experiment.
        errors: of its test forecasts.
    """
    config, model = outcome.config, outcome.config.model
    costs = {model: Costs(outcome)}
    report = TrainingReport(
        config=config,
        name=NAMES[model],
        mode=MODES_IN_WORDS.get(config.mode, config.mode),
        headline=verdicts.against_persistence(errors, model),
        details=verdicts.persistence_details(errors, model),
        scored=errors.scored_in_words,
        detectors=_first(config.vdids),
        splits=[
            [name, _minute(span.start), _minute(span.end), f"{span.windows:,}"]
            for split, name in _SPLITS.items()
            for span in [config.split[split]]
        ],
        costs=cost_rows(costs),
        cut_short=verdicts.cut_short(costs),
        fits=_fit_rows(outcome.history),
        fits_not_shown=max(len(costs[model].fits) - MAX_ROWS, 0),
        errors={
            errors.label(feature): persistence_rows(errors, model, feature)
            for feature in errors.features
        },
        summary=summary_rows(errors, model),
        by_detector=detector_table(errors.by_vd["mae"], [model]),
        features=[errors.label(feature) for feature in errors.features],
        parameters=parameter_rows([config]),
    )
    text = render(__package__, "training_report", **vars(report))
    return Page(text, _figures(outcome, errors))


def _figures(outcome: Outcome, errors: Errors) -> dict[str, Callable[[], Figure]]:
    name, model = outcome.config.experiment, outcome.config.model
    forecasts = align({model: outcome.forecasts})
    congested = most_congested_day(forecasts)
    return {
        "forecast": partial(
            plot_forecast,
            f"Does {name} see {congested.event} coming?",
            forecasts,
            congested,
            days=_FORECAST_DAYS,
        ),
        "learning_curves": partial(
            plot_learning_curves,
            f"Did training of {name} stop at the right epoch?",
            {model: outcome.history},
        ),
        "metric_evolution": partial(
            plot_metric_evolution,
            f"Which errors did training of {name} bring down?",
            model,
            outcome.history,
            errors.units,
        ),
        "error_by_horizon": partial(
            plot_error_by_horizon,
            f"How fast do the errors of {name} grow with the time ahead?",
            errors,
        ),
    }


def _first(vdids: tuple[str, ...]) -> str:
    more = [f"{len(vdids) - _SHOWN_VDS:,} more"] if len(vdids) > _SHOWN_VDS else []
    return listed([*map(code, vdids[:_SHOWN_VDS]), *more])


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ")


def _fit_rows(history: History) -> Rows:
    """A row per training where there are several."""
    fits = labelled_fits(history)
    if len(fits) == 1:
        return []
    return [
        [
            code(label),
            f"{fit.best_epoch} of {len(fit.epochs)}",
            "yes" if fit.stopped_early else "no",
            duration(fit.seconds),
            duration(statistics.fmean(epoch.seconds for epoch in fit.epochs)),
            number(fit.best.val.loss),
        ]
        for label, fit in list(fits.items())[:MAX_ROWS]
    ]
