"""The data-quality page: what a file holds, and what cleaning did to it."""

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering import resample
from vd_forecasting.pipelines.data_quality import tables
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile
from vd_forecasting.pipelines.data_quality.cleaning_history import History
from vd_forecasting.pipelines.data_quality.coverage_plot import plot_coverage
from vd_forecasting.pipelines.data_quality.detector_map import no_map, plot_detector_map
from vd_forecasting.pipelines.data_quality.findings import findings, time_stamps
from vd_forecasting.pipelines.data_quality.fundamental_diagram import (
    no_diagram,
    plot_fundamental_diagram,
)
from vd_forecasting.pipelines.data_quality.typical_week import plot_typical_week
from vd_forecasting.rendering.markdown import plain_text, table
from vd_forecasting.rendering.page import Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vd_array import DIMS, source_of

_FEATURES_PER_TABLE = 6


def report_quality(vd_clean: xr.DataArray, cleaning_log: pd.DataFrame, cleaning: Cleaning) -> Page:
    """Report on the quality of a detector file, which may be larger than memory.

    ``cleaning_log`` and ``vd_clean``, ``("time", "vd", "feature")``, are what ``clean`` made with
    the parameters ``cleaning``. A figure that has nothing to show says why, and so does the page in
    its place.
    """
    vd = vd_clean.transpose(*DIMS)
    file = CleanedFile(vd, History(vd, cleaning_log), cleaning)
    text = render(
        __package__,
        "data_quality",
        file=file,
        history=file.history,
        source=plain_text(source_of(vd)),
        description=plain_text(vd.attrs.get("description", "")),
        findings=findings(file),
        time_stamps=time_stamps(file.history),
        resampling=resample.describe_resampling(vd, cleaning),
        steps_per_bin=resample.steps_per_bin(vd, cleaning),
        steps_needed=resample.steps_needed(vd, cleaning),
        observed=tables.observed_rows(file),
        rules=tables.rule_rows(file.history),
        limits=tables.limit_rows(file),
        gaps=tables.gap_rows(file),
        unfit=tables.unfit_rows(file),
        no_map=no_map(vd),
        no_diagram=plain_text(no_diagram(vd)),
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
