"""Searches whose objective is made by hand, and what they find."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vd_forecasting.datasets import Studies
from vd_forecasting.parameters import Budget, LSTMSpace
from vd_forecasting.pipelines.tune.found import Found, SearchedData
from vd_forecasting.pipelines.tune.settings import Settings
from vd_forecasting.pipelines.tune.study import Epoch, Train, search

SPACE = LSTMSpace(
    model={"hidden_size": [8, 16, 32], "dropout": {"low": 0.0, "high": 0.5}},  # type: ignore[dict-item]
    training={"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}},  # type: ignore[dict-item]
)
GIVEN = {"model.hidden_size": 8, "model.dropout": 0.4, "training.learning_rate": 0.0002}
EPOCHS = 4


def loss_of(settings: Settings) -> float:
    """Lowest, 0, for a width of 16, a dropout of 0.1 and a rate of 0.01."""
    width = abs(settings["model.hidden_size"] - 16) / 16
    rate = abs(settings["training.learning_rate"] - 0.01) * 10
    return float(width + abs(settings["model.dropout"] - 0.1) + rate)


def descend(settings: Settings, number: int) -> Iterator[Epoch]:
    """Fall towards :func:`loss_of` in four epochs of a second each."""
    for epoch in range(1, EPOCHS + 1):
        yield Epoch(loss_of(settings) + 1 / epoch, 1.0, is_last=epoch == EPOCHS)


def searched(folder: Path, train: Train = descend, **changed: Any) -> Found:
    """What a search of eight trials has found."""
    arguments: dict[str, Any] = {
        "studies": Studies(folder / "study.db"),
        "study_name": "one",
        "data": SearchedData("single_vd_lstm", "made.h5", "2024-03-20T00:00:00"),
        "space": SPACE,
        "given": GIVEN,
        "complete": lambda settings: settings,
        "budget": Budget(trials=8),
        "seed": 42,
        "train": train,
    }
    return search(**arguments | changed)
