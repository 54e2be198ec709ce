"""The page that compares all experiments; its text is ``templates/comprehensive.md.j2``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from vd_forecasting.artefacts.records import SplitSpan
from vd_forecasting.evaluation.differences import model_labels
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.language import say, speaking
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.reporting.across_modes import AcrossModes, Found
from vd_forecasting.pipelines.reporting.costs import Costs
from vd_forecasting.pipelines.reporting.pages import tables, verdicts
from vd_forecasting.rendering import searched
from vd_forecasting.rendering.figures import with_figures
from vd_forecasting.rendering.markdown import code, link, plain_text
from vd_forecasting.rendering.page import REFERENCE, Draw, Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.running.failure import Failure
from vd_forecasting.vocabulary import MODELS, joined_label, name_of
from vd_forecasting.wording import count, duration, listed, number, plural


@dataclass(frozen=True)
class ErrorTable:
    """Errors of one feature of models that are scored on the same values."""

    horizons: list[str]
    """Labels of the columns; the last one is their average."""
    rows: tables.Rows
    best: list[str]
    """Labels of the model confidence set; none if the test days are too few."""


@dataclass(frozen=True)
class Comprehensive:
    """What the template shows."""

    across: AcrossModes
    missing: list[str]
    """What is left out, and why."""
    left_out_mode: str
    """Why a mode that has results is not compared with the others, if there is one."""
    headlines: list[str]
    in_numbers: list[str]
    seed_caveat: str
    baseline_wins: list[str]
    scored: str
    left_out: list[str]
    features: dict[str, list[ErrorTable]]
    """By feature with its unit; a table per mode where modes are not comparable."""
    confidence_set: str
    costs: tables.Rows
    sources: list[str]
    tests: list[SplitSpan]
    """Test periods, of each test block one."""
    several_seeds: bool
    searched: list[str]
    """By mode, where the settings are from; empty if all were given."""
    still_improving: list[str]
    compared: list[str]
    """Modes with a page of their own."""
    training_reports: list[str]
    """Links."""


def write_comprehensive(found: Found, across: AcrossModes, report: Report) -> Page:
    """Compare all experiments that did not fail."""
    costs = {name: Costs(outcome) for name, outcome in found.outcomes.items()}
    with speaking(report.language):
        text = render(__package__, "comprehensive", **vars(_view(found, across, costs)))
        return with_figures(text, partial(_figures, across, costs))


def _view(found: Found, across: AcrossModes, costs: Mapping[str, Costs]) -> Comprehensive:
    outcomes, by_mode, comparable = found.outcomes, across.errors, across.modes.comparable
    configs = [outcome.config for outcome in outcomes.values()]
    return Comprehensive(
        across,
        missing=_missing(found.failures),
        left_out_mode=found.left_out,
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
            {f"{config.mode} {name_of(config.model)}": config.training.seeds for config in configs}
        ),
        baseline_wins=verdicts.baseline_wins_of_modes(by_mode),
        scored=_scored(across),
        left_out=[
            sentence
            for forecasts in list(across.modes.by_mode.values())[: 1 if comparable else None]
            for sentence in forecasts.left_out
        ],
        features={plain_text(across.label(f)): _error_tables(across, f) for f in across.features},
        confidence_set=verdicts.about_confidence_set(
            across,
            say(" among all models of all modes")
            if comparable
            else say(" among the models of its mode"),
        ),
        costs=_cost_rows(costs),
        sources=list(dict.fromkeys(config.source for config in configs)),
        tests=configs[0].test_periods,
        several_seeds=any(cost.seeds > 1 for cost in costs.values()),
        searched=searched.of_modes(outcomes),
        still_improving=[name for name, cost in costs.items() if cost.still_improving],
        compared=[*found.scores],
        training_reports=[link(name, f"../{name}/training_report.md") for name in outcomes],
    )


def _figures(across: AcrossModes, costs: Mapping[str, Costs]) -> dict[str, Draw]:
    from vd_forecasting.pipelines.reporting.plots import (  # noqa: PLC0415  (imports matplotlib)
        comprehensive_plots as plots,
    )

    best = say("How far is each model from the best?")
    if across.has_set:
        best = say("Which models could be the best, and which are surely not?")
    which = say("Which mode and model forecasts best?")
    grow = say("How fast do the errors grow with the time ahead, in each mode?")
    accuracy = say("What does accuracy cost?")
    return {
        "error": partial(plots.plot_error, which, across),
        "best_set": partial(plots.plot_confidence_set, best, across),
        "error_by_horizon": partial(plots.plot_error_by_horizon_and_mode, grow, across),
        "cost": partial(plots.plot_cost, accuracy, across, costs),
    }


def render_comprehensive(page: Page, report: Report) -> str:
    """The page as one HTML file that needs no other; its figures PNG files, as it was loaded."""
    from vd_forecasting.rendering.html_page import render_page  # noqa: PLC0415  (slow to import)

    figures = {name: png for name, png in page.figures.items() if isinstance(png, bytes)}
    with speaking(report.language):
        return render_page(page.text, {f"{REFERENCE}{name}": png for name, png in figures.items()})


def _missing(failures: Mapping[str, Failure]) -> list[str]:
    because: dict[Failure, list[str]] = {}
    for name, failure in failures.items():
        because.setdefault(failure, []).append(_in_words(name))
    return [
        say(
            "{what}: {node} {state}, {reason}",
            what=listed(names),
            node=code(failure.node),
            state=say(failure.state),
            reason=code(failure.reason),
        )
        for failure, names in because.items()
    ]


def _in_words(name: str) -> str:
    if name.startswith("compare_"):
        return say("the comparison of {mode}", mode=name.removeprefix("compare_"))
    if name.endswith("_baselines"):
        return say("the baselines of {mode}", mode=name.removesuffix("_baselines"))
    return name


def _scored(across: AcrossModes) -> str:
    """How much is scored; of each mode where they are not comparable."""
    if across.modes.comparable:
        return next(iter(across.errors.values())).scored_in_words
    return say("; ").join(
        say(
            "{mode}: {detectors}, {origins}, {values}",
            mode=mode,
            detectors=plural(len(forecasts.vdids), "detector"),
            origins=plural(len(forecasts.origins), "forecast origin"),
            values=across.errors[mode].scored_in_words,
        )
        for mode, forecasts in across.modes.by_mode.items()
    )


def _error_tables(across: AcrossModes, feature: str) -> list[ErrorTable]:
    by_mode = {mode: errors for mode, errors in across.errors.items() if feature in errors.features}
    if across.modes.comparable:
        return [_error_table(across, by_mode, feature)]
    return [_error_table(across, {mode: errors}, feature) for mode, errors in by_mode.items()]


def _error_table(across: AcrossModes, by_mode: Mapping[str, Errors], feature: str) -> ErrorTable:
    """Networks and baselines of some modes, all scored on the same values."""
    models = [(mode, model) for mode, model in across.models if mode in by_mode]
    models.sort(key=lambda mode_and_model: mode_and_model[1] not in MODELS)  # networks come first
    by_label = {}
    for label, (mode, model) in zip(model_labels(models), models, strict=True):
        by_label[label] = (mode, model)
        if joined := by_mode[mode].joined.get(model):
            by_label[joined_label(label, by_mode[mode].seeds[model])] = (mode, joined)
    best = [label for label, m in by_label.items() if m in models and across.in_set(*m, feature)]
    rows = tables.model_rows(
        {label: (by_mode[mode], model) for label, (mode, model) in by_label.items()},
        feature,
        ("mase", "r2"),
        best,
    )
    first = next(iter(by_mode.values()))
    return ErrorTable([*tables.horizon_columns(first).values()], rows, best)


def _cost_rows(costs: Mapping[str, Costs]) -> tables.Rows:
    return [
        [
            link(name, f"../{name}/training_report.md"),
            count(len(cost.outcome.config.vdids)),
            cost.parameters_in_words,
            duration(cost.seconds),
            duration(cost.seconds_per_epoch),
            cost.best_epoch_in_words,
            number(cost.gap),
        ]
        for name, cost in costs.items()
    ]
