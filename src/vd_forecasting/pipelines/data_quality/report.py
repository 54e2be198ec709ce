"""The data-quality page: what a file holds, and what cleaning did to it."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import xarray as xr

from vd_forecasting.language import speaking
from vd_forecasting.parameters import Cleaning, Report, Split
from vd_forecasting.pipelines.data_engineering import resample
from vd_forecasting.pipelines.data_quality import tables
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile, History
from vd_forecasting.pipelines.data_quality.findings import findings, time_stamps
from vd_forecasting.rendering.figures import with_figures
from vd_forecasting.rendering.markdown import plain_text
from vd_forecasting.rendering.page import Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vd_array import DIMS, source_of
from vd_forecasting.wording import with_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report_quality(
    vd_clean: xr.DataArray,
    cleaning_log: pd.DataFrame,
    cleaning: Cleaning,
    split: Split,
    report: Report,
) -> Page:
    """Report on the quality of a detector file, which may be larger than memory.

    ``cleaning_log`` and ``vd_clean``, ``("time", "vd", "feature")``, are what ``clean`` made with
    the parameters ``cleaning``. Whether a detector is fit for training is judged before the test
    split. A figure that has nothing to show says why, and so does the page in its place.
    """
    vd = vd_clean.transpose(*DIMS)
    file = CleanedFile(vd, History(vd, cleaning_log), cleaning, split)
    with speaking(report.language):
        return with_figures(_text(file), partial(_figures, file))


def _text(file: CleanedFile) -> str:
    from vd_forecasting.pipelines.data_quality import (  # noqa: PLC0415  (imports matplotlib)
        coverage_plots,
        traffic_plots,
    )

    vd, cleaning = file.vd, file.cleaning
    return render(
        __package__,
        "data_quality",
        file=file,
        history=file.history,
        source=plain_text(source_of(vd)),
        features=[plain_text(name) for name in map(with_unit, file.features, file.units)],
        description=plain_text(vd.attrs.get("description", "")),
        findings=findings(file),
        time_stamps=time_stamps(file.history),
        resampling=plain_text(resample.describe_resampling(vd, cleaning)),
        steps_per_bin=resample.steps_per_bin(vd, cleaning),
        steps_needed=resample.steps_needed(vd, cleaning),
        observed=tables.observed_rows(file),
        rules=tables.rule_rows(file.history),
        limits=tables.limit_rows(file),
        gaps=tables.gap_rows(file),
        unfit=tables.unfit_rows(file),
        no_map="" if coverage_plots.placed_vds(vd).any() else coverage_plots.no_map(),
        no_diagram=plain_text(traffic_plots.no_diagram(vd)),
        by_feature=partial(tables.by_feature, file),
    )


def _figures(file: CleanedFile) -> dict[str, "Figure"]:
    from vd_forecasting.pipelines.data_quality import (  # noqa: PLC0415  (imports matplotlib)
        coverage_plots,
        traffic_plots,
    )

    observed = file.history.share(-1).mean(axis=1)
    return {
        "coverage": coverage_plots.plot_coverage(file.vd),
        "map": coverage_plots.plot_detector_map(file.vd, observed),
        "typical_week": traffic_plots.plot_typical_week(file.vd),
        "fundamental_diagram": traffic_plots.plot_fundamental_diagram(file.vd),
    }
