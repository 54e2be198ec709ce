"""The data-quality page: what a file holds, and what cleaning did to it."""

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_quality import views
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile
from vd_forecasting.pipelines.data_quality.cleaning_history import History
from vd_forecasting.pipelines.data_quality.coverage_plot import plot_coverage
from vd_forecasting.pipelines.data_quality.detector_map import no_map, plot_detector_map
from vd_forecasting.pipelines.data_quality.findings import findings
from vd_forecasting.pipelines.data_quality.fundamental_diagram import (
    no_diagram,
    plot_fundamental_diagram,
)
from vd_forecasting.pipelines.data_quality.typical_week import plot_typical_week
from vd_forecasting.rendering.markdown import plain_text, table
from vd_forecasting.rendering.page import Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vd_array import DIMS

_FEATURES_PER_TABLE = 6


def report_quality(vd_clean: xr.DataArray, cleaning_log: pd.DataFrame, cleaning: Cleaning) -> Page:
    """Report on the quality of a detector file.

    Args:
        vd_clean: the clean VD array ``("time", "vd", "feature")``, which may be larger than memory.
        cleaning_log: what ``clean`` returned beside it.
        cleaning: the parameters it was cleaned with.

    Returns:
        The page and four figures: ``coverage``, ``map``, ``typical_week`` and
        ``fundamental_diagram``. One that has nothing to show says why, and so does the page in its
        place.
    """
    vd = vd_clean.transpose(*DIMS)
    file = CleanedFile(vd, History(vd, cleaning_log), cleaning)
    text = render(
        __package__,
        "data_quality",
        file=views.view_file(file),
        summary=views.view_summary(file),
        findings=findings(file),
        observed=views.view_observed(file),
        rules=views.view_rules(file.history),
        limits=views.view_limits(file),
        gaps=views.view_gaps(file),
        unfit=views.view_unfit(file),
        no_map=no_map(vd),
        no_diagram=plain_text(no_diagram(vd) or ""),
        by_feature=lambda head, rows: _by_feature(file.features, head, rows),
    )
    figures = {
        "coverage": plot_coverage(vd),
        "map": plot_detector_map(vd, file.history.share(-1).mean(axis=1)),
        "typical_week": plot_typical_week(vd),
        "fundamental_diagram": plot_fundamental_diagram(vd),
    }
    return Page(text, figures)


def _by_feature(features: Sequence[str], head: list[str], rows: Sequence[list[str]]) -> str:
    """A table with a column per feature after those of ``head``; several if it would be wide."""
    names, lead = [plain_text(name) for name in features], len(head)
    return "\n\n".join(
        table(
            head + names[at : at + _FEATURES_PER_TABLE],
            [row[:lead] + row[lead + at : lead + at + _FEATURES_PER_TABLE] for row in rows],
        )
        for at in range(0, len(names), _FEATURES_PER_TABLE)
    )
