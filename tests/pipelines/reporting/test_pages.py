"""The pages: numbers against hand-computed ones, links, width, honesty."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from kedro.io.catalog_config_resolver import CatalogConfigResolver
from kedro.pipeline import Pipeline

from tests.make.another_language import english_left, greek, texts_of
from tests.make.artefacts import (
    BASELINES,
    make_baselines,
    make_outcome,
    make_predictions,
    make_validation,
)
from tests.make.catalogs import catalog_entries
from tests.make.parameters import INTERVALS, REPORT, make_evaluation
from vd_forecasting.artefacts import BaselineForecasts, Divergence, Forecasts, History, Outcome
from vd_forecasting.datasets import Frames
from vd_forecasting.evaluation.differences import Differences
from vd_forecasting.evaluation.sums_over_time import AVERAGE
from vd_forecasting.language import spoken
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.reporting import (
    create_comparison,
    create_comprehensive,
    create_experiment_report,
)
from vd_forecasting.pipelines.reporting.across_modes import Found, compare_modes
from vd_forecasting.pipelines.reporting.pages.comparison import write_comparison
from vd_forecasting.pipelines.reporting.pages.comprehensive import write_comprehensive
from vd_forecasting.pipelines.reporting.pages.training_report import write_training_report
from vd_forecasting.pipelines.reporting.plots.error_plots import (
    plot_difference_by_horizon,
    plot_error_by_vd,
)
from vd_forecasting.pipelines.reporting.plots.learning_plots import plot_learning_curves
from vd_forecasting.pipelines.reporting.scores import (
    align_forecasts,
    align_validation,
    errors_and_metrics,
    score_forecasts,
    score_intervals,
)
from vd_forecasting.rendering.page import REFERENCE, Page
from vd_forecasting.vocabulary import EXPERIMENTS, MODELS, MODES, NAMES
from vd_forecasting.wording import QUANTILES, number, percent, quantile_name

EVALUATION = make_evaluation()
LINK = re.compile(r"\]\(([^)]+)\)")
SMALL: dict[str, Any] = {"origins": 100, "horizons": 2}
SOME_VDS = [f"VD-{n:02d}" for n in range(4)]

WEAK = (1.4, 1.6, 0.8, 1.2)
"""Errors of baselines, none below those of the networks."""


def make_all(**settings: Any) -> Found:
    vdids = {"single_vd": SOME_VDS[:1], "multi_vd": SOME_VDS, "independent_multi_vd": SOME_VDS[:2]}
    defaults = {"origins": 300}
    outcomes = {
        name: make_outcome(
            make_predictions(
                mode,
                model,
                vdids=settings.get("vdids", vdids[mode]),
                error=settings.get("error", {}).get(name, 0.6 if model == "lstm" else 0.5),
                **(defaults | settings.get("shape", {})),
            ),
            epochs=settings.get("epochs", 12),
            seconds=4.0 if model == "lstm" else 30.0,
        )
        for name in EXPERIMENTS
        for mode, _, model in [name.rpartition("_")]
    }
    return with_outcomes(outcomes, settings.get("baselines", WEAK))


def with_outcomes(outcomes: dict[str, Outcome], errors: Sequence[float] = WEAK) -> Found:
    """Results with baselines of such errors."""
    baselines = {
        mode: BaselineForecasts.from_xarray(
            make_baselines(outcomes[f"{mode}_lstm"].forecasts.data, errors=errors)
        )
        for mode in MODES
    }
    scores = {mode: Frames.joined([]) for mode in MODES}
    return Found(outcomes, baselines, failures={}, scores=scores)


@pytest.fixture(scope="module")
def day() -> Found:
    """A day of test errors: too short for intervals."""
    return make_all()


@pytest.fixture(scope="module")
def ten_days() -> Found:
    """Hourly test errors of ten days, of networks trained with two seeds."""
    return make_all(
        shape={"origins": 10 * 24, "interval_minutes": 60.0, "horizons": 3, "seeds": (1, 2)}
    )


def report(outcome: Outcome) -> str:
    return report_page(outcome).text


def report_page(outcome: Outcome, how: Report = REPORT) -> Page:
    errors, _ = errors_and_metrics(outcome.forecasts, outcome.fit_errors, EVALUATION.mape_min_truth)
    return write_training_report(outcome, errors, how)


def comparison(found: Found, mode: str) -> str:
    return comparison_page(found, mode).text


def comprehensive(found: Found) -> str:
    return write_comprehensive(found, compare_modes(found, EVALUATION), REPORT).text


def comparison_page(found: Found, mode: str, how: Report = REPORT) -> Page:
    lstm, xlstm = (found.outcomes[f"{mode}_{model}"] for model in MODELS)
    aligned = align_forecasts(lstm, xlstm, found.baselines[mode])
    scored = score_forecasts(aligned, EVALUATION)
    before = make_validation(found.baselines[mode].data)
    if before.sizes["block"] > 1:
        before = in_two_blocks(before.isel(block=[0]))
    validation = align_validation(lstm, xlstm, BaselineForecasts.from_xarray(before))
    of_intervals = score_intervals(aligned, validation, INTERVALS, EVALUATION.confidence)
    shown = (*scored[:-1], *of_intervals[:-1])
    return write_comparison(lstm, xlstm, aligned, *shown, EVALUATION, how)


def differences_of(found: Found, mode: str) -> Differences:
    lstm, xlstm = (found.outcomes[f"{mode}_{model}"] for model in MODELS)
    return score_forecasts(align_forecasts(lstm, xlstm, found.baselines[mode]), EVALUATION)[3]


def mae_by_hand(found: Found, name: str, **at: Any) -> npt.NDArray[np.float64]:
    """Per seed of an experiment, or of a baseline such as ``multi_vd_ridge``."""
    if name in EXPERIMENTS:
        predictions = found.outcomes[name].forecasts.data
        forecast, member = predictions["prediction"], "seed"
    else:
        mode = next(mode for mode in MODES if name.startswith(f"{mode}_"))
        predictions = found.outcomes[f"{mode}_lstm"].forecasts.data
        model = name.removeprefix(f"{mode}_")
        forecast, member = found.baselines[mode].prediction, "model"
        if model == "persistence":
            forecast = predictions["persistence"].expand_dims(member)
        else:
            forecast = forecast.sel(model=[model])
    error = abs(forecast - predictions["truth"]).sel(at)
    return np.asarray(error.mean([dim for dim in error.dims if dim != member]).values)


@pytest.fixture(scope="module")
def pages(day: Found) -> dict[str, Page]:
    """All pages of a day of test errors, by the dataset they are saved to."""
    reports = {
        f"{name}.training_report": report_page(outcome) for name, outcome in day.outcomes.items()
    }
    return {
        **reports,
        **{f"compare_{mode}.page": comparison_page(day, mode) for mode in MODES},
        "comprehensive_model_comparison": write_comprehensive(
            day, compare_modes(day, EVALUATION), REPORT
        ),
    }


@pytest.fixture(scope="module")
def pages_of_ten_days(ten_days: Found) -> dict[str, str]:
    """One of each kind that compares several modes or detectors over ten days."""
    return {
        "training_report": report(ten_days.outcomes["multi_vd_xlstm"]),
        "comparison": comparison(ten_days, "multi_vd"),
        "comprehensive": comprehensive(ten_days),
    }


@pytest.mark.parametrize("name", ["training_report", "comparison", "comprehensive"])
def test_a_page_reads_as_it_did(
    pages_of_ten_days: dict[str, str], name: str, tmp_path: Path
) -> None:
    written = tmp_path / f"{name}.md"
    written.write_text(pages_of_ten_days[name], "utf-8")
    golden = Path(__file__).parent / "golden" / f"{name}.md"
    assert pages_of_ten_days[name] == golden.read_text("utf-8"), (
        f"meant? copy {written} to {golden}"
    )


@pytest.fixture(scope="module")
def pages_in_greek(
    day: Found, ten_days: Found, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """One of each kind in a language of one file, with the texts of its figures."""
    with greek(tmp_path_factory.mktemp("languages")) as how:
        across = compare_modes(ten_days, EVALUATION)
        written = [
            report_page(ten_days.outcomes["independent_multi_vd_xlstm"], how),
            comparison_page(ten_days, "multi_vd", how),
            comparison_page(day, "multi_vd", how),
            write_comprehensive(ten_days, across, how),
        ]
        return {page.text.splitlines()[0]: [*texts_of(page)] for page in written}


def test_a_third_language_is_one_file_and_leaves_no_english(
    pages_in_greek: dict[str, list[str]],
) -> None:
    values = ["null", "fused", "vd_forecasting", "torch"]
    known = [*EXPERIMENTS, *MODES, *SOME_VDS, *values]
    for texts in pages_in_greek.values():
        assert len(texts) > 50, "the figures too"
        for text in texts:
            assert english_left(text, known) == set(), text


def test_pages_in_chinese_are_chinese_and_so_are_their_figures(ten_days: Found) -> None:
    page = report_page(ten_days.outcomes["multi_vd_xlstm"], Report(language="zh-TW"))
    assert "**xLSTM 在所有預測特徵上優於持續性預測**（所有預測時程平均）。" in page.text
    assert "### 平均速率（公里/小時）" in page.text
    assert spoken() == "en"
    texts = [*texts_of(page)]
    if page.language == "zh-TW":  # there is a font for it
        assert "multi_vd_xlstm 能否預見壅塞？" in texts
    else:
        assert "Does multi_vd_xlstm see congestion coming?" in texts


def row(page: str, heading: str, start: str) -> list[str]:
    """The cells of the first row that starts so under a heading."""
    section = page.split(f"{heading}\n", 1)[1]
    line = next(line for line in section.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_training_report_has_the_errors_beside_persistence(day: Found) -> None:
    found = day.outcomes["multi_vd_xlstm"]
    page = report(found)
    data = found.forecasts.data.sel(feature="avg_speed", horizon=6)
    own = float(np.abs(data["prediction"] - data["truth"]).mean())
    reference = float(np.abs(data["persistence"] - data["truth"]).mean())
    cells = row(page, "### avg_speed (km/h)", "30 min (step 6)")
    assert cells[1:4] == [
        number(own),
        number(reference),
        percent(own / reference - 1, signed=True),
    ]
    assert "| `VD-03` |" in page
    assert "30 % of the truths" not in page
    assert "2026-03-24 09:35" in page
    assert "`slstm_at` | [1, 3]" in page


def test_a_training_report_has_the_chosen_epoch_and_the_gap(day: Found) -> None:
    found = day.outcomes["single_vd_lstm"]
    page = report(found)
    [(_, _, fit)] = found.history.fits()
    assert f"| chosen epoch | {fit.best_epoch} of 12 |" in page
    assert "| forecast of 1 window, one CPU thread | 2.10 ms |" in page
    assert "| forecast of 256 windows, one CPU thread | 120 ms |" in page
    assert "| memory of a training step | 32.6 MB |" in page
    assert "Seed 42; " in page
    assert "| training time | 50 s |" in page  # 12 epochs of 4 s, and 1.5 s, rounded
    assert "| generalisation gap, mean | 1.12 |" in page  # made as 0.9 / 0.8
    assert "By detector" not in page


def test_independent_models_have_a_row_each_and_their_times_added(day: Found) -> None:
    page = report(day.outcomes["independent_multi_vd_lstm"])
    assert "| training time | 1 min 39 s |" in page  # 2 × 49.5 s
    assert "| trainable parameters | 2 × 1,385,252 |" in page
    for _, vdid, fit in day.outcomes["independent_multi_vd_lstm"].history.fits():
        assert f"| `{vdid}` | {fit.best_epoch} of 12 |" in page


def test_a_training_report_of_several_seeds_has_means_and_deviations(ten_days: Found) -> None:
    found = ten_days.outcomes["independent_multi_vd_lstm"]
    page = report(found)
    own = mae_by_hand(ten_days, "independent_multi_vd_lstm", feature="avg_speed", horizon=3)
    cell = row(page, "### avg_speed (km/h)", "3 h (step 3)")[1]
    assert cell.split(" ± ")[0] == number(own.mean())
    assert float(cell.split(" ± ")[1]) == pytest.approx(own.std(ddof=1), abs=0.006)
    assert "| seeds | 2 |" in page
    assert "| models trained | 2 |" in page
    assert "| training time per seed | 1 min 39 s |" in page  # of two models
    assert "`VD-00, seed 2`" in page
    assert "Seeds 1 and 2, of which 2 did best in validation; " in page


def test_a_comparison_has_every_model_with_the_lowest_error_bold(
    day: Found, pages: dict[str, Page]
) -> None:
    page = pages["compare_multi_vd.page"].text
    heading = "### total_volume (veh/5 min)"
    reference = mae_by_hand(day, "multi_vd_persistence", feature="total_volume").item()
    found = {}
    for model in (*MODELS, "persistence", *BASELINES):
        found[model] = mae_by_hand(day, f"multi_vd_{model}", feature="total_volume").item()
        later = mae_by_hand(day, f"multi_vd_{model}", feature="total_volume", horizon=6)
        cells = row(page, heading, f"{NAMES[model]} |")
        assert cells[3].strip("*") == number(later.item())
        assert cells[5].strip("*") == number(found[model])
        skill = "–" if model == "persistence" else percent(1 - found[model] / reference)
        assert cells[6] == skill
    assert min(found, key=lambda model: found[model]) == "xlstm"
    assert row(page, heading, "xLSTM")[5] == f"**{number(found['xlstm'])}**"
    assert row(page, heading, "LSTM")[5] == number(found["lstm"])
    header = row(page, heading, "total_volume")
    assert header[1:] == [
        "5 min", "15 min", "30 min", "60 min", "average",
        "skill", "RMSE", "MASE", "R²", "MAPE",
    ]  # fmt: skip
    data = day.outcomes["multi_vd_lstm"].forecasts.data.sel(feature="total_volume", seed=42)
    error = (data["prediction"] - data["truth"]).astype("float64")
    cells = row(page, heading, "LSTM")
    assert cells[7] == number(float((error**2).mean()) ** 0.5)
    share = abs(error) / data["truth"].where(data["truth"] >= 1)
    assert cells[10] == percent(float(share.mean()))
    scaled = abs(error).sum(["origin", "horizon"]) / data["mase_scale"]
    assert cells[8] == number(float(scaled.sum() / data["truth"].count()))
    mean = data["truth"].mean("origin")
    variation = ((data["truth"] - mean) ** 2).sum()
    assert cells[9] == number(float(1 - (error**2).sum() / variation))


def test_a_comparison_too_short_to_test_says_so(day: Found, pages: dict[str, Page]) -> None:
    page = pages["compare_multi_vd.page"].text
    change = differences_of(day, "multi_vd").between["total_volume", AVERAGE].change
    verdict = page.split("## Test errors", maxsplit=1)[0]
    too_few = "**Too few test days for a verdict**: 1 day with at least half of the origins scored"
    assert too_few in verdict
    assert "better" not in verdict.split("In numbers")[0]
    assert (
        f"total_volume, averaged over horizons: xLSTM {percent(-change)} lower MAE than LSTM "
        "(no interval, the test days are too few)"
    ) in verdict
    assert "No model confidence set (MCS): 1 test day with at least half" in page
    assert "✓" not in page
    assert "| MCS |" not in page
    cells = row(page, "## Is the difference more than chance?", "average of 12 steps")
    assert cells[2] == cells[4] == "–"
    assert "Each model was trained once (seed 42). Seed noise is not covered" in verdict
    assert "an epoch of xLSTM takes 7.50 times as long" in verdict
    assert "| forecast of 1 window, one CPU thread | 2.10 ms | 4.20 ms |" in page
    assert "| memory of a training step | 32.6 MB | 65.2 MB |" in page
    assert "`batch_size` 32 against 16" in page
    assert "No baseline beats a network anywhere." in verdict
    assert page.splitlines()[2].startswith("**Too few test days for a verdict**")


def test_a_comparison_over_ten_days_has_deviations_intervals_and_the_best_set(
    ten_days: Found, pages_of_ten_days: dict[str, str]
) -> None:
    page = pages_of_ten_days["comparison"]
    differences = differences_of(ten_days, "multi_vd")
    assert differences.is_tested
    heading = "### avg_speed (km/h)"
    for model in MODELS:
        own = mae_by_hand(ten_days, f"multi_vd_{model}", feature="avg_speed")
        value, sd = row(page, heading, f"{NAMES[model]} |")[3].strip("*").split(" ± ")
        assert value == number(own.mean())
        assert float(sd) == pytest.approx(own.std(ddof=1), abs=0.006)
    assert "±" not in row(page, heading, "ridge")[3]
    for model in (*MODELS, "persistence", *BASELINES):
        mark = "✓" if differences.in_set(model, "avg_speed") else ""
        assert row(page, heading, f"{NAMES[model]} |")[-1] == mark
    assert row(page, heading, "xLSTM")[-1] == "✓"
    assert (
        "no other model beats beyond chance (95 %). A model in it may still be far from the best: "
        "over 10 test days that differ, even a much higher error can be chance."
    ) in page
    difference = differences.between["avg_speed", 3]
    section = page.split("| avg_speed, ahead |", 1)[1]
    cells = row(f"\n{section}", "", "3 h (step 3)")
    assert cells[1] == percent(difference.change, signed=True)
    assert cells[2] == (
        f"{percent(difference.low, signed=True)} to {percent(difference.high, signed=True)}"
    )
    assert cells[4] == "xLSTM"
    assert difference.high < 0
    assert "Each model was trained 2 times (seeds 1 and 2)" in page
    assert "is not known" not in page


def test_a_comparison_scores_congested_steps_apart(
    ten_days: Found, pages_of_ten_days: dict[str, str]
) -> None:
    page = pages_of_ten_days["comparison"]
    data = ten_days.outcomes["multi_vd_xlstm"].forecasts.data
    slow = data["truth"].sel(feature="avg_speed") < 0.6 * data["free_flow_speed"]
    error = abs(data["prediction"] - data["truth"]).where(slow).sel(feature="total_volume")
    by_seed = error.mean(["origin", "horizon", "vd"])
    cells = row(page, "## In congestion", "xLSTM")
    assert cells[2].strip("*").split(" ± ")[0] == number(float(by_seed.mean()))
    scored = row(page, "## In congestion", "values scored")
    assert scored[2] == f"{int(error.sel(seed=1).count()):,}"
    assert "slower than 60 % of the detector's free-flow speed" in page


def test_without_speeds_no_step_is_known_to_be_congested() -> None:
    found = make_all(shape={"features": ["total_volume"], "origins": 60})
    page = comparison(found, "single_vd")
    assert "No test step is known to be congested (slower than 60 % of" in page
    assert "values scored" not in page


@pytest.mark.parametrize("page_of", [lambda a: comparison(a, "single_vd"), comprehensive])
def test_a_baseline_that_beats_both_networks_is_the_first_line(page_of: Any) -> None:
    found = make_all(baselines=(1.4, 1.6, 0.8, 0.2), shape={"origins": 150, "horizons": 3})
    text = page_of(found)
    lines = text.splitlines()
    assert lines[0].startswith("# ")
    assert lines[2].startswith(
        "Gradient boosting beats both networks on avg_speed, total_volume and avg_occupancy, "
        "averaged over horizons"
    )
    assert "Where a baseline beats a network" in text
    assert lines[2].endswith(", but 1 test day is too few for a verdict.")
    if "| single_vd LSTM" in text:
        assert "averaged over horizons, in every mode, but" in lines[2]


def test_a_comparison_says_first_where_persistence_wins() -> None:
    page = comparison(make_all(error={"single_vd_xlstm": 1.2}, shape=SMALL), "single_vd")
    before_tables = page.split("## Test errors", maxsplit=1)[0]
    assert "Where a baseline beats a network:" in before_tables
    assert "avg_speed: persistence beats xLSTM at every horizon." in before_tables


def test_a_comparison_says_when_forecasts_were_left_out(day: Found) -> None:
    whole = day.outcomes["single_vd_xlstm"]
    shorter = replace(
        whole, forecasts=Forecasts.from_xarray(whole.forecasts.data.isel(origin=slice(10, None)))
    )
    outcomes = {**day.outcomes, "single_vd_xlstm": shorter}
    page = comparison(replace(day, outcomes=outcomes), "single_vd")
    assert "**The two did not forecast the same values**" in page
    assert "compared on the 290 in common" in page


def test_the_comprehensive_page_compares_modes_on_their_common_detector(
    day: Found, pages: dict[str, Page]
) -> None:
    page = pages["comprehensive_model_comparison"].text
    assert (
        "Compared on the detector that every mode forecasts, `VD-00`: 300 forecast origins" in page
    )
    data = day.outcomes["multi_vd_lstm"].forecasts.data.sel(vd="VD-00", feature="avg_speed")
    error = float(np.abs(data["prediction"] - data["truth"]).mean())
    cells = row(page, "### avg_speed (km/h)", "multi_vd LSTM")
    assert cells[5].strip("*") == number(error)
    assert page.count("| persistence |") == 3
    assert "which is simulated" in page
    assert "Each model was trained once (seed 42)" in page
    assert "nor that of another seed" in page
    assert "No model confidence set (MCS): 1 test day with at least half" in page
    assert "| MCS |" not in page
    assert "**Too few test days for a verdict**: of " in page
    assert "No baseline beats a network, averaged over horizons." in page


def test_the_comprehensive_page_over_ten_days_is_tested(
    ten_days: Found, pages_of_ten_days: dict[str, str]
) -> None:
    page = pages_of_ten_days["comprehensive"]
    across = compare_modes(ten_days, EVALUATION)
    sets = across.confidence_sets
    for mode in MODES:
        for model in MODELS:
            cells = row(page, "### total_volume (veh/60 min)", f"{mode} {NAMES[model]} |")
            own = mae_by_hand(ten_days, f"{mode}_{model}", feature="total_volume", vd="VD-00")
            assert cells[3].strip("*").split(" ± ")[0] == number(own.mean())
            inside = float(sets.sel(model=f"{mode}_{model}", feature="total_volume")) > 0.05
            assert cells[-1] == ("✓" if inside else "")
    differences = across.differences["multi_vd"]
    change = differences.between["avg_speed", AVERAGE].change
    assert (
        f"- multi_vd, avg_speed, averaged over horizons: xLSTM {percent(-change)} lower MAE than "
        "LSTM (95 % interval "
    ) in page
    assert "beyond chance" in page.split("In numbers", maxsplit=1)[0]
    among = "among all models of all modes, those that no other model beats beyond chance (95 %)"
    assert among in page
    assert "nor that of another seed" not in page


def test_without_a_common_detector_the_comprehensive_page_says_so() -> None:
    outcomes = dict(make_all(shape=SMALL).outcomes)
    for model in MODELS:
        alone = make_predictions("single_vd", model, vdids=["alone"], **SMALL)
        outcomes[f"single_vd_{model}"] = make_outcome(alone)
    page = comprehensive(with_outcomes(outcomes))
    assert "**No detector is forecast in every mode**" in page
    assert page.count("| persistence |") == 9  # one per mode and feature


@pytest.mark.parametrize(
    ("holidays", "words"),
    [
        ("", "whether the day is off (weekends)"),
        ("TW", "(weekends and holidays of `TW`)"),
        ("2026-03-24", "(weekends and 1 holiday, 1 of them in these data)"),
        ("2025-12-25 2026-03-24", "(weekends and 2 holidays, 1 of them in these data)"),
        ("2015-04-03 2015-04-06", "(weekends and 2 holidays, 0 of them in these data)"),
        (None, "with the calendar of an earlier version"),
    ],
)
def test_a_training_report_says_which_days_were_off(
    day: Found, holidays: str | None, words: str
) -> None:
    outcome = with_holidays(day.outcomes["single_vd_lstm"], holidays)
    assert f"{words}." in report(outcome)


def test_a_comparison_names_networks_that_see_another_calendar(day: Found) -> None:
    lstm = with_holidays(day.outcomes["multi_vd_lstm"], "TW")
    outcomes = {**day.outcomes, "multi_vd_lstm": lstm}
    page = comparison(replace(day, outcomes=outcomes), "multi_vd")
    assert (
        "whether the day is off (weekends and holidays of `TW`) against the time of day and "
        "whether the day is off (weekends)."
    ) in page


def with_holidays(outcome: Outcome, holidays: str | None) -> Outcome:
    return replace(outcome, config=outcome.config.model_copy(update={"holidays": holidays}))


def test_a_report_says_that_training_diverged() -> None:
    outcome = make_outcome(make_predictions(origins=60, horizons=2, interval_minutes=60.0))
    [(seed, name, fit)] = outcome.history.fits()
    where = Divergence(loss="training", epoch=9, step=3, cause="")
    fit = fit.model_copy(update={"stopped_early": True, "diverged": where})
    text = report(replace(outcome, history=History({seed: {name: fit}})))
    assert "LSTM diverged in training; the best epoch before is used." in text
    assert "| training ended by | divergence |" in text


def test_short_trainings_are_flagged() -> None:
    found = make_all(epochs=1, shape=SMALL)
    assert "was still improving when the limit of epochs" in comparison(found, "single_vd")
    assert "were still improving when the limit of epochs" in comprehensive(found)


def dataset_paths() -> dict[str, PurePosixPath]:
    """Where the catalog puts what the reporting pipelines make, and the data quality page."""
    resolver = CatalogConfigResolver(catalog_entries())
    pipelines = [
        *(Pipeline(create_experiment_report(), namespace=name) for name in EXPERIMENTS),
        *(create_comparison(mode) for mode in MODES),
        create_comprehensive(),
    ]
    names = {name for pipeline in pipelines for name in pipeline.all_outputs()} | {"data_quality"}
    entries = {name: resolver.resolve_pattern(name) for name in sorted(names)}
    return {
        name: PurePosixPath(entry["filepath"])
        for name, entry in entries.items()
        if "filepath" in entry  # the rest stays in memory
    }


def normal(path: PurePosixPath) -> PurePosixPath:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def test_every_link_leads_to_a_file_that_the_catalog_writes(pages: dict[str, Page]) -> None:
    paths = dataset_paths()
    for name, page in pages.items():
        links = LINK.findall(page.text)
        shown = [link.removeprefix(REFERENCE) for link in links if link.startswith(REFERENCE)]
        assert set(shown) == set(page.figures), name
        assert len(links) > len(shown) or name.endswith("training_report")
        for link in links:
            if not link.startswith(REFERENCE):
                target = normal(paths[name].parent / link)
                assert target in paths.values(), f"{name}: {link}"


def test_a_report_has_the_share_left_out_of_mape() -> None:
    predictions = make_predictions(origins=100, missing=0.0).copy(deep=True)
    predictions["truth"][:25, :, :, 1] = 0.0
    page = report(make_outcome(predictions))
    assert row(page, "All horizons together:", "total_volume")[-1] == "25.0 %"


XLSTM = "multi_vd_xlstm"


def in_two_blocks(data: xr.Dataset) -> xr.Dataset:
    """The second half of the origins as a block of its own."""
    of_origin = 1 + np.arange(data.sizes["origin"]) * 2 // data.sizes["origin"]
    own = [name for name, values in data.data_vars.items() if "block" in values.dims]
    twice = {name: xr.concat([data[name]] * 2, "block") for name in own}
    coords = {"block": [1, 2], "test_block": ("origin", of_origin)}
    return data.drop_dims("block").assign(twice).assign_coords(coords)


def trained_twice(outcome: Outcome) -> Outcome:
    """An outcome with such forecasts, trained for the first block as for the second."""
    config, history = outcome.config, outcome.history
    earlier = {f"block 1, seed {seed}": fits for seed, fits in history.seeds.items()}
    return replace(
        outcome,
        forecasts=Forecasts.from_xarray(in_two_blocks(outcome.forecasts.data)),
        validation=Forecasts.from_xarray(in_two_blocks(outcome.validation.data)),
        config=config.model_copy(update={"earlier": {1: config.split}}),
        history=History({**earlier, **history.seeds}),
    )


@pytest.fixture(scope="module")
def rolling(day: Found) -> Found:
    return replace(
        day,
        outcomes={name: trained_twice(outcome) for name, outcome in day.outcomes.items()},
        baselines={
            mode: BaselineForecasts.from_xarray(in_two_blocks(of_mode.data))
            for mode, of_mode in day.baselines.items()
        },
    )


def test_a_comparison_of_several_test_blocks_shows_each(rolling: Found) -> None:
    page = comparison_page(rolling, "multi_vd")
    assert "error_by_block" in page.figures
    assert f"({REFERENCE}error_by_block)" in page.text
    heading = "## Does it hold in each test block?"
    data = rolling.outcomes[XLSTM].forecasts.data.sel(feature="avg_speed", seed=42)
    error = abs(data["prediction"] - data["truth"])
    for block, begin in ((1, "2026-03-23"), (2, "2026-03-23")):
        of_block = error.isel(origin=data["test_block"].values == block)
        cells = row(page.text, heading, f"{block}, {begin} to ")
        assert cells[2].strip("*") == number(float(of_block.mean()))
    assert "avg_speed: the better network is xLSTM in 2 of 2 blocks; the best model is" in page.text


def test_a_single_test_block_is_no_section(pages: dict[str, Page]) -> None:
    page = pages["compare_multi_vd.page"]
    assert "error_by_block" not in page.figures
    assert "test block" not in page.text
    assert "test block" not in pages["multi_vd_lstm.training_report"].text


def test_a_training_report_of_several_test_blocks_has_the_splits_of_each(rolling: Found) -> None:
    page = report(rolling.outcomes[XLSTM])
    assert "| block 1, training |" in page
    assert "| block 2, test |" in page
    assert "Before it: block 1: chosen epoch" in page
    assert row(page, "## By test block", "2, 2026-03-23 to ")[0]


def test_a_failed_test_block_is_named(rolling: Found) -> None:
    outcome = rolling.outcomes[XLSTM]
    config = outcome.config.model_copy(update={"failed": {1: "diverged in epoch 1"}})
    failed = replace(outcome, config=config)
    sentence = "xLSTM has no forecasts of test block 1: diverged in epoch 1."
    assert sentence in report(failed)
    found = replace(rolling, outcomes={**rolling.outcomes, XLSTM: failed})
    assert sentence in comparison(found, "multi_vd")


def test_the_comprehensive_page_counts_the_test_blocks(rolling: Found) -> None:
    assert "- 2 test blocks, " in comprehensive(rolling)


MANY = [f"VD-{n:03d}" for n in range(60)]


@pytest.fixture(scope="module")
def many() -> Found:
    """A model of each of sixty detectors."""
    return make_all(vdids=MANY, epochs=3, shape={"origins": 40, "horizons": 2})


def test_of_many_detectors_a_page_has_the_best_the_worst_and_quantiles(many: Found) -> None:
    outcome = many.outcomes["independent_multi_vd_lstm"]
    page = report(outcome)
    of_vds = table_after(page, "## By detector", "| detector |")
    errors, _ = errors_and_metrics(outcome.forecasts, outcome.fit_errors, EVALUATION.mape_min_truth)
    mae = errors.by_vd["mae"]
    ratio = (mae.sel(model="lstm") / mae.sel(model="persistence")).mean("feature")
    order = [f"`{MANY[at]}`" for at in np.argsort(ratio.values)]
    assert [cells[0] for cells in of_vds] == order[:10] + order[-10:]
    quantiles = table_after(page, "## By detector", "| quantile of 60 detectors |")
    assert [cells[0] for cells in quantiles] == [quantile_name(share) for share in QUANTILES]
    for share, (_, cell, *_) in zip(QUANTILES, quantiles, strict=True):
        by_hand = mae.sel(feature="avg_speed").quantile(share, "vd")
        shown = [float(text.strip("* †")) for text in cell.split(" / ")]
        expected = [float(by_hand.sel(model=name)) for name in ("lstm", "persistence")]
        assert shown == pytest.approx(expected, rel=0.01)
    assert f"`{MANY[9]}` and 50 more" in page


def test_of_many_trainings_a_report_has_the_best_the_worst_and_quantiles(many: Found) -> None:
    outcome = many.outcomes["independent_multi_vd_lstm"]
    page = report(outcome)
    losses = {name: fit.best.val.loss for _, name, fit in outcome.history.fits()}
    order = [f"`{name}`" for name in sorted(losses, key=losses.__getitem__)]
    rows = table_after(page, "## How training went", "| model |")
    assert [cells[0] for cells in rows] == order[:10] + order[-10:]
    quantiles = table_after(page, "## How training went", "| quantile of 60 trainings |")
    assert float(quantiles[3][-1]) == pytest.approx(np.median([*losses.values()]), rel=0.01)


def test_of_many_trainings_curves_show_the_median_and_a_band(many: Found) -> None:
    histories = {"lstm": many.outcomes["independent_multi_vd_lstm"].history}
    figure = plot_learning_curves("Does it?", histories)
    [ax] = figure.axes
    by_fit = np.array(
        [[epoch.val.loss for epoch in fit.epochs] for _, _, fit in histories["lstm"].fits()]
    )
    training, validation, chosen = ax.lines
    np.testing.assert_allclose(np.asarray(validation.get_ydata()), np.median(by_fit, axis=0))
    assert np.asarray(training.get_xdata()).shape == by_fit.shape[1:]
    assert np.asarray(chosen.get_xdata()).shape == (1,)
    [band] = ax.collections
    ends = band.get_paths()[0].get_extents()
    assert ends.ymax == pytest.approx(np.quantile(by_fit, 0.95, axis=0).max())


def test_a_wide_interval_leaves_room_for_the_differences(ten_days: Found) -> None:
    mode = "multi_vd"
    pair = [ten_days.outcomes[f"{mode}_{model}"] for model in ("lstm", "xlstm")]
    aligned = align_forecasts(pair[0], pair[1], ten_days.baselines[mode])
    errors, *_, differences = score_forecasts(aligned, EVALUATION)[:4]

    def limits(end: float) -> tuple[tuple[float, float], bool]:
        between = {
            of: replace(one, change=0.05, low=-0.1, high=0.1)
            for of, one in differences.between.items()
        }
        between[errors.features[0], 2] = replace(between[errors.features[0], 2], high=end)
        figure = plot_difference_by_horizon("?", errors, replace(differences, between=between))
        said = " ".join(text.get_text() for text in figure.texts)
        return figure.axes[0].get_ylim(), "are cut off" in said

    (low, high), is_said = limits(7.0)
    assert (low, high, is_said) == (-30, 30, True)
    (low, high), is_said = limits(0.2)
    assert -15 < low < -10 < 20 < high < 25
    assert not is_said


def test_of_many_detectors_a_plot_shows_how_their_errors_are_distributed(many: Found) -> None:
    outcome = many.outcomes["independent_multi_vd_lstm"]
    errors, _ = errors_and_metrics(outcome.forecasts, outcome.fit_errors, EVALUATION.mape_min_truth)
    ax = plot_error_by_vd("Which?", errors).axes[0]
    lstm = next(line for line in ax.lines if line.get_label() == "LSTM")
    by_hand = np.sort(errors.by_vd["mae"].sel(model="lstm", feature="avg_speed").values)
    np.testing.assert_allclose(np.asarray(lstm.get_xdata()), by_hand)
    assert float(np.asarray(lstm.get_ydata())[-1]) == 100


def test_the_comprehensive_page_names_a_few_of_many_detectors(many: Found) -> None:
    assert f"`{MANY[9]}` and 50 more: " in comprehensive(many)


def table_after(page: str, heading: str, header: str) -> list[list[str]]:
    """The cells of the rows of the first table with this header below a heading."""
    lines = page[page.index(heading) :].splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith(header)) + 2
    rows = takewhile(lambda line: line.startswith("|"), lines[first:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]
