"""Tables that several pages share."""

import math
from collections.abc import Mapping, Sequence

import xarray as xr

from vd_forecasting.evaluation.differences import AVERAGE, Differences
from vd_forecasting.evaluation.errors import Errors, Json
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.rendering.markdown import bold, code, table
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import (
    NOTHING,
    change,
    is_better,
    is_number,
    lead_time,
    listed,
    number,
    percent,
    shown_horizons,
)

MAX_VD_ROWS = 40
_MAX_HORIZON_COLUMNS = 4
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
) -> list[list[str]]:
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


def column_names(errors: Errors, columns: Sequence[int | None]) -> list[str]:
    """``5 min`` of a horizon, ``average`` of all of them together."""
    return [
        "average" if step is None else lead_time(step * errors.interval_minutes) for step in columns
    ]


def skill(errors: Errors, model: str, feature: str) -> str:
    """How much lower than persistence's the average MAE is; a dash for persistence itself."""
    own, reference = (errors.at("mae", who, feature) for who in (model, "persistence"))
    return NOTHING if model == "persistence" else percent(-change(own, reference))


def model_table(errors: Errors, differences: Differences, feature: str) -> str:
    """A row per network and baseline: MAE by horizon and other metrics of all horizons together."""
    columns = horizon_columns(errors)
    models = [*errors.networks, *errors.baselines]
    cells = mae_cells([(errors, model) for model in models], feature, columns)
    rows = []
    for model, of_model in zip(models, cells, strict=True):
        rows.append(
            [
                NAMES[model],
                *of_model,
                skill(errors, model, feature),
                *(number(errors.at(metric, model, feature)) for metric in ("rmse", "mase", "r2")),
                percent(errors.at("mape", model, feature) / 100),
                "✓" if differences.in_set(model, feature) else "",
            ]
        )
    header = [
        feature,
        *column_names(errors, columns),
        "skill",
        "RMSE",
        "MASE",
        "R²",
        "MAPE",
        "best set",
    ]
    return table(header, rows)


def model_table_explained(errors: Errors, differences: Differences, mape_min_truth: float) -> str:
    """What the columns of :func:`model_table` mean."""
    left_out = [
        f"{feature} {_left_out(share)}"
        for feature in errors.features
        if (share := errors.at("mape_left_out", "persistence", feature)) > 0
    ]
    best_set = (
        f"Best set: the model confidence set, those that no other model beats beyond chance "
        f"({100 * differences.confidence:g} %)."
        if differences.is_tested
        else "Best set: not known, the test span is too short."
    )
    return (
        "MAE at single times ahead and averaged over all of them; every observed value weighs the "
        "same. **Bold**: the lowest. Skill: how much lower than persistence's the average MAE is. "
        "RMSE, MASE, R² and MAPE: all horizons together; MSE is the square of RMSE. MASE divides "
        "by the error of the daily seasonal naive on the training split: below 1 is better than "
        "that. R² compares with the mean of each VD, feature and horizon. "
        f"MAPE leaves out truths below {mape_min_truth:g}"
        + (f" ({listed(left_out)} of them)" if left_out else "")
        + f". {best_set}"
    )


def congested_table(errors: Errors) -> str:
    """A row per network and baseline, a column per feature: MAE on congested steps."""
    models = [*errors.networks, *errors.baselines]
    columns = [
        [cell for [cell] in mae_cells([(errors, model) for model in models], feature, [None])]
        for feature in errors.features
    ]
    rows = [
        [NAMES[model], *cells]
        for model, cells in zip(models, zip(*columns, strict=True), strict=True)
    ]
    counts = [f"{errors.count(feature):,}" for feature in errors.features]
    return table(
        ["MAE, all horizons together", *map(errors.label, errors.features)],
        [*rows, ["values scored", *counts]],
    )


def difference_table(errors: Errors, differences: Differences, feature: str) -> str:
    """A row per horizon: the second network against the first, with interval and test."""
    rows = []
    for step, label in horizon_labels(errors):
        difference = differences.between[feature, step or AVERAGE]
        ends = (
            f"{percent(difference.low, signed=True)} to {percent(difference.high, signed=True)}"
            if difference.is_tested
            else NOTHING
        )
        rows.append(
            [
                label,
                percent(difference.change, signed=True),
                ends,
                verdicts.p_in_words(difference.p_value).removeprefix("= "),
                _OUTCOMES[verdicts.decided(difference)] if difference.is_tested else NOTHING,
            ]
        )
    header = [
        f"{feature}, ahead",
        "xLSTM against LSTM",
        f"{100 * differences.confidence:g} % interval",
        "DM p",
        "better",
    ]
    return table(header, rows)


_OUTCOMES = {-1: NAMES["xlstm"], 1: NAMES["lstm"], 0: "no difference"}

TESTS_EXPLAINED = (
    "Relative difference of MAE; negative is better for xLSTM. The interval comes from a "
    "moving-block bootstrap over whole days; a difference whose interval holds zero may be chance, "
    "and so may one whose test does not reject; better is who is so by both. "
    "DM p: Diebold–Mariano test with autocorrelation-consistent variance and the small-sample "
    "correction of Harvey, Leybourne and Newbold, adjusted across horizons by Holm. Both are on "
    "absolute errors averaged over VDs and seeds at every forecast origin."
)


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
