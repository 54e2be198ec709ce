"""An exported model forecasts what its checkpoint does, in a runtime without torch."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from tests.make.recent_files import trained
from tests.make.trainings import COMPUTE, MAPE_MIN_TRUTH, TRAINING, XLSTM, train_xlstm
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.models import export
from vd_forecasting.pipelines.training.forecast_windows import forecast_split


def session(checkpoint: Checkpoint) -> Any:
    """The exported model in onnxruntime."""
    pytest.importorskip("onnxscript", reason='pip install -e ".[export]"')
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    return runtime.InferenceSession(export.to_onnx(checkpoint))


def checkpoint_of(model: str, kind: str) -> Checkpoint:
    best, windows, _ = trained(kind)
    if model == "lstm":
        return best
    training = TRAINING.model_copy(update={"epochs": 1})
    return train_xlstm(windows, XLSTM, training, MAPE_MIN_TRUTH, COMPUTE)[0]


@pytest.mark.parametrize(
    ("model", "kind"),
    [("lstm", "joint"), ("xlstm", "joint"), ("lstm", "independent")],
)
def test_equals_the_forecasts_of_the_test_split_for_any_number_of_windows(
    model: str, kind: str
) -> None:
    checkpoint, windows = checkpoint_of(model, kind), trained(kind)[1]
    forecasts = forecast_split({"": checkpoint}, windows, "test", COMPUTE, checkpoint["seed"])
    expected = forecasts.prediction.isel(seed=0).transpose("origin", "horizon", "vd", "feature")
    steps = windows.starts("test")[:, None] + np.arange(windows.sequence_length)  # [W, S]
    physical = windows.values * windows.scaler["std"] + windows.scaler["mean"]
    exported = session(checkpoint)
    for count in (1, 5):
        given = {"values": physical[steps[:count]], "calendar": windows.calendar[steps[:count]]}
        [forecast] = exported.run(None, given)
        difference = (forecast - expected.values[:count]) / windows.target_scaler[1]
        assert np.abs(difference).max() < 1e-5
    meaning = exported.get_modelmeta().custom_metadata_map
    assert json.loads(meaning["vdids"]) == windows.vdids
    assert json.loads(meaning["units"]) == windows.units


def test_forecasts_lie_within_the_possible_range() -> None:
    best, windows, _ = trained()
    ceiling = torch.full_like(best["range"]["high"], 1.0)
    exported = session(best | {"range": {**best["range"], "high": ceiling}})
    shape = (2, windows.sequence_length)
    usual = np.broadcast_to(windows.scaler["mean"], (*shape, *windows.scaler["mean"].shape))
    given = {"values": usual, "calendar": np.zeros((*shape, 9), "float32")}
    [forecast] = exported.run(None, given)
    assert (forecast == 1).any()
    assert forecast.max() == 1


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", {"onnx": True}.get)
    with pytest.raises(ImportError, match=r"needs the package onnxscript: pip install .*export"):
        export.to_onnx(trained()[0])


def test_a_global_network_is_refused() -> None:
    with pytest.raises(ValueError, match="one by one, cannot be exported"):
        export.PhysicalForecaster(trained("global")[0])
