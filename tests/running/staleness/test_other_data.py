"""What counts as other data, on a chain of three nodes with files."""

from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from vd_forecasting.datasets.atomic import AtomicJSONDataset
from vd_forecasting.parameters import Cleaning
from vd_forecasting.running.staleness.fingerprint import (
    makers_of,
    save_fingerprint,
    take_fingerprint,
)
from vd_forecasting.running.staleness.other_data import made_of_other_data


def clean(raw: int, cleaning: dict[str, Any]) -> int:
    return raw + len(cleaning)


def train(cleaned: int, epochs: int) -> int:
    return cleaned * epochs


def report(model: int) -> int:
    return model


PIPELINE = Pipeline(
    [
        Node(clean, ["raw", "params:cleaning"], "cleaned", name="clean"),
        Node(train, ["cleaned", "params:epochs"], "model", name="train"),
        Node(report, "model", "page", name="report"),
    ]
)
MAKERS = makers_of([PIPELINE])
AS_WRITTEN: dict[str, Any] = {
    "interval": None,
    "error_codes": [-99],
    "min_observed": 0.5,
    "features": {"avg_speed": {"unit": "km/h"}},
}
CLEANING: dict[str, Any] = Cleaning(**AS_WRITTEN).model_dump(mode="json")


def catalog_in(folder: Path, raw: str = "raw.json", **parameters: Any) -> DataCatalog:
    parameters = {"cleaning": CLEANING, "epochs": 1} | parameters
    catalog = DataCatalog(
        {f"params:{name}": MemoryDataset(value) for name, value in parameters.items()}
    )
    names = [
        "cleaned",
        "model",
        "page",
        *(f"fingerprint_of_{node.name}" for node in PIPELINE.nodes),
    ]
    for name, file in {**{name: f"{name}.json" for name in names}, "raw": raw}.items():
        catalog[name] = AtomicJSONDataset(filepath=str(folder / file))
    return catalog


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder in which everything was made of ``raw.json``."""
    catalog = catalog_in(tmp_path)
    catalog.save("raw", 5)
    for node in PIPELINE.nodes:
        started = take_fingerprint(node, MAKERS, catalog, {})
        SequentialRunner().run(PIPELINE.only_nodes(node.name), catalog)
        save_fingerprint(node, started, MAKERS, catalog)
    return tmp_path


def other(folder: Path, **changed: Any) -> dict[str, str]:
    return made_of_other_data(PIPELINE, MAKERS, catalog_in(folder, **changed))


def test_what_is_as_it_was_is_of_the_same_data(made: Path) -> None:
    assert other(made) == {}


def test_other_training_is_no_other_data(made: Path) -> None:
    assert other(made, epochs=2) == {}


def test_another_file_is_other_data_and_all_that_was_made_of_it(made: Path) -> None:
    assert other(made, raw="another.json")["clean"] == "input raw: there is no another.json"
    (made / "another.json").write_text("5")
    assert other(made, raw="another.json") == {
        "clean": "input raw is another.json, was raw.json",
        "train": "it depends on cleaned",
        "report": "it depends on model",
    }


def test_other_content_is_other_data(made: Path) -> None:
    (made / "raw.json").write_text("6")
    assert other(made)["clean"] == "input raw changed"


def test_other_rules_are_other_data_but_not_their_defaults(made: Path) -> None:
    assert other(made, cleaning=AS_WRITTEN) == {}
    changed = other(made, cleaning={**AS_WRITTEN, "min_observed": 0.4})
    assert changed["clean"] == "parameter cleaning.min_observed 0.5 → 0.4"


def test_data_that_was_cleaned_again_by_another_run_is_other_data(made: Path) -> None:
    (made / "cleaned.json").write_text("10")
    assert other(made) == {
        "clean": "cleaned was changed since",
        "train": "it depends on cleaned",
        "report": "it depends on model",
    }


def test_rules_without_features_are_completed_too(made: Path) -> None:
    of_none = {**AS_WRITTEN, "features": {}}
    reason = other(made, cleaning=of_none)["clean"]
    assert "resample_min_observed" not in reason


def test_rules_that_were_checked_before_are_not_checked_again(made: Path) -> None:
    """A range that is there as null would take the max_rate away."""
    features = {"avg_speed": {"unit": "km/h", "max_rate": 36000}}
    now = Cleaning(**AS_WRITTEN | {"features": features}).model_dump(mode="json")
    reason = other(made, cleaning=now)["clean"]
    assert reason == "parameter cleaning.features.avg_speed.max_rate null → 36000.0"
