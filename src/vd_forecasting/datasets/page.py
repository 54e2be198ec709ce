"""A Markdown page and its figures as one dataset."""

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from kedro.io import DatasetError

from vd_forecasting.datasets.atomic import FileDataset, replacing
from vd_forecasting.datasets.places import Place
from vd_forecasting.rendering.drawing import pngs_of
from vd_forecasting.rendering.page import REFERENCE, Page
from vd_forecasting.running.kedro_private import ImagePreview


class PageDataset(FileDataset[Page, Page]):
    """Saves a page as a Markdown file and a PNG file for each figure, the page last.

    The path of every figure, relative to the page, begins with ``figures``. Figures of an earlier
    page that this one does not have are removed. kedro-viz previews the first figure.

    Example::

        data_quality:
          type: vd_forecasting.datasets.PageDataset
          filepath: data/08_reporting/data_quality.md
          figures: data_quality_  # data_quality_map.png; "plots/" puts them into a folder
    """

    def __init__(self, *, figures: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._figures = figures

    def load(self) -> Page:
        try:
            text, names = self._read()
            return Page(text, {name: self.figure_path(name).read_bytes() for name in names})
        except FileNotFoundError as error:
            raise DatasetError(
                f"{error.filename}: no such file; run the node that makes {self.filepath.name}"
            ) from error

    def save(self, data: Page) -> None:
        for name, png in pngs_of(data):
            with replacing(self.figure_path(name)) as temporary:
                temporary.write_bytes(png)
        text = re.sub(rf"\]\({REFERENCE}(\w+)\)", rf"]({self._figures}\1.png)", data.text)
        with replacing(self.filepath) as temporary:
            temporary.write_text(text, "utf-8")
        beginning = self.figure_path("")
        current = {self.figure_path(name) for name in data.figures}
        found: Iterable[Place] = beginning.parent.glob("*.png")
        for path in set(found) - current:
            if path.name.startswith(beginning.name.removesuffix(".png")):
                path.unlink(missing_ok=True)

    def figure_path(self, name: str) -> Place:
        """The file of a figure."""
        return self.filepath.parent / f"{self._figures}{name}.png"

    def figures(self) -> list[Place]:
        """The files of the figures that the saved page shows; empty if there is no page."""
        try:
            return [self.figure_path(name) for name in self._read()[1]]
        except FileNotFoundError:
            return []

    def preview(self) -> ImagePreview:
        """The first figure of the page."""
        first = next(iter(self.load().figures.values()), b"")
        assert isinstance(first, bytes)
        return ImagePreview(b64encode(first).decode())

    def _read(self) -> tuple[str, list[str]]:
        """The text as it was before it was saved, and the names of its figures."""
        text = self.filepath.read_text("utf-8")
        prefix, suffix = (re.escape(part) for part in (f"]({self._figures}", ".png)"))
        text = re.sub(f"{prefix}(\\w+){suffix}", rf"]({REFERENCE}\1)", text)
        return text, list(dict.fromkeys(re.findall(rf"\]\({REFERENCE}(\w+)\)", text)))

    def _exists(self) -> bool:
        return all(path.is_file() for path in (self.filepath, *self.figures()))
