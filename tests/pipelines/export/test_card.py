"""The card of an exported model says what its program needs to know."""

import re
from pathlib import Path

import pytest

from tests import PROJECT
from tests.make.another_language import english_left, greek
from tests.make.arrays import make_clean
from tests.make.parameters import REPORT
from tests.make.recent_files import STEPS
from tests.make.searches import tuned_to
from tests.make.trainings import COMPUTE, LSTM, MAPE_MIN_TRUTH, TRAINING, joint_windows
from vd_forecasting.artefacts import WindowBlocks
from vd_forecasting.pipelines.export.card import write_card
from vd_forecasting.pipelines.reporting.scores import errors_and_metrics
from vd_forecasting.pipelines.training.evaluate import evaluate
from vd_forecasting.pipelines.training.train_nodes import train_lstm
from vd_forecasting.wording import number


def test_shapes_units_spans_errors_and_licence_are_on_the_card(tmp_path: Path) -> None:
    windows = joint_windows(make_clean(STEPS))
    blocks = WindowBlocks.of_one(windows)
    training = TRAINING.model_copy(update={"epochs": 1})
    best, models, config, _ = train_lstm(blocks, LSTM, training, MAPE_MIN_TRUTH, COMPUTE)
    forecasts, fit_errors, _ = evaluate(best, models, blocks, MAPE_MIN_TRUTH, COMPUTE)
    _, metrics = errors_and_metrics(forecasts, fit_errors, 1.0)
    card = write_card(best, config, metrics, False, REPORT).text
    assert "| `values` | float32 [B, 6, 2, 3] |" in card
    assert "| `calendar` | float32 [B, 6, 9] |" in card
    assert "| `forecast` | float32 [B, 3, 2, 2] |" in card
    assert "| 0 | `avg_speed` | km/h | 0 |" in card
    assert all(f"`{vdid}`" in card for vdid in windows.vdids)
    first = str(windows.time[0].astype("datetime64[m]")).replace("T", " ")
    assert f"| train | {first} |" in card
    promised = metrics["by_horizon"]["avg_speed"]["mae"]
    assert re.search(rf"avg_speed \(km/h\) \| LSTM \|.* {number(promised[-1])} \|", card)
    assert "settings are the best" not in card
    record = tuned_to(config).model_dump(mode="json")
    card = write_card(best, config, metrics, record, REPORT).text
    assert "Its settings are the best of 40 trials" in card
    with greek(tmp_path) as how:
        text = write_card(best, config, metrics, False, how).text
    known = [
        "float",
        "INT",
        "Apache",
        "vd_forecasting",
        "onnxruntime",
        "JSON",
        "NaN",
        *windows.vdids,
    ]
    assert english_left(text, known) == set()
    tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"{project['license']}, as the project" in card
