"""Whose settings hold: block < search < --params, where ``tuned`` is true."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import PROJECT
from tests.make.searches import make_tuned
from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.running.tuned_settings import check_searched
from vd_forecasting.settings import CONFIG_LOADER_ARGS
from vd_forecasting.vocabulary import EVERY_EXPERIMENT

NAME = "single_vd_lstm"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which the settings of one experiment were searched."""
    shutil.copytree(PROJECT / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    (tmp_path / "conf" / "local").mkdir()
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    write_record(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_record(data: Path) -> None:
    path = data / "06_models" / "tune" / f"{NAME}.json"
    path.parent.mkdir(parents=True)
    path.write_text(make_tuned(NAME).model_dump_json())


def blocks(project: Path, env: str | None = None, **params: Any) -> dict[str, Any]:
    conf = project / "conf"
    found: dict[str, Any] = ConfigLoader(
        conf, env=env, runtime_params=params, **CONFIG_LOADER_ARGS
    )["parameters"]
    return found


def test_best_settings_take_the_place_of_those_in_the_block_where_it_asks_for_them(
    project: Path,
) -> None:
    given = blocks(project)
    best = blocks(project, single_vd_lstm={"tuned": True})
    assert given[NAME]["tuned"] is False
    assert best[NAME]["model"] == {**given[NAME]["model"], "dropout": 0.2}
    assert best[NAME]["training"] == {**given[NAME]["training"], "learning_rate": 0.002}
    assert best[NAME]["tuned"]["pruned"] == 27
    assert {name: best[name] for name in best if name != NAME} == {
        name: given[name] for name in given if name != NAME
    }


@pytest.mark.parametrize("env", [None, "quick"])
def test_the_command_line_holds_nevertheless(project: Path, env: str | None) -> None:
    block = {"tuned": True, "model": {"dropout": 0.4}}
    best = blocks(project, env, single_vd_lstm=block)[NAME]
    assert (best["model"]["dropout"], best["training"]["learning_rate"]) == (0.4, 0.002)


@pytest.mark.parametrize("env", [None, "quick"])
def test_a_file_of_ones_own_may_ask_and_its_settings_yield(project: Path, env: str | None) -> None:
    own = {NAME: {"tuned": True, "model": {"dropout": 0.45, "num_layers": 4}}}
    (project / "conf" / "local" / "parameters.yml").write_text(yaml.safe_dump(own))
    best = blocks(project, env)[NAME]
    assert (best["model"]["dropout"], best["model"]["num_layers"]) == (0.2, 4)


def test_one_word_asks_for_all_and_those_not_searched_stay_as_they_are(project: Path) -> None:
    given, best = blocks(project), blocks(project, tuned=True)
    assert best[NAME]["model"]["dropout"] == 0.2
    others = [name for name in EVERY_EXPERIMENT if name != NAME]
    assert [best[name] for name in others] == [{**given[name], "tuned": True} for name in others]


def test_a_search_finds_the_block_as_it_is(project: Path) -> None:
    given = blocks(project, single_vd_lstm={"model": {"num_layers": 1}})[NAME]
    best = blocks(project, tuned=True, single_vd_lstm={"model": {"num_layers": 1}})[NAME]
    assert best["untuned"] == given["untuned"] == {key: given[key] for key in ("model", "training")}
    assert given["model"]["num_layers"] == 1
    assert best["model"] != best["untuned"]["model"]
    with pytest.raises(ValueError, match=rf"^parameter {NAME}\.untuned is not known; delete it$"):
        blocks(project, single_vd_lstm={"untuned": {}})


def test_one_word_in_the_globals_asks_for_all(project: Path) -> None:
    best = blocks(project, tuned=True)
    (project / "conf" / "local" / "globals.yml").write_text("tuned: true\n")
    assert blocks(project)[NAME] == best[NAME]


def test_the_record_is_read_from_the_data_folder_and_from_a_folder_below(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(project / "data")
    assert blocks(project, tuned=True)[NAME]["tuned"] is True
    write_record(project / "elsewhere")
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    best = blocks(project, tuned=True, data_folder="elsewhere")[NAME]
    assert best["model"]["dropout"] == 0.2


def test_a_record_that_is_broken_is_named_with_the_mend(project: Path) -> None:
    (project / "data" / "06_models" / "tune" / f"{NAME}.json").write_text("{}")
    with pytest.raises(
        ValueError, match=rf"{NAME}\.json: not the record of a search .*tune_{NAME}"
    ):
        blocks(project, tuned=True)


def test_tuned_is_true_or_false(project: Path) -> None:
    with pytest.raises(ValueError, match=rf"^parameter {NAME}\.tuned is 'best'; write true or"):
        blocks(project, single_vd_lstm={"tuned": "best"})


def test_settings_that_nobody_searched_are_missed_by_a_training() -> None:
    check_searched(NAME, False)
    check_searched(NAME, make_tuned(NAME).model_dump())
    with pytest.raises(ValueError, match=f"^{NAME}: tuned is true, .*--namespace tune_{NAME}$"):
        check_searched(NAME, True)
