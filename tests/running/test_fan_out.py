"""How nodes are divided among workers."""

from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node

from tests.make.parameters import SPLIT
from tests.make.trainings import TRAINING
from tests.make.windows import window_parameters
from vd_forecasting.parameters import IndependentMultiVDWindows, MultiVDWindows
from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.running.fan_out import parts_of

NODES = {node.name: node for node in register_pipelines()["compare_independent_multi_vd"].nodes}
TRAIN = NODES["independent_multi_vd_lstm.train"]
BASELINES = NODES["compare_independent_multi_vd.forecast_baselines"]


def catalog(detectors: int, seeds: int = 1, folds: int = 1) -> DataCatalog:
    windows = IndependentMultiVDWindows(
        **window_parameters({"num_vds": detectors, "target_vd_index": "all"})
    )
    training = TRAINING.model_copy(update={"seeds": tuple(range(seeds))})
    values: dict[str, Any] = {
        "params:independent_multi_vd_lstm.windows": windows,
        "params:independent_multi_vd_lstm.training": training,
        "params:split": SPLIT.model_copy(update={"folds": folds}),
    }
    return DataCatalog({name: MemoryDataset(value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("detectors", "seeds", "folds", "workers", "expected"),
    [
        (1, 1, 1, 4, 0),  # one training
        (10, 1, 1, 1, 0),  # one worker
        (3, 1, 1, 4, 3),
        (10, 1, 1, 2, 8),  # four for each worker
        (1, 3, 2, 4, 6),
        (1000, 1, 1, 2, 16),  # of 64 trainings at most
    ],
)
def test_a_training_has_as_many_parts_as_workers_can_do(
    detectors: int, seeds: int, folds: int, workers: int, expected: int
) -> None:
    parts = parts_of(TRAIN, catalog(detectors, seeds, folds), workers)
    assert len(parts) == expected
    for number, part in enumerate(parts, 1):
        assert part.name == f"independent_multi_vd_lstm.train-{number}-of-{expected}"
        assert part.inputs == TRAIN.inputs
        assert part.outputs == []
        assert part.tags == TRAIN.tags


@pytest.mark.parametrize(("detectors", "expected"), [(10, 0), (16, 0), (17, 2), (2000, 8)])
def test_baselines_of_many_detectors_have_parts(detectors: int, expected: int) -> None:
    assert len(parts_of(BASELINES, catalog(detectors), workers=2)) == expected


def test_joint_detectors_are_not_divided() -> None:
    nodes = register_pipelines()["compare_multi_vd"].nodes
    [baselines] = [node for node in nodes if node.name == "compare_multi_vd.forecast_baselines"]
    windows = MemoryDataset(MultiVDWindows(**window_parameters({"num_vds": 500})))
    joint = DataCatalog({"params:multi_vd_lstm.windows": windows})
    assert parts_of(baselines, joint, workers=2) == []


def test_other_nodes_are_not_divided() -> None:
    whole: list[Node] = [node for node in NODES.values() if node not in (TRAIN, BASELINES)]
    names = {node.name for node in whole if getattr(node.func, "part", None)}
    assert names == {"independent_multi_vd_xlstm.train"}
