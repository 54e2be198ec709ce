"""Runs from a script, as the documentation shows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PROJECT
from tests.make.projects import SMALL, copy_of_the_project

PAGE = PROJECT / "docs" / "reproducibility.md"


@pytest.mark.integration
def test_a_script_runs_as_the_command_line_does(tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    [lines] = re.findall(r"## From a script.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    bad = "single_vd_lstm.model.hidden_size=0"
    lines = lines.replace("path/to/the/project", str(folder))
    script = "\n".join(
        [
            lines.replace('"quick"]', f'"quick", "--params", "{SMALL}"]').replace(
                "compare_single_vd", "data_engineering"
            ),
            "import click",
            "try:",
            f"    cli(['run', '--params', '{bad}'], standalone_mode=False)",
            "except click.ClickException as error:",
            "    print(error.message)",
        ]
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "▸ data_engineering.clean" in ran.stderr
    [line] = ran.stdout.splitlines()
    assert re.match(r"single_vd_lstm\.model\.hidden_size: Input should be greater than 0", line)
