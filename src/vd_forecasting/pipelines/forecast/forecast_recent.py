"""The node that forecasts from a recent file."""

from collections.abc import Sequence

from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import RecentForecasts, RecentWindows
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.parameters import Baselines, Compute, Forecast, Intervals
from vd_forecasting.pipelines.forecast.refit import Refitted


def forecast_recent(
    recent: RecentWindows,
    best_model: Checkpoint,
    baselines: Baselines,
    forecast: Forecast,
    intervals: Intervals,
    compute: Compute,
    refitted: Sequence[Refitted] = (),
) -> RecentForecasts:
    """The forecasts of a network, persistence, and the baselines that are learnt within seconds.

    They are made as ``evaluate`` makes those of the test split, from detectors that the file has.
    Intervals are learnt from the validation split and follow what came true in the file. A refitted
    network comes first; it has no residual of its own on data that it has not seen, so around its
    forecasts stand intervals as wide as those of the network.
    """
    from vd_forecasting.pipelines.forecast import forecast as by  # noqa: PLC0415  (imports torch)
    from vd_forecasting.pipelines.training.train import torch_threads  # noqa: PLC0415

    with torch_threads(compute.threads), threadpool_limits(compute.threads):
        learnt = by.learn(recent, best_model, by.learn_baselines(recent, baselines))
        return by.apply(learnt, recent, forecast, intervals, refitted)
