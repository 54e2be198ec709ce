"""The ingest pipeline, and that every environment that names a source has all it needs."""

from pathlib import Path

import pytest
import xarray as xr
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import BaseModel

from tests import PROJECT
from tests.make.exports import (
    archive_files,
    assert_same,
    for_lanes,
    sample,
    write_archive,
    write_long_csv,
    write_pandas_hdf5,
    write_pems_npz,
    write_wide_csv,
)
from tests.make.parameters import REPORT
from vd_forecasting.datasets import NoSource, VDHDF5Dataset
from vd_forecasting.parameters import (
    Cleaning,
    IndependentMultiVDWindows,
    MultiVDWindows,
    Report,
    SingleVDWindows,
    Split,
)
from vd_forecasting.pipelines.ingest import create_pipeline
from vd_forecasting.pipelines.ingest.ingest import ingest
from vd_forecasting.settings import CONFIG_LOADER_ARGS
from vd_forecasting.vocabulary import EXPERIMENTS

ENVIRONMENTS = ("metr_la", "pems", "wide_table", "long_table", "taiwan")


def configuration(environment: str, **runtime_params: str) -> OmegaConfigLoader:
    """What Kedro reads for ``--env``."""
    return OmegaConfigLoader(
        conf_source=str(PROJECT / "conf"),
        env=environment,
        runtime_params=runtime_params,
        **CONFIG_LOADER_ARGS,
    )


def test_the_array_reaches_the_file_as_it_is(tmp_path: Path) -> None:
    vd = sample()
    target = VDHDF5Dataset(filepath=str(tmp_path / "out.h5"))
    source = vd.assign_attrs(ingest_notes=("2 files are broken: a.xml, b.xml",))
    catalog = DataCatalog(
        {
            "ingest_source": MemoryDataset(source),
            "vd_ingested": target,
            "params:report": MemoryDataset(REPORT),
        }
    )
    page = SequentialRunner().run(create_pipeline(), catalog)["ingest_report"].load()
    assert_same(target.load(), vd)
    assert "ingest_notes" not in target.load().attrs
    assert page.startswith("# Ingested: vd_sample.h5\n\n- 300 time steps (2024-03-04T00:00 to ")
    assert "Coordinates: of 4 of 4 detectors" in page
    assert "- 2 files are broken: a.xml, b.xml" in page


def test_its_page_speaks_another_language_but_for_the_notes_of_the_reader() -> None:
    source = sample().assign_attrs(ingest_notes=("2 files are broken: a.xml, b.xml",))
    _, page = ingest(source, Report(language="zh-TW"))
    assert page.startswith("# 已匯入：vd_sample.h5\n\n- 300 個時間步（2024-03-04T00:00 至 ")
    assert "- 坐標：4 個偵測器中 4 個有坐標。" in page
    assert page.endswith("## 未匯入者\n\n- 2 files are broken: a.xml, b.xml\n")


def test_an_array_of_other_dims_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the dims time, vd, feature"):
        ingest(sample().isel(feature=0), REPORT)


def write_source(environment: str, folder: Path, vd: xr.DataArray) -> Path:
    """A source as the environment expects it."""
    if environment == "taiwan":
        return write_archive(folder / "taiwan", archive_files(for_lanes(vd)))
    path, write = {
        "metr_la": (folder / "metr-la.h5", write_pandas_hdf5),
        "pems": (folder / "PEMS08.npz", write_pems_npz),
        "wide_table": (folder / "wide.csv", write_wide_csv),
        "long_table": (folder / "long.csv", write_long_csv),
    }[environment]
    return write(path, vd.isel(feature=[0]) if environment == "wide_table" else vd)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_ingests_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    source = write_source(environment, tmp_path, sample(steps=40))
    monkeypatch.chdir(tmp_path)
    config = configuration(environment, source_file=str(source), source_start="2016-07-01")
    entries = {name: dict(config["catalog"][name]) for name in ("ingest_source", "vd_ingested")}
    catalog = DataCatalog.from_config(entries)
    catalog["params:report"] = MemoryDataset(REPORT)
    SequentialRunner().run(create_pipeline(), catalog)
    vd_raw = VDHDF5Dataset(filepath=config["catalog"]["vd_raw"]["filepath"]).load()
    assert vd_raw.shape[:2] == (40, 4)
    assert vd_raw.attrs["source_file"] == source.name
    assert vd_raw.notnull().any()
    assert "" not in vd_raw["unit"].values


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_leaves_the_sample_alone(environment: str) -> None:
    catalog = configuration(environment)["catalog"]
    assert catalog["vd_ingested"]["filepath"] == catalog["vd_raw"]["filepath"]
    assert catalog["vd_ingested"]["filepath"] != catalog["vd_sample"]["filepath"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_parameters_of_every_environment_are_valid(environment: str) -> None:
    parameters = configuration(environment)["parameters"]
    Split.model_validate(parameters["split"])
    Cleaning.model_validate(parameters["cleaning"])
    for experiment in EXPERIMENTS:
        windows: dict[str, type[BaseModel]] = {
            "single_vd": SingleVDWindows,
            "multi_vd": MultiVDWindows,
            "independent_multi_vd": IndependentMultiVDWindows,
        }
        windows[experiment.rpartition("_")[0]].model_validate(parameters[experiment]["windows"])


def test_no_environment_no_source() -> None:
    with pytest.raises(Exception, match="kedro run --pipeline ingest --env") as error:
        NoSource().load()
    assert "\n" not in str(error.value)
