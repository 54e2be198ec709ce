"""``--params`` as they are typed, and options in a file."""

import re
from ast import literal_eval
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from vd_forecasting.running.options import (
    parse_params,
    read_config,
    read_params,
    typed_command,
    without_password,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("a.b=1,a.c=x, d=true,", {"a": {"b": 1, "c": "x"}, "d": True}),
        ("a.seeds=[1,2,3],b=2", {"a": {"seeds": [1, 2, 3]}, "b": 2}),
        ("a={b: [1, {c: 2}], d: 3}", {"a": {"b": [1, {"c": 2}], "d": 3}}),
        ('vd_file="a,b.h5",b=2', {"vd_file": "a,b.h5", "b": 2}),
        ("ids=['a,b', c]", {"ids": ["a,b", "c"]}),
        ("vd_file=O'Hare[1].h5,b=2", {"vd_file": "O'Hare[1].h5", "b": 2}),
        ("a=b=c", {"a": "b=c"}),
        ("a=null,b=", {"a": None, "b": None}),
        # as typed
        ("w.select_vd_id=773869", {"w": {"select_vd_id": "773869"}}),
        ("w.select_vd_id=0051", {"w": {"select_vd_id": "0051"}}),
        ("select_vd_id=1e5", {"select_vd_id": "1e5"}),
        ("select_vd_id=NO", {"select_vd_id": "NO"}),
        ("select_vd_id=null", {"select_vd_id": None}),
        ("source_file=20240304", {"source_file": "20240304"}),
        ("source_start=2019-01-01", {"source_start": "2019-01-01"}),
        ("vd_file=C:\\data: new\\a #1.h5", {"vd_file": "C:\\data: new\\a #1.h5"}),
        ("x=0051,y=12:30,z=51", {"x": "0051", "y": "12:30", "z": 51}),
    ],
)
def test_values_are_those_that_were_typed(text: str, values: dict[str, Any]) -> None:
    assert parse_params(text) == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seeds=1,2", "'2' is no key=value; a list stands in brackets, key=[1,2]"),
        ("vd_file=a,b.h5", "'b.h5' is no key=value"),
        ("epochs:3", "'epochs:3' is no key=value"),
        ("=3", "'=3' is no key=value"),
        ("seeds=[1,2", "'seeds=[1,2' has no closing ]; put text in double quotes"),
        ('a="b', "'a=\"b' has no closing \"; put text in double quotes"),
        ("a=[1]]", "'a=[1]]' cannot be read ("),
        ("a=@b", "'a=@b' cannot be read ("),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}") as error:
        parse_params(text)
    assert "\n" not in str(error.value)


@click.command(name="run")
@click.option("--params", type=click.UNPROCESSED, default="", callback=read_params)
@click.option("--tags", default="")
@click.option("--namespaces", "--namespace", default="")
@click.option("--dry-run", is_flag=True)
@click.option("--config", type=click.Path(exists=True), callback=read_config)
def example(**options: Any) -> None:
    options.pop("config")
    click.echo(repr(options))


def called(folder: Path, text: str, *arguments: str) -> str:
    path = folder / "options.yml"
    path.write_text(text)
    return CliRunner().invoke(example, ["--config", str(path), *arguments]).output.strip()


def test_a_file_of_options_knows_those_of_the_project(tmp_path: Path) -> None:
    text = "run:\n  namespace: a\n  tags: [b, c]\n  dry-run: true\n  params: {d: {e: 1}}\n"
    given = {"params": {"d": {"e": 1}}, "tags": "b,c", "namespaces": "a", "dry_run": True}
    assert literal_eval(called(tmp_path, text)) == given
    assert literal_eval(called(tmp_path, text, "--tags", "f")) == {**given, "tags": "f"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no block run; write run: and options below it"),
        ("tags: a\n", "has no block run"),
        ("run:\n  tag: a\n", "run has no option tag; did you mean tags?"),
        ("run:\n  tags: a: b\n", ", line 2: not valid YAML ("),
    ],
)
def test_a_slip_in_a_file_of_options_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    printed = called(tmp_path, text)
    assert printed.startswith("Error: ")
    assert told in printed
    assert "\n" not in printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("postgresql://me:secret@host/db", "postgresql://host/db"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_command_is_kept_as_it_was_typed_but_for_passwords(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = "tracking.mlflow_uri=http://me:secret@host:5000,a=b@c"
    monkeypatch.setattr("sys.argv", ["/usr/bin/kedro", "run", "--params", uri, "x y"])
    expected = "kedro run --params tracking.mlflow_uri=http://host:5000,a=b@c 'x y'"
    assert typed_command() == expected
