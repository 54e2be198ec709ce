"""README and documentation are true as far as a machine can tell."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.pipeline import Pipeline

from tests import PROJECT
from vd_forecasting.cli import cli
from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.running.options import split_items

README = PROJECT / "README.md"
IN_CHINESE = "README.zh-TW.md"
PAGES = (README, PROJECT / IN_CHINESE, *sorted((PROJECT / "docs").glob("*.md")))
ALL_PAGES = (*PAGES, PROJECT / "CHANGELOG.md", PROJECT / "CONTRIBUTING.md")
TEXTS = {path.relative_to(PROJECT).as_posix(): path.read_text("utf-8") for path in ALL_PAGES}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
LONGEST_COMMAND = 120
README_BYTES = 8192
DIALECT = re.compile(r"\b(?:Of|[Tt]ells?|told|shall|goes on|best set|over-fitting)\b")


def prose(text: str) -> str:
    """The page without blocks of code and code in a line."""
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", text))


def blocks(text: str, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(text) if language in languages]


def commands(text: str) -> list[str]:
    """Every command of a page: lines of shell blocks, and code in a line that is a command."""
    lines = chain.from_iterable(code.splitlines() for code in blocks(text, "bash", "console"))
    typed = [line.removeprefix("$ ") for line in lines if not line.startswith(("▸", "…"))]
    return typed + re.findall(r"`((?:kedro|pip|mkdocs) [^`\n]+)`", FENCE.sub("", text))


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE)
    kept = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {re.sub(r"\s+", "-", heading.strip()) for heading in kept}


LINKS = [
    (page, target)
    for page, text in TEXTS.items()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", FENCE.sub("", text))
]
COMMANDS = [(page, line) for page, text in TEXTS.items() for line in commands(text)]
KEDRO = [line for _, line in COMMANDS if re.search(r"\bkedro (run|verify)\b", line)]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_links_and_their_anchors_resolve(page: str, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = (PROJECT / page).parent / name if name else PROJECT / page
    assert path.is_file()
    if anchor:
        assert anchor in slugs(path.read_text("utf-8"))


def test_every_page_of_the_documentation_can_be_reached_from_the_readme() -> None:
    linked = {target.partition("#")[0] for page, target in LINKS if page == "README.md"}
    pages = {page for page in TEXTS if page.startswith("docs/")}
    assert pages - {"docs/index.md"} <= linked


def test_the_readme_in_chinese_has_the_same_commands_and_links() -> None:
    of_both = (TEXTS["README.md"], TEXTS[IN_CHINESE])
    one, other = ({re.sub(r" +#.*", "", line) for line in commands(text)} for text in of_both)
    assert other - one <= {
        ".venv/bin/kedro run --pipeline compare_all --env quick --only-stale-outputs "
        "--params report.language=zh-TW"
    }
    assert one <= other
    english, chinese = (
        {to for page, to in LINKS if page == name} for name in ("README.md", IN_CHINESE)
    )
    assert english - {IN_CHINESE} == chinese - {"README.md"}


def test_the_readme_is_short() -> None:
    assert README.stat().st_size <= README_BYTES


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_no_command_is_too_long_to_copy(page: str, command: str) -> None:
    assert len(command) <= LONGEST_COMMAND, page


def test_the_two_commands_of_the_set_up_are_there_to_the_letter() -> None:
    install = "python3 -m venv .venv && .venv/bin/pip install -e "
    first = f"{install}. && .venv/bin/kedro run --pipeline compare_all --env quick"
    second = f'{install}".[test]" && .venv/bin/python -m pytest'
    assert {first, second} <= set(commands(README.read_text("utf-8")))


@pytest.mark.parametrize("page", TEXTS)
def test_prose_is_plain(page: str) -> None:
    assert not DIALECT.findall(prose(TEXTS[page]))


def test_pipelines_exist() -> None:
    named = set(re.findall(r"--pipeline (\w+)", "\n".join(KEDRO)))
    assert {"compare_all", "data_engineering", "simulate"} <= named <= set(register_pipelines())


def test_namespaces_exist() -> None:
    named = set(re.findall(r"--namespace (\w+)", "\n".join(KEDRO)))
    assert named
    every = sum(register_pipelines().values(), Pipeline([]))
    assert named <= {node.namespace for node in every.nodes}


def test_environments_exist_or_are_written_by_the_page() -> None:
    named = {(page, env) for page, line in COMMANDS for env in re.findall(r"--env (\w+)", line)}
    assert {env for _, env in named} >= {"quick", "metr_la", "taiwan"}
    missing = {(page, env) for page, env in named if not (PROJECT / "conf" / env).is_dir()}
    assert all(f"`conf/{env}/parameters.yml`" in TEXTS[page] for page, env in missing)


def test_options_exist() -> None:
    known = {
        option
        for command in cli.commands.values()
        for parameter in command.params
        for option in parameter.opts
    }
    # A cell of the table of commands begins with the ellipsis: … `--env quick`.
    cells = re.findall(r"… `(--[^`]+)`", TEXTS["README.md"])
    named = set(re.findall(r"(?<=\s)--[a-z][a-z-]*", " " + " ".join((*KEDRO, *cells))))
    assert {"--params", "--only-stale-outputs", "--runner"} <= named <= known


def keys(block: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Every key of nested blocks, as ``--params`` names it."""
    for key, value in block.items():
        yield before + key
        if isinstance(value, Mapping):
            yield from keys(value, f"{before}{key}.")


@pytest.fixture(scope="module")
def known_keys() -> set[str]:
    """The keys of the parameters and globals, and the names that the configuration looks up."""
    conf = PROJECT / "conf"
    files = (*conf.glob("base/parameters*.yml"), conf / "base" / "globals.yml")
    blocks = (yaml.safe_load(path.read_text("utf-8")) for path in files)
    texts = (path.read_text("utf-8") for path in conf.glob("*/*.yml"))
    looked_up = (re.findall(r"\$\{runtime_params:(\w+)", text) for text in texts)
    # num_vds: until the parameter files look it up.
    return {"num_vds", *chain.from_iterable(map(keys, blocks)), *chain.from_iterable(looked_up)}


def entries(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The blocks inside a block; those of a catalog have a type."""
    return [value for value in block.values() if isinstance(value, Mapping)]


def test_parameters_of_commands_exist(known_keys: set[str]) -> None:
    pattern = r"--params ('[^']+'|\S+?)(?=[\s`]|$)"
    given = re.findall(pattern, "\n".join(KEDRO), flags=re.MULTILINE)
    items = chain.from_iterable(split_items(one.strip("'")) for one in given)
    named = {item.partition("=")[0] for item in items}
    assert {"vd_file", "source_file", "num_vds"} <= named <= known_keys


def test_parameters_of_configuration_examples_exist(known_keys: set[str]) -> None:
    examples = [block for text in TEXTS.values() for block in blocks(text, "yaml")]
    loaded = [yaml.safe_load(block) for block in examples]
    parameters = [one for one in loaded if not any("type" in of for of in entries(one))]
    named = set(chain.from_iterable(map(keys, parameters)))
    assert {"vd_file", "multi_vd_lstm.training.seeds"} <= named <= known_keys


def test_configuration_files_exist() -> None:
    named = re.findall(r"^\| `(\w+\.yml)`", "\n".join(TEXTS.values()), flags=re.MULTILINE)
    assert {"globals.yml", "parameters.yml"} <= set(named)
    assert all((PROJECT / "conf" / "base" / name).is_file() for name in named)


@pytest.mark.parametrize("page", TEXTS)
def test_files_of_the_project_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`((?:src|notebooks|tests|conf/base)/[\w./]+)`", TEXTS[page])
    assert all(Path(PROJECT / name).exists() for name in named)


def test_the_guide_for_contributors_names_every_room_of_the_source() -> None:
    tree = "".join(blocks(TEXTS["CONTRIBUTING.md"], ""))
    named = set(re.findall(r"^  (\w+)/ ", tree, flags=re.MULTILINE))
    source = PROJECT / "src" / "vd_forecasting"
    assert named == {path.parent.name for path in source.glob("*/__init__.py")}
