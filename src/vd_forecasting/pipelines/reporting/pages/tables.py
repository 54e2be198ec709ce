"""Rows of tables; their headers stand in the templates."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import xarray as xr

from vd_forecasting.artefacts import Config
from vd_forecasting.evaluation.differences import AVERAGE, Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.rendering.markdown import bold, code
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import (
    NOTHING,
    change,
    count,
    is_better,
    is_number,
    lead_time,
    number,
    percent,
    shown_horizons,
)

Rows = list[list[str]]

MAX_ROWS = 40
TICK = "✓"
"""In the model confidence set."""
_MAX_HORIZON_COLUMNS = 4


def parameters(config: Config) -> dict[str, str]:
    """Windows, model and training parameters as text, in the order of the configuration."""
    blocks = (config.windows.model_dump(), config.model_parameters, config.training.model_dump())
    return {key: parameter_text(value) for block in blocks for key, value in block.items()}


def parameter_text(value: object) -> str:
    """A parameter as one writes it in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(parameter_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parameter_rows(configs: Iterable[Config]) -> Rows:
    """A row per parameter, a column per configuration; a dash where one has no such parameter."""
    columns = list(map(parameters, configs))
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [[code(name), *(column.get(name, NOTHING) for column in columns)] for name in names]


def horizon_labels(errors: Errors) -> list[tuple[int | None, str]]:
    """The rows of a table of errors: a few horizons, then their average (None)."""
    rows: list[tuple[int | None, str]] = [
        (step, f"{lead_time(step * errors.interval_minutes)} (step {step})")
        for step in shown_horizons(len(errors.horizons))
    ]
    if len(errors.horizons) > 1:
        rows.append((None, f"average of {len(errors.horizons)} steps"))
    return rows


def mark_better(values: Sequence[float]) -> list[str]:
    """Errors as text, the lowest bold unless another is practically equal to it."""
    texts = [number(value) for value in values]
    best, *others = sorted(filter(is_number, values)) or [math.nan]
    if others and is_better(best, others[0]):
        position = list(values).index(best)
        texts[position] = bold(texts[position])
    return texts


def beside_persistence(values: Sequence[float], reference: float) -> list[str]:
    """Errors of networks, the better bold, and persistence's, daggered where it beats them all."""
    defined = [value for value in values if is_number(value)]
    wins = bool(defined) and all(is_better(reference, value) for value in defined)
    return [*mark_better(values), f"{number(reference)}{' †' if wins else ''}"]


def with_sd(value: float, sd: float) -> str:
    """``2.31 ± 0.05``, both to the same place, or the value alone where there is no deviation.

    A deviation that would be rounded to 0 has its first digit instead: ``14.5 ± 0.01``.
    """
    text = number(value)
    if not is_number(value) or not is_number(sd):
        return text
    places = len(text.partition(".")[2])
    of_sd = f"{sd:,.{places}f}" if sd == 0 or round(sd, places) else f"{sd:.1g}"
    return f"{text} ± {of_sd}"


def horizon_columns(errors: Errors) -> list[int | None]:
    """The columns of a table of errors: at most four horizons, then their average (None)."""
    steps = shown_horizons(len(errors.horizons))
    while len(steps) > _MAX_HORIZON_COLUMNS:
        steps.pop(1)
    return [*steps, None] if len(errors.horizons) > 1 else [*steps]


def mae_cells(
    models: Sequence[tuple[Errors, str]], feature: str, columns: Sequence[int | None]
) -> Rows:
    """MAE of every model (a row) at every horizon (a column), the lowest of a column bold.

    Args:
        models: where the errors of a model are, and its name there.
        feature: target feature.
        columns: horizons; None is all of them together.
    """
    maes = [[errors.at("mae", name, feature, step) for step in columns] for errors, name in models]
    lowest = [
        min(filter(is_number, column), default=math.nan) for column in zip(*maes, strict=True)
    ]
    rows = []
    for (errors, name), values in zip(models, maes, strict=True):
        texts = [
            with_sd(value, errors.sd("mae", name, feature, step))
            for value, step in zip(values, columns, strict=True)
        ]
        rows.append(
            [
                bold(text) if value == best else text
                for text, value, best in zip(texts, values, lowest, strict=True)
            ]
        )
    return rows


def column_names(errors: Errors) -> list[str]:
    """Names of :func:`horizon_columns`: ``5 min``, ``average``."""
    return [
        "average" if step is None else lead_time(step * errors.interval_minutes)
        for step in horizon_columns(errors)
    ]


def skill(errors: Errors, model: str, feature: str) -> str:
    """How much lower than persistence's the average MAE is; a dash for persistence itself."""
    own, reference = (errors.at("mae", who, feature) for who in (model, "persistence"))
    return NOTHING if model == "persistence" else percent(-change(own, reference))


def model_rows(errors: Errors, differences: Differences, feature: str) -> Rows:
    """A row per network and baseline: MAE by horizon and other metrics of all horizons together."""
    models = [*errors.networks, *errors.baselines]
    cells = mae_cells([(errors, model) for model in models], feature, horizon_columns(errors))
    return [
        [
            NAMES[model],
            *of_model,
            skill(errors, model, feature),
            *(number(errors.at(metric, model, feature)) for metric in ("rmse", "mase", "r2")),
            percent(errors.at("mape", model, feature) / 100),
            TICK if differences.in_set(model, feature) else "",
        ]
        for model, of_model in zip(models, cells, strict=True)
    ]


def congestion_rows(errors: Errors) -> Rows:
    """A row per network and baseline, a column per feature: MAE on congested steps; last counts."""
    models = [*errors.networks, *errors.baselines]
    columns = [
        [cell for [cell] in mae_cells([(errors, model) for model in models], feature, [None])]
        for feature in errors.features
    ]
    return [
        *([NAMES[model], *cells] for model, *cells in zip(models, *columns, strict=True)),
        ["values scored", *(count(errors.count(feature)) for feature in errors.features)],
    ]


def difference_rows(errors: Errors, differences: Differences, feature: str) -> Rows:
    """A row per horizon: the second network against the first, with interval and test."""
    rows = []
    for step, label in horizon_labels(errors):
        difference = differences.between[feature, step or AVERAGE]
        ends = (percent(end, signed=True) for end in (difference.low, difference.high))
        rows.append(
            [
                label,
                percent(difference.change, signed=True),
                " to ".join(ends) if difference.is_tested else NOTHING,
                verdicts.p_in_words(difference.p_value).removeprefix("= "),
                _OUTCOMES[verdicts.decided(difference)] if difference.is_tested else NOTHING,
            ]
        )
    return rows


_OUTCOMES = {-1: NAMES["xlstm"], 1: NAMES["lstm"], 0: "no difference"}


def persistence_rows(errors: Errors, model: str, feature: str) -> Rows:
    """A row per horizon: MAE beside persistence's, their relative difference, RMSE, R²."""
    rows = []
    for step, label in horizon_labels(errors):
        own, reference = (errors.at("mae", who, feature, step) for who in (model, "persistence"))
        rows.append(
            [
                label,
                with_sd(own, errors.sd("mae", model, feature, step)),
                number(reference),
                percent(change(own, reference), signed=True),
                *(number(errors.at("rmse", who, feature, step)) for who in (model, "persistence")),
                number(errors.at("r2", model, feature, step)),
            ]
        )
    return rows


def summary_rows(errors: Errors, model: str) -> Rows:
    """R² and MAPE per feature beside persistence's, all horizons together."""
    both = (model, "persistence")
    return [
        [
            feature,
            *(number(errors.at("r2", name, feature)) for name in both),
            *(percent(errors.at("mape", name, feature) / 100) for name in both),
            left_out_of_mape(errors, feature),
        ]
        for feature in errors.features
    ]


def left_out_of_mape(errors: Errors, feature: str) -> str:
    """Share of the truths of a feature that are too near zero for MAPE."""
    share = errors.at("mape_left_out", "persistence", feature)
    return "< 0.1 %" if 0 < share < 0.0005 else percent(share)


@dataclass(frozen=True)
class DetectorTable:
    """Errors by detector."""

    rows: Rows
    """A cell per feature: MAE of the networks and, last, persistence's."""
    shown: int
    """Detectors with the highest and with the lowest skill that are shown; 0 if all are."""
    detectors: int


def detector_table(mae: xr.DataArray, models: Sequence[str]) -> DetectorTable | None:
    """Errors by detector; None for a single one.

    Args:
        mae: over (model, vd, feature).
        models: the networks, in the order they appear in a cell; the skill is the last one's.
    """
    detectors, half = mae.sizes["vd"], 0
    if detectors == 1:
        return None
    if detectors > MAX_ROWS:
        half = MAX_ROWS // 4
        ratio = mae.sel(model=models[-1]) / mae.sel(model="persistence")
        order = ratio.mean("feature").fillna(1).argsort().values
        mae = mae.isel(vd=[*order[:half], *order[-half:]])
    rows = []
    for vdid in mae["vd"].values:
        cells = []
        for feature in mae["feature"].values:
            cell = mae.sel(vd=vdid, feature=feature)
            values = [float(cell.sel(model=model)) for model in models]
            cells.append(
                " / ".join(beside_persistence(values, float(cell.sel(model="persistence"))))
            )
        rows.append([code(str(vdid)), *cells])
    return DetectorTable(rows, half, detectors)
