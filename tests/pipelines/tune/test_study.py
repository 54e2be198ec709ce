"""The loop of a study, on losses that are made by hand."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.make.studies import EPOCHS, GIVEN, SPACE, descend, loss_of, searched
from tests.make.trainings import Killed
from vd_forecasting.datasets import Studies
from vd_forecasting.parameters import Budget, LSTMSpace
from vd_forecasting.pipelines.tune.found import COMPLETE, FAILED, PRUNED
from vd_forecasting.pipelines.tune.settings import Settings
from vd_forecasting.pipelines.tune.study import MOST_FAILED, Epoch, TrialFailed, is_behind

pytest.importorskip("optuna")


def test_the_first_trial_has_the_settings_given_and_later_ones_are_better(tmp_path: Path) -> None:
    found = searched(tmp_path, budget=Budget(trials=30))
    assert found.trials[0].settings == GIVEN
    assert found.of_given == found.trials[0]
    assert [trial.number for trial in found.trials] == [*range(30)]
    assert found.best.loss == min(
        trial.losses[-1] for trial in found.trials if trial.state == COMPLETE
    )
    assert loss_of(found.best.settings) < 0.3 < loss_of(GIVEN)
    assert found.importance is None or sum(found.importance.values()) == pytest.approx(1)


def test_what_is_proposed_lies_in_the_space(tmp_path: Path) -> None:
    for trial in searched(tmp_path, budget=Budget(trials=15)).trials[1:]:
        assert trial.settings["model.hidden_size"] in (8, 16, 32)
        assert 0 <= trial.settings["model.dropout"] <= 0.5
        assert 1e-4 <= trial.settings["training.learning_rate"] <= 1e-1
        assert float(f"{trial.settings['model.dropout']:.3g}") == trial.settings["model.dropout"]


def test_settings_given_may_lie_outside_of_the_space(tmp_path: Path) -> None:
    given = {**GIVEN, "model.hidden_size": 100, "model.dropout": 0.9}
    found = searched(tmp_path, given=given)
    assert found.trials[0].settings == given
    assert found.of_given == found.trials[0]
    assert all(trial.settings["model.hidden_size"] in (8, 16, 32) for trial in found.trials[1:])


def test_a_whole_number_is_searched_as_one(tmp_path: Path) -> None:
    space = LSTMSpace.model_validate(
        {"model": {"hidden_size": {"low": 8, "high": 64, "log": True}}}
    )

    def train(settings: Settings, number: int) -> Iterator[Epoch]:
        yield Epoch(float(settings["model.hidden_size"]), 1.0, is_last=True)

    found = searched(tmp_path, train, space=space, given={"model.hidden_size": 32})
    sizes = [trial.settings["model.hidden_size"] for trial in found.trials]
    assert all(type(size) is int and 8 <= size <= 64 for size in sizes)
    assert found.best.loss == min(sizes)


@pytest.mark.parametrize("epochs_before", [1, 7, 15])
def test_a_study_that_was_killed_makes_the_same_trials(tmp_path: Path, epochs_before: int) -> None:
    left = epochs_before

    def killed(settings: Settings, number: int) -> Iterator[Epoch]:
        nonlocal left
        for epoch in descend(settings, number):
            left -= 1
            if left == 0:
                raise Killed
            yield epoch

    with pytest.raises(Killed):
        searched(tmp_path / "killed", killed)
    whole = searched(tmp_path / "whole")
    assert searched(tmp_path / "killed") == whole


def test_a_study_that_was_killed_between_two_settings_makes_the_same_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna  # noqa: PLC0415

    whole = searched(tmp_path / "whole")
    suggest, left = optuna.Trial.suggest_float, 3

    def killed(*arguments: object, **settings: object) -> float:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return suggest(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(optuna.Trial, "suggest_float", killed)
    with pytest.raises(Killed):
        searched(tmp_path / "killed")
    monkeypatch.undo()
    assert searched(tmp_path / "killed") == whole


def test_a_larger_budget_continues_and_an_equal_one_trains_nothing(tmp_path: Path) -> None:
    first = searched(tmp_path, budget=Budget(trials=3))
    more = searched(tmp_path, budget=Budget(trials=6))
    assert more.trials[:3] == first.trials
    assert len(more.trials) == 6

    def never(settings: Settings, number: int) -> Iterator[Epoch]:
        raise AssertionError

    assert searched(tmp_path, never, budget=Budget(trials=6)) == more


def test_other_studies_in_the_file_stay(tmp_path: Path) -> None:
    one = searched(tmp_path)
    other = searched(tmp_path, study_name="other", seed=1)
    assert other.trials[0] == one.trials[0]
    assert other.trials[1:] != one.trials[1:]
    assert searched(tmp_path) == one


def test_other_settings_given_are_one_more_trial(tmp_path: Path) -> None:
    searched(tmp_path, budget=Budget(trials=3))
    given = {**GIVEN, "model.dropout": 0.25}
    found = searched(tmp_path, budget=Budget(trials=5), given=given)
    assert [trial.settings == given for trial in found.trials] == [False] * 3 + [True, False]
    assert found.of_given == found.trials[3]


def test_settings_given_that_a_killed_run_left_waiting_are_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(optuna.Study, "ask", killed)
    with pytest.raises(Killed):
        searched(tmp_path)
    monkeypatch.undo()
    found = searched(tmp_path, budget=Budget(trials=4))
    assert [trial.settings == GIVEN for trial in found.trials] == [True, False, False, False]


def test_settings_given_are_trained_also_where_the_budget_is_used_up(tmp_path: Path) -> None:
    first = searched(tmp_path, budget=Budget(trials=20))
    [ended, *_] = first.those(PRUNED)
    found = searched(tmp_path, budget=Budget(trials=3), given=ended.settings)
    assert found.trials[:-1] == first.trials
    assert found.of_given == found.trials[-1]
    assert found.of_given.state == COMPLETE


def test_time_of_training_ends_a_study_within_a_trial(tmp_path: Path) -> None:
    def slow(settings: Settings, number: int) -> Iterator[Epoch]:
        for epoch in range(1, EPOCHS + 1):  # each trial better than the last
            yield Epoch(1 / (number + 1) + 0.01 / epoch, 1.0, is_last=epoch == EPOCHS)

    found = searched(tmp_path, slow, budget=Budget(seconds=9.5))
    assert [trial.state for trial in found.trials] == [COMPLETE, COMPLETE, PRUNED]
    assert found.trials[-1].reason == "the time was used up"
    assert (len(found.trials[-1].losses), found.seconds) == (2, 10.0)
    again = searched(tmp_path, slow, budget=Budget(seconds=13))
    assert again.trials[:3] == found.trials
    assert len(again.trials) == 4


def test_settings_given_are_trained_to_their_end_whatever_the_time(tmp_path: Path) -> None:
    found = searched(tmp_path, budget=Budget(seconds=0.5))
    assert [trial.state for trial in found.trials] == [COMPLETE]
    assert found.best == found.of_given


def test_only_the_best_third_stays_after_the_second_epoch(tmp_path: Path) -> None:
    found = searched(tmp_path, budget=Budget(trials=20))
    after_two = [trial.losses[1] for trial in found.trials]
    for trial in found.trials[1:]:
        come = sorted(after_two[: trial.number + 1])
        kept = trial.losses[1] <= come[max(len(come) // 3 - 1, 0)]
        assert (trial.state == COMPLETE) == kept
        assert len(trial.losses) == (EPOCHS if kept else 2)
    assert {trial.state for trial in found.trials} == {COMPLETE, PRUNED}


def test_a_trial_is_compared_with_those_that_came_so_far() -> None:
    others = [(0.9, 0.8, 0.7), (0.9, 0.6), (0.5,)]
    assert not is_behind([0.7], others)
    assert is_behind([0.7, 0.65], others)
    assert not is_behind([0.7, 0.59], others)
    assert not is_behind([0.7, 0.6, 0.5], [])


def test_a_trial_that_fails_is_named_and_does_not_end_the_study(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(settings: Settings, number: int) -> Iterator[Epoch]:
        if number == 1:
            raise TrialFailed("learning_rate 9 is likely too high; lower it", 0.5)
        yield from descend(settings, number)

    with caplog.at_level(logging.INFO):
        found = searched(tmp_path, fails)
    assert found.trials[1].state == FAILED
    assert found.trials[1].reason == "learning_rate 9 is likely too high; lower it"
    assert (found.trials[1].seconds, found.trials[1].loss) == (0.5, None)
    assert len(found.trials) == 8
    line = (
        "single_vd_lstm: trial 1  failed: learning_rate 9 is likely too high; lower it  0 s, 2 of 8"
    )
    assert line in caplog.text


def test_settings_given_that_fail_are_not_compared_with(tmp_path: Path) -> None:
    def fails(settings: Settings, number: int) -> Iterator[Epoch]:
        if number == 0:
            raise TrialFailed("no memory", 0.0)
        yield from descend(settings, number)

    assert searched(tmp_path, fails).of_given is None


def test_a_study_in_which_everything_fails_ends_with_the_reason(tmp_path: Path) -> None:
    def fails(settings: Settings, number: int) -> Iterator[Epoch]:
        raise TrialFailed("no memory", 0.0)

    with pytest.raises(ValueError, match="no trial was trained to its end, no memory"):
        searched(tmp_path / "few", fails)
    with pytest.raises(ValueError, match=f"the last {MOST_FAILED} trials failed, no memory"):
        searched(tmp_path / "many", fails, budget=Budget(seconds=100))


def test_the_log_has_a_line_for_each_trial(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        searched(tmp_path, budget=Budget(trials=2))
        searched(tmp_path, budget=Budget(seconds=20))
    first, second, continues, *_ = caplog.messages
    assert first == "single_vd_lstm: trial 0  val loss 1.1480 (best)  4 s, 1 of 2 trials"
    assert second.startswith("single_vd_lstm: trial 1  val loss ")
    assert continues == "single_vd_lstm: continues after 2 trials"
    assert " of 20 s used" in caplog.messages[-1]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("nothing of the kind, and long enough to be looked at" * 9)
    with pytest.raises(Exception, match=r"study\.db: not a database of studies"):
        searched(tmp_path)


def test_importance_needs_several_complete_trials(tmp_path: Path) -> None:
    def train(settings: Settings, number: int) -> Iterator[Epoch]:
        yield Epoch(settings["model.dropout"], 1.0, is_last=True)

    assert searched(tmp_path, train, budget=Budget(trials=7)).importance is None
    found = searched(tmp_path, train, budget=Budget(trials=25))
    assert found.importance is not None
    assert [*found.importance] == [*SPACE.searched]
    assert found.importance["model.dropout"] > 0.9


def test_trials_are_on_the_disk_when_they_end(tmp_path: Path) -> None:
    searched(tmp_path)
    with Studies(tmp_path / "study.db").open("one") as (study, left):
        assert left is None
        assert len(study.trials) == 8
