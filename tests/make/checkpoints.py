"""Checkpoints of models that were never trained."""

import copy
from typing import Any

import torch

from tests.make.parameters import CLEANING
from vd_forecasting.models.checkpoint import FORMAT, build_forecaster

NETWORK = {
    "num_channels": 6,
    "num_vd_features": 2,
    "target_channels": [0],
    "target_shape": [1, 1],
    "sequence_length": 5,
    "prediction_length": 3,
}
LSTM = {"hidden_size": 8, "num_layers": 1, "dropout": 0.0}
XLSTM = {
    "embedding_dim": 8,
    "num_blocks": 2,
    "slstm_at": [1],
    "slstm_backend": "fused",
    "mlstm_backend": "fused",
    "dropout": 0.0,
    "context_length": 8,
}


def make_checkpoint(model: str = "lstm") -> dict[str, Any]:
    """A whole one, of a small network."""
    parameters = LSTM if model == "lstm" else XLSTM
    described = {"model": model, "model_parameters": parameters, "network": NETWORK}
    return copy.deepcopy(
        {
            **described,
            "weights": {"joint": dict(build_forecaster(described).state_dict())},
            "seed": 42,
            "scaler": {"mean": torch.zeros(1, 2), "std": torch.ones(1, 2)},
            "range": {"low": torch.zeros(1, 2), "high": torch.full((1, 2), torch.inf)},
            "vdids": ["VD-1"],
            "input_features": ["avg_speed", "lane_count"],
            "target_features": ["avg_speed"],
            "sequence_length": 5,
            "prediction_length": 3,
            "interval_minutes": 5.0,
            "units": {"avg_speed": "km/h", "lane_count": "lanes"},
            "static": {},
            "holidays": "",
            "cleaning": CLEANING.model_copy(update={"interval": "5min"}).text,
            "utc_offset": "+08:00",
            "format": FORMAT,
        }
    )
