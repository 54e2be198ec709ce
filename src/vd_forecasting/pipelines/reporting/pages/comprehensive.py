"""The page that compares all six experiments; its text is ``templates/comprehensive.md.j2``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from vd_forecasting.evaluation.aligned import AlignedForecasts
from vd_forecasting.evaluation.differences import model_labels
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.pipelines.reporting.across_modes import AcrossModes, Found
from vd_forecasting.pipelines.reporting.costs import Costs
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.pipelines.reporting.pages.tables import (
    TICK,
    Rows,
    column_names,
    horizon_columns,
    mae_cells,
    skill,
)
from vd_forecasting.pipelines.reporting.plots.comprehensive_plots import (
    plot_confidence_set,
    plot_cost,
    plot_error,
    plot_error_by_horizon_and_mode,
)
from vd_forecasting.rendering.html_page import render_page
from vd_forecasting.rendering.markdown import code, link
from vd_forecasting.rendering.page import REFERENCE, Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.running.failure import Failure
from vd_forecasting.vocabulary import MODES, NAMES
from vd_forecasting.wording import count, duration, listed, number, plural

SAMPLE = "vd_sample.h5"


@dataclass(frozen=True)
class ErrorTable:
    """Errors of one feature of models that are scored on the same values."""

    horizons: list[str]
    """Labels of the columns; the last one is their average."""
    rows: Rows


@dataclass(frozen=True)
class Comprehensive:
    """What the template shows."""

    missing: list[str]
    """What failed, and why."""
    headlines: list[str]
    in_numbers: list[str]
    seed_caveat: str
    baseline_wins: list[str]
    comparable: bool
    """Whether all modes are scored on the same detectors."""
    first: AlignedForecasts
    scored: str
    left_out: list[str]
    features: dict[str, list[ErrorTable]]
    """By feature with its unit; a table per mode where modes are not comparable."""
    is_tested: bool
    confidence: float
    costs: Rows
    sources: list[str]
    simulated: bool
    test_days: tuple[str, str]
    """First and last."""
    several_seeds: bool
    still_improving: list[str]
    compared: list[str]
    """Modes with a page of their own."""
    training_reports: list[str]
    """Links."""


def write_comprehensive(found: Found, across: AcrossModes) -> Page:
    """Compare all experiments that did not fail."""
    outcomes, by_mode = found.outcomes, across.errors
    costs = {name: Costs(outcome) for name, outcome in outcomes.items()}
    configs = {
        f"{config.mode} {NAMES[config.model]}": config
        for outcome in outcomes.values()
        for config in [outcome.config]
    }
    comparable, first = across.modes.comparable, next(iter(configs.values()))
    sources = list(dict.fromkeys(config.source for config in configs.values()))
    page = Comprehensive(
        missing=_missing(found.failures),
        headlines=[
            verdicts.baselines_headline_of_modes(by_mode),
            verdicts.tally(by_mode, across.differences),
        ],
        in_numbers=[
            *(verdicts.best_of(by_mode, feature) for feature in across.features if comparable),
            *verdicts.difference_details_of_modes(by_mode, across.differences),
            *verdicts.cost_span(costs),
        ],
        seed_caveat=verdicts.seed_caveat(
            {name: config.training.seeds for name, config in configs.items()}
        ),
        baseline_wins=verdicts.baseline_wins_of_modes(by_mode),
        comparable=comparable,
        first=across.modes.first,
        scored=_scored(across),
        left_out=[
            sentence
            for forecasts in list(across.modes.by_mode.values())[: 1 if comparable else None]
            for sentence in forecasts.left_out
        ],
        features={across.label(f): _error_tables(across, f) for f in across.features},
        is_tested=across.is_tested,
        confidence=across.confidence,
        costs=_cost_rows(costs),
        sources=list(map(code, sources)),
        simulated=SAMPLE in sources,
        test_days=(first.split["test"].start[:10], first.split["test"].end[:10]),
        several_seeds=any(cost.seeds > 1 for cost in costs.values()),
        still_improving=[name for name, cost in costs.items() if cost.still_improving],
        compared=[mode for mode in MODES if f"compare_{mode}" not in found.failures],
        training_reports=[link(name, f"../{name}/training_report.md") for name in outcomes],
    )
    return Page(
        render(__package__, "comprehensive", **vars(page)),
        {
            "error": partial(plot_error, "Which mode and model forecasts best?", across),
            "best_set": partial(
                plot_confidence_set,
                "Which models could be the best, and which are surely not?",
                across,
            ),
            "error_by_horizon": partial(
                plot_error_by_horizon_and_mode,
                "How fast do the errors grow with the time ahead, in each mode?",
                across,
            ),
            "cost": partial(plot_cost, "What does accuracy cost?", across, costs),
        },
    )


def render_comprehensive(page: Page) -> str:
    """The page as one HTML file that needs no other.

    Args:
        page: as it was loaded, its figures PNG files.
    """
    figures = {name: png for name, png in page.figures.items() if isinstance(png, bytes)}
    return render_page(page.text, {f"{REFERENCE}{name}": png for name, png in figures.items()})


def _missing(failures: Mapping[str, Failure]) -> list[str]:
    because: dict[Failure, list[str]] = {}
    for name, failure in failures.items():
        because.setdefault(failure, []).append(_in_words(name))
    return [
        f"{listed(names)}: {code(failure.node)} failed, {code(failure.reason)}"
        for failure, names in because.items()
    ]


def _in_words(name: str) -> str:
    if name.startswith("compare_"):
        return f"the comparison of {name.removeprefix('compare_')}"
    if name.endswith("_baselines"):
        return f"the baselines of {name.removesuffix('_baselines')}"
    return name


def _scored(across: AcrossModes) -> str:
    """How much is scored; of each mode where they are not comparable."""
    if across.modes.comparable:
        return next(iter(across.errors.values())).scored_in_words
    return "; ".join(
        f"{mode}: {plural(len(forecasts.vdids), 'detector')}, "
        f"{plural(len(forecasts.origins), 'forecast origin')}, "
        f"{across.errors[mode].scored_in_words}"
        for mode, forecasts in across.modes.by_mode.items()
    )


def _error_tables(across: AcrossModes, feature: str) -> list[ErrorTable]:
    by_mode = {mode: errors for mode, errors in across.errors.items() if feature in errors.features}
    if across.modes.comparable:
        return [_error_table(across, by_mode, feature)]
    return [_error_table(across, {mode: errors}, feature) for mode, errors in by_mode.items()]


def _error_table(across: AcrossModes, by_mode: Mapping[str, Errors], feature: str) -> ErrorTable:
    """Networks and baselines of some modes, all scored on the same values."""
    distinct = across.models
    models = [
        (mode, model)
        for kind in ("networks", "baselines")
        for mode, errors in by_mode.items()
        for model in getattr(errors, kind)
        if (mode, model) in distinct
    ]
    first = next(iter(by_mode.values()))
    cells = mae_cells(
        [(by_mode[mode], model) for mode, model in models], feature, horizon_columns(first)
    )
    rows = [
        [
            label,
            *of_model,
            skill(by_mode[mode], model, feature),
            number(by_mode[mode].at("mase", model, feature)),
            number(by_mode[mode].at("r2", model, feature)),
            TICK if across.in_set(mode, model, feature) else "",
        ]
        for label, (mode, model), of_model in zip(model_labels(models), models, cells, strict=True)
    ]
    return ErrorTable(column_names(first), rows)


def _cost_rows(costs: Mapping[str, Costs]) -> Rows:
    return [
        [
            link(name, f"../{name}/training_report.md"),
            count(len(cost.outcome.config.vdids)),
            cost.parameters_in_words,
            duration(cost.seconds),
            cost.seconds_per_epoch_in_words,
            cost.best_epoch_in_words,
            number(cost.gap),
        ]
        for name, cost in costs.items()
    ]
