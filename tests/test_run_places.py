"""Whole runs whose files lie elsewhere: in another folder, and in an object store."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.make.forked_runs import ForkedRuns, forked_runs
from tests.make.object_store import BUCKET, object_store
from tests.make.projects import SMALL, copy_of_the_project
from vd_forecasting.datasets.places import RemoteFile

pytestmark = pytest.mark.integration

COMPARE = ("run", "--env", "quick", "--pipeline", "compare_single_vd")
STALE = "--only-stale-outputs"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_all_that_a_run_makes_lies_below_its_folder(runs: ForkedRuns, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path / "project")
    (folder / "conf/local/globals.yml").write_text(f"data_folder: {tmp_path}/large/\n")
    command = ("run", "--env", "quick", "--namespace", "single_vd_lstm", "--params", SMALL)
    code, printed = runs.run(folder, *command)
    assert code == 0, printed
    assert not (folder / "data").exists()
    made = files(tmp_path / "large")
    assert {"03_primary/vd_clean.h5", "08_reporting/single_vd_lstm/metrics.json"} < made
    assert "06_models/single_vd_lstm/training.log" in made
    code, printed = runs.run(folder, *command, STALE)
    assert code == 0
    assert "Everything is up to date." in printed


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store() as address:
        yield address


@pytest.fixture
def with_store(bucket: str) -> Iterator[ForkedRuns]:
    """Starts runs that know the store."""
    with forked_runs() as started:
        yield started


@pytest.mark.parametrize("runner", ["SequentialRunner", "ParallelRunner"])
def test_a_run_from_and_to_an_object_store(
    bucket: str, with_store: ForkedRuns, tmp_path: Path, runner: str
) -> None:
    folder = copy_of_the_project(tmp_path)
    source = RemoteFile(f"{bucket}/in/small.h5")
    source.put(folder / "small.h5")
    (folder / "small.h5").unlink()
    given = SMALL.replace("vd_file=small.h5", f"vd_file={source},data_folder={bucket}/{runner}/")
    params = ("--params", given, "--runner", runner)
    code, printed = with_store.run(folder, *COMPARE, *params)
    assert code == 0, printed
    experiments = ("single_vd_lstm", "single_vd_xlstm")
    logs = {f"06_models/{name}/training.log" for name in experiments}
    assert files(folder / "data") == logs | {".history/1.json"}

    store = fsspec.filesystem("s3", use_listings_cache=False)
    made = {path.removeprefix(f"{BUCKET}/{runner}/") for path in store.find(f"{BUCKET}/{runner}")}
    assert made > {
        "03_primary/vd_clean.h5",
        "05_model_input/single_vd_lstm/windows.nc",
        "06_models/single_vd_lstm/best_model.pt",
        "07_model_output/single_vd_lstm/predictions.nc",
        "08_reporting/single_vd_lstm/training_report.md",
        "08_reporting/comparison/single_vd_plots/error_by_horizon.png",
        "08_reporting/comparison/single_vd_lstm_vs_xlstm.md",
    }
    assert not any("//" in path for path in made)

    code, printed = with_store.run(folder, *COMPARE, *params, STALE)
    assert code == 0, printed
    assert "Everything is up to date." in printed
    code, printed = with_store.run(folder, "verify", *COMPARE[1:], "--params", given)
    assert (code, "Every output is as it was made." in printed) == (0, True), printed

    (tmp_path / "other.h5").write_bytes(source.read_bytes() + b"\0")
    source.put(tmp_path / "other.h5")
    code, printed = with_store.run(folder, *COMPARE, *params, STALE, "--dry-run")
    assert "▸ data_engineering.clean: input vd_raw changed" in printed
