"""The page of a forecast; its text is ``templates/forecast.md.j2``."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import Config, RecentForecasts, RecentWindows, Tuned
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.language import say, speaking
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.forecast.drift import Drift
from vd_forecasting.pipelines.forecast.table import MOST_ROWS
from vd_forecasting.rendering.figures import with_figures
from vd_forecasting.rendering.markdown import code, plain_text
from vd_forecasting.rendering.page import Draw, Page
from vd_forecasting.rendering.searched import of_experiment
from vd_forecasting.rendering.templates import render
from vd_forecasting.vd_array import as_interval
from vd_forecasting.vocabulary import mode_in_words, name_of
from vd_forecasting.wording import (
    count,
    lead_time,
    level,
    number,
    plural,
    share,
    shown_horizons,
    time_stamp,
    with_unit,
)

MOST_DETECTORS = 20

Rows = list[list[str]]


@dataclass(frozen=True)
class ForecastPage:
    """What the template shows."""

    forecasts: RecentForecasts
    drift: Drift
    name: str
    """Name of the network that the page is about, in print."""
    judged: str
    """Name of the network that errors and drift are of."""
    refit: dict[str, str]
    """How many windows of ``comparison`` and ``file`` it was trained on again, ``until`` when, and
    for how many ``epochs``; empty without a refit."""
    mode: str
    """In words."""
    origin: str
    missing: str
    """Share of the values in the last window that were filled in; empty if none is missing."""
    reach: str
    """How far ahead the last horizon is."""
    clock: str
    """What is said of the clock; empty where the file and the model name the same."""
    left_out: list[str]
    """Detectors of the model that the file lacks."""
    flags: Rows
    """Flag, what it means, and number of the network's forecasts from the last origin."""
    num_forecasts: int
    """Of the network, from the last origin."""
    num_flagged: int
    """How many of these have a flag."""
    steps: list[str]
    """Header of the columns of shown horizons."""
    level: str
    """Of the widest intervals."""
    expected: dict[str, Rows]
    """By feature: a row per detector with the last value, and forecasts of the network with the
    widest interval in brackets."""
    num_unshown: int
    """Detectors that the tables leave out."""
    errors: dict[str, Rows]
    """By feature: errors at these horizons, promised and, if scored, of this file."""
    is_cut: bool
    """Whether the table leaves out origins."""


def write_page(
    recent: RecentWindows,
    forecasts: RecentForecasts,
    drift: Drift,
    config: Config,
    tuned: object,
    report: Report,
) -> Page:
    """Report the forecasts from the last origin, what is unsure about them, and the errors to be
    expected; a figure of errors too, where the truth is there.

    ``tuned`` is as of :func:`.scores.gather_outcome`.
    """
    with speaking(report.language):
        settings = of_experiment(config, Tuned.of(tuned, config))
        view = vars(_view(recent, forecasts, drift))
        text = render(__package__, "forecast", **view, settings=settings)
        return with_figures(text, partial(_figures, recent, forecasts, drift))


def _view(recent: RecentWindows, forecasts: RecentForecasts, drift: Drift) -> ForecastPage:
    interval = forecasts.interval_minutes
    horizons = shown_horizons(len(forecasts.horizons))
    shown = forecasts.best_informed
    network = forecasts.data.isel(origin=-1).sel(model=shown)
    counts = {
        name: int(forecasts.has(name).isel(origin=-1).sel(model=shown).sum()) for name in FLAGS
    }
    there = {*recent.vdids_there}
    return ForecastPage(
        forecasts,
        drift,
        name=name_of(shown),
        judged=name_of(forecasts.network),
        refit=_refit(forecasts),
        mode=mode_in_words(forecasts.mode),
        origin=_stamp(forecasts.origins[-1], forecasts),
        missing=share(missing) if (missing := missing_share(recent)) else "",
        reach=lead_time(interval * forecasts.horizons[-1]),
        clock=_clock(recent),
        left_out=[code(name) for name in recent.vdids if name not in there],
        flags=[[code(name), say(FLAGS[name]), count(n)] for name, n in counts.items() if n],
        num_forecasts=network["prediction"].size,
        num_flagged=int((network["flag"] > 0).sum()),
        steps=[lead_time(interval * step) for step in horizons],
        level=level(float(forecasts.levels[-1]) / 100),
        expected={
            with_unit(plain_text(feature), plain_text(unit)): expected_rows(
                recent, network.sel(feature=feature, horizon=horizons), forecasts.levels[-1]
            )
            for feature, unit in forecasts.units.items()
        },
        num_unshown=max(0, len(forecasts.vdids) - MOST_DETECTORS),
        errors={
            with_unit(plain_text(feature), plain_text(unit)): error_rows(
                drift, feature, horizons, forecasts.scored
            )
            for feature, unit in forecasts.units.items()
        },
        is_cut=forecasts.prediction.size > MOST_ROWS,
    )


def _figures(recent: RecentWindows, forecasts: RecentForecasts, drift: Drift) -> dict[str, Draw]:
    from vd_forecasting.pipelines.forecast import plots  # noqa: PLC0415  (imports matplotlib)

    expects = say("What does {name} expect?", name=name_of(forecasts.best_informed))
    promised = say("Are errors as the comparison promised?")
    figures: dict[str, Draw] = {"next": partial(plots.plot_next, expects, recent, forecasts)}
    if drift.origins:
        figures["errors"] = partial(plots.plot_errors, promised, forecasts, drift)
    return figures


def expected_rows(recent: RecentWindows, forecast: xr.Dataset, level: str) -> Rows:
    """The last value of a feature, and the forecast (horizon, vd) with the interval of a level in
    brackets; a row per detector."""
    feature, shown = str(forecast["feature"].item()), recent.vdids_there[:MOST_DETECTORS]
    names = ("prediction", f"lower_{level}", f"upper_{level}")
    return [
        [
            code(vdid),
            number(_last_value(recent, vdid, feature)),
            *(
                say(
                    "{point} ({low} to {high})",
                    point=number(point),
                    low=number(low),
                    high=number(high),
                )
                for point, low, high in zip(
                    *(forecast[name].sel(vd=vdid).values.tolist() for name in names), strict=True
                )
            ),
        ]
        for vdid in shown
    ]


def error_rows(drift: Drift, feature: str, horizons: list[int], models: list[str]) -> Rows:
    """Errors promised and of this file, a row per model and a column per horizon."""
    own = drift.scores[drift.scores["feature"] == feature]
    rows: Rows = []
    for model in models:
        by_step = own[own["model"] == model].set_index("horizon")
        for column, where in (("promised_mae", say("comparison")), ("mae", say("this file"))):
            errors: pd.Series[float] = by_step.loc[horizons, column]
            if errors.notna().any():
                rows.append([name_of(model), where, *map(number, errors)])
    return rows


def missing_share(recent: RecentWindows) -> float:
    """Share of the values in the last window, of the detectors that the file has, that are missing
    although the detector reported such values in training."""
    last = recent.starts("test")[-1]
    there = [recent.vdids.index(name) for name in recent.vdids_there]
    usable = recent.observed[: recent.ends["train"], there].any(axis=0)
    window = recent.observed[last : last + recent.sequence_length, there]
    return float(1 - window[:, usable].mean())


def _last_value(recent: RecentWindows, vdid: str, feature: str) -> float:
    """What was measured at the last origin, in physical units; NaN if nothing was."""
    at = recent.vdids.index(vdid), recent.targets.index(feature)
    values, observed = (series[recent.origins("test")[-1]] for series in recent.target_series)
    return float(recent.to_physical(values)[at]) if observed[at] else math.nan


def _refit(forecasts: RecentForecasts) -> dict[str, str]:
    """What the page says of a refit."""
    if not forecasts.refitted:
        return {}
    least, most = min(forecasts.refit_epochs), max(forecasts.refit_epochs)
    epochs = plural(most, "epoch")
    if least < most:
        epochs = say("{least} to {most} epochs", least=least, most=most)
    comparison, file = map(count, forecasts.refit_windows)
    until = _stamp(forecasts.refit_until, forecasts)
    return {"comparison": comparison, "file": file, "until": until, "epochs": epochs}


def _stamp(time: np.datetime64, forecasts: RecentForecasts) -> str:
    """A time with the offset of the file's clock."""
    offset = f" (UTC{forecasts.utc_offset})" if forecasts.utc_offset else ""
    return f"{time_stamp(time, as_interval(forecasts.interval_minutes))}{offset}"


def _clock(recent: RecentWindows) -> str:
    """What is said of the two clocks."""
    own, trained = recent.file_utc_offset, recent.utc_offset
    if own == trained:
        return ""
    if not own:
        return say(
            "the file names no UTC offset; its clock is taken for the training's, UTC{offset}",
            offset=trained,
        )
    if not trained:
        return say(
            "the training data named no UTC offset; their clock is taken for this one, UTC{offset}",
            offset=own,
        )
    return say(
        "the model was trained on a clock of UTC{trained}; time stamps here are of UTC{own}",
        trained=trained,
        own=own,
    )
