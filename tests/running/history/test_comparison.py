"""What is printed of two runs, line by line, against differences worked out by hand."""

import math
from itertools import starmap
from typing import Any

from scipy import stats

from tests.make.kept_runs import make_daily_errors, make_experiment, make_run
from vd_forecasting.running.history.comparison import compare_runs
from vd_forecasting.running.history.kept import KeptExperiment

BEFORE = make_daily_errors([2.0, 3.0, 2.0, 3.0, 2.0, 3.0])
AFTER = make_daily_errors([1.0, 1.5, 1.2, 1.8, 1.4, 2.1])


def by_hand() -> tuple[float, float]:
    """Fieller's interval of the ratio of two means, as textbooks have it."""
    one, two = [2.0, 3.0, 2.0, 3.0, 2.0, 3.0], [1.0, 1.5, 1.2, 1.8, 1.4, 2.1]
    n, (x, y) = 6, (sum(one) / 6, sum(two) / 6)

    def cov(a: list[float], b: list[float]) -> float:
        pairs = zip(a, b, strict=True)
        products = starmap(lambda p, q: (p - sum(a) / n) * (q - sum(b) / n), pairs)
        return float(sum(products)) / (n - 1) / n

    t2 = float(stats.t.ppf(0.975, n - 1)) ** 2
    a = x * x - t2 * cov(one, one)
    b = x * y - t2 * cov(one, two)
    c = y * y - t2 * cov(two, two)
    root = math.sqrt(b * b - a * c)
    return (b - root) / a - 1, (b + root) / a - 1


def test_two_runs_are_compared_line_by_line() -> None:
    parameters = {"single_vd_lstm.training.epochs": 3}
    first = make_run(
        {
            "single_vd_lstm": make_experiment(BEFORE, parameters=parameters),
            "multi_vd_lstm": make_experiment(BEFORE),
        }
    )
    changed = {"single_vd_lstm.training.epochs": 5}
    second = make_run(
        {"single_vd_lstm": make_experiment(AFTER, parameters=changed, versions={"torch": "2.8.0"})},
        minute=5,
        command="kedro run --env quick",
        failed={"multi_vd_lstm": "the disk is full"},
    )
    low, high = by_hand()
    assert compare_runs((1, first), (2, second), 0.95) == [
        "run 1  2026-11-28 09:00  kedro run  (1 min 15 s)",
        "run 2  2026-11-28 09:05  kedro run --env quick  (1 min 15 s)",
        "",
        "Parameters",
        "  single_vd_lstm.training.epochs 3 → 5",
        "",
        "Data",
        "  the same",
        "",
        "Code",
        "  torch not used → 2.8.0",
        "",
        "MAE on test, and its change with the 95 % interval over test days",
        "",
        "single_vd_lstm",
        "                    all horizons                               60 min ahead (step 1)",
        "  avg_speed (km/h)  2.50 → 1.50  −40.0 % "
        + f"(−{-100 * low:.1f} % to −{-100 * high:.1f} %)".ljust(22)
        + f"2.50 → 1.50  −40.0 % (−{-100 * low:.1f} % to −{-100 * high:.1f} %)",
        "",
        "Each model was trained with one seed; the intervals leave out differences between seeds.",
        "",
        "Only run 1 made multi_vd_lstm",
        "In run 2 multi_vd_lstm failed: the disk is full",
    ]


def compared(before: KeptExperiment, after: KeptExperiment) -> list[str]:
    """The lines of the experiment, without those around them."""
    runs = [make_run({"single_vd_lstm": one}) for one in (before, after)]
    lines = compare_runs((1, runs[0]), (2, runs[1]), 0.95)
    return lines[lines.index("single_vd_lstm") + 1 :]


def test_other_test_data_are_not_compared() -> None:
    other = make_experiment(make_daily_errors([1.0] * 6, truth=60.0))
    assert compared(make_experiment(BEFORE), other) == [
        "  avg_speed (km/h)  test data differ, not comparable"
    ]


def test_another_number_of_steps_or_interval_is_not_compared() -> None:
    pairs = [("avg_speed", step) for step in (1, 2, 0)]
    rows: dict[str, Any] = {
        name: [(1.0, 1.0, 2.0)] for name in ("losses", "scored", "origins", "truths")
    }
    longer = make_experiment(make_daily_errors([1.0], 80.0, pairs=pairs, **rows))
    line, *_ = compared(make_experiment(BEFORE), longer)
    assert line == "  avg_speed (km/h)  not comparable: 1 and 2 steps ahead"
    coarser = make_experiment(make_daily_errors([1.0] * 6, interval_minutes=30.0))
    line, *_ = compared(make_experiment(BEFORE), coarser)
    assert line == "  avg_speed (km/h)  not comparable: the interval of the data differs"


def test_a_feature_of_one_run_alone_is_named() -> None:
    pairs, units = [("total_volume", 1), ("total_volume", 0)], {"total_volume": "veh/h"}
    other = make_daily_errors([1.0] * 6, pairs=pairs, units=units, persistence={"total_volume": 1})
    speed, volume, *_ = compared(make_experiment(BEFORE), make_experiment(other))
    assert speed == "  avg_speed (km/h)      not a target of both"
    assert volume == "  total_volume (veh/h)  not a target of both"


def test_few_days_and_days_left_out_are_said() -> None:
    few = make_experiment(make_daily_errors([1.0, 1.0, 1.0]))
    _, line, *_ = compared(make_experiment(BEFORE), few)
    assert "2.33 → 1.00  −57.1 %  " in line
    assert line.endswith(
        "  no interval: 3 full test days, 5 are needed; 3 days left out, whose test data differ"
    )


def test_the_same_errors_have_no_change() -> None:
    _, line, *_ = compared(make_experiment(BEFORE), make_experiment(BEFORE))
    assert "2.50 → 2.50  0.0 % (0.0 % to 0.0 %)" in line


def test_several_seeds_are_said() -> None:
    *_, last = compared(make_experiment(BEFORE), make_experiment(AFTER, seeds=3))
    assert last.startswith("Errors are means over seeds")


def test_runs_without_a_common_experiment_are_not_compared() -> None:
    one, two = (
        make_run({name: make_experiment(BEFORE)}) for name in ("single_vd_lstm", "multi_vd_lstm")
    )
    assert compare_runs((1, one), (2, two), 0.95)[2:] == [
        "",
        "Only run 1 made single_vd_lstm",
        "",
        "Only run 2 made multi_vd_lstm",
    ]


def test_a_feature_without_a_unit_stands_alone() -> None:
    pairs, units = [("flow", 1), ("flow", 0)], {"flow": ""}
    other = make_daily_errors([1.0] * 6, pairs=pairs, units=units, persistence={"flow": 1})
    lines = compared(make_experiment(BEFORE), make_experiment(other))
    assert lines[1] == "  flow              not a target of both"
