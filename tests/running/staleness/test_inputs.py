"""What a report of two experiments can use of earlier runs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from vd_forecasting.datasets.atomic import AtomicJSONDataset
from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.running.failure import (
    FAILED_BEFORE,
    NEW_DATA,
    NOT_RUN,
    USED_OTHER_DATA,
    Failure,
)
from vd_forecasting.running.staleness.fingerprint import (
    makers_of,
    save_fingerprint,
    take_fingerprint,
)
from vd_forecasting.running.staleness.inputs import (
    find_untrained,
    find_unusable,
    forget_failure,
    save_failure,
)

LSTM, XLSTM = "single_vd_lstm", "single_vd_xlstm"


def clean(raw: int, cleaning: Any) -> int:
    return raw


def train(cleaned: int, epochs: int) -> tuple[int, int]:
    return cleaned * epochs, epochs


def evaluate(model: int, cleaned: int) -> int:
    return model + cleaned


def report(*parts: int) -> int:
    return sum(parts)


def experiment(name: str) -> Pipeline:
    return Pipeline(
        [
            Node(train, ["cleaned", "params:epochs"], ["model", "history"], name="train"),
            Node(evaluate, ["model", "cleaned"], "forecasts", name="evaluate"),
        ],
        namespace=name,
        inputs={"cleaned"},
    )


READ = [f"{name}.{what}" for name in (LSTM, XLSTM) for what in ("forecasts", "history")]
ALIASES = {name.replace(".", "_"): name for name in READ}
REPORTING = across_namespaces(
    Pipeline([Node(report, list(ALIASES), "page", name="report")]), inputs=ALIASES
)
MAKING = Pipeline(
    [
        Node(clean, ["raw", "params:cleaning"], "cleaned", name="clean"),
        *experiment(LSTM).nodes,
        *experiment(XLSTM).nodes,
    ]
)
FORECASTING = Pipeline([Node(report, ["today", *ALIASES], "page", name="report", tags=NEW_DATA)])
FORECASTING = across_namespaces(FORECASTING, inputs={**ALIASES, "today": "today"})
MAKERS = makers_of([MAKING, REPORTING])


class Project:
    """Runs some nodes, and says what a report cannot use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog("raw.json").save("raw", 5)

    def catalog(self, raw: str = "raw.json", **epochs: int) -> DataCatalog:
        files = {name: f"{name}.json" for name in MAKERS}
        files |= {f"fingerprint_of_{node.name}": f".{node.name}.json" for node in MAKING.nodes}
        files |= {f"failure_of_{node.name}": f".{node.name}.failed.json" for node in MAKING.nodes}
        sets = {f"params:{name}.epochs": MemoryDataset(1) for name in (LSTM, XLSTM)}
        sets |= {f"params:{name}.epochs": MemoryDataset(of) for name, of in epochs.items()}
        of_files = {
            name: AtomicJSONDataset(filepath=str(self.folder / file))
            for name, file in {**files, "raw": raw}.items()
        }
        return DataCatalog({**of_files, **sets, "params:cleaning": MemoryDataset({})})

    def make(self, *namespaces: str, raw: str = "raw.json") -> None:
        catalog = self.catalog(raw)
        for node in MAKING.nodes:
            if node.name == "clean" or node.namespace in namespaces:
                started = take_fingerprint(node, MAKERS, catalog, {})
                SequentialRunner().run(MAKING.only_nodes(node.name), catalog)
                save_fingerprint(node, started, MAKERS, catalog)

    def unusable(
        self,
        *,
        run_params: Mapping[str, Any] | None = None,
        takes_failures: bool = True,
        **changed: Any,
    ) -> dict[str, Failure]:
        catalog = self.catalog(**changed)
        return find_unusable(REPORTING, MAKERS, catalog, run_params or {}, takes_failures)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def of_xlstm(node: str, reason: str, state: str) -> dict[str, Failure]:
    """All of the experiment is left out."""
    return {name: Failure(node, reason, state) for name in READ if name.startswith(XLSTM)}


def test_everything_is_used_that_was_made_of_the_same_data(project: Project) -> None:
    project.make(LSTM, XLSTM)
    assert project.unusable() == {}
    more_epochs: dict[str, Any] = {LSTM: 2}
    assert project.unusable(**more_epochs) == {}, "other parameters are no other data"


def test_what_never_ran_is_named_with_the_command(project: Project) -> None:
    project.make(LSTM)
    found = project.unusable(run_params={"env": "quick"})
    again = f"kedro run --namespace {XLSTM} --env quick"
    assert found == of_xlstm(f"{XLSTM}.evaluate", again, NOT_RUN)
    assert not any(failure.is_error for failure in found.values())


def test_without_any_experiment_there_is_nothing_to_report(project: Project) -> None:
    project.make()
    told = "no experiment has run yet; kedro run --pipeline compare_all"
    with pytest.raises(ValueError, match=told):
        project.unusable()


def test_what_failed_in_an_earlier_run_is_left_out_until_it_ends_well(project: Project) -> None:
    project.make(LSTM)
    failed = Failure(f"{XLSTM}.train", "out of memory")
    save_failure(failed, project.catalog())
    told = f"out of memory; then kedro run --namespace {XLSTM}"
    found = project.unusable()
    assert found == of_xlstm(failed.node, told, FAILED_BEFORE)
    assert all(failure.is_error for failure in found.values())
    assert str(found[READ[-1]]) == f"{XLSTM}.train failed in an earlier run: {told}"
    forget_failure(MAKERS[READ[-1]], project.catalog())
    assert project.unusable()[READ[-1]].state == NOT_RUN


def test_a_failure_with_other_parameters_does_not_count_for_what_is_there(
    project: Project,
) -> None:
    project.make(LSTM, XLSTM)
    save_failure(Failure(f"{XLSTM}.train", "diverged"), project.catalog())
    assert project.unusable() == {}
    as_then: dict[str, Any] = {XLSTM: 9}
    assert project.unusable(**as_then)[READ[-1]].state == FAILED_BEFORE


def test_what_is_of_other_data_is_left_out(project: Project) -> None:
    project.make(LSTM, XLSTM)
    project.catalog("other.json").save("raw", 7)
    project.make(LSTM, raw="other.json")
    params = {"runtime_params": {"vd_file": "other.json"}}
    again = f"kedro run --namespace {XLSTM} --params vd_file=other.json"
    told = f"input cleaned changed; make it anew: {again}"
    found = project.unusable(raw="other.json", run_params=params)
    assert found == of_xlstm(f"{XLSTM}.train", told, USED_OTHER_DATA)
    with pytest.raises(ValueError, match=f"{XLSTM}.model.json is of other data: {told}"):
        project.unusable(raw="other.json", run_params=params, takes_failures=False)


def test_nothing_but_other_data_is_refused_with_a_command(project: Project) -> None:
    project.make(LSTM, XLSTM)
    given = {
        "cleaning": {"min_observed": 0.4},
        "vd_file": "other.json",
        "seeds": [1, 2],
        "resample": None,
    }
    told = (
        "cleaned.json is of other data: input raw: there is no other.json; make it anew: "
        "kedro run --pipeline compare_all --env mine "
        "--params 'cleaning.min_observed=0.4,vd_file=other.json,seeds=[1, 2],resample=null'"
    )
    params = {"env": "mine", "runtime_params": given}
    for takes_failures in (True, False):
        with pytest.raises(ValueError, match=re.escape(told)):
            project.unusable(raw="other.json", run_params=params, takes_failures=takes_failures)


def test_what_a_run_cannot_do_without_is_refused_when_it_is_read(project: Project) -> None:
    project.make(LSTM)
    (project.folder / "raw.json").write_text("6")
    (project.folder / f"{LSTM}.history.json").unlink()
    (project.folder / f"{LSTM}.forecasts.json").unlink()
    assert project.unusable(takes_failures=False) == {}


# --- global_vd, which compare_all does not make ---------------------------------------------------

GLOBAL = "global_vd_lstm"
OF_GLOBAL = f"{GLOBAL}.forecasts"
WITH_GLOBAL = Pipeline([*MAKING.nodes, *experiment(GLOBAL).nodes])
NEVER = Failure("global_vd", "kedro run --namespace compare_global_vd", NOT_RUN)


def reading(*names: str, namespace: str = "comprehensive") -> Pipeline:
    """A page that reads these, in a namespace."""
    inputs = {name.replace(".", "_"): name for name in names}
    page = Pipeline([Node(report, list(inputs), "page", name="report")])
    return across_namespaces(page, namespace=namespace, inputs=inputs)


def unusable_of(project: Project, pipeline: Pipeline, takes_failures: bool) -> dict[str, Failure]:
    makers = makers_of([WITH_GLOBAL])
    catalog = project.catalog()
    for name in makers.keys() - MAKERS.keys():
        catalog[name] = AtomicJSONDataset(filepath=str(project.folder / f"{name}.json"))
    return find_unusable(pipeline, makers, catalog, {}, takes_failures)


@pytest.mark.parametrize("takes_failures", [True, False])
def test_a_page_can_do_without_a_mode_that_nobody_asked_for(
    project: Project, takes_failures: bool
) -> None:
    """... even before any experiment has run, as in the first compare_all."""
    assert unusable_of(project, reading(OF_GLOBAL), takes_failures) == {OF_GLOBAL: NEVER}


def test_half_of_that_mode_is_named_by_its_node(project: Project) -> None:
    (project.folder / f"{OF_GLOBAL}.json").write_text("1")
    history = f"{GLOBAL}.history"
    found = unusable_of(project, reading(OF_GLOBAL, history), takes_failures=True)
    again = f"kedro run --namespace {GLOBAL}"
    assert found == {history: Failure(f"{GLOBAL}.train", again, NOT_RUN)}


def test_reports_of_that_mode_do_without_it_in_one_line(project: Project) -> None:
    project.make(LSTM)
    both = reading(READ[0], OF_GLOBAL) + reading(OF_GLOBAL, namespace=GLOBAL)
    found = unusable_of(project, both, takes_failures=True)
    assert found == {OF_GLOBAL: NEVER}
    assert str(found[OF_GLOBAL]) == (
        "global_vd has not run: kedro run --namespace compare_global_vd"
    )


# --- what forecasts new data ----------------------------------------------------------------------


def untrained(project: Project, **changed: Any) -> dict[str, Failure]:
    return find_untrained(FORECASTING, MAKERS, project.catalog(**changed), {"env": "quick"})


def test_other_data_and_parameters_of_now_do_not_keep_a_model_from_a_forecast(
    project: Project,
) -> None:
    project.make(LSTM, XLSTM)
    (project.folder / "another.json").write_text("7")
    assert untrained(project, raw="another.json", single_vd_lstm=9) == {}
    project.make(raw="another.json")  # the cleaned data are now others
    assert untrained(project) == {}


def test_an_experiment_that_was_not_trained_is_left_out(project: Project) -> None:
    project.make(LSTM)
    again = "kedro run --namespace single_vd_xlstm --env quick"
    assert untrained(project) == {
        name: Failure(XLSTM, again, NOT_RUN) for name in READ if name.startswith(XLSTM)
    }


def test_files_of_two_trainings_are_not_used_together(project: Project) -> None:
    project.make(LSTM, XLSTM)
    catalog = project.catalog(single_vd_lstm=9)
    train = next(node for node in MAKING.nodes if node.name == f"{LSTM}.train")
    started = take_fingerprint(train, MAKERS, catalog, {})
    SequentialRunner().run(MAKING.only_nodes(train.name), catalog)
    save_fingerprint(train, started, MAKERS, catalog)
    [why] = {str(failure) for failure in untrained(project).values()}
    assert f"{LSTM}.evaluate was run with another {LSTM}.model; make it anew: kedro run" in why


def test_a_file_that_was_changed_is_not_used(project: Project) -> None:
    project.make(LSTM, XLSTM)
    path = project.folder / f"{LSTM}.history.json"
    path.write_text("99")
    [why] = {str(failure) for failure in untrained(project).values()}
    assert f"{path.name} was changed since it was made" in why


def test_a_forecast_without_any_model_is_an_error(project: Project) -> None:
    project.make()
    with pytest.raises(ValueError, match=r"single_vd_lstm has not run: .*; single_vd_xlstm has"):
        untrained(project)
