"""The page of a search."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.make.another_language import english_left, greek, texts_of
from tests.make.parameters import REPORT
from tests.make.studies import GIVEN, descend, searched
from vd_forecasting.parameters import Budget
from vd_forecasting.pipelines.tune.page import write_page
from vd_forecasting.pipelines.tune.settings import Settings
from vd_forecasting.pipelines.tune.study import Epoch, TrialFailed
from vd_forecasting.rendering.page import Page

pytest.importorskip("optuna")


def check(page: Page) -> None:
    """Nothing undefined is printed, and every figure that is shown can be drawn."""
    assert not re.search(r"\bnan\b|None|\binf\b|\n\n\n", page.text)
    assert set(re.findall(r"\(figure:(\w+)\)", page.text)) == set(page.figures)
    for draw in page.figures.values():
        assert callable(draw)
        draw().canvas.draw()


def test_best_and_given_settings_and_the_budget_are_on_the_page(tmp_path: Path) -> None:
    found = searched(tmp_path, budget=Budget(trials=20))
    page = write_page(found, REPORT)
    check(page)
    given, best = found.trials[0].losses[-1], found.best.losses[-1]
    assert f"lower than that of the settings given, {given:.2f}.**" in page.text
    assert f"| {found.best.number} | {best:.4f} | 4 of 4 | 4.00 s |" in page.text
    counts = [len(found.those(state)) for state in ("complete", "pruned", "failed")]
    assert "20 trials: {} complete, {} ended early, {} failed".format(*counts) in page.text
    assert "The budget: 20 trials for each model, whatever time they take." in page.text
    assert "| `model.hidden_size` | 8 | 16 |" in page.text
    assert "is optimistic" in page.text
    assert "kedro run --namespace single_vd_lstm --params single_vd_lstm.tuned=true" in page.text


def test_a_budget_of_time_is_named_as_one(tmp_path: Path) -> None:
    page = write_page(searched(tmp_path, budget=Budget(seconds=60)), REPORT)
    check(page)
    assert "The budget: 1 min of training for each model." in page.text


def test_settings_given_that_nothing_beats_are_named_so(tmp_path: Path) -> None:
    page = write_page(searched(tmp_path, budget=Budget(trials=1)), REPORT)
    check(page)
    assert page.text.splitlines()[2].startswith("**No settings were found that are better than")
    assert "Importance takes 8 complete trials" in page.text


def test_trials_that_failed_are_listed_with_their_reasons(tmp_path: Path) -> None:
    def train(settings: Settings, number: int) -> Iterator[Epoch]:
        if number in (0, 3):
            raise TrialFailed("no *memory*", 0.0)
        return descend(settings, number)

    page = write_page(searched(tmp_path, train), REPORT)
    check(page)
    assert "with those given, training failed.**" in page.text
    assert r"| 3 | no \*memory\* |" in page.text


def test_lists_of_blocks_stand_on_an_axis_of_choices(tmp_path: Path) -> None:
    found = searched(tmp_path)
    trials = tuple(
        replace(of, settings={**of.settings, "model.slstm_at": [1] * (of.number % 2)})
        for of in found.trials
    )
    of_xlstm = replace(found.data, experiment="x_xlstm")
    page = write_page(
        replace(found, trials=trials, given={**GIVEN, "model.slstm_at": []}, data=of_xlstm),
        REPORT,
    )
    check(page)
    assert "| `model.slstm_at` | \\[\\] |" in page.text


def test_nothing_of_it_stays_english_in_another_language(tmp_path: Path) -> None:
    found = searched(tmp_path, budget=Budget(trials=20))
    (tmp_path / "languages").mkdir()
    with greek(tmp_path / "languages") as how:
        for text in texts_of(write_page(found, how)):
            assert english_left(text, [found.experiment, *found.given]) == set(), text
