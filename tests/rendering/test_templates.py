from pathlib import Path

import pytest
from jinja2 import UndefinedError

from vd_forecasting.rendering.templates import render

SHORT = """\
# {{ title }}

{% if more %}
{{ more }}
{% endif %}

{{ table(["a"], [["1"]]) }}
{{ figure("Map", "map") }}


"""
BROKEN = """\
# Title
One
two
{% if more %}
three.
{% endif %}

- four
  five
  and five
- six

{{ table(["a"], [["1"]]) }}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with templates of its own."""
    templates = tmp_path / "pages_of_a_test" / "templates"
    templates.mkdir(parents=True)
    (tmp_path / "pages_of_a_test" / "__init__.py").touch()
    (templates / "short.md.j2").write_text(SHORT, "utf-8")
    (templates / "broken.md.j2").write_text(BROKEN, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "pages_of_a_test"


def test_what_is_left_out_leaves_no_hole(package: str) -> None:
    text = render(package, "short", title="T", more="")
    assert text == "# T\n\n| a |\n| :-- |\n| 1 |\n![Map](figure:map)\n"


def test_a_name_the_view_lacks_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="more"):
        render(package, "short", title="T")


def test_paragraphs_and_items_are_lines_however_the_template_breaks_them(package: str) -> None:
    assert render(package, "broken", more=True) == (
        "# Title\nOne two three.\n\n- four five and five\n- six\n\n| a |\n| :-- |\n| 1 |\n"
    )
