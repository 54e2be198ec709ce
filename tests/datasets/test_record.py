import json
from pathlib import Path

import pytest
from kedro.io import DatasetError

from vd_forecasting.artefacts import Cost
from vd_forecasting.datasets import RecordDataset


def dataset(path: Path) -> RecordDataset:
    return RecordDataset(filepath=path.as_posix(), holds="vd_forecasting.artefacts.Cost")


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    cost = Cost(latency_seconds={1: 0.5, 256: 2.0}, training_step_bytes=7)
    dataset(tmp_path / "cost.json").save(cost)
    assert dataset(tmp_path / "cost.json").load() == cost
    assert json.loads((tmp_path / "cost.json").read_text("utf-8")) == {
        "latency_seconds": {"1": 0.5, "256": 2.0},
        "training_step_bytes": 7,
    }


def test_a_file_of_something_else_is_named_with_the_key_at_fault(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    path.write_text('{"latency_seconds": {"1": "soon"}, "training_step_bytes": 7}', "utf-8")
    with pytest.raises(DatasetError, match=r"cost\.json: not a Cost .*latency_seconds\.1"):
        dataset(path).load()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff{}", b"[" * 100_000])
def test_a_file_that_is_no_json_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cost.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"cost\.json: not a Cost .*delete it") as error:
        dataset(path).load()
    assert "\n" not in str(error.value)


def test_no_file_is_kedros_own_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cost\.json"):
        dataset(tmp_path / "cost.json").load()
