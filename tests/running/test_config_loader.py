"""Whose value holds: base < environment < conf/local < --params; and ``num_vds``, set once."""

import logging
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import PROJECT
from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.running import hooks
from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.running.hooks import KnownParameters
from vd_forecasting.settings import CONFIG_LOADER_ARGS
from vd_forecasting.vocabulary import EXPERIMENTS

TAKE_SEVERAL = [name for name in EXPERIMENTS if not name.startswith("single_vd")]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """The project's configuration, with nothing of anybody's own in it."""
    shutil.copytree(PROJECT / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    (tmp_path / "conf" / "local").mkdir()
    return tmp_path / "conf"


def load(conf: Path, env: str | None = None, **params: Any) -> ConfigLoader:
    return ConfigLoader(conf, env=env, runtime_params=params, **CONFIG_LOADER_ARGS)


def num_vds(loader: ConfigLoader) -> dict[str, int]:
    parameters = loader["parameters"]
    return {name: parameters[name]["windows"]["num_vds"] for name in TAKE_SEVERAL}


@pytest.mark.parametrize("env", [None, "quick", "taiwan"])
def test_num_vds_is_set_once_for_all_that_have_it(conf: Path, env: str | None) -> None:
    assert num_vds(load(conf, env)) == dict.fromkeys(TAKE_SEVERAL, 10)
    (conf / "local" / "globals.yml").write_text("num_vds: 4\n")
    assert num_vds(load(conf, env)) == dict.fromkeys(TAKE_SEVERAL, 4)
    assert num_vds(load(conf, env, num_vds=2)) == dict.fromkeys(TAKE_SEVERAL, 2)


def test_one_block_can_still_be_set_alone(conf: Path) -> None:
    (conf / "local" / "parameters.yml").write_text("multi_vd_lstm: {windows: {num_vds: 3}}\n")
    others = dict.fromkeys(TAKE_SEVERAL, 2)
    assert num_vds(load(conf, num_vds=2)) == {**others, "multi_vd_lstm": 3}
    block = {"windows": {"num_vds": 5}}
    assert num_vds(load(conf, num_vds=2, multi_vd_lstm=block)) == {**others, "multi_vd_lstm": 5}


def test_metr_la_takes_all_of_its_detectors_unless_it_is_given_a_number(conf: Path) -> None:
    assert num_vds(load(conf, "metr_la"))["multi_vd_xlstm"] == 207
    assert num_vds(load(conf, "metr_la", num_vds=3)) == dict.fromkeys(TAKE_SEVERAL, 3)


def test_conf_local_holds_in_every_environment(conf: Path) -> None:
    (conf / "local" / "parameters.yml").write_text(
        "cleaning: {resample: 15min}\nmulti_vd_xlstm: {training: {seeds: [1, 2]}}\n"
    )
    (conf / "local" / "catalog.yml").write_text("vd_clean: {type: a.B}\n")
    (conf / "local" / "credentials.yml").write_text("me: {token: abc}\n")
    loader = load(conf, "taiwan", cleaning={"interval": "2min"})
    assert loader["parameters"]["cleaning"]["resample"] == "15min"
    assert loader["parameters"]["cleaning"]["interval"] == "2min", "--params is above all"
    assert loader["parameters"]["cleaning"]["min_observed"] == 0.5, "of base"
    assert loader["parameters"]["multi_vd_xlstm"]["training"]["seeds"] == [1, 2]
    assert loader["catalog"]["vd_clean"] == {"type": "a.B"}
    assert loader["catalog"]["ingest_source"]["type"].endswith("VDLiveArchiveDataset")
    assert loader["credentials"] == {"me": {"token": "abc"}}


def test_base_is_read_alone(conf: Path) -> None:
    (conf / "local" / "globals.yml").write_text("vd_file: mine.h5\n")
    assert load(conf)["globals"]["vd_file"] == "mine.h5"
    assert load(conf, "base")["globals"]["vd_file"] == "data/01_raw/vd_sample.h5"


def test_an_environment_is_about_its_own_file_and_one_line_says_so(
    conf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """... or an ingest would overwrite yours."""
    (conf / "local" / "globals.yml").write_text("vd_file: mine_only.h5\nnum_vds: 4\n")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            loader = load(conf, "taiwan")
    assert loader["catalog"]["vd_ingested"]["filepath"] == "data/01_raw/taiwan_vd.h5"
    assert num_vds(loader)["multi_vd_lstm"] == 4
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        "conf/local/globals.yml: vd_file is ignored, as conf/taiwan/globals.yml sets it"
    )
    assert load(conf, "quick")["catalog"]["vd_raw"]["filepath"] == "mine_only.h5"


def test_an_environment_works_without_a_folder_of_ones_own(conf: Path) -> None:
    (conf / "local").rmdir()
    assert load(conf, "quick")["parameters"]["compute"]["threads"] == 1


@pytest.mark.parametrize("name", ["a[1]", "{b}"])
def test_a_folder_that_kedro_would_read_as_a_pattern_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"Kedro cannot work below a folder with '[\[{]'"):
        load(tmp_path / name / "conf")


# --- unknown parameters ---------------------------------------------------------------------------


@pytest.fixture
def check(conf: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads the configuration and looks for parameters that are unknown."""
    monkeypatch.setattr(hooks, "pipelines", register_pipelines())

    def check(**params: Any) -> None:
        context = SimpleNamespace(config_loader=load(conf, **params), project_path=conf.parent)
        KnownParameters().after_context_created(context)

    return check


def test_what_is_read_is_known(check: Any) -> None:
    check()
    check(vd_file="a.h5", num_vds=2, source_file="b", source_start="2020-01-01")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_vd": 2}, "parameter num_vd is not known; did you mean num_vds?"),
        ({"clening": {}}, "parameter clening is not known; did you mean cleaning?"),
        (
            {"single_vd_lstm": {"modell": {}}},
            r"parameter single_vd_lstm\.modell is not known; did you mean single_vd_lstm\.model\?",
        ),
        (
            {"evaluation": {"confidense": 0.9}},
            r"evaluation\.confidense is not known; did you mean evaluation\.confidence\?",
        ),
        (
            {"tracking": {"mlflow_url": "sqlite:///mlflow.db"}},
            r"tracking\.mlflow_url is not known; did you mean tracking\.mlflow_uri\?",
        ),
        ({"multi_vd_lstm": 3}, "parameter multi_vd_lstm is 3; it must be a block"),
    ],
)
def test_a_block_that_nothing_reads_is_refused(check: Any, params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(**params)


def test_what_no_node_reads_is_checked_too(check: Any) -> None:
    check(tracking={"mlflow_uri": "sqlite:///mlflow.db"})
    with pytest.raises(ValueError, match=r"^tracking.mlflow_uri: .*valid string \(found \[1\]\)$"):
        check(tracking={"mlflow_uri": [1]})


def test_a_global_in_a_file_of_parameters_is_refused(conf: Path, check: Any) -> None:
    (conf / "local" / "parameters.yml").write_text("num_vds: 2\n")
    check(num_vds=3)
    with pytest.raises(ValueError, match=r"num_vds has no effect .*; write it into globals.yml"):
        check()


def test_what_the_configuration_refers_to_may_be_given() -> None:
    files = [path.read_text("utf-8") for path in (PROJECT / "conf").rglob("*.yml")]
    named = {name for text in files for name in re.findall(r"\$\{runtime_params:(\w+)", text)}
    assert named == set(hooks.NOT_IN_PARAMETER_FILES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: !foo 2\n",
            r"parameters_own.yml, line 2: the tag !foo is not known; leave it out",
        ),
        (
            "a0: &a0 [1, 1]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
            r"parameters_own.yml: its aliases .* unfold to more than 50,000 values, the limit",
        ),
        ("a: &a [*a]\n", "unfold to more than"),
    ],
)
def test_yaml_that_unfolds_or_has_unknown_tags(conf: Path, text: str, message: str) -> None:
    (conf / "local" / "parameters_own.yml").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load(conf)
    assert "\n" not in str(error.value)
