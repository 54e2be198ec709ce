"""What the recipes are chosen by, see :mod:`.recipes`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.benchmarks.recipes import (
    RECIPES,
    Recipe,
    Record,
    append,
    apply_recipe,
    is_there,
    names,
    windows_of,
)
from tests.make.arrays import make_clean
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import build_forecaster

NETWORK = {
    "num_channels": 6 + 9,
    "num_vd_features": 3,
    "target_channels": [0, 3],
    "target_shape": [2, 1],
    "sequence_length": 8,
    "prediction_length": 3,
}
LSTM = {"hidden_size": 16, "num_layers": 2, "dropout": 0.3}


def forecaster(recipe: Recipe) -> Forecaster:
    torch.manual_seed(0)
    described = {"model": "lstm", "model_parameters": LSTM, "network": NETWORK}
    made = apply_recipe(recipe, build_forecaster(described), dropout=0.3)
    torch.nn.init.normal_(made.head.weight)
    return made.eval()


def test_no_test_split_chooses_and_no_record_both_chooses_and_proves() -> None:
    assert not {*names("choose")} & {*names("prove")}
    record = Record(make_clean(1000), None)
    chosen_by = windows_of(record, "choose", RECIPES["product"])
    proved_by = windows_of(record, "prove", RECIPES["product"])
    assert chosen_by.time[-1] == proved_by.time[proved_by.ends["val"] - 1]


def test_the_phase_of_the_week_is_what_it_was_before() -> None:
    windows = windows_of(Record(make_clean(1000), None), "prove", RECIPES["before"])
    monday, wednesday = windows.calendar[[0, 2 * 288]]
    np.testing.assert_allclose(monday, [0, 1, 0, 1], atol=1e-6)
    angle = 2 * np.pi * 2 / 7
    np.testing.assert_allclose(wednesday, [0, 1, np.sin(angle), np.cos(angle)], atol=1e-6)


@pytest.mark.parametrize(("sees", "level_counts"), [("values", True), ("differences", False)])
def test_what_the_core_sees(sees: str, level_counts: bool) -> None:
    """The forecast follows a level that is added everywhere, unless the core sees it."""
    made = forecaster(replace(RECIPES["product"], sees=sees))
    x = torch.randn(4, 8, 15)
    higher = torch.cat([x[:, :, :6] + 2, x[:, :, 6:]], dim=2)
    follows = torch.allclose(made(higher), made(x) + 2, atol=1e-4)
    assert follows != level_counts


def test_a_recipe_disturbs_in_training_only() -> None:
    made, product = (forecaster(RECIPES[name]) for name in ("calendar dropped", "product"))
    x = torch.randn(64, 8, 15)
    assert torch.equal(made(x), product(x))
    seen: list[torch.Tensor] = []
    made.embedding.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    made.train()(x)
    dropped = (seen[0][:, :, 6:15] == 0).all(dim=(1, 2))
    assert 16 < dropped.sum() < 48
    assert torch.equal(seen[0][:, :, :6], x[:, :, :6])
    assert torch.equal(seen[0][~dropped][:, :, 6:15], x[~dropped][:, :, 6:])


def test_a_cell_that_is_there_is_not_trained_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("recipes") / "a.csv"
    key = {
        "part": "prove",
        "record": "year 2",
        "model": "lstm",
        "size": "base",
        "recipe": "product",
    }
    assert not is_there(path, {**key, "seed": 1})
    append(path, [{**key, "seed": 1, "feature": "avg_speed", "horizon": 1, "mae": 2.0}])
    assert is_there(path, {**key, "seed": 1})
    assert not is_there(path, {**key, "seed": 2})
