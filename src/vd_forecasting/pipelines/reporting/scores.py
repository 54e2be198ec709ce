"""The outcome and the scores of one experiment, and the scores of both models of a mode."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import (
    BaselineForecasts,
    Config,
    Cost,
    FitErrors,
    Forecasts,
    History,
    Outcome,
    Tuned,
)
from vd_forecasting.datasets import Frames
from vd_forecasting.evaluation.aligned import AlignedForecasts, Member, align
from vd_forecasting.evaluation.congestion import (
    Congestion,
    CongestionCounts,
    announcements,
    congestion_of,
    congestion_scores,
    count_congestion,
)
from vd_forecasting.evaluation.differences import (
    Difference,
    Differences,
    difference_between,
    find_differences,
)
from vd_forecasting.evaluation.errors import Errors, Json, SummedErrors, errors_of, sum_errors
from vd_forecasting.evaluation.interval_scores import (
    SCORES,
    IntervalScores,
    SummedIntervals,
    interval_scores_of,
    scores_of,
    sum_intervals,
)
from vd_forecasting.evaluation.metrics import ERRORS, by_feature, from_sums, tidy
from vd_forecasting.evaluation.sums_over_time import AVERAGE
from vd_forecasting.parameters import Evaluation, Intervals
from vd_forecasting.rendering.page import Page
from vd_forecasting.vocabulary import SPEED
from vd_forecasting.wording import shortened

PLACES_AT_ONCE: Final = 10_000
"""Detectors times features times horizons; each has some ten scores."""

SCORE_COLUMNS = ["mode", "model", "seed", "block", "vdid", "feature", "horizon", "metric", "value"]


def gather_outcome(
    config: Config,
    history: History,
    cost: Cost,
    fit_errors: FitErrors,
    forecasts: Forecasts,
    validation: Forecasts,
    tuned: object = None,
) -> Outcome:
    """All that reports read of an experiment; a ValueError if its parts are of different runs.

    ``tuned`` is the record of a search whose best settings the experiment is to use, if it is; it
    counts if the network was trained with them.
    """
    # Behind the detectors of the last test block come others that only an earlier one has.
    for file, found in (("predictions", forecasts), ("validation", validation)):
        chosen = found.vdids[: len(config.vdids) if config.earlier else None]
        pairs: dict[str, tuple[object, object]] = {
            "experiment": (config.experiment, found.experiment),
            "source": (config.source, found.source),
            "vdids": (list(config.vdids), chosen),
            "target_features": (list(config.target_features), found.features),
            "interval_minutes": (config.interval_minutes, found.interval_minutes),
            "prediction_length": (config.windows.prediction_length, len(found.horizons)),
            "seeds": (sorted(config.training.seeds), sorted(found.seeds)),
        }
        for name, (own, other) in pairs.items():
            if own != other:
                raise ValueError(
                    f"config.json and {file}.nc of {config.experiment} are of different runs: "
                    f"{name} {shortened(str(own))} and {shortened(str(other))}; "
                    f"kedro run --namespace {config.experiment}"
                )
    search = Tuned.of(tuned, config)
    return Outcome(config, history, cost, fit_errors, forecasts, validation, search)


def conclude_experiment(outcome: Outcome, training_report: Page, metrics: Json) -> Outcome:
    """Hand on the outcome of an experiment, once its report is written."""
    return outcome


def score_experiment(outcome: Outcome, mape_min_truth: float) -> tuple[Errors, Json]:
    """:func:`errors_and_metrics` of an experiment."""
    return errors_and_metrics(outcome.forecasts, outcome.fit_errors, mape_min_truth)


def errors_and_metrics(
    predictions: Forecasts, fit_errors: FitErrors, mape_min_truth: float
) -> tuple[Errors, Json]:
    """Score an experiment's test forecasts beside persistence.

    Returns:
        The errors, and metrics ready for JSON: on test pooled, by horizon and by VD, with
        persistence scored on the same truths, and pooled on train and val. Each is the mean over
        the seeds; ``test_sd`` and ``by_horizon_sd`` are their standard deviations, undefined for
        one seed. With several, ``joined`` and ``joined_by_horizon`` are of the mean of their
        forecasts on test.
    """
    model = predictions.model
    errors = errors_of(sum_errors(align({model: predictions}), mape_min_truth))

    def of(who: str, scores: xr.Dataset) -> Json:
        return by_feature(scores.sel(model=who))

    pooled, by_vd = of(model, errors.average), errors.by_vd.sel(model=model)
    for feature, unit in predictions.units.items():
        pooled[feature]["unit"] = unit
    joined = {
        name: of(errors.joined[model], scores)
        for name, scores in (("joined", errors.average), ("joined_by_horizon", errors.by_horizon))
        if errors.joined
    }
    return errors, {
        "experiment": predictions.experiment,
        "source": predictions.source,
        "seeds": predictions.seeds,
        "test": pooled,
        "test_sd": of(model, errors.average_sd[[*ERRORS]]),
        "persistence": of("persistence", errors.average),
        "by_horizon": of(model, errors.by_horizon),
        "by_horizon_sd": of(model, errors.by_horizon_sd[[*ERRORS]]),
        "persistence_by_horizon": of("persistence", errors.by_horizon),
        "by_vd": {vdid: by_feature(by_vd.isel(vd=at)) for at, vdid in enumerate(predictions.vdids)},
        **joined,
        **fit_errors.model_dump(),
    }


def align_forecasts(
    lstm: Outcome, xlstm: Outcome, baselines: BaselineForecasts
) -> AlignedForecasts:
    """Both models' forecasts and the baselines', for the truths of all."""
    return align({"lstm": lstm.forecasts, "xlstm": xlstm.forecasts}, {"": baselines})


def align_validation(
    lstm: Outcome, xlstm: Outcome, validation: BaselineForecasts
) -> dict[int, AlignedForecasts]:
    """The same of the validation split of each test block, by its number."""
    networks = {"lstm": lstm.validation, "xlstm": xlstm.validation}
    common = set(validation.block_numbers).intersection(
        *(of_network.block_numbers for of_network in networks.values())
    )
    return {
        number: align(
            {name: of_network.of_block(number) for name, of_network in networks.items()},
            {"": validation.of_block(number)},
        )
        for number in sorted(common)
    }


def score_intervals(
    forecasts: AlignedForecasts,
    validation: Mapping[int, AlignedForecasts],
    intervals: Intervals,
    confidence: float,
) -> tuple[IntervalScores, dict[str, Difference], Frames]:
    """Score prediction intervals around the forecasts of networks and baselines alike.

    Returns:
        The scores, the difference between the networks' CRPS by feature, all horizons together, and
        all scores as of :func:`score_forecasts`: ``coverage_0.9``, ``width_0.9`` and
        ``winkler_0.9`` of each level and ``crps``.
    """
    summed = sum_intervals(forecasts, validation, intervals)
    differences = difference_between(summed, confidence)
    of_average = {feature: of for (feature, step), of in differences.items() if step == AVERAGE}
    rows = Frames(partial(_tidy, summed, partial(by_level, summed.levels)))
    return interval_scores_of(summed), of_average, rows


def join_scores(of_errors: Frames, of_intervals: Frames) -> Frames:
    """All scores of a comparison in one table."""
    return Frames.joined([of_errors, of_intervals])


def score_forecasts(
    forecasts: AlignedForecasts, evaluation: Evaluation
) -> tuple[Errors, Errors, Congestion, Differences, Frames]:
    """Score networks and baselines for the very same truths.

    Returns:
        The errors, the same on congested steps alone, congestion as an event, the differences
        between the models, and all scores per seed, block, VD, feature and horizon, a row per
        metric, in :data:`SCORE_COLUMNS`. The block is ``all`` or, of several, its number. The
        metric ``n`` counts the scored values and ``…_congested`` are of congested steps. Baselines
        have no seed, and the mean of the forecasts of several seeds has ``joined``. Scores of
        congestion as an event, named ``…_congestion``, are of all detectors together and have no
        VDID; those of queues are of all horizons and have no horizon.
    """
    in_congestion = forecasts.congested(evaluation.congestion_speed)
    summed, congested = (
        sum_errors(steps, evaluation.mape_min_truth) for steps in (forecasts, in_congestion)
    )
    counted = count_congestion(forecasts, evaluation.congestion_speed)
    rows = [
        partial(_tidy, summed, from_sums),
        partial(_tidy, congested, from_sums, "_congested"),
        partial(_tidy_events, counted, forecasts.mode),
    ]
    return (
        *(errors_of(summed), errors_of(congested), congestion_of(counted)),
        *(find_differences(summed, evaluation), Frames.joined(map(Frames, rows))),
    )


def by_level(levels: tuple[float, ...], sums: xr.Dataset) -> xr.Dataset:
    """Scores of intervals from sums, each level's under a name of its own: ``coverage_0.9``."""
    scores = scores_of(sums)
    of_levels = {
        f"{name}_{level:g}": scores[name].sel(level=level, drop=True)
        for level in levels
        for name in SCORES
    }
    return xr.Dataset({**of_levels, "crps": scores["crps"]})


def _tidy(
    summed: SummedErrors | SummedIntervals,
    scores_from: Callable[[xr.Dataset], xr.Dataset],
    suffix: str = "",
) -> Iterator[pd.DataFrame]:
    """A row per score of each test block; the suffix is of each metric's name.

    A frame is of several members where these have few places.
    """
    numbers = [int(number) for number in summed.by_vd["block"].values]
    places = math.prod(summed.by_vd.sizes[dim] for dim in ("vd", "feature", "horizon"))
    everyone, few = range(len(summed.members)), max(1, PLACES_AT_ONCE // places)
    for block in ["all", *(numbers if len(numbers) > 1 else [])]:
        own = numbers if block == "all" else [block]
        for positions in (everyone[start : start + few] for start in everyone[::few]):
            of_members = summed.by_vd.isel(member=positions).sel(block=own)
            scores = scores_from(of_members.sum("block", skipna=False))
            frame = tidy(scores.assign_coords(member=positions)).assign(block=str(block))
            frame["metric"] += suffix
            yield _of_members(frame, summed.members, summed.mode)


def _of_members(frame: pd.DataFrame, members: Sequence[Member], mode: str) -> pd.DataFrame:
    """Scores with all columns, those that name a step or a place nullable; ``member`` is the
    position of each among the members."""
    models = np.array([member.model for member in members], dtype=object)
    seeds = [None if member.seed is None else str(member.seed) for member in members]
    at = frame["member"].to_numpy()
    frame = frame.assign(mode=mode, model=models[at], seed=np.array(seeds, dtype=object)[at])
    nullable = {"seed": "string", "vdid": "string", "horizon": "Int64"}
    return frame.astype(nullable)[SCORE_COLUMNS]


def _tidy_events(counted: CongestionCounts, mode: str) -> Iterator[pd.DataFrame]:
    """A row per member, horizon and score of congestion as an event; then those of queues."""
    by_horizon, of_queues = congestion_scores(counted.data), announcements(counted)
    of_queues["queues"] = counted.data["queues"].sum("lead", skipna=False)
    positions = range(len(counted.members))
    long = pd.concat(
        [tidy(scores.assign_coords(member=positions)) for scores in (by_horizon, of_queues)]
    ).sort_values("member", kind="stable")
    long["metric"] += "_congestion"
    long["vdid"], long["feature"], long["block"] = None, SPEED, "all"
    yield _of_members(long, counted.members, mode)
