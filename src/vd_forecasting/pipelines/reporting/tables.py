"""Tables that several pages share."""

import math
from collections.abc import Mapping, Sequence

import xarray as xr

from vd_forecasting.pipelines.reporting.errors import Errors, Json
from vd_forecasting.pipelines.reporting.markdown import bold, code, table
from vd_forecasting.pipelines.reporting.style import NAMES
from vd_forecasting.pipelines.reporting.wording import (
    NOTHING,
    change,
    is_better,
    is_number,
    lead_time,
    number,
    percent,
    shown_horizons,
)

MAX_VD_ROWS = 40
_PARAMETER_BLOCKS = ("windows", "model_parameters", "training")


def parameters(config: Json) -> dict[str, str]:
    """Windows, model and training parameters as text, in the order of the configuration."""
    return {
        key: parameter_text(value)
        for block in _PARAMETER_BLOCKS
        for key, value in config.get(block, {}).items()
    }


def parameter_text(value: object) -> str:
    """A parameter as one writes it in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(parameter_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parameter_rows(configs: Mapping[str, Json]) -> list[list[str]]:
    """A row per parameter, a column per configuration; a dash where one has no such parameter."""
    columns = [parameters(config) for config in configs.values()]
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


BOLD_EXPLAINED = (
    "**Bold**: the lower error of the two networks, where they differ by at least 1 %. "
    "†: persistence has the lower error than both networks."
)


def beside_persistence(values: Sequence[float], reference: float) -> list[str]:
    """Errors of networks, the better bold, and persistence's, daggered where it beats them all."""
    defined = [value for value in values if is_number(value)]
    wins = bool(defined) and all(is_better(reference, value) for value in defined)
    return [*mark_better(values), f"{number(reference)}{' †' if wins else ''}"]


def vd_rows(mae: xr.DataArray, models: Sequence[str]) -> tuple[list[list[str]], str]:
    """Errors by VD, a cell per feature: the networks' MAE and, last, persistence's.

    Args:
        mae: over (model, vd, feature).
        models: the networks, in the order they appear in a cell.

    Returns:
        Rows for a table, and a sentence that says which VDs are shown if not all.
    """
    shown = mae
    sentence = ""
    if mae.sizes["vd"] > MAX_VD_ROWS:
        gain = mae.sel(model=models[-1]) / mae.sel(model="persistence")
        order = gain.mean("feature").fillna(1).argsort().values
        half = MAX_VD_ROWS // 4
        shown = mae.isel(vd=[*order[:half], *order[-half:]])
        sentence = (
            f"Of {mae.sizes['vd']:,} VDs, the {half} where {NAMES[models[-1]]} gains most over "
            f"persistence and the {half} where it gains least are shown."
        )
    rows = []
    for vdid in shown["vd"].values:
        cells = []
        for feature in shown["feature"].values:
            cell = shown.sel(vd=vdid, feature=feature)
            values = [float(cell.sel(model=model)) for model in models]
            cells.append(
                " / ".join(beside_persistence(values, float(cell.sel(model="persistence"))))
            )
        rows.append([code(str(vdid)), *cells])
    return rows, sentence


def summary_table(errors: Errors, models: Sequence[str], names: Sequence[str]) -> str:
    """R² and MAPE per feature of some models, all horizons together."""
    left_out = errors.average["mape_left_out"].isel(model=0)
    return table(
        [
            "feature",
            *(f"R² {name}" for name in names),
            *(f"MAPE {name}" for name in names),
            "left out of MAPE",
        ],
        [
            [
                feature,
                *(number(errors.at("r2", model, feature)) for model in models),
                *(percent(errors.at("mape", model, feature) / 100) for model in models),
                _left_out(float(left_out.sel(feature=feature))),
            ]
            for feature in errors.features
        ],
    )


def _left_out(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.0005 else percent(share)


SUMMARY_EXPLAINED = (
    "R² compares with the mean of each VD, feature and horizon over the test split: 1 is perfect, "
    "0 is no better than that mean. MAPE leaves out truths near zero (below "
    "`evaluation.mape_min_truth`); their share is in the last column. A dash is an undefined value."
)


def gain(error: float, reference: float) -> str:
    """Relative difference from persistence, signed."""
    return percent(change(error, reference), signed=True)
