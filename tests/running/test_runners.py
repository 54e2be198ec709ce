"""What a run does when nodes fail, with small nodes in place of trainings."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset, SharedMemoryDataCatalog
from kedro.pipeline import Node, Pipeline
from kedro_datasets.json import JSONDataset

from vd_forecasting.datasets import PageDataset
from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.rendering.page import Page
from vd_forecasting.running import runners
from vd_forecasting.running.failure import (
    FAILED_BEFORE,
    NOT_RUN,
    TAKES_FAILURES,
    FailedDataset,
    Failure,
)
from vd_forecasting.running.stop import end_if_stopped

RUNNERS = [runners.SequentialRunner, runners.ThreadRunner, runners.ParallelRunner]
NAMES = ("single_vd_lstm", "single_vd_xlstm", "multi_vd_lstm")
REASON = "x is 0; give it another value"


def train(x: int) -> tuple[int, int]:
    if x == 0:
        raise ValueError(REASON)
    if x == -1:
        raise KeyboardInterrupt
    return x, 10 * x


def evaluate(model: int, history: int) -> int:
    return model + history


def compare(first: int, second: int) -> int:
    return first - second


def gather(**scores: int | Failure) -> dict[str, Any]:
    return {
        name: score.reason if isinstance(score, Failure) else score
        for name, score in scores.items()
    }


def sketch(gathered: dict[str, Any]) -> dict[str, Any]:
    return gathered


def experiment(name: str, evaluating: Callable[..., int] = evaluate) -> Pipeline:
    """x ──> train ──> model, history ──> evaluate ──> score"""
    return Pipeline(
        [
            Node(train, "x", ["model", "history"], name="train"),
            Node(evaluating, ["model", "history"], "score", name="evaluate"),
        ],
        namespace=name,
    )


def pipeline(**evaluating: Callable[..., int]) -> Pipeline:
    """Three experiments, a comparison of two, and a page of all."""
    scores = {name: f"{name}_score" for name in NAMES}
    histories = {name: f"{name}_history" for name in NAMES}
    across = Pipeline(
        [
            Node(compare, [scores[name] for name in NAMES[:2]], "compared", name="compare"),
            Node(gather, scores, "scores", name="gather_scores", tags=TAKES_FAILURES),
            Node(gather, histories, "histories", name="gather_histories", tags=TAKES_FAILURES),
            Node(sketch, "scores", "page", name="sketch"),
        ]
    )
    inputs = {f"{name}_{what}": f"{name}.{what}" for name in NAMES for what in ("score", "history")}
    experiments = [experiment(name, evaluating.get(name, evaluate)) for name in NAMES]
    return sum(experiments, across_namespaces(across, inputs=inputs))


NOTHING: Mapping[str, Failure] = {}


def run(
    runner: Any,
    graph: Pipeline,
    folder: Path,
    unusable: Mapping[str, Failure] = NOTHING,
    /,
    **values: int,
) -> dict[str, Any]:
    """Run with every dataset in a file, and return what is in those of the outputs."""
    kind = SharedMemoryDataCatalog if runner is runners.ParallelRunner else DataCatalog
    files = {name: folder / f"{name}.json" for name in graph.datasets()}
    catalog = kind(
        {
            **{name: JSONDataset(filepath=str(path)) for name, path in files.items()},
            **{f"{name}.x": MemoryDataset(value) for name, value in values.items()},
            **{name: FailedDataset(of, files[name]) for name, of in unusable.items()},
        }
    )
    options = {} if runner is runners.SequentialRunner else {"max_workers": 2}
    failures = []
    try:
        runner(**options).run(graph, catalog, HOOKS)
    except runners.NodesFailed as failed:
        failures = failed.failures
    found = {name: JSONDataset(filepath=str(files[name])) for name in graph.all_outputs()}
    return {
        "failures": failures,
        **{name: dataset.load() for name, dataset in found.items() if dataset.exists()},
    }


class NoHooks:
    """Stands for a manager of hooks that has none."""

    def __getattr__(self, name: str) -> Any:
        return self if name == "hook" else lambda **_: None


HOOKS = NoHooks()


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_does_not_need_the_failed_node_goes_on(runner: Any, tmp_path: Path) -> None:
    found = run(runner, pipeline(), tmp_path, single_vd_lstm=1, single_vd_xlstm=0, multi_vd_lstm=3)
    assert found["failures"] == [Failure("single_vd_xlstm.train", REASON)]
    assert found["single_vd_lstm.score"] == 11
    assert found["multi_vd_lstm.score"] == 33
    assert found["page"] == {"single_vd_lstm": 11, "single_vd_xlstm": REASON, "multi_vd_lstm": 33}
    assert "compared" not in found


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_late_nodes_come_after_others_and_repeats_when_those_have_ended(
    workers: int, fails: bool
) -> None:
    tags = {"single_vd_lstm": runners.REPEATS, "single_vd_xlstm": (runners.LATE, runners.REPEATS)}
    trainings = [node for node in pipeline().nodes if node.name.endswith(".train")]
    graph = Pipeline([node.tag(tags.get(node.namespace, ())) for node in trainings])
    events = []

    class Noting(NoHooks):
        def before_node_run(self, node: Node, **_: Any) -> None:
            events.append(f"{node.namespace} starts")

        def after_node_run(self, node: Node, **_: Any) -> None:
            events.append(f"{node.namespace} ends")

        def on_node_error(self, node: Node, **_: Any) -> None:
            events.append(f"{node.namespace} ends")

    values = {name: MemoryDataset(int(not fails)) for name in NAMES}
    catalog = DataCatalog({f"{name}.x": value for name, value in values.items()})
    with suppress(runners.NodesFailed):
        runners.ThreadRunner(max_workers=workers).run(graph, catalog, Noting())
    assert len(events) == 2 * len(NAMES)
    assert events[0] == "multi_vd_lstm starts"
    for name in ("single_vd_lstm", "single_vd_xlstm"):
        assert events.index("multi_vd_lstm ends") < events.index(f"{name} starts")
    if workers == 1:
        assert events[-1] == "single_vd_xlstm ends"


def test_nodes_of_other_parameters_do_not_wait() -> None:
    both_run = threading.Barrier(2)

    def train(p: int) -> int:
        both_run.wait(10)
        return p

    one = Node(train, "params:one.p", "one", name="one")
    other = Node(train, "params:other.p", "other", name="other", tags=runners.REPEATS)
    catalog = DataCatalog({f"params:{name}.p": MemoryDataset(name) for name in ("one", "other")})
    runners.ThreadRunner(max_workers=2).run(Pipeline([one, other]), catalog, HOOKS)


@pytest.mark.parametrize("runner", RUNNERS)
def test_results_of_an_earlier_run_do_not_stand_in(runner: Any, tmp_path: Path) -> None:
    """... although the histories of the earlier run are whole, and the file stays."""
    values = {"single_vd_lstm": 1, "single_vd_xlstm": 2, "multi_vd_lstm": 3}
    whole = run(runner, pipeline(), tmp_path, **values)
    assert whole["failures"] == []
    assert whole["compared"] == -11
    again = run(runner, pipeline(), tmp_path, **{**values, "single_vd_xlstm": 0})
    assert again["single_vd_xlstm.score"] == 22
    assert again["compared"] == -11
    assert again["histories"]["single_vd_xlstm"] == REASON
    assert again["page"]["single_vd_xlstm"] == REASON


def test_all_of_an_experiment_is_missing_if_a_part_is(tmp_path: Path) -> None:
    def never(model: int, history: int) -> int:
        raise MemoryError

    graph = pipeline(multi_vd_lstm=never)
    values = {"single_vd_lstm": 1, "single_vd_xlstm": 2, "multi_vd_lstm": 3}
    found = run(runners.SequentialRunner, graph, tmp_path, **values)
    assert found["failures"] == [Failure("multi_vd_lstm.evaluate", "MemoryError")]
    assert found["multi_vd_lstm.history"] == 30
    assert found["histories"] == {
        "single_vd_lstm": 10,
        "single_vd_xlstm": 20,
        "multi_vd_lstm": "MemoryError",
    }


def test_without_any_experiment_there_is_nothing_to_gather(tmp_path: Path) -> None:
    found = run(runners.SequentialRunner, pipeline(), tmp_path, **dict.fromkeys(NAMES, 0))
    assert {failure.node for failure in found["failures"]} == {f"{name}.train" for name in NAMES}
    assert found.keys() == {"failures"}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_gathering_without_inputs_is_a_failure_for_the_one_behind_it(
    runner: Any, tmp_path: Path
) -> None:
    first, *others = NAMES
    across = Pipeline(
        [
            Node(gather, {first: f"{first}_score"}, "alone", name="one", tags=TAKES_FAILURES),
            Node(
                gather,
                {"alone": "alone", **{name: f"{name}_score" for name in others}},
                "scores",
                name="all",
                tags=TAKES_FAILURES,
            ),
            Node(sketch, "scores", "page", name="sketch"),
        ]
    )
    inputs = {f"{name}_score": f"{name}.score" for name in NAMES}
    graph = sum(map(experiment, NAMES), across_namespaces(across, inputs=inputs))
    found = run(runner, graph, tmp_path, single_vd_lstm=0, single_vd_xlstm=2, multi_vd_lstm=3)
    assert found["failures"] == [Failure("single_vd_lstm.train", REASON)]
    assert found["page"] == {"alone": REASON, "single_vd_xlstm": 22, "multi_vd_lstm": 33}
    assert "alone" not in found


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("state", [FAILED_BEFORE, NOT_RUN])
def test_what_cannot_be_used_of_earlier_runs_is_left_out(
    runner: Any, state: str, tmp_path: Path
) -> None:
    """... and only what was never asked for is no error."""
    values = {"single_vd_lstm": 1, "single_vd_xlstm": 2, "multi_vd_lstm": 3}
    run(runner, pipeline(), tmp_path, **values)
    for name in ("compared", "page"):
        (tmp_path / f"{name}.json").unlink()
    graph = pipeline().only_nodes("compare", "gather_scores", "gather_histories", "sketch")
    failure = Failure("single_vd_xlstm.train", REASON, state)
    found = run(runner, graph, tmp_path, {"single_vd_xlstm.score": failure})
    assert found["failures"] == ([failure] if state == FAILED_BEFORE else [])
    assert "compared" not in found
    assert found["page"] == {"single_vd_lstm": 11, "single_vd_xlstm": REASON, "multi_vd_lstm": 33}
    assert found["histories"]["single_vd_xlstm"] == REASON


def test_a_run_of_one_experiment_fails_with_its_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=REASON):
        run(runners.SequentialRunner, experiment(NAMES[0]), tmp_path, single_vd_lstm=0)


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_interrupt_stops_everything(runner: Any, tmp_path: Path) -> None:
    values = {"single_vd_lstm": -1, "single_vd_xlstm": -1, "multi_vd_lstm": -1}
    with pytest.raises(KeyboardInterrupt):
        run(runner, pipeline(), tmp_path, **values)
    assert list(tmp_path.iterdir()) == []


class Training:
    """Trains until its run is interrupted, by the node beside it."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()

    def train(self, x: int) -> tuple[int, int]:
        if x == 0:
            self.begun.wait(10)
            raise KeyboardInterrupt
        self.begun.set()
        try:
            while True:
                end_if_stopped()
                time.sleep(0.001)
        finally:
            self.ended.set()


def test_threads_end_their_trainings_when_the_run_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training()
    monkeypatch.setattr("tests.running.test_runners.train", training.train)
    values = {"multi_vd_lstm": 0, "single_vd_lstm": 1, "single_vd_xlstm": 2}
    with pytest.raises(KeyboardInterrupt):
        run(runners.ThreadRunner, pipeline(), tmp_path, **values)
    assert training.ended.wait(5)
    end_if_stopped()  # not this thread


def test_a_failure_names_the_node_and_not_twice_the_experiment() -> None:
    told = "single_vd_lstm.train: diverged"
    assert str(Failure("single_vd_lstm.train", "diverged")) == told
    assert str(Failure("single_vd_lstm.train", "single_vd_lstm: diverged")) == told


TRIES = "VD_FORECASTING_TRIES"


@pytest.fixture
def tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trainings, also those in other processes, leave a file for what they did."""
    folder = tmp_path / "tries"
    folder.mkdir()
    monkeypatch.setenv(TRIES, str(folder))
    return folder


def train_in_little_memory(x: int) -> tuple[int, int]:
    """Notes every try; is killed if ``x`` is 0, else takes its time, so that it is taken along."""
    Path(os.environ[TRIES], f"{x}-{time.monotonic_ns()}").touch()
    time.sleep(0.3)
    if x == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return x, 10 * x


@pytest.mark.integration
@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_the_node_whose_process_is_killed_is_found(
    tries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.running.test_runners.train", train_in_little_memory)
    values = {"multi_vd_lstm": 0, "single_vd_lstm": 2, "single_vd_xlstm": 3}
    found = run(runners.ParallelRunner, pipeline(), tmp_path, **values)
    [failure] = found["failures"]
    assert failure.node == "multi_vd_lstm.train"
    assert "its process was killed" in failure.reason
    assert found["page"]["single_vd_lstm"] == 22
    assert found["page"]["single_vd_xlstm"] == 33
    counts = [len(list(tries.glob(f"{x}-*"))) for x in (0, 2, 3)]
    assert counts[0] == 2
    assert sorted(counts[1:]) == [1, 2], "which of them ran beside the killed one may differ"


def train_for_a_while(x: int) -> tuple[int, int]:
    Path(os.environ[TRIES], f"started {x}").touch()
    time.sleep(3)  # a busy machine takes a while to end a process
    Path(os.environ[TRIES], f"ended {x}").touch()
    return x, 10 * x


@pytest.mark.integration
@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_worker_processes_end_with_a_run_that_is_killed(
    tries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.running.test_runners.train", train_for_a_while)
    values = {"single_vd_lstm": 1, "single_vd_xlstm": 2, "multi_vd_lstm": 3}
    started = get_context("fork").Process(
        target=run, args=(runners.ParallelRunner, pipeline(), tmp_path), kwargs=values
    )
    started.start()
    while len(list(tries.glob("started *"))) < 2:
        assert started.is_alive()
        time.sleep(0.005)
    started.kill()
    started.join()
    time.sleep(4)
    assert list(tries.glob("ended *")) == []


IN_A_FRESH_PROCESS = """
import sys
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from vd_forecasting.running.runners import IMPORTED_LATE, ThreadRunner

assert not sys.modules.keys() & IMPORTED_LATE
found = Node(lambda names: sys.modules.keys() >= set(names), "names", "found")
catalog = DataCatalog({"names": MemoryDataset(IMPORTED_LATE)})
print(ThreadRunner().run(Pipeline([found]), catalog)["found"].load())
"""


@pytest.mark.integration
def test_threads_find_imported_what_they_must_not_import_at_the_same_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr


def make_page() -> Page:
    return Page("# A page without figures\n", {})


@pytest.mark.parametrize("pages", [runners.FEW_PAGES, runners.FEW_PAGES + 1])
@pytest.mark.parametrize(("threads", "cores"), [(None, 1), (None, 2), (1, 2), (2, 1)])
def test_many_pages_of_a_run_in_sequence_are_drawn_beside_it(
    pages: int, threads: int | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    @contextmanager
    def drawn_beside(makers: Iterable[str]) -> Iterator[None]:
        drawn.append(f"begins with {' and '.join(makers)}")
        yield
        drawn.append("ends")

    monkeypatch.setattr(runners, "drawn_beside", drawn_beside)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    files = [tmp_path / f"{number}.md" for number in range(pages)]
    made = {
        file.stem: PageDataset(filepath=str(file), figures=f"{file.stem}_plots/") for file in files
    }
    settings = {"threads": threads, "accelerator": "auto"}
    compute = {"params:compute": MemoryDataset(settings)}
    nodes = [Node(make_page, None, name, name=name) for name in made]
    runners.SequentialRunner().run(Pipeline(nodes), DataCatalog(dict(made) | compute))
    assert all(file.exists() for file in files)
    is_used = pages > runners.FEW_PAGES and (threads or cores) > 1
    assert drawn == ([f"begins with {__name__}", "ends"] if is_used else [])
