"""Slips in YAML files: one line each, with file and line."""

from pathlib import Path

import pytest

from tests import PROJECT
from vd_forecasting.running.config_files import check_environments
from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.settings import CONFIG_LOADER_ARGS

BASE = """cleaning:
  interval: null
  features: {avg_speed: {range: [0, 200]}}
single_vd_lstm: {windows: {select_vd_id: null}}
"""


def problem(folder: Path, text: str | bytes, name: str = "parameters.yml") -> str:
    """What is said of a file in conf/local."""
    for environment in ("base", "local"):
        (folder / "conf" / environment).mkdir(parents=True)
    (folder / "conf/base/parameters.yml").write_text(BASE)
    path = folder / "conf" / "local" / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="conf/local/") as error:
        check_environments(folder / "conf", ["base", "local"])
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"conf/local/{name}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1, 2\nb: 3\n", ", line 2: not valid YAML ("),
        ("a:\n\tb: 3\n", ", line 2: not valid YAML ("),
        ("a: *b\n", ", line 1: not valid YAML ("),
        ("a: 1\n---\nb: 1\n", ", line 2: not valid YAML ("),
        ("a: 1\x00\n", ": not valid YAML ("),
        (b"a: S\xf6rby\n", ": not UTF-8 at byte 4; save it as UTF-8"),
        ("- a\n", ", line 1: holds no keys; write key: value"),
        ("? [a]\n: 1\n", ", line 1: a key must be text"),
        ("on: 1\n", ", line 1: the key on is not text in YAML; check its spelling"),
        ("5: 1\n", ", line 1: the key 5 is not text in YAML; check its spelling"),
        ("a: {b: 1}\nc: 1\na: 2\n", ", line 3: a stands also in line 1; keep one"),
        ("a:\n  b: 1\n  b: 1\n", ", line 3: a.b stands also in line 2; keep one"),
        (
            "\ncleaning.interval: 5min\n",
            ", line 2: cleaning.interval has dots, which only --params reads; "
            "write cleaning: {interval: ...}",
        ),
        (
            "cleaning: {features.avg_speed.range: [0, 1]}\n",
            ", line 1: features.avg_speed.range has dots, which only --params reads; "
            "write features: {avg_speed: {range: ...}}",
        ),
        (
            "cleaning:\n  # interval: 5min\n",
            ", line 1: cleaning is empty; write what belongs there or delete the line",
        ),
        (
            "cleaning:\n  features:\n",
            ", line 2: cleaning.features is empty; write what belongs there or delete the line",
        ),
        ("a: 1\nid: 0051\n", ', line 2: id 0051 is 41 in YAML; write "0051"'),
        ("ids: [1, 0051]\n", ', line 1: ids 0051 is 41 in YAML; write "0051"'),
        ("time: 12:30\n", ', line 1: time 12:30 is 750 in YAML; write "12:30"'),
        ("select_vd_id: 1_000\n", ', line 1: select_vd_id 1_000 is 1000 in YAML; write "1_000"'),
        ("select_vd_id: NO\n", ', line 1: select_vd_id NO is False in YAML; write "NO"'),
        ("a: !vault b\n", ", line 1: the tag !vault is not known; leave it out"),
        (
            "a: !!python/name:os.system ''\n",
            ", line 1: the tag tag:yaml.org,2002:python/name:os.system is not known; leave it out",
        ),
    ],
)
def test_a_slip_is_told_with_file_and_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    assert problem(tmp_path, text).startswith(told)


def test_an_entry_of_the_catalog_is_not_empty(tmp_path: Path) -> None:
    told = problem(tmp_path, "vd_clean:\n", "catalog.yml")
    assert told == ", line 1: vd_clean is empty; write what belongs there or delete the line"


def test_aliases_of_aliases_are_read(tmp_path: Path) -> None:
    lines = ["a0: &a0 [0]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 5)]
    lines.append("id: 0051")
    assert problem(tmp_path, "\n".join(lines)).startswith(", line 6: id 0051")


def test_what_is_meant_passes(tmp_path: Path) -> None:
    (tmp_path / "conf" / "base").mkdir(parents=True)
    (tmp_path / "conf" / "base" / "parameters.yml").write_text(
        "a: {b: null, c: , select_vd_id: 773869, d: '0051', e: 2024-03-04, f: 0, g: -0.5}\n"
        "h: &h {i: 1}\nj: {<<: *h}\nk: [5min, 1e3, 0x10]\n"
    )
    (tmp_path / "conf" / "base" / "catalog.yml").write_text('"{name}.a.b": {type: c}\n')
    (tmp_path / "conf" / "base" / "notes.yml").write_text("- any\n")
    check_environments(tmp_path / "conf", ["base", "absent"])


def test_the_files_of_this_project_pass() -> None:
    folders = [path.name for path in (PROJECT / "conf").iterdir() if path.is_dir()]
    check_environments(PROJECT / "conf", ["base", *folders])


def test_an_unknown_environment_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"no environment 'cuick'; did you mean quick\? conf/ has "
    ):
        ConfigLoader(PROJECT / "conf", env="cuick", **CONFIG_LOADER_ARGS)
