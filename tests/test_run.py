"""The whole thing, as a user runs it: in a copy of the project, through the command line."""

import filecmp
import json
import re
import shutil
from base64 import b64decode
from pathlib import Path

import pandas as pd
import pytest

from tests.make.forked_runs import ForkedRuns
from tests.make.projects import LOG_LINE, SMALL, copy_of_the_project, kedro, run
from vd_forecasting.vocabulary import EXPERIMENTS, MODES

pytestmark = pytest.mark.integration


def outputs(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in (folder / "data").rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = copy_of_the_project(tmp_path_factory.mktemp("sequential"))
    return folder, run(folder, "--pipeline", "compare_all")


# --- compare_all ----------------------------------------------------------------------------------


def test_every_promised_file_is_there(sequential: tuple[Path, str]) -> None:
    folder, _ = sequential
    expected = {
        "data/03_primary/vd_clean.h5",
        "data/08_reporting/data_quality.md",
        *(
            f"data/08_reporting/data_quality_{name}.png"
            for name in ("coverage", "map", "typical_week", "fundamental_diagram")
        ),
        "data/08_reporting/comparison/comprehensive_model_comparison.md",
        "data/08_reporting/comparison/comprehensive_model_comparison.html",
        "data/08_reporting/comparison/metrics.csv",
        *(f"data/08_reporting/comparison/{mode}_lstm_vs_xlstm.md" for mode in MODES),
        *(
            f"data/07_model_output/{mode}_baselines/{name}.nc"
            for mode in MODES
            for name in ("predictions", "validation")
        ),
    }
    for experiment in EXPERIMENTS:
        expected |= {
            f"data/05_model_input/{experiment}/windows.nc",
            f"data/06_models/{experiment}/best_model.pt",
            f"data/06_models/{experiment}/config.json",
            f"data/06_models/{experiment}/training_history.json",
            f"data/06_models/{experiment}/training.log",
            f"data/07_model_output/{experiment}/predictions.nc",
            f"data/07_model_output/{experiment}/validation.nc",
            f"data/08_reporting/{experiment}/metrics.json",
            f"data/08_reporting/{experiment}/training_report.md",
        }
    assert expected <= outputs(folder)


def test_a_clean_run_prints_its_log_and_no_warning(sequential: tuple[Path, str]) -> None:
    _, printed = sequential
    assert [line for line in printed.splitlines() if not LOG_LINE.match(line)] == []
    assert not re.search(r"\bwarning\b", printed, re.IGNORECASE)


def test_every_link_of_every_page_resolves(sequential: tuple[Path, str]) -> None:
    folder, _ = sequential
    pages = list((folder / "data" / "08_reporting").rglob("*.md"))
    assert len(pages) == 1 + len(EXPERIMENTS) + len(MODES) + 1
    for page in pages:
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name} links to {link}"


def test_the_html_page_is_the_comprehensive_page_with_its_plots_inside(
    sequential: tuple[Path, str],
) -> None:
    folder = sequential[0] / "data" / "08_reporting" / "comparison"
    page = folder / "comprehensive_model_comparison.md"
    html = page.with_suffix(".html").read_text("utf-8")
    links = re.findall(r'href="([^"]+)"', html)
    assert links == re.findall(r"(?<!!)\[[^]]+\]\(([^)]+)\)", page.read_text())
    assert all((folder / link).is_file() for link in links)
    images = [b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)]
    plots = [path.read_bytes() for path in (folder / "comprehensive_plots").iterdir()]
    assert sorted(images) == sorted(plots)
    assert html.count("<img") == len(images)


def test_no_table_is_wider_than_a_screen(sequential: tuple[Path, str]) -> None:
    folder, _ = sequential
    for page in (folder / "data" / "08_reporting").rglob("*.md"):
        rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
        assert all(row.count("|") <= 13 for row in rows), page.name


def test_the_log_of_an_experiment_is_its_own(sequential: tuple[Path, str]) -> None:
    folder, _ = sequential
    for experiment in EXPERIMENTS:
        log = (folder / f"data/06_models/{experiment}/training.log").read_text()
        assert f"{experiment}" in log
        repeats = experiment.startswith("single_vd")  # what independent_multi_vd trains
        assert ("was trained before, 1 epoch" if repeats else "best epoch 1 of 1") in log
        others = set(EXPERIMENTS) - {experiment}
        named = {other for other in others if re.search(rf"(?<!\w){other}(?!\w)", log)}
        assert named == ({f"independent_multi_{experiment[7:]}"} if repeats else set())


def test_metrics_are_tidy_and_agree_with_the_experiments(sequential: tuple[Path, str]) -> None:
    folder, _ = sequential
    table = pd.read_csv(folder / "data/08_reporting/comparison/metrics.csv")
    assert list(table.columns) == [
        "mode", "model", "seed", "block", "vdid", "feature", "horizon", "metric", "value"
    ]  # fmt: skip
    keys = ["mode", "model", "seed", "vdid", "feature", "horizon", "metric"]
    assert not table.duplicated(keys).any()
    baselines = {"seasonal_naive", "historical_average", "ridge", "gradient_boosting"}
    assert set(table["model"]) == {"lstm", "xlstm", "persistence"} | baselines
    assert {"mase", "mae_congested", "n_congested"} < set(table["metric"])
    single = table.query("mode == 'single_vd' and model == 'lstm' and feature == 'avg_speed'")
    mae = single.query("metric == 'mae'").sort_values("horizon")["value"]
    metrics = json.loads((folder / "data/08_reporting/single_vd_lstm/metrics.json").read_text())
    assert mae.tolist() == pytest.approx(metrics["by_horizon"]["avg_speed"]["mae"], rel=1e-5)


def test_parallel_in_another_locale_gives_the_same_numbers(
    sequential: tuple[Path, str], tmp_path: Path
) -> None:
    """... and the same files of one mode, all but those that hold times; all text is UTF-8."""
    folder, _ = sequential
    parallel = copy_of_the_project(tmp_path)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = ("--pipeline", "compare_multi_vd", "--runner", "ParallelRunner")
    printed = run(parallel, *command, **ascii_only)
    assert [line for line in printed.splitlines() if not LOG_LINE.match(line)] == []
    others = ("single_vd", "independent", "comprehensive", "concatenate", "comparison/metrics.csv")
    own = {name for name in outputs(folder) if not any(other in name for other in others)}
    assert outputs(parallel) == own
    same = [
        f"data/0{layer}"
        for model in ("lstm", "xlstm")
        for layer in (
            f"6_models/multi_vd_{model}/best_model.pt",
            f"8_reporting/multi_vd_{model}/metrics.json",
        )
    ]
    same.append("data/08_reporting/comparison/multi_vd_scores.csv")
    pages = [path.read_text("utf-8") for path in parallel.rglob("data/08_reporting/**/*.md")]
    assert not all(page.isascii() for page in pages)
    for name in same:
        assert filecmp.cmp(folder / name, parallel / name, shallow=False), name


def test_a_failed_training_leaves_the_others_alone(
    sequential: tuple[Path, str], runs: ForkedRuns, tmp_path: Path
) -> None:
    """... and its earlier results as they were, but off the page."""
    folder = shutil.copytree(sequential[0], tmp_path / "project")
    model = folder / "data/06_models/multi_vd_xlstm/best_model.pt"
    comparison = folder / "data/08_reporting/comparison/comprehensive_model_comparison.md"
    earlier = model.read_bytes()
    command = ("run", "--env", "quick", "--pipeline", "compare_all", "--only-stale-outputs")
    params = f"{SMALL},multi_vd_xlstm.model.context_length=10"
    code, printed = runs.run(folder, *command, "--params", params)
    assert code == 1
    reason = (
        "context_length 10 is shorter than sequence_length 20; raise context_length to at least"
    )
    plan = "▸ multi_vd_xlstm.train: parameter multi_vd_xlstm.model.context_length"
    told = [line for line in printed.splitlines() if not LOG_LINE.match(line)]
    assert [line for line in told if line.startswith("▸")] == [f"{plan} 256 → 10"]
    told = [line for line in told if not line.startswith(("▸", "…"))]
    assert told == [f"Error: multi_vd_xlstm.train: {reason} that"]
    assert model.read_bytes() == earlier
    for page in (comparison, comparison.with_suffix(".html")):
        assert reason in page.read_text()
    assert "| multi_vd LSTM" in comparison.read_text()
    assert "| multi_vd xLSTM" not in comparison.read_text()

    _, planned = runs.run(folder, *command, "--params", SMALL, "--dry-run")
    stale = [line for line in planned.splitlines() if line.startswith("▸")]
    assert any(line.startswith("▸ comprehensive.write_comprehensive: input ") for line in stale)
    assert all(" was not there" in line or "comprehensive" in line for line in stale)
    assert not any(".train:" in line for line in stale)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_after_failures_only_the_rest_is_made(tmp_path: Path, runner: str) -> None:
    folder = copy_of_the_project(tmp_path)
    everything = ("run", "--env", "quick", "--runner", runner, "--pipeline", "compare_all")
    broken = "multi_vd_lstm.training.learning_rate=1e30,single_vd_lstm.windows.select_vd_id=VD-9"
    result = kedro(folder, *everything, "--params", f"{SMALL},{broken}")
    assert result.returncode == 1
    told = [line for line in result.stderr.splitlines() if not LOG_LINE.match(line)]
    assert len(told) == 3, told
    of_comparison, diverged, of_experiment = sorted(told)
    assert diverged.startswith("Error: multi_vd_lstm.train: diverged in epoch 1")
    unknown = "make_windows: select_vd_id: small.h5 has no detector"
    assert of_comparison.startswith(f"Error: compare_single_vd.{unknown}")
    assert of_experiment.startswith(f"Error: single_vd_lstm.{unknown}")
    trained = set(re.findall(r"▸ (\w+)\.train", result.stderr))
    assert trained == set(EXPERIMENTS) - {"single_vd_lstm"}
    comparison = folder / "data/08_reporting/comparison"
    page = (comparison / "comprehensive_model_comparison.md").read_text()
    assert "`diverged" not in page.split("In numbers")[1]
    assert "single_vd_lstm: `single_vd_lstm.make_windows` failed" in page
    assert "the baselines of single_vd and the comparison of single_vd: `compare_single" in page
    assert "multi_vd_lstm and the comparison of multi_vd: `multi_vd_lstm.train` failed" in page
    assert {path.name for path in comparison.glob("*_vs_xlstm.md")} == {
        "independent_multi_vd_lstm_vs_xlstm.md"
    }

    result = kedro(folder, *everything, "--only-stale-outputs", "--params", SMALL)
    assert result.returncode == 0, result.stderr
    trained = set(re.findall(r"▸ (\w+)\.train", result.stderr))
    assert trained == {"single_vd_lstm", "multi_vd_lstm"}
    assert (
        "Something is missing" not in (comparison / "comprehensive_model_comparison.md").read_text()
    )
    result = kedro(folder, *everything, "--only-stale-outputs", "--params", SMALL)
    assert result.stdout == "Everything is up to date.\n"
