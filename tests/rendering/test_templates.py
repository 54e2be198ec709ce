from pathlib import Path

import pytest
from jinja2 import UndefinedError

from vd_forecasting.rendering.templates import render


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a template of its own."""
    (tmp_path / "pages_of_a_test" / "templates").mkdir(parents=True)
    (tmp_path / "pages_of_a_test" / "__init__.py").touch()
    (tmp_path / "pages_of_a_test" / "templates" / "short.md.j2").write_text(
        "# {{ title }}\n\n{% if more %}\n{{ more }}\n{% endif %}\n\n"
        '{{ table(["a"], [["1"]]) }}\n{{ figure("Map", "map") }}\n\n\n',
        "utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "pages_of_a_test"


def test_what_is_left_out_leaves_no_hole(package: str) -> None:
    text = render(package, "short", title="T", more="")
    assert text == "# T\n\n| a |\n| :-- |\n| 1 |\n![Map](figure:map)\n"


def test_a_name_the_view_lacks_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="more"):
        render(package, "short", title="T")
