import numpy as np
import pandas as pd
import xarray as xr
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from matplotlib.figure import Figure

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering.pipeline import create_pipeline

PLOTS = {"coverage_plot", "detector_map_plot", "typical_week_plot", "fundamental_diagram_plot"}
OUTPUTS = {"vd_clean", "cleaning_log", "data_quality"} | PLOTS


def test_names() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {"vd_raw", "params:cleaning"}
    assert pipeline.all_outputs() == OUTPUTS
    assert {node.name for node in pipeline.nodes} == {
        f"data_engineering.{name}"
        for name in (
            "clean",
            "report_quality",
            "plot_coverage",
            "plot_detector_map",
            "plot_typical_week",
            "plot_fundamental_diagram",
        )
    }


def test_run() -> None:
    raw = xr.DataArray(
        np.random.default_rng(0).uniform(1, 100, (50, 2, 1)).astype(np.float32),
        dims=("time", "vd", "feature"),
        coords={
            "time": pd.date_range("2024-03-01", periods=50, freq="5min", unit="ns"),
            "vd": ["a", "b"],
            "feature": ["avg_speed"],
        },
    )
    cleaning = Cleaning(interval=None, error_codes=(), min_observed=0.5, features={})
    catalog = DataCatalog(
        {
            "vd_raw": MemoryDataset(raw),
            "params:cleaning": MemoryDataset(cleaning),
            **{name: MemoryDataset() for name in OUTPUTS},
        }
    )
    SequentialRunner().run(create_pipeline(), catalog)
    assert catalog.load("data_quality").startswith("# Data quality: VD file\n")
    assert all(isinstance(catalog.load(name), Figure) for name in PLOTS)
