"""The page of a forecast."""

import re
from pathlib import Path

import pandas as pd
import xarray as xr

from tests.make.another_language import english_left, greek, texts_of
from tests.make.artefacts import make_outcome, make_predictions
from tests.make.parameters import REPORT
from tests.make.recent_files import both, recent_file, without
from tests.make.searches import tuned_to
from vd_forecasting.artefacts import RecentForecasts
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.forecast.drift import find_drift
from vd_forecasting.pipelines.forecast.page import write_page
from vd_forecasting.rendering.page import Page

CONFIG = make_outcome(
    make_predictions("multi_vd", "lstm", vdids=["A"], origins=30, horizons=2), epochs=2
).config


def promised(forecasts: RecentForecasts) -> dict[str, object]:
    of_features = {name: {"mae": [1.0, 2.0, 3.0]} for name in forecasts.features}
    errors = {"by_horizon": of_features, "persistence_by_horizon": of_features}
    return {"source": "made.h5", **errors}


def page_of(
    raw: xr.DataArray,
    kind: str = "joint",
    origins: str = "last",
    how: Report = REPORT,
    tuned: object = False,
) -> Page:
    recent, forecasts = both(raw, kind, origins)
    drift, _ = find_drift(recent, forecasts, promised(forecasts))
    return write_page(recent, forecasts, drift, CONFIG, tuned, how)


def test_it_says_where_the_settings_are_from_if_they_were_searched() -> None:
    raw = recent_file(first=440)
    assert "Its settings" not in page_of(raw, tuned=True).text
    text = page_of(raw, tuned=tuned_to(CONFIG).model_dump(mode="json")).text
    assert "Its settings are the best of 40 trials (19 min 50 s of training)" in text


def test_it_says_from_when_what_is_expected_and_what_was_promised() -> None:
    raw = recent_file(first=440).assign_attrs(utc_offset="+08:00")
    page = page_of(raw)
    end = pd.Timestamp(raw["time"].values[-1])
    assert f"**The 15 min after {end:%Y-%m-%d %H:%M} (UTC+08:00)**" in page.text
    assert "In brackets: the interval that 90 % of the truths are to lie in." in page.text
    assert re.search(r"\| `VD-0` \| [\d.]+ \| [\d.]+ \([\d.]+ to [\d.]+\) \|", page.text)
    assert "| LSTM | comparison | 1.00 | 3.00 |" in page.text
    assert "the training data named no UTC offset" in page.text
    assert "add `forecast.origins=all`" in page.text
    assert list(page.figures) == ["next"]
    for draw in page.figures.values():
        assert callable(draw)
        draw()


def test_a_page_of_all_origins_shows_errors() -> None:
    page = page_of(recent_file(), "global", "all")
    assert list(page.figures) == ["next", "errors"]
    assert "| LSTM | this file |" in page.text
    for draw in page.figures.values():
        assert callable(draw)
        draw()


def test_it_names_detectors_that_are_left_out_and_gaps() -> None:
    raw = recent_file(first=440).isel(vd=[0, 2])
    page = page_of(without(raw, slice(-1, None), 0, slice(None)), "global")
    assert "lacks 1 detector of the model, which are left out: `VD-1`" in page.text
    assert "| `no_last_value` |" in page.text
    assert "| `VD-0` | – |" in page.text


def test_nothing_of_it_stays_english_in_another_language(tmp_path: Path) -> None:
    raw = recent_file(first=440).assign_attrs(utc_offset="+08:00")
    with greek(tmp_path) as how:
        for text in texts_of(page_of(raw, origins="all", how=how)):
            assert english_left(text, ["VD"]) == set(), text
