"""The page that compares both models of a mode; its text is ``templates/comparison.md.j2``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from vd_forecasting.artefacts import Config, Outcome
from vd_forecasting.evaluation.aligned import AlignedForecasts, most_congested_day
from vd_forecasting.evaluation.differences import Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.parameters import Evaluation
from vd_forecasting.pipelines.reporting.costs import Costs, cost_rows
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.pipelines.reporting.pages.tables import (
    DetectorTable,
    Rows,
    column_names,
    congestion_rows,
    detector_table,
    difference_rows,
    left_out_of_mape,
    model_rows,
    parameter_rows,
    parameter_text,
)
from vd_forecasting.pipelines.reporting.plots.error_plots import (
    plot_difference_by_horizon,
    plot_error_by_horizon,
    plot_error_by_hour,
    plot_error_by_vd,
    plot_residuals,
    plot_skill_by_horizon,
)
from vd_forecasting.pipelines.reporting.plots.forecast_plots import plot_fans, plot_forecast
from vd_forecasting.pipelines.reporting.plots.learning_plots import plot_learning_curves
from vd_forecasting.rendering.markdown import code, link
from vd_forecasting.rendering.page import Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vocabulary import MODELS, MODES_IN_WORDS, NAMES


@dataclass(frozen=True)
class FeatureComparison:
    """Tables of one feature."""

    name: str
    label: str
    """With its unit."""
    errors: Rows
    differences: Rows


@dataclass(frozen=True)
class Comparison:
    """What the template shows."""

    mode: str
    mode_in_words: str
    headlines: list[str]
    in_numbers: list[str]
    seed_caveat: str
    baseline_wins: list[str]
    forecasts: AlignedForecasts
    scored: str
    sequence_lengths: list[str]
    evaluation: Evaluation
    horizons: list[str]
    """Labels of the columns of errors; the last one is their average."""
    features: list[FeatureComparison]
    is_tested: bool
    left_out_of_mape: list[str]
    congestion: Rows
    """Empty if no step is congested."""
    by_detector: DetectorTable | None
    costs: Rows
    differing: list[str]
    """Settings that are not the same for both models."""
    parameters: Rows
    training_reports: list[str]
    """Links."""


def write_comparison(
    lstm: Outcome,
    xlstm: Outcome,
    forecasts: AlignedForecasts,
    errors: Errors,
    congested_errors: Errors,
    differences: Differences,
    evaluation: Evaluation,
) -> Page:
    """Compare both models of a mode.

    Args:
        lstm: its outcome.
        xlstm: its outcome.
        forecasts: of both models and the baselines.
        errors: of these forecasts.
        congested_errors: on the congested steps among them.
        differences: between the networks' errors, tested.
        evaluation: how forecasts are scored.
    """
    configs = {"lstm": lstm.config, "xlstm": xlstm.config}
    costs = {"lstm": Costs(lstm), "xlstm": Costs(xlstm)}
    congested = any(map(congested_errors.count, congested_errors.features))
    comparison = Comparison(
        mode=forecasts.mode,
        mode_in_words=MODES_IN_WORDS.get(forecasts.mode, forecasts.mode),
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
            {NAMES[model]: config.training.seeds for model, config in configs.items()}
        ),
        baseline_wins=verdicts.baseline_wins(errors),
        forecasts=forecasts,
        scored=errors.scored_in_words,
        sequence_lengths=[
            str(length)
            for length in sorted({of.windows.sequence_length for of in configs.values()})
        ],
        evaluation=evaluation,
        horizons=column_names(errors),
        features=[
            FeatureComparison(
                feature,
                errors.label(feature),
                model_rows(errors, differences, feature),
                difference_rows(errors, differences, feature),
            )
            for feature in errors.features
        ],
        is_tested=differences.is_tested,
        left_out_of_mape=[
            f"{feature} {left_out_of_mape(errors, feature)}"
            for feature in errors.features
            if errors.at("mape_left_out", "persistence", feature) > 0
        ],
        congestion=congestion_rows(congested_errors) if congested else [],
        by_detector=detector_table(errors.by_vd["mae"], MODELS),
        costs=cost_rows(costs),
        differing=_differing(configs),
        parameters=parameter_rows(configs.values()),
        training_reports=[
            link(f"training report of {name}", f"../{name}/training_report.md")
            for name in (config.experiment for config in configs.values())
        ],
    )
    learning_curves = partial(
        plot_learning_curves,
        "Which model learns faster, and which over-fits?",
        {"lstm": lstm.history, "xlstm": xlstm.history},
    )
    return Page(
        render(__package__, "comparison", **vars(comparison)),
        {**_figures(forecasts, errors, differences), "learning_curves": learning_curves},
    )


def _figures(
    forecasts: AlignedForecasts, errors: Errors, differences: Differences
) -> dict[str, Callable[[], Figure]]:
    congested = most_congested_day(forecasts)
    event = congested.event
    return {
        "error_by_horizon": partial(
            plot_error_by_horizon,
            "How fast do the errors grow with the time ahead?",
            errors,
            differences,
        ),
        "gain_by_horizon": partial(
            plot_skill_by_horizon, "How much better than persistence is each network?", errors
        ),
        "difference_by_horizon": partial(
            plot_difference_by_horizon,
            "Is xLSTM better than LSTM, and is that more than chance?",
            errors,
            differences,
        ),
        "forecast": partial(
            plot_forecast, f"Which model sees {event} coming?", forecasts, congested, days=1
        ),
        "forecast_fan": partial(
            plot_fans,
            f"How do the forecasts change while {event} comes and goes?",
            forecasts,
            congested,
        ),
        "error_by_hour": partial(
            plot_error_by_hour, "At what time of day do the forecasts go wrong?", errors
        ),
        "error_by_vd": partial(
            plot_error_by_vd,
            "Which detectors are hard to forecast, and which model does better there?",
            errors,
        ),
        "residuals": partial(
            plot_residuals,
            "Are the forecasts biased, and how often are they far off?",
            forecasts,
            errors,
        ),
    }


def _differing(configs: Mapping[str, Config]) -> list[str]:
    """Settings that both models have and that are not the same."""
    lstm, xlstm = (
        config.windows.model_dump() | config.training.model_dump() for config in configs.values()
    )
    return [
        f"{code(key)} {parameter_text(lstm[key])} against {parameter_text(value)}"
        for key, value in xlstm.items()
        if lstm[key] != value
    ]
