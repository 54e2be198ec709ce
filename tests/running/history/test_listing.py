"""The table of all runs, line by line."""

from tests.make.kept_runs import make_daily_errors, make_experiment, make_run
from vd_forecasting.running.history.listing import list_runs

FIRST = make_experiment(make_daily_errors([3.0, 1.0]), parameters={"single_vd_lstm.a": 1})
SECOND = make_experiment(make_daily_errors([1.0, 1.0]), parameters={"single_vd_lstm.a": 2})


def test_a_run_is_a_line_with_skill_changes_and_command() -> None:
    """MAE 2 and 1 beside persistence's 4."""
    runs = {
        3: make_run({"single_vd_lstm": FIRST, "single_vd_xlstm": SECOND}),
        4: make_run(
            {"multi_vd_lstm": FIRST},
            minute=5,
            command="kedro run --env quick",
            failed={"single_vd_lstm": "it did not run"},
        ),
        5: make_run({"single_vd_lstm": SECOND}, minute=10),
        6: make_run({"single_vd_lstm": SECOND}, minute=15),
    }
    header, *lines = list_runs(runs)
    assert "LSTM / xLSTM" in header
    assert lines == [
        "run  when              single_vd    multi_vd  command          changed since",
        "3    2026-11-28 09:00  50.0 / 75.0  – / –     run              –",
        "4    2026-11-28 09:05  failed / –   50.0 / –  run --env quick  –",
        "5    2026-11-28 09:10  75.0 / –     – / –     run              single_vd_lstm.a 1 → 2",
        "6    2026-11-28 09:15  75.0 / –     – / –     run              nothing",
    ]


def test_many_changes_are_counted() -> None:
    changed = make_experiment(
        make_daily_errors([1.0, 1.0]),
        parameters={f"split.{name}": 1 for name in "abcd"},
        code={"vd_forecasting.a": "1", "vd_forecasting.b": "1"},
        data={"detectors": 9},
    )
    before = make_experiment(
        make_daily_errors([1.0, 1.0]),
        parameters={f"split.{name}": 0 for name in "abcd"},
        code={"vd_forecasting.a": "0", "vd_forecasting.b": "0"},
    )
    runs = {1: make_run({"single_vd_lstm": before}), 2: make_run({"single_vd_lstm": changed})}
    line = list_runs(runs)[-1]
    assert line.endswith("  split.a 0 → 1; split.b 0 → 1; split.c 0 → 1; 3 more")


def test_worse_than_persistence_is_negative_and_an_unknown_error_is_undefined() -> None:
    worse = make_experiment(make_daily_errors([5.0]))
    unknown = make_experiment(make_daily_errors([1.0], persistence={"avg_speed": None}))
    run = make_run({"single_vd_lstm": worse, "single_vd_xlstm": unknown})
    assert "  −25.0 / undefined  " in list_runs({1: run})[-1]
