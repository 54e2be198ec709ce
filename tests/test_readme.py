"""The README is true as far as a machine can tell."""

import re

import pytest

from tests import PROJECT
from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.vocabulary import EXPERIMENTS

TEXT = (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", TEXT))
def test_links_resolve(link: str) -> None:
    assert (PROJECT / link).is_file()


def test_pipelines_exist() -> None:
    named = set(re.findall(r"--pipeline (\w+)", TEXT))
    assert {"compare_all", "data_engineering", "simulate"} <= named <= set(register_pipelines())


def test_namespaces_exist() -> None:
    named = set(re.findall(r"--namespace (\w+)", TEXT))
    assert named
    assert named <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+\.yml)`", TEXT, flags=re.MULTILINE))
def test_configuration_files_exist(name: str) -> None:
    assert (PROJECT / "conf" / "base" / name).is_file()
