"""A project may lie below a folder whose name means something in a glob or in a catalog pattern."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from tests import PROJECT
from tests.make.catalogs import catalog_entries
from tests.make.parameters import REPORT
from vd_forecasting import datasets
from vd_forecasting.parameters import Cleaning, Split
from vd_forecasting.pipelines import data_engineering, data_quality

ODD = "a [b] {c} * ?"

Catalog = dict[str, dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    odd = tmp_path / ODD
    odd.mkdir()
    return odd


def in_folder(catalog: Catalog, folder: Path) -> Catalog:
    """Catalog entries with absolute paths, as Kedro makes them."""
    return {
        name: {**entry, "filepath": str(folder / entry["filepath"])}
        for name, entry in catalog.items()
    }


def test_data_is_cleaned_and_reported_below_a_folder_of_any_name(folder: Path) -> None:
    base = catalog_entries()
    names = ("vd_clean", "cleaning_log", "data_quality")
    catalog = DataCatalog.from_config(in_folder({name: base[name] for name in names}, folder))
    parameters = yaml.safe_load((PROJECT / "conf" / "base" / "parameters.yml").read_text("utf-8"))
    sample = datasets.VDHDF5Dataset(filepath=str(PROJECT / "data/01_raw/vd_sample.h5")).load()
    raw = datasets.VDHDF5Dataset(filepath=str(folder / "raw.h5"))
    raw.save(sample[:600, :3])
    catalog["vd_raw"] = raw
    catalog["params:cleaning"] = MemoryDataset(Cleaning(**parameters["cleaning"]))
    catalog["params:split"] = MemoryDataset(Split(**parameters["split"]))
    catalog["params:report"] = MemoryDataset(REPORT)

    pipeline = data_engineering.create_pipeline() + data_quality.create_pipeline()
    SequentialRunner().run(pipeline, catalog)

    assert catalog.load("vd_clean").shape == (600, 3, 5)
    assert set(catalog.load("data_quality").figures) == {
        *("coverage", "map", "typical_week", "fundamental_diagram")
    }
    assert len(list(folder.glob("data/08_reporting/data_quality_*.png"))) == 4


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("a.json", datasets.AtomicJSONDataset, {"a": 1}),
        ("a.txt", datasets.AtomicTextDataset, "a"),
        ("a.nc", datasets.XarrayDataset, xr.Dataset({"a": ("x", np.arange(3.0))})),
        ("a.pt", datasets.CheckpointDataset, {"a": torch.zeros(1)}),
    ],
)
def test_every_dataset_saves_and_loads_below_it(
    folder: Path, name: str, kind: Any, data: object
) -> None:
    entry = kind(filepath=str(folder / name))
    for _ in range(2):  # the second time it is there already
        entry.save(data)
        assert entry.exists()
        assert entry.load() is not None
    assert [path.name for path in folder.iterdir()] == [name]


def test_the_state_of_a_training_is_kept_and_cleared_below_it(folder: Path) -> None:
    state = datasets.TrainingStateDataset(filepath=str(folder / "state")).load()
    state.save("42-joint", {"epoch": 3})
    assert state.load("42-joint") == {"epoch": 3}
    state.clear()
    assert not (folder / "state").exists()
