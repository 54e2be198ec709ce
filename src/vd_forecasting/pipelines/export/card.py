"""The card of an exported model; its text is ``templates/card.md.j2``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.artefacts.records import Config, Tuned
from vd_forecasting.language import marked, say, speaking
from vd_forecasting.parameters import Report
from vd_forecasting.rendering.markdown import code, plain_text
from vd_forecasting.rendering.page import Page
from vd_forecasting.rendering.searched import of_experiment
from vd_forecasting.rendering.templates import render
from vd_forecasting.vocabulary import mode_in_words, name_of
from vd_forecasting.wording import (
    count,
    lead_time,
    number,
    shown_horizons,
    unit_in_words,
    with_unit,
)

_SPLITS = {"train": marked("train"), "val": marked("val"), "test": marked("test")}

Rows = list[list[str]]


@dataclass(frozen=True)
class Card:
    """What the template shows."""

    checkpoint: Checkpoint
    config: Config
    name: str
    """Name of the network, in print."""
    mode: str
    """In words."""
    inputs: Rows
    """Name, shape and meaning."""
    output: Rows
    features: Rows
    """Position, name and unit of every input feature, and whether it is forecast."""
    splits: Rows
    """Split, first and last time, windows."""
    reach: str
    """How far ahead the last horizon is."""
    steps: list[str]
    """Header of the columns of shown horizons."""
    errors: Rows
    """A row per target feature and model: mean absolute errors on the test split."""


def write_card(
    best_model: Checkpoint,
    config: Config,
    metrics: Mapping[str, Any],
    tuned: object,
    report: Report,
) -> Page:
    """Say what an exported model is, how to call it, and how far its forecasts may be off.

    ``tuned`` is as of :func:`.scores.gather_outcome`.
    """
    with speaking(report.language):
        settings = of_experiment(config, Tuned.of(tuned, config))
        view = vars(_view(best_model, config, metrics))
        return Page(render(__package__, "card", **view, settings=settings), {})


def _view(best_model: Checkpoint, config: Config, metrics: Mapping[str, Any]) -> Card:
    from vd_forecasting.models.export import INPUTS, OUTPUT, num_calendar  # noqa: PLC0415  (torch)

    interval, length = config.interval_minutes, best_model["sequence_length"]
    features, targets = best_model["input_features"], best_model["target_features"]
    vds, horizons = len(best_model["vdids"]), best_model["prediction_length"]
    values, calendar = map(code, INPUTS)
    return Card(
        best_model,
        config,
        name=name_of(config.model),
        mode=mode_in_words(config.mode),
        inputs=[
            [
                values,
                f"float32 [B, {length}, {vds}, {len(features)}]",
                say("windows, steps, detectors, features; physical units, no NaN"),
            ],
            [
                calendar,
                f"float32 [B, {length}, {num_calendar(best_model)}]",
                say("windows, steps, numbers of the calendar"),
            ],
        ],
        output=[
            [
                code(OUTPUT),
                f"float32 [B, {horizons}, {vds}, {len(targets)}]",
                say("windows, horizons, detectors, features forecast; physical units"),
            ]
        ],
        features=[
            [
                str(at),
                code(name),
                plain_text(unit_in_words(best_model["units"][name])),
                str(targets.index(name)) if name in targets else "",
            ]
            for at, name in enumerate(features)
        ],
        splits=[
            [say(_SPLITS[name]), *map(_minute, (span.start, span.end)), count(span.windows)]
            for name, span in config.split.items()
        ],
        reach=lead_time(interval * horizons),
        steps=[lead_time(interval * step) for step in shown_horizons(horizons)],
        errors=[
            [
                with_unit(plain_text(feature), plain_text(best_model["units"][feature])),
                name_of(model),
                *(number(errors[feature]["mae"][step - 1]) for step in shown_horizons(horizons)),
            ]
            for feature in targets
            for model, errors in (
                (config.model, metrics["by_horizon"]),
                ("persistence", metrics["persistence_by_horizon"]),
            )
        ],
    )


def _minute(iso: str) -> str:
    return plain_text(iso[:16].replace("T", " "))
