"""Errors by horizon, hour of day and detector, and how they are distributed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vd_forecasting.evaluation.aligned import AlignedForecasts
from vd_forecasting.evaluation.congestion import Congestion
from vd_forecasting.evaluation.differences import Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.language import closed_up, say
from vd_forecasting.rendering import plot_style as style
from vd_forecasting.vd_array import in_memory
from vd_forecasting.vocabulary import MODELS, name_of
from vd_forecasting.wording import ahead, feature_name, level, month_and_day, plural, share

MAX_LABELLED_VDS = 40
_MAX_PLOTTED_MARKERS = 16
_BINS = 41
_SHOWN_PERCENTILES = (0.5, 99.5)
_MOST_RESIDUALS = 10_000_000
"""At most so many in a plot (40 MB); of more detectors an even subset is used."""
_SHOWN_DETECTORS = 0.995
LEAST_CHANGE_SHOWN = 30.0
"""Differences of so many per cent lie in the plot, with their intervals."""


def plot_error_by_horizon(
    question: str, errors: Errors, differences: Differences | None = None
) -> Figure:
    """MAE over minutes ahead, a panel per feature; with bands where there are intervals."""
    tested = differences if differences and differences.is_tested else None
    detail = scored_on(errors)
    if tested:
        detail = say(
            "Scored on {values}. Bands: {level} intervals of each network's own MAE. They overlap "
            "even where one is surely better: both have the same hard days.",
            values=errors.scored_in_words,
            level=level(tested.confidence),
        )
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4)
    for feature, ax in axes.items():
        style.title(ax, mae_of(errors.label(feature)))
        draw_by_horizon(ax, errors, feature)
        if tested:
            _draw_bands(ax, errors, tested, feature)
        style.start_at_zero(ax)
    style.legend_below(figure, model_handles([*errors.networks, *errors.baselines]))
    return figure


def mae_of(feature: str) -> str:
    """The title of a panel."""
    return say("MAE of {feature}", feature=feature)


def scored_on(errors: Errors) -> str:
    """How many values errors are of, a sentence."""
    return say("Scored on {values}.", values=errors.scored_in_words)


def draw_by_horizon(ax: Axes, errors: Errors, feature: str) -> None:
    """Lines of MAE, of every network and baseline, into one panel."""
    lead_times, _ = lead_times_of(errors)
    for model in [*errors.baselines, *errors.networks]:
        values = [errors.at("mae", model, feature, step) for step in errors.horizons]
        ax.plot(lead_times, values, **horizon_line(model, len(lead_times)))
    horizon_axis(ax, errors)
    if not errors.count(feature):
        style.say_empty(ax, say("nothing observed, nothing scored"))


def _draw_bands(ax: Axes, errors: Errors, tested: Differences, feature: str) -> None:
    lead_times, _ = lead_times_of(errors)
    for model in errors.networks:
        ends = (tested.mae_low, tested.mae_high)
        low, high = (of.sel(model=model, feature=feature).values for of in ends)
        colour = style.COLOURS[model]
        if len(lead_times) > 1:
            ax.fill_between(lead_times, low, high, color=colour, alpha=0.15, linewidth=0)
        else:
            ax.vlines(lead_times, low, high, color=colour, alpha=0.3, linewidth=6)


def plot_skill_by_horizon(question: str, errors: Errors) -> Figure:
    """Relative difference of each MAE from persistence's, a panel per feature."""
    detail = say(
        "MAE against persistence's; below the line is better. Baselines are shown that do better "
        "than persistence on average. Scored on {values}.",
        values=errors.scored_in_words,
    )
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4, sharey=True)
    lead_times, _ = lead_times_of(errors)
    for feature, ax in axes.items():
        mae = errors.by_horizon["mae"].sel(feature=feature)
        reference = mae.sel(model="persistence")
        reference = reference.where(reference > 0)
        for model in [*strong_baselines(errors, feature), *errors.networks]:
            if model != "persistence":
                skill = 100 * (mae.sel(model=model) / reference - 1)
                ax.plot(lead_times, skill.values, **horizon_line(model, len(lead_times)))
        if not reference.notnull().any():
            style.say_empty(ax, say("nothing observed, nothing scored"))
        ax.axhline(0, **style.line_style("persistence"))
        _finish_relative(ax, errors, feature)
    style.legend_below(figure, model_handles(_legend_models(errors)))
    return figure


def plot_difference_by_horizon(question: str, errors: Errors, differences: Differences) -> Figure:
    """xLSTM's MAE relative to LSTM's over minutes ahead, with its interval, a panel per feature."""
    detail = say(
        "xLSTM's MAE against LSTM's; below the line xLSTM is better. Scored on {values}. The test "
        "days are too few for intervals.",
        values=errors.scored_in_words,
    )
    if differences.is_tested:
        detail = say(
            "xLSTM's MAE against LSTM's; below the line xLSTM is better. Scored on {values}. "
            "Bands: {level} intervals; where a band lies on the line, the difference may be "
            "chance.",
            values=errors.scored_in_words,
            level=level(differences.confidence),
        )
    every = [differences.between[of, step] for of in errors.features for step in errors.horizons]
    changes, ends = (
        np.abs([100 * getattr(of, name) for of in every for name in names])
        for names in (("change",), ("low", "high"))
    )
    # The interval of a ratio can be many times as wide as what there is to see.
    most = max(LEAST_CHANGE_SHOWN, 3 * max(changes[np.isfinite(changes)], default=0))
    is_cut = bool((ends > most).any())
    if is_cut:
        detail = closed_up(f"{detail} {say('Bands that reach beyond the plot are cut off.')}")
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4, sharey=True)
    colour, (lead_times, _) = style.COLOURS["xlstm"], lead_times_of(errors)
    for feature, ax in axes.items():
        if is_cut:
            ax.set_ylim(-most, most)
        between = [differences.between[feature, step] for step in errors.horizons]
        low, middle, high = (
            [100 * getattr(difference, end) for difference in between]
            for end in ("low", "change", "high")
        )
        ax.fill_between(lead_times, low, high, color=colour, alpha=0.2, linewidth=0)
        if len(lead_times) == 1:  # a band of no width would not be seen
            ax.vlines(lead_times, low, high, color=colour, alpha=0.4)
        ax.plot(lead_times, middle, **horizon_line("xlstm", len(lead_times)))
        ax.axhline(0, **style.line_style("lstm", marker=""))
        if not np.isfinite(middle).any():
            style.say_empty(ax, say("nothing to compare"))
        _finish_relative(ax, errors, feature)
    style.legend_below(figure, model_handles(MODELS))
    return figure


def plot_congestion_by_horizon(
    question: str, congestion: Congestion, models: Sequence[str]
) -> Figure:
    """Precision, recall and F1 of congestion as an event over minutes ahead, a panel each."""
    if not congestion.congested:
        return style.figure_without_data(question, say("no test step is known to be congested"))
    detail = say(
        "Congested: {share} of {speeds}. Precision: how many forecasts of congestion come true; "
        "recall: how much of it is forecast; F1: both together.",
        share=share(congestion.share),
        speeds=plural(congestion.scored, "scored speed"),
    )
    panels = {"precision": say("precision"), "recall": say("recall"), "f1": "F1"}
    figure, axes = style.feature_panels(question, detail, list(panels), 3.4, sharey=True)
    lead_times, _ = lead_times_of(congestion)
    for score, ax in axes.items():
        style.title(ax, panels[score])
        for model in reversed(models):
            values = congestion.by_horizon[score].sel(model=model).values
            ax.plot(lead_times, values, **horizon_line(model, len(lead_times)))
        horizon_axis(ax, congestion)
        ax.set_ylim(0, 1.02)
    style.legend_below(figure, model_handles(models))
    return figure


def _finish_relative(ax: Axes, errors: Errors, feature: str) -> None:
    style.title(ax, feature_name(feature))
    horizon_axis(ax, errors)
    ax.yaxis.set_major_formatter(signed_percent)


def signed_percent(value: float, _: float) -> str:
    """A tick label."""
    shown = f"{value:+.3g}".replace("-", "−") if round(value, 6) else "0"
    return say("{number} %", number=shown)


def plot_error_by_hour(question: str, errors: Errors) -> Figure:
    """MAE by the hour of day that was forecast, all horizons together, a panel per feature."""
    detail = say(
        "By the hour that was forecast. Baselines are shown that do better than persistence on "
        "average. Scored on {values}.",
        values=errors.scored_in_words,
    )
    figure, axes = _lines_of_models(question, detail, errors, errors.by_hour)
    for ax in axes:
        ax.set_xlim(-0.5, 23.5)
        ax.set_xticks(range(0, 24, 4), [f"{hour}:00" for hour in range(0, 24, 4)])
        ax.set_xlabel(say("hour of day"))
    return figure


def plot_error_by_block(question: str, errors: Errors) -> Figure:
    """MAE of each test block, all horizons together, a panel per feature."""
    detail = say(
        "Models are trained anew for each block. Baselines are shown that do better than "
        "persistence on average. Scored on {values}.",
        values=errors.scored_in_words,
    )
    figure, axes = _lines_of_models(question, detail, errors, errors.by_block["mae"])
    begins = [f"{number}\n{month_and_day(begin)}" for number, (begin, _) in errors.spans.items()]
    for ax in axes:
        ax.set_xticks(list(errors.spans), begins)
        ax.set_xlabel(say("test block and its first day"))
    return figure


def _lines_of_models(
    question: str, detail: str, errors: Errors, mae: xr.DataArray
) -> tuple[Figure, list[Axes]]:
    """MAE over (model, feature) and one other dim, a panel per feature, a line per model."""
    [along] = {*mae.dims} - {"model", "feature"}
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4)
    for feature, ax in axes.items():
        style.title(ax, mae_of(errors.label(feature)))
        for model in [*strong_baselines(errors, feature), *errors.networks]:
            values = mae.sel(model=model, feature=feature).dropna(along)
            ax.plot(values[along].values, values.values, **style.line_style(model))
        style.start_at_zero(ax)
        if not errors.count(feature):
            style.say_empty(ax, say("nothing observed, nothing scored"))
    style.legend_below(figure, model_handles(_legend_models(errors)))
    return figure, list(axes.values())


def plot_error_by_vd(question: str, errors: Errors) -> Figure:
    """MAE by detector, all horizons together, a panel per feature: a row of dots for each detector,
    or of many how they are distributed."""
    by_vd = errors.by_vd["mae"]
    if by_vd.sizes["vd"] > MAX_LABELLED_VDS:
        return _plot_distribution(question, errors)
    vdids = [str(vdid) for vdid in by_vd["vd"].values]
    detail = scored_on(errors)
    height = max(1.2, 0.27 * len(vdids) + 0.9)
    figure, axes = style.feature_panels(question, detail, errors.features, height)
    rows = np.arange(len(vdids))
    for position, (feature, ax) in enumerate(axes.items()):
        models = [*strong_baselines(errors, feature), *errors.networks]
        values = by_vd.sel(feature=feature, model=models).transpose("model", "vd").values
        ends = np.fmin.reduce(values), np.fmax.reduce(values)
        ax.hlines(rows, *ends, color="#D0D0D0", linewidth=2, zorder=1)
        for model, of_model in zip(models, values, strict=True):
            ax.plot(of_model, rows, **_dot(model, 5))
        style.title(ax, mae_of(errors.label(feature)))
        ax.set_ylim(len(vdids) - 0.4, -0.6)
        ax.set_xlim(0, 1.06 * float(np.nanmax(values, initial=0)) or 1)
        ax.grid(visible=False, axis="y")
        ax.set_yticks(rows, vdids if position % style.MAX_COLUMNS == 0 else [])
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        if not by_vd.sel(feature=feature).notnull().any():
            style.say_empty(ax, say("nothing observed, nothing scored"))
    style.legend_below(figure, [Line2D([], [], **_dot(m, 5)) for m in _legend_models(errors)])
    return figure


def _plot_distribution(question: str, errors: Errors) -> Figure:
    """The share of the detectors with at most some MAE, a line per model."""
    by_vd = errors.by_vd["mae"]
    detail = say(
        "Share of {detectors} with at most such an error; further left is better. Scored on "
        "{values}.",
        detectors=plural(by_vd.sizes["vd"], "detector"),
        values=errors.scored_in_words,
    )
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4, sharey=True)
    for feature, ax in axes.items():
        style.title(ax, mae_of(errors.label(feature)))
        largest = 0.0
        for model in [*strong_baselines(errors, feature), *errors.networks]:
            values = by_vd.sel(feature=feature, model=model).values
            values = np.sort(values[np.isfinite(values)])
            if values.size:
                shares = 100 * np.arange(1, len(values) + 1) / len(values)
                ax.plot(values, shares, drawstyle="steps-post", **_step_style(model))
                largest = max(largest, float(np.quantile(values, _SHOWN_DETECTORS)))
        ax.set_xlim(0, 1.06 * largest or 1)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        if not largest:
            style.say_empty(ax, say("nothing observed, nothing scored"))
    next(iter(axes.values())).set_ylabel(say("% of detectors"))
    handles = [Line2D([], [], **_step_style(model)) for model in _legend_models(errors)]
    style.legend_below(figure, handles)
    return figure


def _dot(model: str, size: float) -> dict[str, Any]:
    """A ring for LSTM, a diamond for xLSTM and a bar for persistence: none hides another."""
    dot: dict[str, Any] = {"color": style.COLOURS[model], "label": name_of(model), "linestyle": ""}
    dot |= {"marker": style.MARKERS[model], "markersize": size}
    if model == "lstm":
        dot |= {"markersize": 1.3 * size, "markerfacecolor": "none", "markeredgewidth": 1.6}
    if model == "persistence":
        dot |= {"markersize": 1.8 * size, "markeredgewidth": 1.6}
    return dot


def plot_residuals(question: str, forecasts: AlignedForecasts, errors: Errors) -> Figure:
    """Histograms of forecast − truth at the last horizon, a panel per feature."""
    horizon = errors.horizons[-1]
    models = [*errors.networks, _best_baseline(errors)]
    last = replace(forecasts, data=forecasts.data.sel(horizon=[horizon]))
    lazy = last.shown.sel(model=models) - last.truth
    vds = lazy.sizes["vd"]
    count = min(max(_MOST_RESIDUALS * vds // lazy.size, 1), vds)
    all_residuals = in_memory(lazy.isel(vd=np.arange(count) * vds // count))
    detail = say(
        "Forecast − measured, {ahead}; right of zero is too high. The short bars below are means; "
        "1 % of the errors lie further out than is shown.",
        ahead=ahead(horizon, errors.interval_minutes),
    )
    if count < vds:
        some = say(
            "{number} of {detectors}, evenly spread.",
            number=f"{count:,}",
            detectors=plural(vds, "detector"),
        )
        detail = closed_up(f"{detail} {some}")
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4)
    for feature, ax in axes.items():
        style.title(ax, say("error of {feature}", feature=errors.label(feature)))
        residuals = all_residuals.sel(feature=feature)
        everything = residuals.sel(model=models).values
        everything = everything[np.isfinite(everything)]
        if not everything.size:
            style.say_empty(ax, say("nothing observed, nothing scored"))
            continue
        reach = np.abs(np.percentile(everything, _SHOWN_PERCENTILES)).max() or 1.0
        edges = np.linspace(-reach, reach, _BINS + 1)
        for model in reversed(models):
            values = residuals.sel(model=model).values
            values = values[np.isfinite(values)]
            if values.size:
                share, _ = np.histogram(values, edges)
                ax.stairs(100 * share / len(values), edges, **_step_style(model))
                ax.axvline(values.mean(), 0, 0.06, color=style.COLOURS[model], linewidth=2.5)
        ax.axvline(0, color="#666666", linewidth=0.8)
        ax.set_ylabel(say("% of errors"))
        ax.set_ylim(bottom=0)
    handles = [Line2D([], [], **_step_style(model)) for model in models]
    style.legend_below(figure, handles)
    return figure


def _step_style(model: str) -> dict[str, Any]:
    """A model's line without its markers, which steps have not."""
    look = style.line_style(model, linewidth=1.5)
    return {key: value for key, value in look.items() if not key.startswith("marker")}


def _best_baseline(errors: Errors) -> str:
    """The baseline with the lowest mean of MASE over the features; persistence without MASE."""
    mase = errors.average["mase"].sel(model=errors.baselines)
    mean = mase.where(np.isfinite(mase)).mean("feature")
    return str(mean.idxmin("model", fill_value="persistence").item())


def strong_baselines(errors: Errors, feature: str) -> list[str]:
    """Persistence and the baselines with a lower average MAE."""
    reference = errors.at("mae", "persistence", feature)
    return [
        name
        for name in errors.baselines
        if name == "persistence" or errors.at("mae", name, feature) < reference
    ]


def _legend_models(errors: Errors) -> list[str]:
    """The networks and the baselines that are strong on any feature."""
    strong = {name for feature in errors.features for name in strong_baselines(errors, feature)}
    return [*errors.networks, *(name for name in errors.baselines if name in strong)]


def model_handles(models: Iterable[str]) -> list[Line2D]:
    """Legend entries in the models' colours."""
    return [Line2D([], [], **style.line_style(model)) for model in models]


def lead_times_of(errors: Errors | Congestion) -> tuple[list[float], str]:
    """Of every horizon, and the label of their axis."""
    minutes = [step * errors.interval_minutes for step in errors.horizons]
    if minutes[-1] > 300:
        return [value / 60 for value in minutes], say("hours ahead")
    return minutes, say("minutes ahead")


def horizon_axis(ax: Axes, errors: Errors | Congestion) -> None:
    """Minutes or hours ahead as the axis of horizons."""
    lead_times, label = lead_times_of(errors)
    ax.set_xlabel(label)
    if len(lead_times) <= 12:
        ticks = lead_times if len(lead_times) <= 6 else lead_times[1::2]
        ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(8))
    ax.margins(x=0.04)


def horizon_line(model: str, horizons: int) -> dict[str, Any]:
    """How a model's line over so many horizons is drawn."""
    if horizons == 1:  # a line of one point would not be seen
        point = {"marker": style.MARKERS[model], "markersize": 6}
        if model not in MODELS:
            point = {"marker": "_", "markersize": 14}
        return style.line_style(model, **point)
    return style.line_style(model, **({} if horizons <= _MAX_PLOTTED_MARKERS else {"marker": ""}))
