"""The page that compares both models of a mode; its text is ``templates/comparison.md.j2``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from vd_forecasting.artefacts import Config, History, Outcome
from vd_forecasting.evaluation.aligned import AlignedForecasts, most_congested_day
from vd_forecasting.evaluation.congestion import Congestion, queue_steps
from vd_forecasting.evaluation.differences import Difference, Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.evaluation.interval_scores import IntervalScores
from vd_forecasting.evaluation.significance import MIN_DAYS
from vd_forecasting.language import say, speaking
from vd_forecasting.parameters import Evaluation, Report
from vd_forecasting.pipelines.reporting.costs import Costs, cost_rows
from vd_forecasting.pipelines.reporting.pages import tables, verdicts
from vd_forecasting.rendering import searched
from vd_forecasting.rendering.figures import with_figures
from vd_forecasting.rendering.markdown import code, feature_text, link, plain_text
from vd_forecasting.rendering.page import Draw, Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vocabulary import MODELS, mode_in_words, name_of


@dataclass(frozen=True)
class Comparison:
    """What the template shows."""

    forecasts: AlignedForecasts
    errors: Errors
    differences: Differences
    evaluation: Evaluation
    left_out: list[str]
    """Sentences on what is not compared."""
    mode_in_words: str
    headlines: list[str]
    in_numbers: list[str]
    seed_caveat: str
    searched: str
    """Where the settings are from; empty if they were given."""
    baseline_wins: list[str]
    sequence_lengths: list[int]
    labels: list[str]
    """Features with their units."""
    horizons: list[str]
    """Labels of the columns of errors; the last one is their average."""
    by_model: dict[str, tables.Rows]
    """Errors of every model, by feature."""
    best: dict[str, list[str]]
    """Labels of the model confidence set, by feature; none if the test days are too few."""
    confidence_set: str
    min_days: int
    """Test days that an interval takes."""
    by_horizon: dict[str, tables.Rows]
    """Differences between the networks, by feature."""
    models: list[str]
    """Networks and baselines, in print."""
    by_block: dict[str, tables.Rows]
    """Errors in each test block, by feature; empty rows where there is a single one."""
    winners_by_block: list[str]
    intervals: IntervalScores
    interval_columns: list[str]
    by_interval: dict[str, tables.Rows]
    """Scores of prediction intervals of every model, by feature."""
    crps_differences: tables.Rows
    left_out_of_mape: list[str]
    in_congestion: tables.Rows
    """Empty if no step is congested."""
    congestion: Congestion
    event_columns: list[str]
    events: tables.Rows
    queue_minutes: float
    by_detector: tables.LongTable | None
    costs: tables.Rows
    differing: list[str]
    """Settings that are not the same for both models."""
    parameters: tables.Rows
    training_reports: list[str]
    """Links."""


def write_comparison(
    lstm: Outcome,
    xlstm: Outcome,
    forecasts: AlignedForecasts,
    errors: Errors,
    congested_errors: Errors,
    congestion: Congestion,
    differences: Differences,
    intervals: IntervalScores,
    crps_differences: Mapping[str, Difference],
    evaluation: Evaluation,
    report: Report,
) -> Page:
    """Compare both models of a mode; ``congested_errors`` are those on congested steps alone.

    ``crps_differences`` are between the networks, by feature.
    """
    scores = (errors, congested_errors, congestion, differences, intervals, crps_differences)
    histories = {"lstm": lstm.history, "xlstm": xlstm.history}
    with speaking(report.language):
        comparison = _view(lstm, xlstm, forecasts, *scores, evaluation)
        text = render(__package__, "comparison", **vars(comparison))
        return with_figures(text, partial(_figures, comparison, histories))


def _view(
    lstm: Outcome,
    xlstm: Outcome,
    forecasts: AlignedForecasts,
    errors: Errors,
    congested_errors: Errors,
    congestion: Congestion,
    differences: Differences,
    intervals: IntervalScores,
    crps_differences: Mapping[str, Difference],
    evaluation: Evaluation,
) -> Comparison:
    outcomes = {"lstm": lstm, "xlstm": xlstm}
    configs = {model: outcome.config for model, outcome in outcomes.items()}
    costs = {model: Costs(outcome) for model, outcome in outcomes.items()}
    models = {label: (errors, name) for name, label in errors.labels.items()}
    tested = [*errors.networks, *errors.baselines]
    best = {
        feature: [name_of(name) for name in tested if differences.in_set(name, feature)]
        for feature in errors.features
    }
    metrics, columns = ("rmse", "mase", "r2", "mape"), tables.horizon_columns(errors)
    return Comparison(
        forecasts,
        errors,
        differences,
        evaluation,
        left_out=[*verdicts.failed_blocks(configs.values()), *forecasts.left_out],
        mode_in_words=plain_text(mode_in_words(forecasts.mode)),
        headlines=[
            verdicts.baselines_headline(errors),
            verdicts.networks_headline(errors, differences),
        ],
        in_numbers=[
            *verdicts.difference_details(errors, differences),
            verdicts.cost_comparison(costs),
            *verdicts.cut_short(costs),
        ],
        seed_caveat=verdicts.seed_caveat(
            {name_of(model): config.training.seeds for model, config in configs.items()}
        ),
        searched=searched.of_mode(outcomes),
        baseline_wins=verdicts.baseline_wins(errors),
        sequence_lengths=sorted({of.windows.sequence_length for of in configs.values()}),
        labels=[plain_text(errors.label(feature)) for feature in errors.features],
        horizons=[*columns.values()],
        by_model={f: tables.model_rows(models, f, metrics, best[f]) for f in errors.features},
        best=best,
        confidence_set=verdicts.about_confidence_set(differences, ""),
        min_days=MIN_DAYS,
        by_horizon={f: tables.difference_rows(errors, differences, f) for f in errors.features},
        models=[*models],
        by_block={
            plain_text(errors.label(feature)): tables.block_rows(errors, [*errors.labels], feature)
            for feature in errors.features
        },
        winners_by_block=verdicts.winners_by_block(errors) if len(errors.spans) > 1 else [],
        intervals=intervals,
        interval_columns=tables.interval_columns(intervals.levels),
        by_interval={f: tables.interval_rows(errors, intervals, f) for f in errors.features},
        crps_differences=tables.crps_difference_rows(crps_differences),
        left_out_of_mape=[
            say(
                "{feature} {share}",
                feature=feature_text(feature),
                share=tables.left_out_of_mape(errors, feature),
            )
            for feature in errors.features
            if errors.at("mape_left_out", "persistence", feature) > 0
        ],
        in_congestion=tables.congestion_rows(congested_errors),
        congestion=congestion,
        event_columns=[label if step else say("all") for step, label in columns.items()],
        events=tables.event_rows(errors, congestion),
        queue_minutes=queue_steps(errors.interval_minutes) * errors.interval_minutes,
        by_detector=tables.detector_table(errors, MODELS),
        costs=cost_rows(costs),
        differing=_differing(lstm.config, xlstm.config),
        parameters=tables.parameter_rows(configs.values()),
        training_reports=[
            link(say("training report of {name}", name=name), f"../{name}/training_report.md")
            for name in (config.experiment for config in configs.values())
        ],
    )


def _figures(comparison: Comparison, histories: Mapping[str, History]) -> dict[str, Draw]:
    from vd_forecasting.pipelines.reporting.plots import (  # noqa: PLC0415  (imports matplotlib)
        error_plots,
        forecast_plots,
        interval_plots,
        learning_plots,
    )

    errors, differences = comparison.errors, comparison.differences
    forecasts, congested = comparison.forecasts, most_congested_day(comparison.forecasts)
    event = congested.event
    of_blocks: dict[str, Draw] = {
        "error_by_block": partial(
            error_plots.plot_error_by_block, say("Does the order hold in each test block?"), errors
        )
    }
    return (of_blocks if len(errors.spans) > 1 else {}) | {
        "error_by_horizon": partial(
            error_plots.plot_error_by_horizon,
            say("How fast do the errors grow with the time ahead?"),
            errors,
            differences,
        ),
        "gain_by_horizon": partial(
            error_plots.plot_skill_by_horizon,
            say("How much better than persistence is each network?"),
            errors,
        ),
        "difference_by_horizon": partial(
            error_plots.plot_difference_by_horizon,
            say("Is xLSTM better than LSTM, and is that more than chance?"),
            errors,
            differences,
        ),
        "calibration": partial(
            interval_plots.plot_calibration,
            say("Do the intervals cover as many values as they promise?"),
            errors,
            comparison.intervals,
        ),
        "coverage_by_horizon": partial(
            interval_plots.plot_coverage_by_horizon,
            say("Do they cover as many at every time ahead?"),
            errors,
            comparison.intervals,
        ),
        "coverage_by_day": partial(
            interval_plots.plot_coverage_by_day,
            say("Do they cover as many on every day?"),
            errors,
            comparison.intervals,
            [*errors.networks, "persistence"],
        ),
        "congestion_by_horizon": partial(
            error_plots.plot_congestion_by_horizon,
            say("Is congestion forecast, and how often is it a false alarm?"),
            comparison.congestion,
            [*errors.networks, *errors.baselines],
        ),
        "forecast": partial(
            forecast_plots.plot_forecast,
            say("Which model sees {event} coming?", event=event),
            forecasts,
            congested,
            days=1,
        ),
        "forecast_fan": partial(
            forecast_plots.plot_fans,
            say("How do the forecasts change while {event} comes and goes?", event=event),
            forecasts,
            congested,
        ),
        "error_by_hour": partial(
            error_plots.plot_error_by_hour,
            say("At what time of day do the forecasts go wrong?"),
            errors,
        ),
        "error_by_vd": partial(
            error_plots.plot_error_by_vd,
            say("Which detectors are hard to forecast, and which model does better there?"),
            errors,
        ),
        "residuals": partial(
            error_plots.plot_residuals,
            say("Are the forecasts biased, and how often are they far off?"),
            forecasts,
            errors,
        ),
        "learning_curves": partial(
            learning_plots.plot_learning_curves,
            say("Which model learns faster, and which over-fits?"),
            histories,
        ),
    }


def _differing(lstm: Config, xlstm: Config) -> list[str]:
    first, second = (of.windows.model_dump() | of.training.model_dump() for of in (lstm, xlstm))
    against = say(
        "{first} against {second}",
        first=tables.calendar_in_words(lstm),
        second=tables.calendar_in_words(xlstm),
    )
    return [
        *(
            say(
                "{name} {first} against {second}",
                name=code(key),
                first=tables.parameter_text(first[key]),
                second=tables.parameter_text(value),
            )
            for key, value in second.items()
            if first[key] != value
        ),
        *([against] if lstm.holidays != xlstm.holidays else []),
    ]
