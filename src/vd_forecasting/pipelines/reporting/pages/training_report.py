"""The page of one experiment; its text is ``templates/training_report.md.j2``."""

import statistics
from dataclasses import dataclass
from functools import partial

from vd_forecasting.artefacts import Config, History, Outcome
from vd_forecasting.artefacts.windows import GLOBAL, JOINT
from vd_forecasting.evaluation.aligned import align, most_congested_day
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.language import marked, say, speaking
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.reporting.costs import Costs, cost_rows
from vd_forecasting.pipelines.reporting.pages import tables, verdicts
from vd_forecasting.rendering import searched
from vd_forecasting.rendering.figures import with_figures
from vd_forecasting.rendering.markdown import code, plain_text
from vd_forecasting.rendering.page import Draw, Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vocabulary import joined_label, mode_in_words, name_of
from vd_forecasting.wording import NOTHING, count, duration, first_few, listed, number, span

_SPLITS = {"train": marked("training"), "val": marked("validation"), "test": marked("test")}


@dataclass(frozen=True)
class TrainingReport:
    """What the template shows."""

    config: Config
    errors: Errors
    name: str
    """Name of the model, in print."""
    mode: str
    """In words."""
    headline: str
    details: list[str]
    detectors: str
    calendar: str
    splits: tables.Rows
    failed_blocks: list[str]
    models: list[str]
    """The network, its seeds joined and persistence, in print."""
    by_block: dict[str, tables.Rows]
    """Errors in each test block, by feature; empty rows where there is a single one."""
    epochs_by_block: list[str]
    """Chosen epochs of the test blocks before the last."""
    costs: tables.Rows
    cut_short: list[str]
    searched: str
    """Where the settings are from; empty if they were given."""
    fits: tables.LongTable | None
    """None for a single training."""
    by_horizon: dict[str, tables.Rows]
    """By feature with its unit."""
    mae_of_joined: list[str]
    """Header of its column in these, where there are several seeds."""
    summary: tables.Rows
    by_detector: tables.LongTable | None
    parameters: tables.Rows


def write_training_report(outcome: Outcome, errors: Errors, report: Report) -> Page:
    """Report one experiment beside persistence; errors are those of its test forecasts."""
    with speaking(report.language):
        text = render(__package__, "training_report", **vars(_view(outcome, errors)))
        return with_figures(text, partial(_figures, outcome, errors))


def _view(outcome: Outcome, errors: Errors) -> TrainingReport:
    config, model = outcome.config, outcome.config.model
    costs = {model: Costs(outcome)}
    shown = [*errors.labels]
    return TrainingReport(
        config,
        errors,
        name=name_of(model),
        mode=plain_text(mode_in_words(config.mode)),
        headline=verdicts.against_persistence(errors, model),
        details=verdicts.persistence_details(errors, model),
        detectors=listed(first_few(list(map(code, config.vdids)))),
        calendar=tables.calendar_in_words(config),
        splits=_split_rows(config),
        failed_blocks=verdicts.failed_blocks([config]),
        models=[errors.labels[name] for name in shown],
        by_block={
            plain_text(errors.label(feature)): tables.block_rows(errors, shown, feature)
            for feature in errors.features
        },
        epochs_by_block=_epochs_by_block(outcome.history),
        costs=cost_rows(costs),
        cut_short=verdicts.cut_short(costs),
        searched=searched.of_experiment(outcome.config, outcome.tuned),
        fits=_fit_table(outcome.history),
        by_horizon={
            plain_text(errors.label(feature)): tables.persistence_rows(errors, model, feature)
            for feature in errors.features
        },
        mae_of_joined=[joined_label("MAE", errors.seeds[name]) for name in errors.joined],
        summary=tables.summary_rows(errors, model),
        by_detector=tables.detector_table(errors, [model]),
        parameters=tables.parameter_rows([config]),
    )


def _figures(outcome: Outcome, errors: Errors) -> dict[str, Draw]:
    from vd_forecasting.pipelines.reporting.plots import (  # noqa: PLC0415  (imports matplotlib)
        error_plots,
        forecast_plots,
        learning_plots,
    )

    name, model = outcome.config.experiment, outcome.config.model
    forecasts = align({model: outcome.forecasts})
    congested = most_congested_day(forecasts)
    sees = say("Does {name} see {event} coming?", name=name, event=congested.event)
    stops = say("Did training of {name} stop at the right epoch?", name=name)
    learns = say("Which errors did training of {name} bring down?", name=name)
    grows = say("How fast do the errors of {name} grow with the time ahead?", name=name)
    return {
        "forecast": partial(forecast_plots.plot_forecast, sees, forecasts, congested, days=3),
        "learning_curves": partial(
            learning_plots.plot_learning_curves, stops, {model: outcome.history}
        ),
        "error_by_horizon": partial(error_plots.plot_error_by_horizon, grows, errors),
        # It takes longest, and a process that helps begins at the end.
        "metric_evolution": partial(
            learning_plots.plot_metric_evolution, learns, model, outcome.history, errors.units
        ),
    }


def _minute(iso: str) -> str:
    return plain_text(iso[:16].replace("T", " "))


def _split_rows(config: Config) -> tables.Rows:
    """A row per split, those of the test blocks before the last first."""
    return [
        [
            say("block {number}, {split}", number=block, split=say(name))
            if config.num_blocks > 1
            else say(name),
            *(_minute(split[key].start), _minute(split[key].end), count(split[key].windows)),
        ]
        for block, split in {**config.earlier, config.num_blocks: config.split}.items()
        for key, name in _SPLITS.items()
    ]


def _epochs_by_block(history: History) -> list[str]:
    sentences = []
    for block, fits in history.earlier.items():
        epochs = sorted({fit.best_epoch for fit in fits})
        sentences.append(
            say(
                "block {number}: chosen epoch {epoch}, {time}",
                number=block,
                epoch=span(epochs[0], epochs[-1]) if len(epochs) > 1 else epochs[0],
                time=duration(sum(fit.seconds for fit in fits)),
            )
        )
    return sentences


def _fit_table(history: History) -> tables.LongTable | None:
    """A row per training where there are several, labelled by its VDID, seed or both."""
    fits = list(history.fits())
    if len(fits) == 1:
        return None
    numbers: dict[str, list[float]] = {
        "epoch": [fit.best_epoch for _, _, fit in fits],
        "seconds": [fit.seconds for _, _, fit in fits],
        "of_epoch": [statistics.fmean(one.seconds for one in fit.epochs) for _, _, fit in fits],
        "loss": [fit.best.val.loss for _, _, fit in fits],
    }

    def row(at: int) -> list[str]:
        seed, vdid, fit = fits[at]
        label = vdid
        if vdid in {JOINT, GLOBAL}:
            label = say("seed {seed}", seed=seed)
        elif len(history.seeds) > 1:
            label = say("{detector}, seed {seed}", detector=vdid, seed=seed)
        return [
            code(label),
            say("{part} of {all}", part=fit.best_epoch, all=len(fit.epochs)),
            say("yes") if fit.stopped_early else say("no"),
            duration(fit.seconds),
            duration(numbers["of_epoch"][at]),
            number(fit.best.val.loss),
        ]

    def quantile(share: float) -> list[str]:
        found = {name: tables.quantile(of_fits, share) for name, of_fits in numbers.items()}
        times = (duration(found[name]) for name in ("seconds", "of_epoch"))
        return [f"{found['epoch']:g}", NOTHING, *times, number(found["loss"])]

    return tables.long_table(numbers["loss"], row, quantile)
