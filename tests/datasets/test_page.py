from base64 import b64decode
from pathlib import Path

import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure

from vd_forecasting.datasets import PageDataset
from vd_forecasting.language import spoken
from vd_forecasting.rendering.page import Page

PNG = b"\x89PNG\r\n\x1a\n"


def page(*names: str) -> Page:
    text = "# Title\n\n" + "\n\n".join(f"![A {name}](figure:{name})" for name in names) + "\n"
    return Page(text, {name: Figure(figsize=(1, 1)) for name in names})


def dataset(folder: Path, figures: str = "plots/") -> PageDataset:
    return PageDataset(filepath=str(folder / "report.md"), figures=figures)


def test_the_file_links_to_the_figures_that_were_saved(tmp_path: Path) -> None:
    dataset(tmp_path).save(page("week", "map"))
    assert "![A week](plots/week.png)" in (tmp_path / "report.md").read_text("utf-8")
    assert (tmp_path / "plots" / "map.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("figures", ["plots/", "report_"])
def test_a_loaded_page_can_be_saved_again_unchanged(tmp_path: Path, figures: str) -> None:
    original = page("week", "map")
    dataset(tmp_path / "one", figures).save(original)
    loaded = dataset(tmp_path / "one", figures).load()
    assert loaded.text == original.text
    assert list(loaded.figures) == ["week", "map"]
    dataset(tmp_path / "two", figures).save(loaded)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_figures_of_an_earlier_page_do_not_stay(tmp_path: Path) -> None:
    (tmp_path / "foreign.png").write_bytes(PNG)
    dataset(tmp_path, "report_").save(page("week", "map"))
    dataset(tmp_path, "report_").save(page("map"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.md", "report_map.png", "foreign.png"}


def test_figures_speak_the_language_of_their_page_when_they_are_saved(tmp_path: Path) -> None:
    heard = []

    def draw() -> Figure:
        heard.append(spoken())
        return Figure(figsize=(1, 1))

    dataset(tmp_path).save(Page("![a](figure:a)", {"a": draw}, "zh-TW"))
    assert heard == ["zh-TW"]
    assert spoken() == "en"


def test_a_page_without_one_of_its_figures_does_not_exist(tmp_path: Path) -> None:
    saved = dataset(tmp_path)
    assert not saved.exists()
    saved.save(page("week"))
    assert saved.exists()
    (tmp_path / "plots" / "week.png").unlink()
    assert not saved.exists()
    with pytest.raises(DatasetError, match=r"week\.png: no such file; run the node that makes"):
        saved.load()


def test_viz_previews_the_first_figure(tmp_path: Path) -> None:
    saved = dataset(tmp_path)
    saved.save(page("week", "map"))
    first = (tmp_path / "plots" / "week.png").read_bytes()
    assert b64decode(saved.preview()) == first
