import copy
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.make.arrays import make_clean
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    XLSTM,
    global_windows,
    independent_windows,
    joint_windows,
    train_lstm,
    train_xlstm,
)
from tests.make.windows import MakesWindows, make_global_windows, make_joint_windows
from vd_forecasting.artefacts import Fit, WindowBlocks, WindowSet
from vd_forecasting.datasets import CheckpointDataset, TrainingState
from vd_forecasting.models.checkpoint import check_checkpoint, load_forecasters, to_physical
from vd_forecasting.pipelines.reporting.scores import errors_and_metrics
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.epoch_errors import ErrorSums, Scaling, masked_mae
from vd_forecasting.pipelines.training.evaluate import check_same_windows, evaluate
from vd_forecasting.pipelines.training.forecast_windows import (
    fit_errors,
    forecast_split,
    free_flow_speed,
    mase_scale,
)
from vd_forecasting.pipelines.training.loop import AVERAGING_DECAY, move_average
from vd_forecasting.pipelines.training.measure_cost import measure_cost
from vd_forecasting.running.stop import heed


def test_masked_mae_by_hand() -> None:
    target = torch.tensor([1.0, torch.nan, 3.0, torch.nan]).reshape(1, 4, 1, 1)
    forecast = torch.tensor([2.0, 9.0, 1.0, 5.0]).reshape(1, 4, 1, 1).requires_grad_()
    loss = masked_mae(forecast, target)
    assert loss.item() == pytest.approx(1.5)
    loss.backward()
    assert forecast.grad is not None
    np.testing.assert_allclose(forecast.grad.flatten(), [0.5, 0, -0.5, 0])


def test_masked_mae_of_nothing_is_zero_and_has_a_gradient() -> None:
    forecast = torch.ones(1, 2, 1, 1, requires_grad=True)
    loss = masked_mae(forecast, torch.full((1, 2, 1, 1), torch.nan))
    loss.backward()
    assert loss.item() == 0
    assert forecast.grad is not None
    assert forecast.grad.isfinite().all()


def test_epoch_errors_do_not_depend_on_the_batches() -> None:
    torch.manual_seed(0)
    target = torch.randn(10, 3, 2, 2)
    target[torch.rand(target.shape) < 0.3] = torch.nan
    forecast = torch.randn(10, 3, 2, 2)
    std = torch.tensor([[5.0, 20.0], [6.0, 30.0]])
    everything = torch.full((2, 2), torch.inf)
    arguments: dict[str, Any] = {
        "scaling": Scaling(100 - std, std, -everything, everything),
        "features": ["avg_speed", "total_volume"],
        "mape_min_truth": 1.0,
    }
    whole, parts = ErrorSums(**arguments), ErrorSums(**arguments)
    whole.add(forecast, target)
    for rows in (slice(0, 1), slice(1, 8), slice(8, 10)):
        parts.add(forecast[rows], target[rows])
    one, many = whole.result(), parts.result()
    assert one["loss"] == pytest.approx(many["loss"])
    assert one["avg_speed"] == pytest.approx(many["avg_speed"])
    error = (forecast - target)[..., 0] * std[:, 0]
    assert one["avg_speed"]["mae"] == pytest.approx(error.abs().nanmean().item(), rel=1e-5)
    assert one["avg_speed"]["mse"] == pytest.approx((error**2).nanmean().item(), rel=1e-5)
    assert one["loss"] == pytest.approx((forecast - target).abs().nanmean().item(), rel=1e-5)


def test_epoch_errors_of_one_vd_a_window_are_those_of_all_vds_together() -> None:
    torch.manual_seed(0)
    target, forecast = torch.randn(10, 3, 2, 2), torch.randn(10, 3, 2, 2)
    target[torch.rand(target.shape) < 0.3] = torch.nan
    std = torch.tensor([[5.0, 20.0], [6.0, 30.0]])
    scaling = Scaling(100 - std, std, torch.full((2, 2), -1.0), torch.full((2, 2), 1.5))
    together, apart = (ErrorSums(scaling, ["avg_speed", "total_volume"], 1.0) for _ in range(2))
    together.add(forecast, target)
    vd = torch.arange(2).repeat(10)  # a window of the one, a window of the other
    shuffled = torch.randperm(20)
    of_windows, of_targets = (
        of.movedim(2, 1).flatten(0, 1)[shuffled, :, None] for of in (forecast, target)
    )
    apart.add(of_windows, of_targets, vd[shuffled] + 1)
    for name, total in together.totals.items():
        torch.testing.assert_close(apart.totals[name], total, rtol=1e-5, atol=1e-5)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_errors_can_only_fall_within_a_range_that_holds_the_truths(seed: int) -> None:
    torch.manual_seed(seed)
    target, forecast = torch.randn(8, 3, 2, 1), 3 * torch.randn(8, 3, 2, 1)
    low, high = target.amin((0, 1)), target.amax((0, 1))
    mean, std = torch.rand(2, 1) * 100, 1 + torch.rand(2, 1) * 20
    everything = torch.full((2, 1), torch.inf)
    free = ErrorSums(Scaling(mean, std, -everything, everything), ["avg_speed"], 1.0)
    held = ErrorSums(Scaling(mean, std, low, high), ["avg_speed"], 1.0)
    for sums in (free, held):
        sums.add(forecast, target)
    for name in ("absolute", "squared", "percentage"):
        assert (held.totals[name] <= free.totals[name]).all()
    assert (forecast > high).any()
    assert held.totals["absolute"].sum() < free.totals["absolute"].sum()
    assert held.result()["loss"] == free.result()["loss"], "what is learnt from is not moved"


@pytest.mark.parametrize("make", [joint_windows, independent_windows, global_windows])
def test_forecasts_lie_within_the_range_of_the_windows(make) -> None:  # type: ignore[no-untyped-def]
    windows = make()
    middle, std = (windows.data[name] for name in ("mean", "std"))
    narrow = WindowSet(windows.data.assign(low=middle - std / 2, high=middle + std / 2))
    checkpoint = untrained(narrow)
    free = untrained(windows)
    found, raw = (
        forecast_split({"42": one}, of, "test", COMPUTE, best_seed=42)
        for one, of in ((checkpoint, narrow), (free, windows))
    )
    low, high = narrow.target_range
    for inside, outside in (
        (found.prediction, raw.prediction),
        (found.data["persistence"], raw.data["persistence"]),
    ):
        assert ((outside < low) | (outside > high)).any()
        np.testing.assert_array_equal(inside, np.clip(outside, low, high))
    np.testing.assert_array_equal(found.truth, raw.truth)
    held, other = (
        fit_errors({"42": one}, of, "val", MAPE_MIN_TRUTH)[0]["mae"].sel(feature="avg_speed").item()
        for one, of in ((checkpoint, narrow), (free, windows))
    )
    assert held != other
    # Without windows, from the checkpoint alone.
    for name, vds in [(model, vds) for model in narrow.models for vds in narrow.parts(model)]:
        inputs, _ = WindowBatches(narrow, vds, "test", 999).at(slice(0, 5))
        of = narrow.vdids[vds.start] if narrow.one_by_one else name
        with torch.inference_mode():
            forecast = to_physical(checkpoint, of, load_forecasters(checkpoint)[name](inputs))
        expected = found.prediction.isel(seed=0, origin=slice(0, 5), vd=vds)
        np.testing.assert_allclose(forecast, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="its range has another low; train again"):
        check_same_windows(checkpoint, windows)


@pytest.mark.parametrize("make", [joint_windows, global_windows])
def test_history_and_errors_at_the_chosen_epoch_agree(make) -> None:  # type: ignore[no-untyped-def]
    windows = make()
    checkpoint, _, _, history = train_lstm(windows, LSTM, TRAINING, MAPE_MIN_TRUTH, COMPUTE)
    _, errors, _ = evaluate(
        checkpoint, {"42": checkpoint}, WindowBlocks.of_one(windows), MAPE_MIN_TRUTH, COMPUTE
    )
    [fit] = history["42"].values()
    best = fit["epochs"][fit["best_epoch"] - 1]
    for feature in ("avg_speed", "total_volume"):
        for name in ("mae", "mse", "rmse", "mape", "r2"):
            assert errors.val[feature][name] == pytest.approx(best["val"][feature][name], rel=1e-3)


@pytest.mark.parametrize("make", [joint_windows, independent_windows, global_windows])
def test_errors_on_the_splits_that_are_read_are_those_of_the_forecasts(make) -> None:  # type: ignore[no-untyped-def]
    """A window of the training split after the other, without batches, blocks or sums: as many as
    validation has, evenly spread."""
    windows = make()
    models = {str(seed): untrained(windows, seed) for seed in (3, 7)}
    _, errors, _ = evaluate(
        models["7"], models, WindowBlocks.of_one(windows), MAPE_MIN_TRUTH, COMPUTE
    )
    target = windows.features.index("total_volume")
    scale = mase_scale(windows).sel(feature="total_volume").values
    absolute, scaled, n = [], [], 0
    for checkpoint in models.values():
        of_seed, of_seed_scaled, n = [], [], 0
        for name, forecaster in load_forecasters(checkpoint).items():
            for vds in windows.parts(name):
                batches, val = (WindowBatches(windows, vds, of, 1) for of in ("train", "val"))
                every = batches.num_windows / val.num_windows
                assert every > 2
                for window in range(val.num_windows):
                    row = int(window * every + 1e-9)
                    inputs, targets = batches.at(slice(row, row + 1))
                    forecast = forecaster(inputs).detach()
                    error = abs(forecast - targets)[0, :, :, 1].numpy()  # [H, N]
                    error = error * windows.scaler["std"][vds, target]
                    of_seed.append(np.nansum(error))
                    of_seed_scaled.append(np.nansum(error / scale[vds]))
                    n += int(np.isfinite(error).sum())
        absolute.append(sum(of_seed) / n)
        scaled.append(sum(of_seed_scaled) / n)
    assert errors.train["total_volume"]["n"] == n
    assert errors.train["total_volume"]["mae"] == pytest.approx(np.mean(absolute), rel=1e-4)
    assert errors.train["total_volume"]["mase"] == pytest.approx(np.mean(scaled), rel=1e-4)


@pytest.mark.parametrize("make", [joint_windows, global_windows])
@pytest.mark.parametrize(("train", "model"), [(train_lstm, LSTM), (train_xlstm, XLSTM)])
def test_same_seed_same_weights_bit_for_bit(
    train: Callable[..., Any], model: object, make: Callable[[], WindowSet]
) -> None:
    windows = make()
    short = TRAINING.model_copy(update={"epochs": 1})
    first, _, _, _ = train(windows, model, short, MAPE_MIN_TRUTH, COMPUTE)
    torch.rand(7)  # what ran before must not matter
    second, _, _, _ = train(windows, model, short, MAPE_MIN_TRUTH, COMPUTE)
    other = short.model_copy(update={"seeds": (1,)})
    third, _, _, _ = train(windows, model, other, MAPE_MIN_TRUTH, COMPUTE)
    [name] = windows.models
    weights = [checkpoint["weights"][name] for checkpoint in (first, second, third)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


@pytest.mark.parametrize(("train", "model"), [(train_lstm, LSTM), (train_xlstm, XLSTM)])
def test_outputs_are_plain_and_whole(train: Callable[..., Any], model: object) -> None:
    windows = joint_windows()
    checkpoint, _, config, history = train(windows, model, TRAINING, MAPE_MIN_TRUTH, COMPUTE)
    for document in (config, history):
        assert json.loads(json.dumps(document)) == document
    epochs = history["42"]["joint"]["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    losses = [epoch["val"]["loss"] for epoch in epochs]
    assert history["42"]["joint"]["best_epoch"] == 1 + losses.index(min(losses))
    assert set(epochs[0]["train"]["avg_speed"]) == {"mae", "mse", "rmse", "mape", "r2"}
    assert config["num_parameters"] == sum(
        parameter.numel() for parameter in load_forecasters(checkpoint)["joint"].parameters()
    )


def test_a_global_model_forecasts_a_vd_that_it_has_never_seen() -> None:
    clean = make_clean(1500, vds=4)
    learnt, held_out = make_global_windows(clean[:, :3]), make_global_windows(clean[:, 3:])
    longer = TRAINING.model_copy(update={"epochs": 10})
    checkpoint, _, config, _ = train_lstm(learnt, LSTM, longer, MAPE_MIN_TRUTH, COMPUTE)
    assert config["num_models"] == 1
    [forecaster] = load_forecasters(checkpoint).values()
    assert forecaster.of_vd is not None
    weights = forecaster.of_vd.weight
    assert not weights[0].any(), "nothing is learnt about an unknown VD"
    assert weights[1:].any(dim=1).all(), "something is learnt about each of the others"
    errors = []
    for inputs, targets in WindowBatches(held_out, slice(0, 1), "test", 999):
        inputs[:, :, -1] = 0
        last = inputs[:, -1:, held_out.target_positions][:, :, None]
        with torch.inference_mode():
            forecast = forecaster(inputs)
        errors = [masked_mae(of, targets).item() for of in (forecast, last.expand(targets.shape))]
    assert errors[0] < 0.9 * errors[1]


def test_what_describes_a_vd_is_an_input_of_which_the_checkpoint_holds_the_scale() -> None:
    """... also for a VD that it was not trained on."""
    windows = global_windows()
    checkpoint = untrained(windows)
    assert [*checkpoint["static"]] == ["position_lat", "lane_num", "road 1", "road 5"]
    latitudes = checkpoint["static"]["position_lat"].double()
    by_hand = (latitudes - latitudes.mean()) / latitudes.std(correction=0)
    np.testing.assert_allclose(windows.static[:, 0], by_hand, rtol=1e-5)
    [forecaster] = load_forecasters(checkpoint).values()
    assert forecaster.num_values + 9 + 4 == checkpoint["network"]["num_channels"]
    torch.nn.init.normal_(forecaster.head.weight)
    x, _ = WindowBatches(windows, slice(0, 1), "val", 4).at(slice(None))
    moved = x.clone()
    moved[:, :, 3 + 9] += 1.0  # its latitude
    assert (forecaster(moved) != forecaster(x)).any()


def test_windows_with_other_descriptions_are_not_those_of_the_checkpoint() -> None:
    windows = global_windows()
    checkpoint = untrained(windows)
    check_same_windows(checkpoint, windows)
    moved = windows.data.assign(static=windows.data["static"] + [1.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="its static has another position_lat"):
        check_same_windows(checkpoint, WindowSet(moved))
    with pytest.raises(ValueError, match="its static has another"):
        check_same_windows(checkpoint, WindowSet(windows.data.drop_vars("static")))


def test_a_forecast_of_a_global_model_depends_on_its_own_vd_alone() -> None:
    windows = global_windows()
    checkpoint = untrained(windows)
    whole = forecast_split({"42": checkpoint}, windows, "test", COMPUTE, best_seed=42).prediction
    changed = WindowSet(windows.data.copy(deep=True))
    changed.values[:, 0] += 1.0
    other = forecast_split({"42": checkpoint}, changed, "test", COMPUTE, best_seed=42).prediction
    np.testing.assert_array_equal(other.isel(vd=[1, 2]), whole.isel(vd=[1, 2]))
    assert (other.isel(vd=0) != whole.isel(vd=0)).any()


def test_the_checkpoint_of_a_global_model_says_which_vds_it_knows() -> None:
    checkpoint = untrained(global_windows())
    assert checkpoint["network"]["known_vds"] == len(checkpoint["vdids"]) == 3
    changed = copy.deepcopy(checkpoint)
    changed["vdids"] = changed["vdids"][:2]
    with pytest.raises(ValueError, match="known_vds is 3, must be 2"):
        check_checkpoint(changed)
    with pytest.raises(ValueError, match="'global' has 3 detectors, the forecast 1"):
        to_physical(checkpoint, "global", torch.zeros(5, 3, 1, 2))


def test_every_seed_is_trained_as_if_alone_and_the_best_is_kept() -> None:
    windows = joint_windows()
    short = TRAINING.model_copy(update={"epochs": 1, "seeds": (3, 42, 7)})
    best, models, config, history = train_lstm(windows, LSTM, short, MAPE_MIN_TRUTH, COMPUTE)
    assert list(models) == list(history) == ["3", "42", "7"]
    losses = {seed: runs["joint"]["epochs"][0]["val"]["loss"] for seed, runs in history.items()}
    lowest = min(losses, key=lambda seed: losses[seed])
    assert config["best_seed"] == best["seed"] == int(lowest)
    assert best["weights"] is models[lowest]["weights"]
    alone = untrained(windows)["weights"]["joint"]
    among = models["42"]["weights"]["joint"]
    assert all(torch.equal(alone[name], among[name]) for name in alone)

    predictions, fit_errors, _ = evaluate(
        best, models, WindowBlocks.of_one(windows), MAPE_MIN_TRUTH, COMPUTE
    )
    _, metrics = errors_and_metrics(predictions, fit_errors, MAPE_MIN_TRUTH)
    assert predictions.seeds == metrics["seeds"] == [3, 42, 7]
    assert predictions.best_seed == int(lowest)
    errors = abs(predictions.prediction - predictions.truth).sel(feature="avg_speed")
    by_seed = errors.mean(["origin", "horizon", "vd"]).to_numpy()
    assert metrics["test"]["avg_speed"]["mae"] == pytest.approx(by_seed.mean(), rel=1e-5)
    assert metrics["test_sd"]["avg_speed"]["mae"] == pytest.approx(by_seed.std(ddof=1), rel=1e-3)


def test_scales_by_hand() -> None:
    """Of the training split alone: the last third of the series is a different road."""
    clean = make_clean(1000)
    windows = joint_windows(clean)
    changed = clean.copy()
    changed[700:] += 50
    for scales in (windows, joint_windows(changed)):
        day = clean.isel(time=slice(0, 700)).sel(vd="VD-1", feature="total_volume").to_numpy()
        naive = np.nanmean(abs(day[288:] - day[:-288]))
        assert float(mase_scale(scales).sel(vd="VD-1", feature="total_volume")) == pytest.approx(
            naive, rel=1e-4
        )
        speeds = clean.isel(time=slice(0, 700)).sel(vd="VD-1", feature="avg_speed").to_numpy()
        assert float(free_flow_speed(scales).sel(vd="VD-1")) == pytest.approx(
            np.nanpercentile(speeds, 85), rel=1e-4
        )


def test_best_epoch_is_restored() -> None:
    """With a learning rate that spoils what was learnt, the last epoch is not the best."""
    windows = joint_windows()
    wild = TRAINING.model_copy(
        update={"learning_rate": 0.1, "epochs": 30, "decay_epochs": 9999, "patience": 99}
    )
    checkpoint, _, _, history = train_lstm(windows, LSTM, wild, MAPE_MIN_TRUTH, COMPUTE)
    best = min(epoch["val"]["loss"] for epoch in history["42"]["joint"]["epochs"])
    forecaster = load_forecasters(checkpoint)["joint"]
    inputs, targets = next(iter(WindowBatches(windows, slice(0, 2), "val", batch_size=999)))
    assert history["42"]["joint"]["best_epoch"] < len(history["42"]["joint"]["epochs"])
    assert masked_mae(forecaster(inputs), targets).item() == pytest.approx(best, rel=1e-4)


def test_weights_are_averaged_as_computed_by_hand() -> None:
    for number in (int, lambda steps: torch.tensor(float(steps))):  # the latter in a graph
        average = [torch.tensor([1.0])]
        move_average(average, [torch.tensor([2.0])], number(0))  # the first is the average
        assert average[0].item() == pytest.approx(2)
        move_average(average, [torch.tensor([0.0])], number(1))  # keeps 2/11
        assert average[0].item() == pytest.approx(2 / 11 * 2)
        average = [torch.tensor([1.0])]
        move_average(average, [torch.tensor([0.0])], number(10**6))
        assert average[0].item() == pytest.approx(AVERAGING_DECAY)


def test_training_stops_early() -> None:
    hopeless = TRAINING.model_copy(update={"learning_rate": 1.0, "epochs": 50, "patience": 2})
    _, _, _, history = train_lstm(joint_windows(), LSTM, hopeless, MAPE_MIN_TRUTH, COMPUTE)
    assert history["42"]["joint"]["stopped_early"]
    assert len(history["42"]["joint"]["epochs"]) == history["42"]["joint"]["best_epoch"] + 2


def test_training_ends_when_the_rate_is_at_zero() -> None:
    """11 steps are an epoch, so 33 are three."""
    update = {"learning_rate": 0.003, "epochs": 50, "decay_epochs": 2, "decay_steps": 33}
    short = TRAINING.model_copy(update=update)
    _, _, _, history = train_lstm(joint_windows(), LSTM, short, MAPE_MIN_TRUTH, COMPUTE)
    fit = Fit.model_validate(history["42"]["joint"])
    assert [epoch.learning_rate for epoch in fit.epochs] == pytest.approx([0.003, 0.002, 0.001])
    assert fit.decayed
    assert not fit.stopped_early
    assert fit.best_epoch == 3
    assert not fit.still_improving


def test_the_limit_of_epochs_ends_a_training_that_still_improves() -> None:
    short = TRAINING.model_copy(update={"epochs": 2})
    _, _, _, history = train_lstm(joint_windows(), LSTM, short, MAPE_MIN_TRUTH, COMPUTE)
    fit = Fit.model_validate(history["42"]["joint"])
    assert len(fit.epochs) == fit.best_epoch == 2
    assert not fit.decayed
    assert fit.still_improving


def test_a_training_in_a_thread_stops_within_a_step_of_an_interrupted_run(tmp_path: Path) -> None:
    stop, saved = Event(), []

    class States(TrainingState):
        """Interrupts the run after the first epoch."""

        def save(self, name: str, state: object) -> None:
            saved.append(name)
            stop.set()

    with ThreadPoolExecutor(1, initializer=heed, initargs=(stop.is_set,)) as threads:
        arguments = (joint_windows(), LSTM, TRAINING, MAPE_MIN_TRUTH, COMPUTE, States(tmp_path))
        with pytest.raises(InterruptedError):
            threads.submit(train_lstm, *arguments).result(100)
    assert saved == ["42-joint"]


def test_training_learns() -> None:
    """A daily wave can be forecast far better than by its last value."""
    windows = joint_windows(make_clean(1500, missing=0.02))
    longer = TRAINING.model_copy(update={"epochs": 15})
    checkpoint, _, _, _ = train_lstm(windows, LSTM, longer, MAPE_MIN_TRUTH, COMPUTE)
    evaluated = evaluate(
        checkpoint, {"42": checkpoint}, WindowBlocks.of_one(windows), MAPE_MIN_TRUTH, COMPUTE
    )
    _, metrics = errors_and_metrics(*evaluated[:2], MAPE_MIN_TRUTH)
    assert (
        metrics["test"]["total_volume"]["mae"] < 0.8 * metrics["persistence"]["total_volume"]["mae"]
    )


def test_independent_models_do_not_know_each_other() -> None:
    clean = make_clean(500)
    short = TRAINING.model_copy(update={"epochs": 1})
    checkpoint, _, config, history = train_lstm(
        independent_windows(clean), LSTM, short, MAPE_MIN_TRUTH, COMPUTE
    )
    assert list(checkpoint["weights"]) == list(history["42"]) == ["VD-0", "VD-2"]
    assert config["num_models"] == 2
    changed = clean.copy()
    changed[:, 2] *= 1.5
    again, _, _, _ = train_lstm(independent_windows(changed), LSTM, short, MAPE_MIN_TRUTH, COMPUTE)
    same, other = (
        [
            torch.equal(checkpoint["weights"][vdid][name], again["weights"][vdid][name])
            for name in checkpoint["weights"][vdid]
        ]
        for vdid in ("VD-0", "VD-2")
    )
    assert all(same)
    assert not all(other)


def test_context_shorter_than_the_window() -> None:
    windows = make_joint_windows(make_clean(500), sequence_length=9)
    with pytest.raises(ValueError, match="context_length 8 is shorter than sequence_length 9"):
        train_xlstm(windows, XLSTM, TRAINING, MAPE_MIN_TRUTH, COMPUTE)


def test_nothing_to_learn_or_to_choose_by() -> None:
    windows = joint_windows()
    for split, steps in (("training", slice(0, 350)), ("validation", slice(350, 400))):
        blind = WindowSet(windows.data.copy(deep=True))
        blind.observed[steps] = False
        with pytest.raises(ValueError, match=f"no {split} window has an observed target"):
            train_lstm(blind, LSTM, TRAINING, MAPE_MIN_TRUTH, COMPUTE)


def test_divergence_is_told() -> None:
    wild = TRAINING.model_copy(update={"learning_rate": 1e30})
    told = (
        r"diverged in epoch 1, step \d of 11: the training loss is not finite; learning_rate 1e.30"
    )
    with pytest.raises(ValueError, match=told):
        train_lstm(joint_windows(), LSTM, wild, MAPE_MIN_TRUTH, COMPUTE)


def test_variables_of_a_batch_system_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = joint_windows()
    short = TRAINING.model_copy(update={"epochs": 1})
    alone, _, _, _ = train_lstm(windows, LSTM, short, MAPE_MIN_TRUTH, COMPUTE)
    slurm = {"JOB_ID": 77, "JOB_NAME": "vd", "NODELIST": "n1", "NTASKS": 4, "PROCID": 3}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    launcher = {"WORLD_SIZE": 4, "RANK": 3, "LOCAL_RANK": 3, "NODE_RANK": 1, "MASTER_PORT": 1}
    for name, value in {**launcher, "MASTER_ADDR": "n1"}.items():
        monkeypatch.setenv(name, str(value))
    in_a_job, _, _, _ = train_lstm(windows, LSTM, short, MAPE_MIN_TRUTH, COMPUTE)
    weights = [checkpoint["weights"]["joint"] for checkpoint in (alone, in_a_job)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# --- forecasts ------------------------------------------------------------------------------------


def untrained(windows: WindowSet, seed: int = 42) -> dict:  # type: ignore[type-arg]
    """A checkpoint whose head does something, without the cost of training."""
    short = TRAINING.model_copy(update={"epochs": 1, "seeds": (seed,)})
    checkpoint, _, _, _ = train_lstm(windows, LSTM, short, MAPE_MIN_TRUTH, COMPUTE)
    return checkpoint


def forecasts_of(checkpoint: dict, windows: WindowSet, split: str = "test") -> xr.Dataset:  # type: ignore[type-arg]
    """The forecasts of a checkpoint."""
    lazy = forecast_split({"42": checkpoint}, windows, split, COMPUTE, best_seed=42)
    return lazy.data.compute()


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("make", [joint_windows, independent_windows])
def test_truth_and_persistence_are_the_observed_series(make: MakesWindows, split: str) -> None:
    clean = make_clean(500)
    windows = make(clean)
    predictions = forecasts_of(untrained(windows), windows, split)
    np.testing.assert_array_equal(predictions["origin"], windows.time[windows.origins(split)])
    series = clean.sel(vd=predictions["vd"], feature=predictions["feature"])
    step = np.timedelta64(5, "m")
    for horizon in (1, 2, 3):
        expected = series.sel(time=predictions["origin"].to_numpy() + horizon * step)
        np.testing.assert_allclose(
            predictions["truth"].sel(horizon=horizon), expected, rtol=1e-4, atol=1e-3
        )
    filled = pd.DataFrame(series.to_numpy().reshape(len(series), -1)).ffill().to_numpy()
    last = series.copy(data=filled.reshape(series.shape)).sel(time=predictions["origin"].to_numpy())
    np.testing.assert_allclose(predictions["persistence"], last, rtol=1e-4, atol=1e-3)
    assert len(predictions["origin"]) == len(windows.starts(split))


@pytest.mark.parametrize("make", [joint_windows, independent_windows])
def test_changing_the_future_never_changes_a_forecast(
    make: MakesWindows,
) -> None:
    clean = make_clean(500)
    windows = make(clean)
    checkpoint = untrained(windows)
    changed = clean.copy()
    changed[450:] = np.where(np.arange(3) == 0, np.nan, 1e4)
    before = forecasts_of(checkpoint, windows)
    after = forecasts_of(checkpoint, make(changed))
    known = before["origin"].to_numpy() < clean["time"].to_numpy()[450]
    assert 0 < known.sum() < len(known)
    for name in ("prediction", "persistence"):
        np.testing.assert_array_equal(
            before[name].isel(origin=known), after[name].isel(origin=known)
        )
        assert not np.array_equal(before[name].isel(origin=~known), after[name].isel(origin=~known))


def test_metrics_by_hand() -> None:
    windows = joint_windows()
    checkpoint = untrained(windows)
    evaluated = evaluate(
        checkpoint, {"42": checkpoint}, WindowBlocks.of_one(windows), MAPE_MIN_TRUTH, COMPUTE
    )
    _, metrics = errors_and_metrics(*evaluated[:2], MAPE_MIN_TRUTH)
    predictions = evaluated[0].data.compute()
    error = (predictions["prediction"].sel(seed=42) - predictions["truth"]).sel(feature="avg_speed")
    assert metrics["test"]["avg_speed"]["mae"] == pytest.approx(float(abs(error).mean()), rel=1e-5)
    assert metrics["test"]["avg_speed"]["n"] == int(error.notnull().sum())
    by_horizon = abs(error).mean(["origin", "vd"])
    assert metrics["by_horizon"]["avg_speed"]["mae"] == pytest.approx(
        by_horizon.to_numpy().tolist(), rel=1e-5
    )
    assert metrics["by_vd"]["VD-1"]["avg_speed"]["rmse"] == pytest.approx(
        math.sqrt(float((error.sel(vd="VD-1") ** 2).mean())), rel=1e-5
    )
    persisted = abs(predictions["persistence"] - predictions["truth"]).sel(feature="avg_speed")
    assert metrics["persistence"]["avg_speed"]["mae"] == pytest.approx(
        float(persisted.mean()), rel=1e-5
    )
    assert json.loads(json.dumps(metrics)) == metrics


def test_a_checkpoint_alone_is_enough_to_forecast(tmp_path: Path) -> None:
    windows = joint_windows()
    checkpoint = untrained(windows)
    dataset = CheckpointDataset(filepath=str(tmp_path / "best_model.pt"))
    dataset.save(copy.deepcopy(checkpoint))
    loaded = dataset.load()
    xr.testing.assert_identical(
        forecasts_of(checkpoint, windows),
        forecasts_of(loaded, windows),
    )
    raw = make_clean(500).sel(vd=loaded["vdids"]).to_numpy()[:6]
    scaled = (raw - loaded["scaler"]["mean"].numpy()) / loaded["scaler"]["std"].numpy()
    np.testing.assert_allclose(
        np.nan_to_num(scaled, nan=9e9) == 9e9, ~windows.data["observed"].to_numpy()[:6]
    )


@pytest.mark.parametrize(
    ("steps", "changes", "told"),
    [
        (500, {"num_vds": 1}, r"its vdids \['VD-0', 'VD-1'\], theirs \['VD-0'\]; train again with"),
        (500, {"holidays": ("2024-03-05",)}, "its holidays , theirs 2024-03-05; train again"),
        (500, {"sequence_length": 5}, "its sequence_length 6, theirs 5"),
        (500, {"target_features": ("avg_speed",)}, "its target_features"),
        (600, {}, "its scaler has another mean; .* kedro run --namespace multi_vd_lstm"),
    ],
)
def test_a_checkpoint_of_other_windows_is_not_evaluated(
    steps: int, changes: dict[str, Any], told: str
) -> None:
    checkpoint = untrained(make_joint_windows(make_clean(500)))
    windows = make_joint_windows(make_clean(steps), **changes)
    with pytest.raises(ValueError, match=told):
        evaluate(
            checkpoint, {"42": checkpoint}, WindowBlocks.of_one(windows), MAPE_MIN_TRUTH, COMPUTE
        )
    with pytest.raises(ValueError, match=told):
        measure_cost(checkpoint, WindowBlocks.of_one(windows), TRAINING)
