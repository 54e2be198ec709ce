"""Does a network forecast better once it was trained on everything?

::

    python -m tests.benchmarks.refits gain.csv --records "year 1" "year 3"

The records of five weeks are those of :mod:`.recipes`; ``VD_TEST_DATA`` names the folder of the
files. On each of them a small LSTM is compared as ever. A file of the week behind it comes in, and
the network is trained again on everything up to its end. Both networks, and persistence, then
forecast the week after that, which neither has seen. A row of the file is the MAE of a model for a
feature, all detectors and horizons together.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from tests.benchmarks.recipes import (
    COMPUTE,
    RECIPES,
    SMALL,
    SMALL_RATE,
    WEEKS,
    parameters,
    record,
    windows_of,
    year,
)
from vd_forecasting.artefacts import WindowBlocks
from vd_forecasting.parameters import Forecast, LSTMModel, Training
from vd_forecasting.pipelines.forecast.recent_windows import make_recent_windows
from vd_forecasting.pipelines.forecast.refit import refit
from vd_forecasting.pipelines.training.forecast_windows import forecast_split
from vd_forecasting.pipelines.training.train_nodes import train_lstm

WEEK = 7 * 24 * 12


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Of a record of the year."""
    block = parameters("base/parameters_lstm.yml")
    model = LSTMModel.model_validate(block["_model"] | SMALL["lstm"])
    training = Training.model_validate(block["_training"] | SMALL_RATE)
    blocks = WindowBlocks.of_one(windows_of(record(name), "prove", RECIPES["product"]))
    best, _, config, history = train_lstm(blocks, model, training, 1.0, COMPUTE)
    end = int(name.removeprefix("year ")) * WEEKS * WEEK
    asked = Forecast(origins="all", refit=True)

    def weeks(first: int, last: int) -> xr.DataArray:
        """Those behind the record."""
        return year()[end + first * WEEK : end + last * WEEK]

    file = make_recent_windows(weeks(0, 1), best, blocks, asked)
    [again] = refit(file, best, blocks, config, history, asked, COMPUTE)
    unseen = make_recent_windows(weeks(1, 2), best, blocks, asked)
    forecasts = {
        label: forecast_split({"": checkpoint}, unseen, "test", COMPUTE, best["seed"]).data
        for label, checkpoint in (("compared", best), ("refitted", again.checkpoint))
    }
    truth = forecasts["compared"]["truth"]
    predictions = {label: of["prediction"].isel(seed=0) for label, of in forecasts.items()}
    predictions["persistence"] = forecasts["compared"]["persistence"]
    for label, prediction in predictions.items():
        mae = abs(prediction - truth).mean(["origin", "horizon", "vd"])
        for feature, value in zip(mae["feature"].values, mae.values, strict=True):
            about = {"record": name, "model": label, "epochs": again.epochs[0]}
            yield {**about, "feature": str(feature), "mae": float(value)}


def table(path: Path) -> str:
    """Errors, and by how many per cent those of the refitted network differ."""
    found = pd.read_csv(path).pivot_table("mae", ["record", "feature"], "model")
    found["change"] = 100 * (found["refitted"] / found["compared"] - 1)
    together = found.groupby("feature")["change"].agg(["mean", "min", "max"])
    return f"{found.round(3).to_string()}\n\n{together.round(1).to_string()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    odd = [f"year {number}" for number in range(1, 10, 2)]
    parser.add_argument("--records", nargs="+", default=odd)
    wanted = parser.parse_args()
    for name in wanted.records:
        new = pd.DataFrame(rows(name))
        with wanted.file.open("a") as file:
            new.to_csv(file, index=False, header=file.tell() == 0)
    print(table(wanted.file))  # noqa: T201


if __name__ == "__main__":
    main()
