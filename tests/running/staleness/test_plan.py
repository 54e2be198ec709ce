"""Staleness in a small pipeline of files and memory, run by Kedro."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner, ThreadRunner

from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.provenance import Code, version_of
from vd_forecasting.running import hooks
from vd_forecasting.running.failure import FailedDataset, Failure
from vd_forecasting.running.hooks import Fingerprints
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.fingerprint import Fingerprint, makers_of
from vd_forecasting.running.staleness.plan import (
    Plan,
    arrange,
    describe_plan,
    differences,
    find_alterations,
    flat,
    make_plan,
)
from vd_forecasting.vocabulary import MODES


def double(raw: int, block: dict[str, int]) -> int:
    return raw * block["factor"]


def summarise(doubled: int | Failure) -> int:
    return -1 if isinstance(doubled, Failure) else doubled + 1


def write(summary: int) -> str:
    return f"page {summary}"


def draw(summary: int) -> str:
    return f"plot {summary}"


def score(doubled: int) -> tuple[int, int]:
    return doubled, -doubled


def draw_errors(errors: int) -> str:
    return f"errors {errors}"


def collect(scores: int) -> list[int]:
    return [scores]


FILES = ("raw", "doubled", "page", "plot", "scores", "error_plot", "table")
# raw ─► double ─► doubled ─┬─► summarise ─► (summary) ─┬─► write ─► page
#                           │                           └─► draw ──► plot
#                           └─► score ─┬─► (errors) ─► draw_errors ─► error_plot
#                                      └─► scores ───► collect ─────► table
PIPELINE = Pipeline(
    [
        Node(double, ["raw", "params:block"], "doubled", name="double"),
        Node(summarise, "doubled", "summary", name="summarise"),
        Node(write, "summary", "page", name="write"),
        Node(draw, "summary", "plot", name="draw"),
        Node(score, "doubled", ["scores", "errors"], name="score"),
        Node(draw_errors, "errors", "error_plot", name="draw_errors"),
        Node(collect, "scores", "table", name="collect"),
    ]
)
ALL = {node.name for node in PIPELINE.nodes}


class Project:
    """The pipeline with its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code: dict[str, str] = {}
        self.parameters = {"factor": 2, "unused": [1, 2]}
        self.runner: Any = SequentialRunner()
        self.write("raw", 3)

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def write(self, name: str, value: object) -> None:
        self.file(name).write_text(json.dumps(value))

    def catalog(self, **changed: Any) -> DataCatalog:
        dataset = {"type": "vd_forecasting.datasets.AtomicJSONDataset"}
        config = {name: {**dataset, "filepath": str(self.file(name))} for name in FILES}
        config["fingerprint_of_{node}"] = {
            **dataset, "filepath": f"{self.folder}/.fingerprints/{{node}}.json"
        }  # fmt: skip
        config["content_hashes"] = {**dataset, "filepath": f"{self.folder}/.fingerprints/.content"}
        catalog = DataCatalog.from_config(config | changed)
        catalog["params:block"] = self.parameters
        return catalog

    def plan(self, pipeline: Pipeline = PIPELINE, **changed: Any) -> Plan:
        return make_plan(pipeline, makers_of([PIPELINE]), self.catalog(**changed))

    def run(self, pipeline: Pipeline = PIPELINE, *failed: str) -> None:
        manager = _create_hook_manager()
        manager.register(Fingerprints())
        catalog = self.catalog()
        for name in failed:
            path = self.file(name) if name in FILES else None
            catalog[name] = FailedDataset(Failure("double", "no reason"), path)
        self.runner.run(pipeline, catalog, manager)

    def run_stale(self) -> set[str]:
        """Run what is stale; returns which nodes that were."""
        plan = self.plan()
        if plan.nodes:
            self.run(PIPELINE.filter(node_names=plan.nodes))
        assert self.plan().nodes == []
        return set(plan.nodes)

    def alterations(self) -> list[str]:
        return find_alterations(PIPELINE, makers_of([PIPELINE]), self.catalog())


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Nothing has run yet; the code of a node is what ``code`` says."""
    project = Project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hooks, "pipelines", {"all": PIPELINE})

    def code_of(function: Any, without: frozenset[str]) -> Code:
        name = function.__name__
        return Code({f"package.{name}": project.code.get(name, "")}, frozenset({"torch"}))

    monkeypatch.setattr(fingerprint, "code_of", code_of)
    return project


@pytest.fixture
def made(empty: Project) -> Project:
    """Everything has run."""
    empty.run()
    return empty


@pytest.mark.parametrize(
    "runner", [SequentialRunner(), SequentialRunner(is_async=True), ThreadRunner()]
)
def test_after_a_run_nothing_is_stale(empty: Project, runner: Any) -> None:
    empty.runner = runner
    assert set(empty.plan().nodes) == ALL
    empty.run()
    assert describe_plan(empty.plan()) == ["Everything is up to date."]
    assert empty.alterations() == []


def test_a_first_run_names_what_comes_first(empty: Project) -> None:
    assert describe_plan(empty.plan()) == [
        "▸ double: output doubled.json is missing",
        "… and 5 nodes that depend on them",
        "… and 1 node whose outputs in memory they need",
    ]


def test_a_page_is_not_planned_where_nothing_is_there_that_it_is_made_of(empty: Project) -> None:
    """... such as the report of a mode that nobody trained; of a file of the user's it is."""
    page = PIPELINE.only_nodes("summarise", "write")
    assert describe_plan(empty.plan(page)) == ["Everything is up to date."]
    empty.write("doubled", 6)
    assert empty.plan(page).reasons == {"write": ["output page.json is missing"]}
    empty.file("raw").unlink()
    assert empty.plan(PIPELINE.only_nodes("double")).nodes == ["double"]


def test_a_changed_parameter(made: Project) -> None:
    made.parameters = {"factor": 5, "unused": [1, 2]}
    assert made.plan().reasons == {"double": ["parameter block.factor 2 → 5"]}
    assert made.run_stale() == ALL
    assert json.loads(made.file("page").read_text()) == "page 16"


def test_a_changed_list_a_new_and_a_lost_parameter(made: Project) -> None:
    made.parameters = {"factor": 2, "unused": [1], "more": None}
    assert made.plan().reasons["double"] == [
        "parameter block.unused [1, 2] → [1]",
        "parameter block.more (none) → null",
    ]


def test_of_many_parameters_those_of_another_version_come_last_and_are_counted() -> None:
    before = made_with(gone=1, kept=1, seed=1)
    now = made_with(a=1, b=1, kept=1, seed=2)
    assert differences(before, now) == [
        "parameter compute.seed 1 → 2",
        "parameter compute.a (none) → 1",
        "parameter compute.b (none) → 1",
        "1 more parameter",
    ]


def test_other_content_of_the_same_size(made: Project) -> None:
    made.write("raw", 4)
    assert made.plan().reasons == {"double": ["input raw changed"]}
    assert made.run_stale() == ALL


def test_another_file(made: Project) -> None:
    (made.folder / "other.json").write_bytes(made.file("raw").read_bytes())
    other = {
        "type": "vd_forecasting.datasets.AtomicJSONDataset",
        "filepath": str(made.folder / "other.json"),
    }
    assert made.plan(raw=other).reasons == {"double": ["input raw is other.json, was raw.json"]}


def test_a_deleted_output_and_nothing_before_it(made: Project) -> None:
    made.file("page").unlink()
    plan = made.plan()
    assert plan.reasons == {"write": ["output page.json is missing"]}
    assert made.run_stale() == {"write", "summarise"}


def test_an_altered_output(made: Project) -> None:
    made.write("table", [7])
    assert made.plan().reasons == {"collect": ["output table.json was changed since"]}
    assert made.alterations() == ["table.json (collect): was changed since"]
    assert made.run_stale() == {"collect"}
    assert json.loads(made.file("table").read_text()) == [6]


def test_an_altered_output_is_made_again_with_all_that_reads_it(made: Project) -> None:
    made.write("scores", 7)
    plan = made.plan()
    assert plan.reasons == {"score": ["output scores.json was changed since"]}
    assert set(plan.dependent) == {"draw_errors", "collect"}
    assert made.alterations() == [
        "scores.json (score): was changed since",
        "table.json (collect): input scores changed",
    ]


def test_changed_code(made: Project) -> None:
    made.code["draw"] = "new"
    assert made.plan().reasons == {"draw": ["code changed: draw"]}
    assert made.run_stale() == {"draw", "summarise"}


def test_changed_code_of_a_node_in_memory(made: Project) -> None:
    made.code["summarise"] = "new"
    assert made.plan().reasons == {
        "write": ["code changed: summarise"],
        "draw": ["code changed: summarise"],
    }
    # One of the two alone: the other is still stale afterwards.
    made.run(PIPELINE.filter(node_names=["summarise", "write"]))
    assert set(made.plan().reasons) == {"draw"}
    assert made.run_stale() == {"draw", "summarise"}


def test_a_file_written_again_because_its_node_is_needed(made: Project) -> None:
    made.code["draw_errors"] = "new"
    plan = made.plan()
    assert set(plan.reasons) == {"draw_errors"}
    assert plan.needed == ["score"]
    assert plan.dependent == ["collect"]  # it reads what score writes again
    assert made.run_stale() == {"draw_errors", "score", "collect"}


def test_other_versions(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fingerprint,
        "version_of",
        lambda package: "9.9" if package == "torch" else version_of(package),
    )
    reasons = made.plan().reasons
    assert set(reasons) == ALL - {"summarise"}
    assert reasons["double"][0].startswith("torch ")
    assert reasons["double"][0].endswith(" → 9.9")


def test_another_catalog_entry(made: Project) -> None:
    entry = {
        "type": "vd_forecasting.datasets.AtomicJSONDataset",
        "filepath": str(made.file("page")),
        "save_args": {"indent": 2},
    }
    assert made.plan(page=entry).reasons == {"write": ["catalog entry of page changed"]}


def test_an_input_that_nothing_selected_makes_counts_by_its_content(made: Project) -> None:
    pages = PIPELINE.filter(node_names=["summarise", "write", "draw"])
    made.write("raw", 4)
    assert made.plan(pages).nodes == []
    made.run(PIPELINE.filter(node_names=["double"]))
    assert made.plan(pages).reasons == {
        "write": ["input doubled changed"],
        "draw": ["input doubled changed"],
    }


def test_what_was_made_without_an_input_that_failed_is_made_again(made: Project) -> None:
    """... though that input's file is still what it was; it reaches the page through memory."""
    pages = PIPELINE.filter(node_names=["summarise", "write"])
    made.run(pages, "doubled")
    assert json.loads(made.file("page").read_text()) == "page -1"
    assert made.plan().reasons == {"write": ["input doubled was not there"]}
    assert made.run_stale() == {"summarise", "write"}
    assert json.loads(made.file("page").read_text()) == "page 7"


def test_outputs_of_unknown_origin(made: Project) -> None:
    for path in (made.folder / ".fingerprints").glob("write*"):
        path.write_text("{not JSON")
    assert made.plan().reasons == {"write": ["there is no record of how page.json was made"]}
    assert made.alterations() == ["page.json (write): there is no record of how it was made"]


def test_what_was_made_without_an_input_in_memory_that_failed_is_made_again(made: Project) -> None:
    made.run(PIPELINE.only_nodes("write"), "summary")
    assert made.plan().reasons == {"write": ["input doubled was not there"]}
    assert made.run_stale() == {"summarise", "write"}
    assert json.loads(made.file("page").read_text()) == "page 7"


def test_a_run_that_fails_keeps_what_it_finished(
    made: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.parameters = {"factor": 5, "unused": [1, 2]}
    broken = Pipeline([*PIPELINE.filter(node_names=["double"]).nodes, FAILING])
    with pytest.raises(RuntimeError, match="stopped"):
        made.run(broken)
    plan = made.plan()
    assert "double" not in plan.nodes
    assert plan.reasons["write"] == ["input doubled changed"]
    assert made.run_stale() == ALL - {"double"}


def fail(doubled: int) -> int:
    raise RuntimeError("stopped")


FAILING = Node(fail, "doubled", "page", name="fail")


def touch_the_input(raw: int, block: dict[str, int]) -> int:
    path = Path("raw.json")  # the working directory is the project
    path.write_text("99")
    return raw


def test_an_input_that_changes_while_a_node_runs(
    empty: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(touch_the_input, ["raw", "params:block"], "doubled", name="double")
    monkeypatch.setattr(hooks, "pipelines", {"all": Pipeline([node])})
    empty.run(Pipeline([node]))
    assert "An input of double changed while it ran" in caplog.text
    assert "double" in empty.plan().reasons


def test_blocks_are_named_by_their_keys() -> None:
    assert flat({"a": {"b": {"c": [1, {"d": 2}]}, "e": {}}, "f": None}) == {
        "a.b.c": [1, {"d": 2}],
        "a.e": {},
        "f": None,
    }


def test_a_project_may_be_moved(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Project(made.folder.rename(made.folder.with_name("moved")))
    monkeypatch.chdir(moved.folder)
    assert moved.plan().nodes == []


@pytest.mark.parametrize(("model", "other"), [("lstm", "xlstm"), ("xlstm", "lstm")])
def test_the_parameters_of_one_model_never_touch_the_other(model: str, other: str) -> None:
    pipeline = register_pipelines()["compare_all"]
    files = {node.name: {name: Path(name) for name in node.outputs} for node in pipeline.nodes}

    def why(node: Node, made_again: set[str]) -> list[str]:
        own = [name for name in node.inputs if name.startswith("params:")]
        return [name for name in own if re.search(rf":\w+_vd_{model}\.", name)]

    nodes = set(arrange(pipeline, files, why).nodes)
    assert {f"{mode}_{model}.train" for mode in MODES} <= nodes
    assert "comprehensive.write_comprehensive" in nodes
    assert not any(name.startswith(f"{mode}_{other}.") for mode in MODES for name in nodes)


def made_with(**compute: object) -> Fingerprint:
    return {
        "code": {},
        "parameters": {"compute": compute},
        "inputs": {},
        "datasets": {},
        "versions": {},
        "outputs": {},
    }


def test_the_number_of_threads_makes_nothing_stale() -> None:
    before = made_with(threads=2, accelerator="cpu")
    assert differences(before, made_with(threads=1, accelerator="cpu")) == []
    assert differences(before, made_with(threads=1, accelerator="gpu")) == [
        'parameter compute.accelerator "cpu" → "gpu"'
    ]
