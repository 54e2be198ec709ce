"""Differences between two runs, against those that were made."""

from typing import Any

from tests.make.kept_runs import make_daily_errors, make_experiment
from vd_forecasting.running.history.changes import Changes, changes_between
from vd_forecasting.running.history.kept import KeptExperiment

ERRORS = make_daily_errors([1.0])
NAMES = ("single_vd_lstm", "single_vd_xlstm", "multi_vd_lstm")


def made(**given: Any) -> dict[str, KeptExperiment]:
    """Three experiments with the same data, code and versions, and parameters by experiment."""
    parameters: dict[str, dict[str, Any]] = given.pop("parameters", {})
    return {
        name: make_experiment(
            ERRORS,
            parameters={
                "split.folds": 1,
                "compute.threads": 2,
                f"{name}.training.epochs": 3,
                **parameters.get(name, {}),
            },
            **given,
        )
        for name in NAMES
    }


def test_nothing_differs_between_equal_runs() -> None:
    assert not changes_between(made(), made())


def test_a_parameter_of_one_experiment_has_its_full_name() -> None:
    after = made(parameters={"single_vd_xlstm": {"single_vd_xlstm.training.epochs": 5}})
    found = changes_between(made(), after)
    assert found == Changes(["single_vd_xlstm.training.epochs 3 → 5"], [], [], [])


def test_the_same_change_of_several_experiments_stands_once() -> None:
    every = {name: {f"{name}.training.epochs": 5} for name in NAMES}
    assert changes_between(made(), made(parameters=every)).parameters == [
        "training.epochs 3 → 5 (all)"
    ]
    two = {name: every[name] for name in NAMES[:2]}
    assert changes_between(made(), made(parameters=two)).parameters == [
        "training.epochs 3 → 5 (single_vd_lstm, single_vd_xlstm)"
    ]


def test_a_parameter_that_all_share_stands_once() -> None:
    shared = {name: {"split.folds": 4, "compute.threads": 1} for name in NAMES}
    assert changes_between(made(), made(parameters=shared)).parameters == ["split.folds 1 → 4"]


def test_a_new_parameter_had_no_value() -> None:
    new = {"multi_vd_lstm": {"multi_vd_lstm.windows.num_vds": None}}
    assert changes_between(made(), made(parameters=new)).parameters == [
        "multi_vd_lstm.windows.num_vds (none) → null"
    ]


def test_only_experiments_of_both_runs_count() -> None:
    other = {"global_vd_lstm": make_experiment(ERRORS, parameters={"global_vd_lstm.x": 1})}
    assert not changes_between(made(), made() | other)


def test_another_file_other_detectors_and_another_time_are_named() -> None:
    data = {"file": "new.h5", "sha256": "fedcba9876543210", "detectors": 3, "vdids": "three"}
    found = changes_between(made(), made(data={**data, "end": "2026-03-09T23:55:00"}))
    assert found.data == [
        "file small.h5 → new.h5",
        "detectors 1 → 3",
        "time 2026-01-01 00:00 to 2026-03-08 23:55 → 2026-01-01 00:00 to 2026-03-09 23:55",
    ]
    found = changes_between(made(), made(data={"file": "copy.h5"}))
    assert found.data == ["file small.h5 → copy.h5 with the same content"]
    found = changes_between(made(), made(data={"sha256": "fedcba9876543210"}))
    assert found.data == ["content of small.h5 01234567 → fedcba98"]
    found = changes_between(made(), made(data={"vdids": "another", "interval_minutes": 15.0}))
    assert found.data == ["1 detector: other ones", "interval 60 min → 15 min"]


def test_changed_modules_and_versions_are_named() -> None:
    """... a module that is only new shows up in those that import it."""
    code = {"vd_forecasting.models.lstm": "a", "node single_vd_lstm.train": "b"}
    before = made(code=code, versions={"torch": "2.7.0"})
    after = made(
        code={**code, "vd_forecasting.models.lstm": "c", "vd_forecasting.models.new": "d"},
        versions={"torch": "2.8.0", "xlstm": "2.0.6"},
    )
    found = changes_between(before, after)
    assert found.code == ["models.lstm"]
    assert found.versions == ["torch 2.7.0 → 2.8.0", "xlstm not used → 2.0.6"]
