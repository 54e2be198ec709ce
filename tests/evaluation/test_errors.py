"""Sums of errors: the same whatever the blocks, and the same for tables and tests."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.make.artefacts import BASELINES, MAPE_MIN_TRUTH, make_baselines, make_predictions
from tests.make.parameters import make_evaluation
from vd_forecasting.artefacts import BaselineForecasts, Forecasts
from vd_forecasting.datasets import XarrayDataset, xarray_dataset
from vd_forecasting.evaluation import aligned
from vd_forecasting.evaluation.aligned import AlignedForecasts, Member, align
from vd_forecasting.evaluation.differences import find_differences
from vd_forecasting.evaluation.errors import SummedErrors, errors_of, sum_errors

VDS = [f"VD{n}" for n in range(20)]


@pytest.fixture(scope="module")
def forecasts() -> AlignedForecasts:
    """Two seeds of a network and the baselines, on twenty detectors."""
    network = make_predictions(vdids=VDS, origins=50, horizons=3, seeds=(1, 2))
    return align(
        {"lstm": Forecasts.from_xarray(network)},
        {"": BaselineForecasts.from_xarray(make_baselines(network))},
    )


@pytest.fixture(scope="module")
def whole(forecasts: AlignedForecasts) -> SummedErrors:
    return sum_errors(forecasts, MAPE_MIN_TRUTH)


def test_tables_and_tests_rest_on_the_same_errors(
    forecasts: AlignedForecasts, whole: SummedErrors
) -> None:
    for name, over_time in (("absolute", "loss"), ("n", "n")):
        by_vd = whole.by_vd[name].isel(member=slice(len(forecasts.members))).sum("vd")
        by_origin = whole.by_origin[over_time].sum("origin")
        np.testing.assert_allclose(by_vd, by_origin.broadcast_like(by_vd).transpose(*by_vd.dims))
    error = abs(forecasts.forecast.astype("float64") - forecasts.truth)
    np.testing.assert_allclose(
        whole.by_origin["loss"], error.sum("vd").transpose(*whole.by_origin["loss"].dims)
    )
    np.testing.assert_array_equal(whole.by_origin["n"], forecasts.truth.notnull().sum("vd"))


@pytest.mark.parametrize("block_bytes", [1, 150_000])
def test_blocks_of_detectors_do_not_change_the_sums(
    forecasts: AlignedForecasts,
    whole: SummedErrors,
    block_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aligned, "BLOCK_BYTES", block_bytes)
    widths = [len(block.vdids) for block in forecasts.blocks()]
    assert widths == ([1] * 20 if block_bytes == 1 else [8, 8, 4])
    assert [vdid for block in forecasts.blocks() for vdid in block.vdids] == VDS
    blockwise = sum_errors(forecasts, MAPE_MIN_TRUTH)
    xr.testing.assert_identical(blockwise.by_vd, whole.by_vd)
    xr.testing.assert_allclose(blockwise.by_origin, whole.by_origin, rtol=1e-12)


def test_the_joined_seeds_are_scored_as_one_forecast_their_mean(
    forecasts: AlignedForecasts, whole: SummedErrors
) -> None:
    seeds = forecasts.forecast.isel(member=[0, 1]).values.astype("float64")
    truth = forecasts.truth.values
    error = abs(seeds.mean(axis=0) - truth)
    assert whole.members[-1] == Member("lstm", "joined", best=False)
    found = (
        whole.by_vd["absolute"].isel(member=-1).sel(block=1).transpose("horizon", "vd", "feature")
    )
    np.testing.assert_allclose(found, np.nansum(error, axis=0))
    errors = errors_of(whole)
    for f, feature in enumerate(errors.features):
        mae = errors.at("mae", "lstm_joined", feature)
        assert mae == pytest.approx(np.nanmean(error[..., f]))
        of_seeds = [np.nanmean(abs(seed - truth)[..., f]) for seed in seeds]
        assert errors.at("mae", "lstm", feature) == pytest.approx(np.mean(of_seeds))
        assert mae < min(of_seeds), "independent errors of the seeds cancel"
        assert np.isnan(errors.sd("mae", "lstm_joined", feature))
    assert errors.labels["lstm_joined"] == "LSTM, 2 seeds joined"
    assert list(errors.labels) == ["lstm", "lstm_joined", *errors.baselines]


def test_the_joined_seeds_are_no_model_of_tests_and_lines(whole: SummedErrors) -> None:
    errors, differences = errors_of(whole), find_differences(whole, make_evaluation())
    assert errors.networks == ["lstm"]
    assert errors.baselines == ["persistence", *BASELINES]
    tested = ["lstm", "persistence", *BASELINES]
    assert list(errors.by_hour["model"].values) == tested
    assert list(differences.confidence_set["model"].values) == tested


def test_a_single_seed_is_not_joined() -> None:
    summed = sum_errors(
        align({"lstm": Forecasts.from_xarray(make_predictions(origins=20))}), MAPE_MIN_TRUTH
    )
    assert errors_of(summed).joined == {}
    assert [member.seed for member in summed.members] == [42, None]


def test_seeds_of_which_one_diverged_are_undefined_when_joined() -> None:
    network = make_predictions(origins=20, seeds=(1, 2))
    network["prediction"][1, 5] = np.nan
    errors = errors_of(sum_errors(align({"lstm": Forecasts.from_xarray(network)}), MAPE_MIN_TRUTH))
    assert np.isnan(errors.at("mae", "lstm_joined", "avg_speed"))


def test_forecasts_in_files_are_summed_as_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xarray_dataset, "SMALL_BYTES", 0)
    stored = {}
    network = make_predictions(vdids=VDS, origins=150, horizons=3, seeds=(1, 2))
    other = make_predictions(model="xlstm", vdids=VDS[::-1], origins=140, horizons=3)
    given = {
        "lstm": Forecasts.from_xarray(network),
        "xlstm": Forecasts.from_xarray(other),
        "baselines": BaselineForecasts.from_xarray(make_baselines(network)),
    }
    for name, value in given.items():
        file = XarrayDataset(
            filepath=str(tmp_path / f"{name}.nc"),
            holds=f"vd_forecasting.artefacts.{type(value).__name__}",
        )
        file.save(value)
        stored[name] = file.load()
    (memory, _), (files, lazy) = (
        (sum_errors(side_by_side, MAPE_MIN_TRUTH), side_by_side)
        for found in (given, stored)
        for side_by_side in [
            align(
                {"lstm": found["lstm"], "xlstm": found["xlstm"]},  # type: ignore[dict-item]
                {"": found["baselines"]},  # type: ignore[dict-item]
            )
        ]
    )
    assert lazy.forecast.chunks is not None
    xr.testing.assert_identical(files.by_vd, memory.by_vd)
    xr.testing.assert_identical(files.by_origin, memory.by_origin)
