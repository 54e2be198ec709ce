"""Which inputs and schedule the networks should have, chosen on many records.

::

    python -m tests.benchmarks.recipes choose screening.csv --size small
    python -m tests.benchmarks.recipes prove proof.csv --recipes product before
    python -m tests.benchmarks.recipes table screening.csv

``VD_TEST_DATA`` names the folder of the files. The year of two detectors is cut into ten records of
five weeks; the sample, with one detector and with ten, and a week of METR-LA are records too.
``choose`` takes the odd records of the year and the other three without their last fifth, and
scores what is then the last fifth: no test split is read. ``prove`` trains on the even records and
scores their test splits.

A row of the file is the MAE of a model at a horizon, over all observed values of a feature. Rows
are added training by training; one that is there is not trained again.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
import yaml
from torch import Tensor, nn

from tests import PROJECT
from vd_forecasting.artefacts import Experiment, WindowSet
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import build_forecaster
from vd_forecasting.parameters import (
    Baselines,
    Calendar,
    Cleaning,
    Compute,
    LSTMModel,
    MultiVDWindows,
    Split,
    Training,
    XLSTMModel,
)
from vd_forecasting.pipelines.baselines.baseline import all_vds
from vd_forecasting.pipelines.baselines.forecast import all_baselines
from vd_forecasting.pipelines.data_engineering.clean import clean
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.loop import ValidatedLearner, fit
from vd_forecasting.pipelines.training.train import describe_network, random_numbers
from vd_forecasting.pipelines.training.windows import make_windows
from vd_forecasting.vd_array import MINUTES_PER_DAY, MINUTES_PER_WEEK, minute_of_week

COMPUTE = Compute(threads=1, accelerator="cpu")
BOOSTING = "gradient_boosting"
WEEKS, RECORDS = 5, 10
KEY = ["part", "record", "model", "size", "recipe", "seed"]
JUDGED = [1, 3, 6, 12]
SMALL = {
    "lstm": {"hidden_size": 64, "num_layers": 2},
    "xlstm": {"embedding_dim": 64, "num_blocks": 2, "slstm_at": [1]},
}
SMALL_RATE = {"learning_rate": 0.001}


# --- recipes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """What differs from the product."""

    phase_of_week: bool = False  # in place of the day off and the harmonics
    holidays: bool = True
    sees: str = "both"  # the embedding: values, differences or both
    calendar_dropped: float = 0.0  # in this share of the training windows
    output_dropped: bool = False  # dropout on the output of the core too
    noise: float = 0.0  # standard deviation of what is added to the values in training
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "before": Recipe(phase_of_week=True, holidays=False, sees="values", output_dropped=True),
    "harmonics": Recipe(sees="values"),
    "product": Recipe(),
    "no holidays": Recipe(holidays=False),
    "differences only": Recipe(sees="differences"),
    "calendar dropped": Recipe(calendar_dropped=0.5),
    "output dropped": Recipe(output_dropped=True),
    "dropout 0.1": Recipe(model={"dropout": 0.1}),
    "noise": Recipe(noise=0.1),
    "weight decay 0.1": Recipe(training={"weight_decay": 0.1}),
    "rate 0.001": Recipe(training={"learning_rate": 0.001}),
    "rate 0.0005": Recipe(training={"learning_rate": 0.0005}),
    "rate 0.0003": Recipe(training={"learning_rate": 0.0003}),
    "rate at zero after 6": Recipe(training={"decay_epochs": 6}),
    "rate at zero after 16": Recipe(training={"decay_epochs": 16}),
    "patient": Recipe(training={"patience": 5}),
    "batch of 128": Recipe(training={"batch_size": 128}),
}


class Sees(nn.Linear):
    """An embedding of some of the channels that the product's has: values, others, differences."""

    def __init__(self, channels: slice, total: int, width: int) -> None:
        super().__init__(len(range(*channels.indices(total))), width)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., self.channels])


def apply_recipe(recipe: Recipe, forecaster: Forecaster, dropout: float) -> Forecaster:
    """Change a new forecaster, of that dropout, to what a recipe wants."""
    total, width = forecaster.embedding.in_features, forecaster.embedding.out_features
    values = forecaster.num_values
    if recipe.sees == "values":
        forecaster.embedding = Sees(slice(0, total - values), total, width)
    elif recipe.sees == "differences":
        forecaster.embedding = Sees(slice(values, total), total, width)
    if recipe.output_dropped:
        forecaster.norm.register_forward_pre_hook(
            lambda norm, inputs: nn.functional.dropout(inputs[0], dropout, norm.training)
        )

    def disturb(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        if not module.training:
            return arguments
        x = arguments[0].clone()
        if recipe.noise:
            x[:, :, :values] += recipe.noise * torch.randn_like(x[:, :, :values])
        if recipe.calendar_dropped:
            x[torch.rand(len(x)) < recipe.calendar_dropped, :, values:] = 0
        return (x,)

    if recipe.noise or recipe.calendar_dropped:
        forecaster.register_forward_pre_hook(disturb)
    return forecaster


def with_phase_of_week(windows: WindowSet) -> WindowSet:
    """Sine and cosine of the time of day and of the week in place of the calendar."""
    minutes = minute_of_week(windows.time)
    angles = [2 * np.pi * minutes / period for period in (MINUTES_PER_DAY, MINUTES_PER_WEEK)]
    phases = np.column_stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)])
    calendar = xr.DataArray(phases.astype("float32"), dims=("time", "phase"))
    return WindowSet(windows.data.drop_dims("phase").assign(calendar=calendar))


# --- records --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """Cleaned series, their country and how many detectors are forecast together."""

    series: xr.DataArray
    country: str | None


def parameters(file: str) -> dict[str, Any]:
    """Of the project's own conf."""
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "conf" / file).read_text())
    return loaded


def cleaned(path: Path, **changes: Any) -> xr.DataArray:
    """A file as data_engineering hands it on."""
    cleaning = parameters("base/parameters.yml")["cleaning"] | changes
    vd, _ = clean(VDHDF5Dataset(filepath=str(path)).load(), Cleaning.model_validate(cleaning))
    return vd.compute()


@cache
def year() -> xr.DataArray:
    path = Path(os.environ["VD_TEST_DATA"], "taiwan_n5_2015.h5")
    return cleaned(path, interval="1min", resample="5min")


def record(name: str) -> Record:
    """A record by its name."""
    kind, _, number = name.partition(" ")
    if kind == "year":
        steps = WEEKS * 7 * 24 * 12
        return Record(year()[int(number) * steps - steps : int(number) * steps], "TW")
    if kind == "sample":
        return Record(cleaned(PROJECT / "data/01_raw/vd_sample.h5")[:, : int(number)], None)
    path = Path(os.environ["VD_TEST_DATA"], "metr_la_week_vd.h5")
    metr_la = parameters("metr_la/parameters.yml")["cleaning"]
    return Record(cleaned(path, **metr_la)[:, : int(number)], "US")


def names(part: str) -> list[str]:
    """Records by what they are for."""
    if part == "prove":
        return [f"year {number}" for number in range(2, RECORDS + 1, 2)]
    return ["sample 1", *(f"year {n}" for n in range(1, RECORDS, 2)), "sample 10", "metr_la 10"]


def windows_of(found: Record, part: str, recipe: Recipe) -> WindowSet:
    """Windows as the recipe wants them; to choose, of a record without its test split."""
    split = Split.model_validate(parameters("base/parameters.yml")["split"])
    series = found.series
    if part == "choose":
        series = series[: round(series.sizes["time"] * (split.train + split.val))]
    windows = MultiVDWindows(
        sequence_length=20,
        prediction_length=12,
        input_features=None,
        target_features=None,
        num_vds=series.sizes["vd"],
    )
    country = (found.country or ()) if recipe.holidays else ()
    calendar = Calendar(holidays=country)
    cleaning = Cleaning.model_validate(parameters("base/parameters.yml")["cleaning"])
    made = make_windows(series, windows, split, cleaning, calendar)
    return with_phase_of_week(made) if recipe.phase_of_week else made


# --- cells ----------------------------------------------------------------------------------------


def errors(windows: WindowSet, forecast: np.ndarray) -> Iterator[dict[str, Any]]:
    """MAE by feature and horizon over the windows of the test split, in physical units."""
    values, observed = windows.target_series
    steps = windows.target_steps(windows.origins("test"))
    error = abs(windows.to_physical(forecast) - windows.to_physical(values[steps]))
    mae = np.nanmean(np.where(observed[steps], error, np.nan), axis=(0, 2))  # [H, F]
    for f, feature in enumerate(windows.targets):
        for horizon, value in enumerate(mae[:, f], start=1):
            yield {"feature": feature, "horizon": horizon, "mae": value}


def models_without_network() -> dict[str, Callable[[WindowSet, np.ndarray], np.ndarray]]:
    """By name, what forecasts at some origins, scaled."""
    settings = Baselines.model_validate(parameters("base/parameters.yml")["baselines"])

    def of(name: str, windows: WindowSet, origins: np.ndarray) -> np.ndarray:
        everything = all_vds(windows)
        baseline = all_baselines(settings, COMPUTE)[name].learn(windows, everything)
        return baseline(windows, origins, everything)

    learnt = {name: partial(of, name) for name in ("ridge", BOOSTING)}
    return {"persistence": WindowSet.last_values, **learnt}


def baselines(windows: WindowSet) -> Iterator[dict[str, Any]]:
    """Rows of the forecasts without a network."""
    for name, forecast in models_without_network().items():
        for row in errors(windows, forecast(windows, windows.origins("test"))):
            yield {"model": name, **row}


def trained(
    windows: WindowSet, recipe: Recipe, model: str, size: str, seed: int
) -> tuple[Forecaster, dict[str, Any]]:
    """A network at its best epoch, and about its training."""
    block = parameters(f"base/parameters_{model}.yml")
    shape: type[LSTMModel | XLSTMModel] = LSTMModel if model == "lstm" else XLSTMModel
    small = size == "small"
    sizes = block["_model"] | (SMALL[model] if small else {}) | recipe.model
    training = block["_training"] | (SMALL_RATE if small else {}) | recipe.training
    experiment = Experiment(
        windows,
        model,
        shape.model_validate(sizes),
        Training.model_validate(training),
        COMPUTE,
        mape_min_truth=1.0,
    )
    vds = slice(0, len(windows.vdids))
    started = time.perf_counter()
    with random_numbers(seed, torch.device("cpu")):
        forecaster = build_forecaster(describe_network(experiment))
        forecaster = apply_recipe(recipe, forecaster, experiment.model_parameters.dropout)
        *_, last = fit(ValidatedLearner(forecaster, experiment, vds, seed), f"{model} {seed}")
    seconds = time.perf_counter() - started
    forecaster.load_state_dict(last["weights"])
    best = last["history"]["best_epoch"]
    about = {
        "val_loss": last["history"]["epochs"][best - 1]["val"]["loss"],
        "best_epoch": best,
        "seconds": round(seconds),
    }
    return forecaster.eval(), about


def forecast_network(windows: WindowSet, forecaster: Forecaster, split: str) -> np.ndarray:
    """The forecasts of a joint network, scaled: ``[W, H, N, F]``."""
    vds = slice(0, len(windows.vdids))
    with torch.inference_mode():
        batches = WindowBatches(windows, vds, split, batch_size=512)
        return np.concatenate([forecaster(inputs).numpy() for inputs, _ in batches])


def train(
    windows: WindowSet, recipe: Recipe, model: str, size: str, seed: int
) -> Iterator[dict[str, Any]]:
    """Train a network and score it: rows."""
    forecaster, about = trained(windows, recipe, model, size, seed)
    for row in errors(windows, forecast_network(windows, forecaster, "test")):
        yield {"model": model, "size": size, "seed": seed, **about, **row}


def run(path: Path, wanted: argparse.Namespace) -> None:
    """Fill in what the file lacks, recipe by recipe over all records."""
    torch.set_num_threads(1)
    for name in wanted.recipes:
        for of_record in wanted.records or names(wanted.part):
            cell = {"part": wanted.part, "record": of_record, "recipe": name}
            found = record(of_record)
            product = {**cell, "recipe": "product", "size": "", "seed": 0}
            if not is_there(path, {**product, "model": BOOSTING}):
                rows = baselines(windows_of(found, wanted.part, RECIPES["product"]))
                append(path, [{**product, **row} for row in rows])
            windows = windows_of(found, wanted.part, RECIPES[name])
            for seed in wanted.seeds:
                key = {**cell, "model": wanted.model, "size": wanted.size, "seed": seed}
                if not is_there(path, key):
                    rows = train(windows, RECIPES[name], wanted.model, wanted.size, seed)
                    append(path, [{**key, **row} for row in rows])


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values={"val_loss": [""]})


def is_there(path: Path, key: dict[str, Any]) -> bool:
    if not path.exists():
        return False
    rows = read(path)
    return bool((rows[KEY] == pd.Series(key)[KEY]).all(axis=1).any())


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = [*KEY, "val_loss", "best_epoch", "seconds", "feature", "horizon", "mae"]
    table = pd.DataFrame(rows).reindex(columns=columns)
    with path.open("a") as file:
        table.to_csv(file, index=False, header=file.tell() == 0)


# --- table ----------------------------------------------------------------------------------------


def table(path: Path) -> str:
    """By recipe and record: MAE over that of boosting, averaged over features and horizons; the
    validation loss in brackets; and how many records' features persistence forecasts better."""
    rows = read(path)
    cell = ["part", "record", "feature", "horizon"]
    reference = {
        name: rows[rows["model"] == name].set_index(cell)["mae"]
        for name in (BOOSTING, "persistence")
    }
    rows = rows.join(reference[BOOSTING].rename("boosting"), on=cell)
    rows = rows.join(reference["persistence"].rename("persistence"), on=cell)
    rows["ratio"] = rows["mae"] / rows["boosting"]
    of_recipe = ["part", "model", "size", "recipe"]
    ratio = rows.groupby([*of_recipe, "record"])["ratio"].mean().unstack()
    loss = rows.groupby([*of_recipe, "record"])["val_loss"].mean().unstack()
    shown = ratio.round(3).astype(str) + loss.round(4).map(
        lambda x: "" if np.isnan(x) else f" ({x})"
    )
    shown = shown[[name for part in ("choose", "prove") for name in names(part) if name in shown]]
    shown["mean"] = ratio.mean(axis=1).round(3)
    judged = rows[rows["horizon"].isin(JUDGED)]
    of_cell = judged.groupby([*of_recipe, *cell[1:]])["ratio"].mean()
    shown["below boosting"] = of_cell.lt(1).groupby(of_recipe).mean().round(2)
    of_feature = rows.groupby([*of_recipe, "record", "feature"])[["mae", "persistence"]].mean()
    worse = of_feature["mae"] > of_feature["persistence"]
    shown["above persistence"] = worse.groupby(of_recipe).sum()
    return shown.to_string()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["choose", "prove", "table"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--recipes", nargs="+", default=[*RECIPES], choices=RECIPES)
    parser.add_argument("--records", nargs="+")
    parser.add_argument("--model", default="lstm", choices=["lstm", "xlstm"])
    parser.add_argument("--size", default="base", choices=["base", "small"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    wanted = parser.parse_args()
    if wanted.part == "table":
        print(table(wanted.file))  # noqa: T201
    else:
        run(wanted.file, wanted)


if __name__ == "__main__":
    main()
