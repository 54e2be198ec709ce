"""Networks of a comparison, trained again on all data."""

import io
import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from tests.make.artefacts import make_outcome, make_predictions
from tests.make.parameters import INTERVALS, REPORT
from tests.make.recent_files import BASELINES, STEPS, without
from tests.make.refits import (
    Compared,
    compared,
    ended_with,
    later_file,
    older_file,
    refitted,
    windows_of,
)
from tests.make.trainings import COMPUTE, Killed, KilledAfter
from vd_forecasting.artefacts import (
    AllWindows,
    Experiment,
    History,
    RecentForecasts,
    WindowBlocks,
    WindowSet,
)
from vd_forecasting.datasets import TrainingState
from vd_forecasting.datasets.tensors import load_plain, save_plain
from vd_forecasting.parameters import Forecast
from vd_forecasting.pipelines.forecast.drift import find_drift
from vd_forecasting.pipelines.forecast.flags import find_flags
from vd_forecasting.pipelines.forecast.forecast_recent import forecast_recent
from vd_forecasting.pipelines.forecast.page import write_page
from vd_forecasting.pipelines.forecast.refit import SETTINGS, all_windows, rates_of, refit
from vd_forecasting.pipelines.training import loop
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.train import train_seeds

LENGTH = 6 + 3
"""Steps of a window."""


def all_of(raw: xr.DataArray, kind: str = "joint") -> AllWindows:
    of = compared(kind)
    return all_windows(of[1], windows_of(raw, of))


# --- what it is trained on ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "added"),
    [
        (500, 560, (500, 560)),  # begins where the comparison ends
        (480, 560, (500, 560)),  # overlaps it
        (0, 560, (500, 560)),  # holds all of it
        (530, 560, (530, 560)),  # begins after a gap
        (491, 509, (500, 509)),  # a single window
        (491, 508, None),  # not even one
        (300, 400, None),  # lies within it
    ],
)
def test_windows_lie_in_the_comparison_or_in_the_file_behind_it(
    first: int, last: int, added: tuple[int, int] | None
) -> None:
    windows = all_of(later_file(first, last))
    grid = later_file(0, 800)["time"].values
    starts = [*range(STEPS - LENGTH + 1)]
    if added is not None:
        starts += range(added[0], added[1] - LENGTH + 1)
    found = windows.starts("train")
    np.testing.assert_array_equal(windows.time[found], grid[starts])
    np.testing.assert_array_equal(windows.time[found + LENGTH - 1], grid[starts] + 8 * STEP)
    assert (np.diff(windows.time) > np.timedelta64(0, "ns")).all(), "each time counts once"
    assert windows.time[-1] == grid[added[1] - 1 if added else STEPS - 1]
    assert windows.of_comparison_and_file == (STEPS - 8, len(starts) - STEPS + 8)
    assert not windows.starts("val").size
    assert not windows.starts("test").size


STEP = np.timedelta64(5, "m")


def test_an_older_file_adds_nothing() -> None:
    windows = all_of(older_file())
    assert windows.of_comparison_and_file == (STEPS - 8, 0)
    assert windows.time[-1] == compared()[1].time[-1]


def test_steps_behind_the_last_value_are_no_data() -> None:
    raw = without(later_file(500, 560), slice(-5, None), slice(None), slice(None))
    assert all_of(raw).of_comparison_and_file[1] == 55 - LENGTH + 1


def test_values_are_scaled_by_training_and_filled_from_before() -> None:
    _, trained, *_ = compared()
    raw = later_file(480, 560)
    windows = all_of(raw)
    np.testing.assert_array_equal(windows.values[:STEPS], trained.values)
    np.testing.assert_array_equal(windows.calendar[:STEPS], trained.calendar)
    before = np.where(trained.observed, trained.values, np.nan)[:480]
    own = raw.sel(vd=trained.vdids, feature=trained.features).values
    own = (own - trained.scaler["mean"]) / trained.scaler["std"]
    expected = np.concatenate([before, own])
    for step in range(1, len(expected)):
        gone = np.isnan(expected[step])
        expected[step, gone] = expected[step - 1, gone]
    np.testing.assert_allclose(windows.values[STEPS:], expected[STEPS:], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(windows.observed[STEPS:], np.isfinite(own[20:]))


def test_no_input_knows_what_comes_later() -> None:
    raw = later_file(500, 560)
    known = np.arange(60)[:, None, None] < 30
    one, other = (
        all_of(file) for file in (raw, raw.copy(data=np.where(known, raw.values, raw.values / 2)))
    )
    np.testing.assert_array_equal(one.values[: STEPS + 30], other.values[: STEPS + 30])
    assert not np.array_equal(one.values, other.values)


def test_a_detector_that_the_file_lacks_has_no_window_of_it() -> None:
    windows = all_of(later_file(500, 560).isel(vd=[0, 1]), "independent")
    assert windows.vdids == ["VD-0", "VD-2"]
    last = []
    for vds in windows.models.values():
        batches = WindowBatches(windows, vds, "train", 32, torch.Generator().manual_seed(0))
        last.append(int(batches.starts[batches.windows.long()].max()))
    assert last == [STEPS + 60 - LENGTH, STEPS - LENGTH]


def test_what_training_never_saw_stays_unknown() -> None:
    best, trained, *others = compared()
    observed = np.array(trained.observed)
    observed[: trained.ends["train"], 0, 2] = False
    data = trained.data.assign(observed=(trained.data["observed"].dims, observed))
    of: Compared = (best, WindowSet(data), *others)  # type: ignore[assignment]
    windows = all_windows(of[1], windows_of(later_file(500, 560), of))
    assert not windows.observed[:, 0, 2].any()
    assert not windows.values[:, 0, 2].any()
    np.testing.assert_array_equal(windows.observed[:STEPS, 1], trained.observed[:, 1])


# --- how it is trained ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "model"),
    [("joint", "lstm"), ("independent", "lstm"), ("global", "lstm"), ("joint", "xlstm")],
)
def test_on_the_training_windows_alone_it_gives_the_weights_of_the_comparison(
    kind: str, model: str
) -> None:
    best, windows, config, history = compared(kind, model)
    experiment = Experiment(
        windows,
        model,
        SETTINGS[model].model_validate(best["model_parameters"]),
        config.training,
        COMPUTE,
        0.0,
        rates=rates_of(best, config, history),
    )
    [(again, _)] = train_seeds(experiment, None, [], len(windows.models))
    assert dumped(again) == dumped(best)


def dumped(*values: Any) -> bytes:
    file = io.BytesIO()
    torch.save(values, file)
    return file.getvalue()


def test_epochs_and_rates_are_those_of_the_comparison(tmp_path: Path) -> None:
    """... which ended later than with its best epoch, and where the rate had fallen before it."""
    of = ended_with(compared(), 7)
    [fit] = of[3].seeds["7"].values()
    rates = [epoch.learning_rate for epoch in fit.epochs]
    assert fit.best_epoch < len(fit.epochs)
    assert len({*rates[: fit.best_epoch]}) > 1
    [again] = refitted(later_file(480, 560), of, tmp_path)
    [path] = tmp_path.iterdir()
    kept = load_plain(path)["history"]["epochs"]
    assert [epoch["learning_rate"] for epoch in kept] == rates[: fit.best_epoch]
    assert again.epochs == [fit.best_epoch]


def test_each_network_has_its_own_number_of_epochs(tmp_path: Path) -> None:
    of = ended_with(compared("independent"), 1, 3)
    [again] = refitted(later_file(500, 560), of, tmp_path)
    assert again.epochs == [1, 3]
    assert len([*tmp_path.iterdir()]) == 2


def test_it_learns_from_the_file_and_differs_in_its_weights_only() -> None:
    best, *_ = of = ended_with(compared(), 2)
    [again], [other] = (refitted(later_file(500, last), of) for last in (560, 561))
    for one, two in ((again.checkpoint, best), (again.checkpoint, other.checkpoint)):
        same = {**one, "weights": None}, {**two, "weights": None}
        assert dumped(same[0]) == dumped(same[1])
        assert dumped(one["weights"]) != dumped(two["weights"])
    [twice] = refitted(later_file(500, 560), of)
    assert dumped(twice.checkpoint) == dumped(again.checkpoint)


@pytest.mark.parametrize("kind", ["joint", "independent"])
def test_killed_after_every_epoch_it_ends_as_if_it_had_not_been(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    of, raw = compared(kind), later_file(480, 560)
    of = of if kind == "joint" else ended_with(of, 2, 3)
    [whole] = refitted(raw, of)
    caplog.clear()
    caplog.set_level(logging.INFO)
    for _ in range(sum(whole.epochs) + len(whole.epochs)):
        with pytest.raises(Killed):
            refitted(raw, of, KilledAfter.saves(tmp_path, 1))
        torch.rand(3)  # another process draws other numbers
    [resumed] = refitted(raw, of, tmp_path)
    assert dumped(resumed.checkpoint) == dumped(whole.checkpoint)
    for epoch in range(1, min(whole.epochs)):
        assert f"refit: resumes after epoch {epoch}\n" in caplog.text
    assert not [line for line in caplog.messages if "anew" in line or "afresh" in line]


def test_the_same_data_are_not_trained_on_again_and_others_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of = ended_with(compared(), 2)
    [first] = refitted(later_file(500, 560), of, tmp_path)
    caplog.clear()
    caplog.set_level(logging.INFO)
    [second] = refitted(later_file(500, 560), of, tmp_path)
    assert dumped(first.checkpoint) == dumped(second.checkpoint)
    assert caplog.messages[1:] == ["multi_vd_lstm refit: was trained before, 2 epochs"]
    caplog.clear()
    [third] = refitted(later_file(500, 570), of, tmp_path)
    assert dumped(third.checkpoint) != dumped(first.checkpoint)
    assert caplog.messages[1] == "multi_vd_lstm refit: is trained anew: the data changed"
    assert len([*tmp_path.iterdir()]) == 1


def test_a_broken_state_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    of, raw = ended_with(compared(), 2), later_file(500, 560)
    [whole] = refitted(raw, of)
    with pytest.raises(Killed):
        refitted(raw, of, KilledAfter.saves(tmp_path, 1))
    [path] = tmp_path.iterdir()
    state = load_plain(path)
    del state["average"]
    save_plain(state, path)
    caplog.set_level(logging.INFO)
    [again] = refitted(raw, of, tmp_path)
    assert "cannot be continued: its state is not whole" in caplog.text
    assert dumped(again.checkpoint) == dumped(whole.checkpoint)


def test_states_of_networks_that_are_no_more_are_removed(tmp_path: Path) -> None:
    TrainingState(tmp_path).save("8-joint", {"weights": {}})
    refitted(later_file(500, 560), ended_with(compared(), 1), tmp_path)
    assert TrainingState(tmp_path).load("8-joint") is None


def test_nothing_is_trained_unless_it_is_asked_for(tmp_path: Path) -> None:
    of = best, windows, config, history = compared()
    recent, blocks = windows_of(later_file(500, 560), of), WindowBlocks.of_one(windows)
    state = TrainingState(tmp_path / "states")
    asked = Forecast(origins="last")
    assert refit(recent, best, blocks, config, history, asked, COMPUTE, state) == []
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (17, "diverged in epoch 2, step 2 of 17: the training loss is not finite"),
        (33, "diverged at its end: a weight is not finite"),
    ],
)
def test_a_divergence_is_one_line(
    monkeypatch: pytest.MonkeyPatch, steps: int, problem: str
) -> None:
    """After so many steps; two epochs have 34."""
    before = loop.move_average

    def spoil(average: list[torch.Tensor], current: list[torch.Tensor], done: int) -> None:
        before(average, current, done)
        if done == steps:
            for weights in (average, current):
                weights[0].fill_(torch.nan)

    monkeypatch.setattr(loop, "move_average", spoil)
    with pytest.raises(ValueError, match=f"^multi_vd_lstm refit: {problem}") as caught:
        refitted(later_file(500, 560), ended_with(compared(), 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["seed", "model", "epoch", "config"])
def test_records_of_another_training_are_refused_in_one_line(change: str) -> None:
    best, _, config, history = compared()
    records = history.model_dump(mode="json")
    if change == "seed":
        records["8"] = records.pop("7")
    elif change == "model":
        records["7"]["VD-0"] = records["7"].pop("joint")
    elif change == "epoch":
        records["7"]["joint"]["best_epoch"] = 99
    else:
        config = config.model_copy(update={"best_seed": 8})
    with pytest.raises(ValueError, match="are not of its checkpoint") as caught:
        rates_of(best, config, History.model_validate(records))
    assert str(caught.value) == (
        "multi_vd_lstm: config.json and training_history.json are not of its checkpoint, which has "
        "seed 7 and joint; train again with kedro run --namespace multi_vd_lstm"
    )


# --- its forecasts --------------------------------------------------------------------------------


@cache
def forecasts_of(
    first: int, last: int, origins: str = "last", kind: str = "joint"
) -> tuple[RecentForecasts, RecentForecasts]:
    """Those of a file, with a refitted network and without."""
    of, raw = ended_with(compared(kind), 2), later_file(first, last)
    recent, best = windows_of(raw, of, origins), of[0]
    asked = Forecast.model_validate({"origins": origins})
    arguments = (recent, best, BASELINES, asked, INTERVALS, COMPUTE)
    return forecast_recent(*arguments, refitted(raw, of)), forecast_recent(*arguments)


@pytest.mark.parametrize("kind", ["joint", "global"])
def test_it_is_one_more_model_and_all_others_forecast_as_without_it(kind: str) -> None:
    with_it, without_it = forecasts_of(480, 560, kind=kind)
    assert with_it.models == ["lstm_refitted", *without_it.models]
    assert with_it.scored == without_it.models
    others = with_it.data.sel(model=without_it.models)
    xr.testing.assert_equal(others, without_it.data)
    own, network = (with_it.prediction.sel(model=name) for name in ("lstm_refitted", "lstm"))
    assert float(abs(own - network).max()) > 0
    assert with_it.refit_epochs == [2]
    assert with_it.refit_windows == (STEPS - 8, 60 - 8)
    assert with_it.refit_until == later_file(480, 560)["time"].values[-1]
    assert "refit_until" not in without_it.data.attrs


def test_forecast_times_that_it_was_trained_on_are_flagged() -> None:
    forecasts, _ = forecasts_of(380, 560, "all")
    first = {"horizon": 0, "vd": 0, "feature": 0}
    own, network = (
        forecasts.has("seen_in_training").sel(model=name).isel(first).values
        for name in ("lstm_refitted", "lstm")
    )
    assert own.tolist() == [True] * (len(own) - 1) + [False]
    np.testing.assert_array_equal(network, forecasts.origins < later_time(399))
    last, _ = forecasts_of(480, 560)
    assert not last.has("seen_in_training").sel(model="lstm_refitted").any()
    within, _ = forecasts_of(300, 400)
    assert bool(within.has("seen_in_training").sel(model="lstm_refitted").all())
    assert within.refit_windows == (STEPS - 8, 0)


def later_time(step: int) -> np.datetime64:
    return np.datetime64(later_file(0, 800)["time"].values[step])


def test_nothing_that_it_was_trained_on_lies_beyond_its_training() -> None:
    raw = later_file(500, 560)
    values = np.array(raw.values)
    values[-2, 0, 1] = 900.0
    of = compared()
    recent = windows_of(raw.copy(data=values), of)
    usual = find_flags(recent)["beyond_training"]
    known = find_flags(recent, all_windows(of[1], recent))["beyond_training"]
    assert (bool(usual[-1, 0, 0, 0]), bool(known.any())) == (True, False)


def test_its_intervals_are_as_wide_as_those_of_the_network() -> None:
    forecasts, _ = forecasts_of(380, 560, "all")
    low = np.zeros(())
    for level in forecasts.levels:
        lower, upper = (
            (end.sel(model="lstm_refitted"), end.sel(model="lstm")) for end in forecasts.ends(level)
        )
        own, network = (forecasts.prediction.sel(model=name) for name in ("lstm_refitted", "lstm"))
        free = (lower[0] > low) & (lower[1] > low)
        assert float(free.mean()) > 0.9
        for end in (lower, upper):
            wide = (end[0] - own).where(free), (end[1] - network).where(free)
            np.testing.assert_allclose(wide[0], wide[1], rtol=1e-3, atol=1e-3)
        assert float(lower[0].min()) >= 0


CONFIG = make_outcome(
    make_predictions("multi_vd", "lstm", vdids=["A"], origins=30, horizons=2), epochs=2
).config
"""Of an experiment whose settings were given."""


def promised(forecasts: RecentForecasts) -> dict[str, object]:
    of_features = {name: {"mae": [1.0, 2.0, 3.0]} for name in forecasts.features}
    errors = {"by_horizon": of_features, "persistence_by_horizon": of_features}
    return {"source": "made.h5", **errors}


def test_drift_is_judged_as_without_it() -> None:
    recent = windows_of(later_file(380, 560), compared(), "all")
    (first, scores), (second, others) = (
        find_drift(recent, forecasts, promised(forecasts))
        for forecasts in forecasts_of(380, 560, "all")
    )
    assert first.verdict == second.verdict
    assert (scores["n"] > 0).all()
    assert scores.equals(others)


def test_the_page_is_about_it_and_says_what_it_was_trained_on_and_whose_errors_these_are() -> None:
    raw = later_file(380, 560)
    recent = windows_of(raw, compared(), "all")
    forecasts, _ = forecasts_of(380, 560, "all")
    drift, _ = find_drift(recent, forecasts, promised(forecasts))
    page = write_page(recent, forecasts, drift, CONFIG, False, REPORT)
    text = " ".join(page.text.split())
    assert text.startswith("# Forecast by LSTM trained on everything: `multi_vd_lstm`")
    until = str(raw["time"].values[-1])[:16].replace("T", " ")
    assert (
        "The network was trained again on 492 windows of the comparison's data and 52 of the file "
        f"behind them, up to {until}, for 2 epochs, as the comparison chose." in text
    )
    assert "No error of it can be measured, as it has seen everything." in text
    assert "- The LSTM of the comparison: " in text
    assert "| LSTM | comparison | 1.00 | 3.00 |" in text
    assert "| LSTM trained on everything |" not in text
    last = forecasts.prediction.isel(origin=-1).sel(model="lstm_refitted", vd="VD-0")
    point = float(last.sel(feature="avg_speed").isel(horizon=0))
    assert f" {point:.1f} (" in text.split("| `VD-0` |")[1]
    assert list(page.figures) == ["next", "errors"]
    for draw in page.figures.values():
        assert callable(draw)
        draw()


def test_a_refitted_xlstm_has_a_page_too() -> None:
    of, raw = ended_with(compared("joint", "xlstm"), 1), later_file(500, 560)
    recent, asked = windows_of(raw, of), Forecast(origins="last")
    arguments = (recent, of[0], BASELINES, asked, INTERVALS, COMPUTE)
    forecasts = forecast_recent(*arguments, refitted(raw, of))
    assert forecasts.models[:2] == ["xlstm_refitted", "xlstm"]
    drift, _ = find_drift(recent, forecasts, promised(forecasts))
    page = write_page(recent, forecasts, drift, CONFIG, False, REPORT)
    assert page.text.startswith("# Forecast by xLSTM trained on everything: `multi_vd_xlstm`")
    draw = page.figures["next"]
    assert callable(draw)
    draw()


def test_a_page_names_the_span_of_epochs_of_several_networks() -> None:
    of = ended_with(compared("independent"), 1, 3)
    raw = later_file(500, 560).assign_attrs(utc_offset="+08:00")
    recent, asked = windows_of(raw, of), Forecast(origins="last")
    arguments = (recent, of[0], BASELINES, asked, INTERVALS, COMPUTE)
    forecasts = forecast_recent(*arguments, refitted(raw, of))
    drift, _ = find_drift(recent, forecasts, promised(forecasts))
    assert "(UTC+08:00), for 1 to 3 epochs" in " ".join(
        write_page(recent, forecasts, drift, CONFIG, False, REPORT).text.split()
    )
