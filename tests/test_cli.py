import os

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.validation import ParameterValidationError
from kedro.validation.parameter_validator import ParameterValidator

from vd_forecasting.cli import in_one_line, missing_before, run, share_cores
from vd_forecasting.parameters import Split, XLSTMModel


def step(x: object) -> object:
    return x


@pytest.fixture
def chain() -> Pipeline:
    """raw -> clean -> (log) ; clean -> a.windows -> a.model ; clean -> b.windows"""
    return Pipeline(
        [
            Node(step, "raw", "clean", name="clean"),
            Node(step, "clean", "log", name="log"),
            Node(step, "clean", "a.windows", name="a.windows", namespace="a"),
            Node(step, "a.windows", "a.model", name="a.train", namespace="a"),
            Node(step, "clean", "b.windows", name="b.windows", namespace="b"),
        ]
    )


def catalog(*there: str) -> DataCatalog:
    names = ("raw", "clean", "log", "a.windows", "a.model", "b.windows")
    return DataCatalog(
        {name: MemoryDataset(1) if name in there else MemoryDataset() for name in names}
    )


def names(pipeline: Pipeline) -> set[str]:
    return {node.name.split(".")[-1] for node in pipeline.nodes}


def test_what_is_missing_before_a_namespace_runs_first(chain: Pipeline) -> None:
    wanted = chain.filter(node_namespaces=["a"])
    assert names(missing_before(chain, wanted, catalog("raw"), set())) == {"clean"}


def test_what_is_there_does_not_run_again(chain: Pipeline) -> None:
    wanted = chain.filter(node_namespaces=["a"])
    assert names(missing_before(chain, wanted, catalog("raw", "clean"), set())) == set()


def test_what_depends_on_a_new_file_runs_again(chain: Pipeline) -> None:
    wanted = chain.filter(node_namespaces=["a"])
    assert names(missing_before(chain, wanted, catalog("raw", "clean"), {"raw"})) == {"clean"}


def test_a_chain_of_missing_outputs_runs_whole(chain: Pipeline) -> None:
    wanted = chain.filter(node_names=["a.a.train"])
    assert names(missing_before(chain, wanted, catalog("raw"), set())) == {"clean", "windows"}


def test_namespace_is_an_alias_of_namespaces() -> None:
    (option,) = [option for option in run.params if option.name == "namespaces"]
    assert {"--namespace", "--namespaces", "-ns"} <= set(option.opts)


def test_cores_are_shared_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    runner, params = {}, {}  # type: ignore[var-annotated]
    share_cores(runner, params)
    assert runner == {"max_workers": 6}
    assert params == {"compute": {"threads": 2}}


def test_workers_and_threads_asked_for_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    runner, params = {"max_workers": 4}, {"compute": {"threads": 3, "seed": 1}}
    share_cores(runner, params)
    assert runner == {"max_workers": 4}
    assert params == {"compute": {"threads": 3, "seed": 1}}


def split_node(split: Split, model: XLSTMModel) -> int:
    return 0


def test_parameter_errors_name_the_key_in_one_line() -> None:
    pipeline = Pipeline([Node(split_node, ["params:split", "params:a.model"], "out")])
    values = {
        "split": {"train": 0.7, "vall": 0.1, "test": 0.2},
        "a": {
            "model": {
                "embedding_dim": 128,
                "num_blocks": 2,
                "slstm_at": [4],
                "slstm_backend": "fused",
                "mlstm_backend": "fused",
                "dropout": 1.5,
                "context_length": 256,
            }
        },
    }
    with pytest.raises(ParameterValidationError) as caught:
        ParameterValidator({"p": pipeline}).validate_raw_params(values)
    line = in_one_line(caught.value)
    assert "\n" not in line
    assert "split.vall: no such parameter; check its spelling" in line
    assert "split.val: Field required" in line
    assert "a.model.dropout: Input should be less than 1 (found 1.5)" in line


def test_a_multi_line_message_becomes_one_line() -> None:
    assert in_one_line(ValueError("first\n  second\n\n")) == "first second"


def test_an_error_of_the_system_names_the_file_first() -> None:
    error = PermissionError(13, "Permission denied", "/data/training.log")
    assert in_one_line(error) == "/data/training.log: permission denied"


def test_only_the_words_of_kedro_are_taken_off() -> None:
    ours = DatasetError("a.txt: cannot be written, the disk is full")
    ours.__cause__ = OSError(28, "No space left on device")
    assert in_one_line(ours) == "a.txt: cannot be written, the disk is full"
    kedros = DatasetError("Failed while loading data from dataset D(filepath=a).\na: broken")
    kedros.__cause__ = DatasetError("a: broken")
    assert in_one_line(kedros) == "a: broken"
