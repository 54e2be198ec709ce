import numpy as np
import pandas as pd
import xarray as xr
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from tests.make.parameters import REPORT, SPLIT
from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines import data_engineering, data_quality
from vd_forecasting.rendering.page import Page

OUTPUTS = {"vd_clean", "cleaning_log", "data_quality"}


def create_pipeline() -> Pipeline:
    """Both pipelines, as the registry joins them under the name data_engineering."""
    return data_engineering.create_pipeline() + data_quality.create_pipeline()


def test_names() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {"vd_raw", "params:cleaning", "params:split", "params:report"}
    assert pipeline.all_outputs() == OUTPUTS
    assert {node.name for node in pipeline.nodes} == {
        "data_engineering.clean",
        "data_engineering.report_quality",
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
            "params:split": MemoryDataset(SPLIT),
            "params:report": MemoryDataset(REPORT),
            **{name: MemoryDataset() for name in OUTPUTS},
        }
    )
    SequentialRunner().run(create_pipeline(), catalog)
    page = catalog.load("data_quality")
    assert isinstance(page, Page)
    assert page.text.startswith("# Data quality: VD file\n")
