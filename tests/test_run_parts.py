"""Runs of parts of the pipelines, and of what cannot work, in a copy of the project."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.make.arrays import make_clean
from tests.make.exports import write_long_csv
from tests.make.forked_runs import ForkedRuns
from tests.make.projects import LOG_LINE, SMALL, copy_of_the_project, run, save
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.vocabulary import EXPERIMENTS, MODES

pytestmark = pytest.mark.integration

XLSTM_PIPELINE = "report_single_vd_xlstm"
LSTM_PIPELINE = "report_single_vd_lstm"


def succeed(runs: ForkedRuns, folder: Path, *arguments: str) -> str:
    code, printed = runs.run(folder, "run", *arguments)
    assert code == 0, printed
    return printed


def fail(runs: ForkedRuns, folder: Path, *arguments: str) -> list[str]:
    """The lines that are printed."""
    code, printed = runs.run(folder, "run", *arguments)
    assert code == 1, printed
    return printed.splitlines()


# --- parts of it ----------------------------------------------------------------------------------


def test_namespace_on_a_fresh_clone_without_the_xlstm_package(tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    hidden = folder / "hidden" / "xlstm"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('hidden by the test')")
    first = run(folder, "--namespace", "single_vd_lstm", PYTHONPATH=str(hidden.parent))
    assert "▸ data_engineering.clean" in first
    assert "xlstm" not in first.replace("single_vd_lstm", "")
    assert (folder / "data/08_reporting/single_vd_lstm/training_report.md").is_file()
    assert not (folder / "data/06_models/single_vd_xlstm").exists()


def test_a_run_never_uses_data_of_another_file_or_other_rules(
    runs: ForkedRuns, used: Path, tmp_path: Path
) -> None:
    """... however it says which."""
    folder = shutil.copytree(used, tmp_path / "project")
    last = ("--to-nodes", "single_vd_lstm.train", "--params")
    again = ("--env", "quick", "--namespace", "single_vd_lstm", *last)
    first = succeed(runs, folder, *again, SMALL)
    assert "data_engineering" not in first
    assert "▸ single_vd_lstm.train" in first

    save(make_clean(800, vds=3), folder / "other.h5")
    (folder / "conf/local/globals.yml").write_text("vd_file: other.h5\n")
    second = succeed(runs, folder, *again, SMALL.removeprefix("vd_file=small.h5,"))
    assert "▸ data_engineering.clean" in second
    config = json.loads((folder / "data/06_models/single_vd_lstm/config.json").read_text("utf-8"))
    assert config["source"] == "other.h5"
    [line] = fail(
        runs, folder, "--env", "quick", "--pipeline", "reporting", "--params", "vd_file=small.h5"
    )
    assert line == (
        "Error: data/03_primary/vd_clean.h5 is of other data: input vd_raw is small.h5, was "
        "other.h5; make it anew: kedro run --namespace single_vd_lstm --env quick "
        "--params vd_file=small.h5"
    )
    third = succeed(runs, folder, *again, f"{SMALL},cleaning.min_observed=0.4")
    assert "▸ data_engineering.clean" in third


def test_one_network_for_all_detectors(runs: ForkedRuns, tmp_path: Path) -> None:
    """First one of its experiments, whose namespace is not in the default pipeline."""
    folder = copy_of_the_project(tmp_path)
    params = SMALL.replace("num_vds=2", "num_vds=3")
    xlstm = ("--env", "quick", "--namespace", "global_vd_xlstm", "--params", params)
    printed = succeed(runs, folder, *xlstm)
    assert "▸ data_engineering.clean" in printed
    assert "▸ global_vd_xlstm.train" in printed
    assert "global_vd_lstm" not in printed
    stale = ("--pipeline", "compare_global_vd", "--env", "quick", "--params", params)
    printed = succeed(runs, folder, *stale, "--only-stale-outputs")
    assert "▸ global_vd_lstm.train" in printed
    assert "▸ global_vd_xlstm.train" not in printed
    page = folder / "data/08_reporting/comparison/global_vd_lstm_vs_xlstm.md"
    for name in ("LSTM", "xLSTM", "gradient boosting", "ridge", "persistence"):
        assert f"| {name} " in page.read_text()
    config = json.loads((folder / "data/06_models/global_vd_lstm/config.json").read_text("utf-8"))
    assert config["vdids"] == ["VD-0", "VD-1", "VD-2"]
    assert config["num_models"] == 1
    with xr.open_dataset(folder / "data/07_model_output/global_vd_lstm/predictions.nc") as data:
        assert data["prediction"].notnull().all()
        assert data.sizes["vd"] == 3
    last = succeed(runs, folder, *stale, "--only-stale-outputs")
    assert "▸" not in last, "all is up to date"
    assert_it_stands_beside_the_others(runs, folder, params)


def assert_it_stands_beside_the_others(runs: ForkedRuns, folder: Path, params: str) -> None:
    """... in the reports, once one of them is trained, and follows its own results."""
    pages, quick = folder / "data/08_reporting", ("--env", "quick", "--params", params)
    reporting = (*quick, "--pipeline", "reporting")
    (pages / "global_vd_lstm/training_report.md").unlink()
    assert "comprehensive_model_comparison.md is not made" in succeed(runs, folder, *reporting)
    assert (pages / "global_vd_lstm/training_report.md").is_file()
    succeed(runs, folder, *quick, "--namespace", "single_vd_lstm")
    succeed(runs, folder, *reporting)
    page = (pages / "comparison/comprehensive_model_comparison.md").read_text()
    assert "| global_vd xLSTM |" in page
    assert "](global_vd_lstm_vs_xlstm.md)" in page
    assert "\nglobal_vd,lstm," in (pages / "comparison/metrics.csv").read_text()
    printed = succeed(runs, folder, *reporting, "--only-stale-outputs", "--dry-run")
    stale = [line for line in printed.splitlines() if line.startswith("▸")]
    assert {line.split(".")[0] for line in stale} == {"▸ compare_single_vd"}, "it has half of it"
    (folder / "data/07_model_output/global_vd_lstm/fit_errors.json").unlink()
    printed = succeed(runs, folder, *quick, "--only-stale-outputs", "--dry-run")
    told = "input global_vd_lstm.fit_errors: there is no fit_errors.json"
    assert re.search(rf"▸ comprehensive.write_comprehensive: .*{told}", printed)


def test_your_own_file_by_configuration(runs: ForkedRuns, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    (folder / "conf/local/globals.yml").write_text("vd_file: small.h5\n")
    succeed(runs, folder, "--pipeline", "data_engineering")
    assert "# Data quality: small.h5" in (folder / "data/08_reporting/data_quality.md").read_text()


def test_another_format_by_its_environment(runs: ForkedRuns, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    write_long_csv(folder / "table.csv", make_clean(700, vds=3))
    for pipeline in ("ingest", "data_engineering"):
        source = ("--env", "long_table", "--params", "source_file=table.csv")
        succeed(runs, folder, "--pipeline", pipeline, *source)
    assert "# Ingested: table.csv" in (folder / "data/08_reporting/ingest.md").read_text()
    assert "# Data quality: table.csv" in (folder / "data/08_reporting/data_quality.md").read_text()


def test_reporting_makes_the_pages_that_there_is_something_for(
    runs: ForkedRuns, tmp_path: Path
) -> None:
    """... and names the others, and why they are not made, from what earlier runs left."""
    folder = copy_of_the_project(tmp_path)
    pages, params = folder / "data/08_reporting", ("--env", "quick", "--params")
    ends = "single_vd_lstm.evaluate,single_vd_lstm.measure_cost"
    trained = ("--pipeline", LSTM_PIPELINE, "--to-nodes", ends)
    succeed(runs, folder, *params, SMALL, *trained)
    printed = succeed(runs, folder, *params, "vd_file=small.h5", "--pipeline", "reporting")
    made = {path.name for path in pages.rglob("*.md")}
    assert made == {"training_report.md", "comprehensive_model_comparison.md"}
    not_made = re.findall(r"  data/08_reporting/(\S+) is not made: (\S+) has not run: ", printed)
    assert printed.count("global_vd has not run: kedro run --namespace compare_global_vd") == 1
    assert printed.count("global_vd") == 2
    assert len(not_made) == len(EXPERIMENTS) - 1 + len(MODES)
    assert ("comparison/multi_vd_lstm_vs_xlstm.md", "multi_vd_lstm.train") in not_made
    again = "kedro run --namespace single_vd_xlstm --env quick --params vd_file=small.h5"
    assert (
        f"single_vd_lstm_vs_xlstm.md is not made: single_vd_xlstm.train has not run: {again}"
        in (printed)
    )
    page = (pages / "comparison/comprehensive_model_comparison.md").read_text()
    assert f"`single_vd_xlstm.train` has not run, `{again}`" in page
    assert "global_vd" not in page

    one_mode = ("--pipeline", "reporting", "--to-nodes", "compare_single_vd.conclude_comparison")
    xlstm = ("--namespace", "single_vd_xlstm")
    too_short = f"{SMALL},single_vd_xlstm.model.context_length=10"
    fail(runs, folder, *params, too_short, *xlstm)
    *_, of_page, last = fail(runs, folder, *params, SMALL, *one_mode)
    told = "single_vd_xlstm.train failed in an earlier run: context_length 10 is shorter than"
    assert f"single_vd_lstm_vs_xlstm.md is not made: {told}" in of_page
    assert last.startswith(f"Error: {told}")


# --- what cannot work -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def used(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with earlier outputs, which a failing run must leave as they are."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("used"))
    succeed(runs, folder, "--env", "quick", "--pipeline", LSTM_PIPELINE, "--params", SMALL)
    (folder / "text.h5").write_text("not HDF5")
    whole = (folder / "small.h5").read_bytes()
    (folder / "half.h5").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize(
    ("pipeline", "params", "message"),
    [
        ("ingest", "compute.threads=1", "no source to ingest: name the environment that has one"),
        (LSTM_PIPELINE, "vd_file=absent.h5", "absent.h5"),
        (LSTM_PIPELINE, "vd_file=text.h5", "text.h5.*HDF5"),
        (LSTM_PIPELINE, "vd_file=half.h5", "half.h5.*truncated"),
        (
            LSTM_PIPELINE,
            "single_vd_lstm.windows.select_vd_id=VD-11",
            "select_vd_id: small.h5 has no detector 'VD-11'; the nearest of its 3 is 'VD-1'",
        ),
        (
            LSTM_PIPELINE,
            "single_vd_lstm.windows.sequence_length=90",
            "the val split has 70 of 700 steps, but one window takes 94",
        ),
        (
            LSTM_PIPELINE,
            "single_vd_lstm.training.epohcs=3",
            "single_vd_lstm.training.epohcs: no such parameter",
        ),
        (
            LSTM_PIPELINE,
            "single_vd_lstn.training.epochs=3",
            "parameter single_vd_lstn is not known; did you mean single_vd_lstm",
        ),
        (
            XLSTM_PIPELINE,
            "single_vd_xlstm.model.slstm_at=[7]",
            "single_vd_xlstm.model: slstm_at names block 7",
        ),
        (
            XLSTM_PIPELINE,
            "single_vd_xlstm.model.context_length=10",
            "context_length 10 is shorter than sequence_length 20",
        ),
    ],
)
def test_one_clear_line_and_earlier_outputs_intact(
    runs: ForkedRuns, used: Path, pipeline: str, params: str, message: str
) -> None:
    kept = {
        path: path.read_bytes()
        for path in (used / "data").rglob("*")
        if path.is_file()
        and "single_vd_lstm" in str(path)
        and path.name in ("best_model.pt", "metrics.json", "training_report.md", "predictions.nc")
    }
    assert len(kept) == 4
    params = f"{SMALL},{params}"
    *before, last = fail(runs, used, "--env", "quick", "--pipeline", pipeline, "--params", params)
    assert re.match(rf"Error: .*{message}", last), last
    assert [line for line in before if not LOG_LINE.match(line)] == []
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_unsorted_time_stamps_are_sorted_and_told(runs: ForkedRuns, used: Path) -> None:
    clean = make_clean(700, vds=3)
    save(clean.isel(time=[*range(300, 400), *range(300), *range(400, 700)]), used / "unsorted.h5")
    unsorted = ("--params", "vd_file=unsorted.h5")
    printed = succeed(runs, used, "--env", "quick", "--pipeline", "data_engineering", *unsorted)
    assert "unsorted.h5: 300 of 700 time steps were out of order; sorted" in printed
    cleaned = VDHDF5Dataset(filepath=str(used / "data/03_primary/vd_clean.h5")).load()
    np.testing.assert_array_equal(cleaned["time"], clean["time"])


def test_cleaned_data_that_is_not_in_order_is_refused(runs: ForkedRuns, used: Path) -> None:
    path = used / "data/03_primary/vd_clean.h5"
    save(make_clean(700, vds=3).isel(time=slice(None, None, -1)), path)
    (used / "data/.fingerprints/data_engineering.clean.json").unlink()  # else it is cleaned again
    *_, last = fail(runs, used, "--namespace", "single_vd_lstm")
    assert re.match("Error: vd_clean: step 0 .* must increase", last)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--pipeline", "compare_al"), "compare_all"),
        (("--namespace", "single_vd_gru"), "single_vd_gru"),
    ],
)
def test_unknown_names(runs: ForkedRuns, used: Path, arguments: tuple[str, str], told: str) -> None:
    *_, last = fail(runs, used, *arguments)
    assert told in last
