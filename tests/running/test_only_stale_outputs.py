"""``--only-stale-outputs``, ``--dry-run`` and ``kedro verify``, as a user types them."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.make.forked_runs import ForkedRuns
from tests.make.projects import LOG_LINE, SMALL, copy_of_the_project, kedro, run
from vd_forecasting.cli import run as command

PIPELINE = ("--env", "quick", "--pipeline", "report_single_vd_lstm")
ONLY_STALE = ("--only-stale-outputs",)
LONGER = f"{SMALL},single_vd_lstm.training.epochs=2"
LEARNING_CURVES = "data/08_reporting/single_vd_lstm/plots/learning_curves.png"
QUALITY = "src/vd_forecasting/pipelines/data_quality/templates/data_quality.md.j2"
STYLE = "src/vd_forecasting/rendering/plot_style.py"


HANDED_ON = ("gather_outcome", "conclude_experiment")


def stale(
    runs: ForkedRuns, folder: Path, *arguments: str, params: str = SMALL
) -> tuple[list[str], list[str]]:
    """What is said to be stale, and the nodes that ran."""
    code, printed = runs.run(folder, "run", *arguments, *ONLY_STALE, "--params", params)
    assert code == 0, printed
    return printed_and_ran(printed)


def stale_after_an_edit(folder: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """The same, not forked: that would have imported the code as it is here."""
    result = kedro(folder, "run", *arguments, *ONLY_STALE)
    assert result.returncode == 0, result.stderr
    return printed_and_ran(result.stdout + result.stderr)


def printed_and_ran(printed: str) -> tuple[list[str], list[str]]:
    lines = printed.splitlines()
    logged = [line for line in lines if LOG_LINE.match(line)]
    nodes = [line.split("▸ ")[1] for line in logged if "▸ " in line]
    return [line for line in lines if line not in logged], nodes


def contents(folder: Path) -> dict[Path, bytes]:
    """All files, but for the hashes that are remembered of them."""
    files = (path for path in (folder / "data").rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.name != "content_hashes.json"}


@contextmanager
def edited(path: Path, before: str, after: str) -> Iterator[None]:
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), "utf-8")
    yield
    path.write_text(text, "utf-8")


@pytest.mark.integration
def test_changes_are_reported_found_and_made_again(runs: ForkedRuns, tmp_path: Path) -> None:
    """... by whichever runner."""
    folder = copy_of_the_project(tmp_path)
    stale(runs, folder, *PIPELINE)

    (folder / LEARNING_CURVES).write_bytes(b"not what was drawn")
    (folder / "data/08_reporting/data_quality_coverage.png").unlink()
    there = contents(folder)
    with edited(folder / QUALITY, "Data quality: ", "Quality of the data: "):
        lines, nodes = stale_after_an_edit(folder, *PIPELINE, "--dry-run", "--params", LONGER)
    assert nodes == []
    assert contents(folder) == there
    assert "▸ single_vd_lstm.train: parameter single_vd_lstm.training.epochs 1 → 2" in lines
    [quality] = [line for line in lines if line.startswith("▸ data_engineering.report_quality: ")]
    assert ": code changed: " in quality
    assert "output data/08_reporting/data_quality_coverage.png is missing" in quality
    assert any(line.startswith("… and ") for line in lines)
    assert "1 training: single_vd_lstm of 1 model × 1 seed" in lines
    assert not any("make_windows" in line or "clean:" in line for line in lines)

    code, verified = runs.run(folder, "verify", *PIPELINE, "--params", SMALL)
    assert code == 1
    assert verified.splitlines() == [
        "data/08_reporting/data_quality_coverage.png (data_engineering.report_quality): is missing",
        f"{LEARNING_CURVES} (single_vd_lstm.write_training_report): was changed since",
    ]

    runner = ("--runner", "ParallelRunner", "--runner-params", "max_workers=2")
    _, nodes = stale(runs, folder, *PIPELINE, *runner, params=LONGER)
    assert {"data_engineering.report_quality", "single_vd_lstm.train"} <= set(nodes)
    unchanged = {"clean", "make_windows"}
    assert unchanged.isdisjoint(name.split(".")[1] for name in nodes)
    more_threads = LONGER.replace("compute.threads=1", "compute.threads=2")
    assert stale(runs, folder, *PIPELINE, params=more_threads) == (
        ["Everything is up to date."],
        [],
    )


@pytest.mark.integration
def test_another_language_writes_pages_again_and_trains_nothing(
    runs: ForkedRuns, tmp_path: Path
) -> None:
    folder = copy_of_the_project(tmp_path)
    stale(runs, folder, *PIPELINE)
    lines, nodes = stale(runs, folder, *PIPELINE, params=f"{SMALL},report.language=zh-TW")
    assert '▸ single_vd_lstm.write_training_report: parameter report.language "en" → "zh-TW"' in [
        line.partition(";")[0] for line in lines
    ]
    page = (folder / "data/08_reporting/single_vd_lstm/training_report.md").read_text("utf-8")
    assert "持續性預測" in page
    written = {"data_engineering.report_quality", "single_vd_lstm.write_training_report"}
    in_memory = {"gather_outcome", "score_experiment", "conclude_experiment"}
    assert {*nodes} - written <= {f"single_vd_lstm.{name}" for name in in_memory}
    assert written <= {*nodes}


@pytest.mark.integration
def test_what_a_killed_run_finished_is_not_done_again(runs: ForkedRuns, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    log = folder / "printed.log"
    log.touch()
    pid = runs.start(folder, log, "run", *PIPELINE, "--params", SMALL)
    while "▸ single_vd_lstm.evaluate" not in log.read_text():
        assert runs.is_running(pid), log.read_text()
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    assert runs.wait(pid) == -signal.SIGKILL
    finished = ("data_engineering.clean", "single_vd_lstm.make_windows", "single_vd_lstm.train")
    _, nodes = stale(runs, folder, *PIPELINE)
    assert "single_vd_lstm.write_training_report" in nodes
    assert set(finished).isdisjoint(nodes)
    assert not (folder / "data/06_models/single_vd_lstm/training_state").exists()


@pytest.mark.integration
def test_a_versioned_output_is_not_stale_for_ever(runs: ForkedRuns, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    (folder / "conf/local/catalog.yml").write_text(
        "cleaning_log:\n"
        "  type: vd_forecasting.datasets.AtomicCSVDataset\n"
        "  filepath: data/03_primary/versions.csv\n"
        "  save_args: {index: false}\n"
        "  versioned: true\n"
    )
    cleaning = (*PIPELINE, "--to-nodes", "data_engineering.clean")
    for _ in range(2):
        code, printed = runs.run(folder, "run", *cleaning, "--params", SMALL)
        assert code == 0, printed
    assert len([*folder.glob("data/03_primary/versions.csv/*/versions.csv")]) == 2
    assert stale(runs, folder, *cleaning) == (["Everything is up to date."], [])
    newest = max(folder.glob("data/03_primary/versions.csv/*/versions.csv"))
    newest.write_text("altered")
    lines, _ = stale(runs, folder, *cleaning)
    assert any("versions.csv was changed since" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry-run", "--only-missing-outputs"], "give it alone"),
        (["--only-stale-outputs", "--only-missing-outputs"], "give it alone"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert message in result.output.splitlines()[-1]


@pytest.mark.slow
def test_a_change_runs_what_depends_on_it_and_nothing_else(
    runs: ForkedRuns, tmp_path: Path
) -> None:
    folder = copy_of_the_project(tmp_path)
    everything = ("--env", "quick", "--pipeline", "compare_all")
    run(folder, "--pipeline", "compare_all", "--runner", "ParallelRunner")
    assert stale(runs, folder, *everything) == (["Everything is up to date."], [])

    for model, other in (("lstm", "xlstm"), ("xlstm", "lstm")):
        params = f"{SMALL},single_vd_{model}.training.learning_rate=0.002"
        _, nodes = stale(runs, folder, *everything, params=params)
        trained = [name for name in nodes if name.endswith(".train")]
        assert trained == [f"single_vd_{model}.train"]
        of_other = [name for name in nodes if name.startswith(f"single_vd_{other}.")]
        handed_on = {f"single_vd_{other}.{name}" for name in HANDED_ON}
        assert set(of_other) == handed_on  # in memory, to be compared with
        assert {"compare_single_vd.write_comparison", "comprehensive.write_comprehensive"} <= set(
            nodes
        )
        assert "compare_multi_vd.write_comparison" not in nodes
        assert "single_vd_baselines.forecast_baselines" not in nodes
        _, nodes = stale(runs, folder, *everything)  # back to what it was
        assert f"single_vd_{model}.train" in nodes

    with edited(folder / STYLE, '"axes.grid": True', '"axes.grid": False'):
        lines, nodes = stale_after_an_edit(folder, *everything, "--params", SMALL)
        redrawn = [line for line in lines if line.startswith("▸")]
        assert all("plot_" in line or ".write_" in line for line in redrawn)
        assert "comprehensive.render_comprehensive" in nodes
        assert not any(name.endswith((".train", ".evaluate", ".clean")) for name in nodes)

    _, nodes = stale(runs, folder, "--env", "quick", "--namespace", "single_vd_xlstm")
    made = ("gather_outcome", "score_experiment", "write_training_report")
    assert nodes == [f"single_vd_xlstm.{name}" for name in made]  # in the old colours again


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_however_worker_processes_start(runs: ForkedRuns, tmp_path: Path, start: str) -> None:
    folder = copy_of_the_project(tmp_path)
    pipeline = ("--pipeline", "data_engineering")
    parallel = (*pipeline, "--runner", "ParallelRunner")
    printed = run(folder, *parallel, KEDRO_MP_CONTEXT=start)
    assert "▸ data_engineering.report_quality" in printed
    assert stale(runs, folder, "--env", "quick", *pipeline) == (["Everything is up to date."], [])
