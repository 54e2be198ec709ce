"""Congestion as an event: scikit-learn's scores, and queues counted by hand."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from tests.make.artefacts import BASELINES, make_baselines, make_predictions
from vd_forecasting.artefacts import BaselineForecasts, Forecasts
from vd_forecasting.evaluation import aligned
from vd_forecasting.evaluation.aligned import AlignedForecasts, align
from vd_forecasting.evaluation.congestion import (
    OUTCOMES,
    Congestion,
    CongestionCounts,
    announced_before,
    announcements,
    congestion_of,
    congestion_scores,
    count_congestion,
    queue_begins,
)

VDS = ("A", "B", "C")
SHARE = 0.6
SKLEARN = {
    "precision": precision_score,
    "recall": recall_score,
    "f1": f1_score,
    "accuracy": accuracy_score,
}


@pytest.fixture(scope="module")
def forecasts() -> AlignedForecasts:
    """Two seeds of LSTM, one of xLSTM, and the baselines: days with and without queues."""
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=900, seeds=(1, 2))
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=900, error=0.2)
    baselines = BaselineForecasts.from_xarray(make_baselines(lstm))
    return align(
        {"lstm": Forecasts.from_xarray(lstm), "xlstm": Forecasts.from_xarray(xlstm)},
        {"": baselines},
    )


@pytest.fixture(scope="module")
def counted(forecasts: AlignedForecasts) -> CongestionCounts:
    return count_congestion(forecasts, SHARE)


def events(forecasts: AlignedForecasts, forecast: xr.DataArray, **at: Any) -> tuple[Any, Any]:
    """Whether observed steps were congested and whether a forecast says so, flat."""
    limit = SHARE * forecasts.data["free_flow_speed"].sel(block=1, drop=True)
    speeds = forecasts.truth.sel(feature="avg_speed", **at)
    was, said = speeds < limit, forecast.sel(feature="avg_speed", **at) < limit
    known = speeds.notnull()
    return was.values[known.values], said.transpose(*was.dims).values[known.values]


@pytest.mark.parametrize("score", SKLEARN)
def test_scores_are_those_of_scikit_learn(
    forecasts: AlignedForecasts, counted: CongestionCounts, score: str
) -> None:
    found = congestion_scores(counted.data)[score]
    together = congestion_scores(counted.data.sum("horizon"))[score]
    everyone = [*forecasts.forecast, forecasts.joined("lstm")]
    assert [(m.model, m.seed) for m in counted.members] == [
        *(("lstm", 1), ("lstm", 2), ("xlstm", 42), ("persistence", None)),
        *((name, None) for name in BASELINES),
        ("lstm", "joined"),
    ]
    for row, forecast in enumerate(everyone):
        for horizon in (1, 6, 12):
            expected = SKLEARN[score](*events(forecasts, forecast, horizon=horizon))
            assert found.isel(member=row).sel(horizon=horizon).item() == pytest.approx(expected)
        expected = SKLEARN[score](*events(forecasts, forecast))
        assert together.isel(member=row).item() == pytest.approx(expected)


def test_scores_of_seeds_are_averaged_and_counts_are_those_of_the_truth(
    forecasts: AlignedForecasts, counted: CongestionCounts
) -> None:
    congestion, by_seed = congestion_of(counted), congestion_scores(counted.data)["f1"]
    value, sd = congestion.at("f1", "lstm", 6)
    of_seeds = by_seed.isel(member=[0, 1]).sel(horizon=6).values
    assert value == pytest.approx(of_seeds.mean())
    assert sd == pytest.approx(of_seeds.std(ddof=1))
    assert np.isnan(congestion.at("f1", "xlstm", 6)[1])
    was, _ = events(forecasts, forecasts.forecast[0])
    assert (congestion.scored, congestion.congested) == (len(was), was.sum())
    assert congestion.share == pytest.approx(was.mean())


@pytest.mark.parametrize("block_bytes", [1, 2**25])
def test_blocks_of_detectors_do_not_change_the_counts(
    forecasts: AlignedForecasts,
    counted: CongestionCounts,
    block_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aligned, "BLOCK_BYTES", block_bytes)
    xr.testing.assert_identical(count_congestion(forecasts, SHARE).data, counted.data)


def test_a_perfect_forecast_announces_every_queue_as_early_as_it_can() -> None:
    network = make_predictions("multi_vd", vdids=VDS, origins=900, missing=0.0)
    network["prediction"][0] = network["truth"]
    congestion = congestion_of(
        count_congestion(align({"lstm": Forecasts.from_xarray(network)}), SHARE)
    )
    assert congestion.queues > 0
    for score in SKLEARN:
        assert congestion.at(score, "lstm")[0] == 1
    assert congestion.at("announced", "lstm")[0] == 1
    assert congestion.at("lead_minutes", "lstm")[0] == 12 * 5
    # The road was clear when the last forecast before a queue was made.
    assert congestion.at("announced", "persistence")[0] == 0
    assert np.isnan(congestion.at("lead_minutes", "persistence")[0])


def series(text: str) -> tuple[Any, Any]:
    """Known and congested ``[T, 1]``: ``c`` congested, ``.`` clear, ``?`` not observed."""
    steps = np.array([*text])[:, None]
    return steps != "?", steps == "c"


@pytest.mark.parametrize(
    ("text", "steps", "horizons", "begins"),
    [
        ("..cc", 2, 1, [2]),
        ("..ccc..cc", 2, 1, [2, 7]),
        (".cc", 2, 1, []),  # not clear for long enough before
        ("..c.", 2, 1, []),  # not congested for long enough
        ("..c", 2, 1, []),
        ("...?cc", 2, 1, []),
        ("..c?c", 2, 1, []),
        ("?..cc?", 2, 1, [3]),
        (".c.c", 1, 1, [1, 3]),
        ("..cc..cc", 2, 3, [2, 6]),
        ("..cc..cc", 2, 4, [6]),  # step 2 was never forecast four steps ahead
        ("", 2, 1, []),
    ],
)
def test_queues_by_hand(text: str, steps: int, horizons: int, begins: list[int]) -> None:
    known, congested = series(text)
    time, vd = queue_begins(known, congested, [slice(0, len(text))], steps, horizons)
    assert time.tolist() == begins
    assert not vd.any()


def test_a_gap_in_time_is_no_stretch() -> None:
    known, congested = series("..cc..cc")
    time, _ = queue_begins(known, congested, [slice(0, 2), slice(2, 8)], 2, 1)
    assert time.tolist() == [6]


@pytest.mark.parametrize(
    ("said", "lead"),
    [([1, 1, 1], 3), ([1, 1, 0], 2), ([1, 0, 1], 1), ([0, 1, 1], 0), ([0, 0, 0], 0)],
)
def test_an_announcement_goes_back_from_the_last_forecast_without_a_break(
    said: list[int], lead: int
) -> None:
    """The queue begins at step 5; of origin ``5 - h`` only horizon h forecasts that step."""
    forecast = np.zeros((8, 3, 1), dtype=bool)
    for horizon, says in enumerate(said, start=1):
        forecast[4 - (horizon - 1), horizon - 1, 0] = says  # row 4 has the origin of step 4
    begins = np.array([4]), np.array([0])
    assert announced_before(forecast, begins).tolist() == [lead]


@given(st.lists(st.integers(0, 12), max_size=30))
@settings(max_examples=100, deadline=None)
def test_the_lead_is_the_median_of_the_announced(leads: list[int]) -> None:
    queues = np.bincount(leads, minlength=13).astype("float64")
    zeros = np.zeros((1, 12))
    data = xr.Dataset(
        {
            **dict.fromkeys(OUTCOMES, (("member", "horizon"), zeros)),
            "queues": (("member", "lead"), queues[None]),
        },
        {"lead": np.arange(13), "model": ("member", ["lstm"])},
    )
    found = announcements(CongestionCounts(data, [], 5.0)).isel(member=0)
    announced = [lead for lead in leads if lead > 0]
    expected = 5 * np.median(announced) if announced else np.nan
    np.testing.assert_allclose(found["lead_minutes"], expected)
    share = len(announced) / len(leads) if leads else np.nan
    np.testing.assert_allclose(found["announced"], share)


def scores_of(**settings: Any) -> Congestion:
    network = make_predictions(origins=300, **settings)
    return congestion_of(count_congestion(align({"lstm": Forecasts.from_xarray(network)}), SHARE))


@pytest.mark.parametrize(
    "settings",
    [{"features": ("total_volume",)}, {"missing": 2.0}],
    ids=["no speeds", "nothing observed"],
)
def test_without_speeds_nothing_is_defined(settings: dict[str, Any]) -> None:
    congestion = scores_of(**settings)
    assert (congestion.scored, congestion.congested, congestion.queues) == (0, 0, 0)
    assert np.isnan(congestion.share)
    for score in (*SKLEARN, "announced", "lead_minutes"):
        assert np.isnan(congestion.at(score, "lstm")[0])


def test_without_congestion_scores_of_it_are_undefined_and_never_zero() -> None:
    network = make_predictions(origins=300)
    network["truth"].loc[{"feature": "avg_speed"}] = 100.0
    network["prediction"][0, :10] = 0.0  # false alarms
    congestion = congestion_of(
        count_congestion(align({"lstm": Forecasts.from_xarray(network)}), SHARE)
    )
    for score in ("recall", "f1", "announced", "lead_minutes"):
        assert np.isnan(congestion.at(score, "lstm")[0])
    assert congestion.at("precision", "lstm")[0] == 0  # of what it said nothing came true
    assert 0 < congestion.at("accuracy", "lstm")[0] < 1


def test_a_network_that_diverged_has_no_scores() -> None:
    network = make_predictions(origins=300)
    network["prediction"][0, 5] = np.nan
    congestion = congestion_of(
        count_congestion(align({"lstm": Forecasts.from_xarray(network)}), SHARE)
    )
    for score in (*SKLEARN, "announced"):
        assert np.isnan(congestion.at(score, "lstm")[0])
    assert congestion.at("accuracy", "persistence")[0] > 0
