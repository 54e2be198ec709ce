"""Rows of tables; their headers stand in the templates."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vd_forecasting.artefacts import Config
from vd_forecasting.days_off import is_country
from vd_forecasting.evaluation.congestion import Congestion
from vd_forecasting.evaluation.differences import Difference, Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.evaluation.interval_scores import IntervalScores
from vd_forecasting.evaluation.sums_over_time import AVERAGE
from vd_forecasting.language import say
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.rendering.markdown import bold, code, feature_text, plain_text
from vd_forecasting.vocabulary import MODELS, name_of
from vd_forecasting.wording import (
    NOTHING,
    QUANTILES,
    change,
    count,
    is_better,
    is_number,
    lead_time,
    level,
    number,
    percent,
    plural,
    quantile_name,
    shown_horizons,
    span,
)

Rows = list[list[str]]
Floats = npt.NDArray[np.float64]
Models = Mapping[str, tuple[Errors, str]]
"""By its label where the errors of a model are, and its name there."""

MAX_ROWS = 40
_MAX_HORIZON_COLUMNS = 4


def parameter_text(value: object) -> str:
    """A parameter as one writes it in YAML, its strings without meaning in Markdown."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(parameter_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else plain_text(value)


def parameter_rows(configs: Iterable[Config]) -> Rows:
    """A row per parameter, a column per configuration; a dash where one has no such parameter."""
    columns = [
        config.windows.model_dump() | config.model_parameters | config.training.model_dump()
        for config in configs
    ]
    return [
        [code(name), *(parameter_text(column.get(name, NOTHING)) for column in columns)]
        for name in dict.fromkeys(name for column in columns for name in column)
    ]


def calendar_in_words(config: Config) -> str:
    """What a network sees of the calendar; of dates that are off, how many are in the data."""
    if config.holidays is None:
        return say("the calendar of an earlier version")
    days = config.holidays.split()
    first, last = config.split["train"].start[:10], config.split["test"].end[:10]
    if is_country(config.holidays):
        return say(
            "the time of day and whether the day is off (weekends and holidays of {country})",
            country=code(config.holidays),
        )
    if days:
        return say(
            "the time of day and whether the day is off (weekends and {holidays}, {inside} of them "
            "in these data)",
            holidays=plural(len(days), "holiday"),
            inside=count(sum(first <= one <= last for one in days)),
        )
    return say("the time of day and whether the day is off (weekends)")


def horizon_columns(errors: Errors) -> dict[int | None, str]:
    """Labels, ``5 min``, of at most four horizons and, last, of their average (None)."""
    steps = shown_horizons(len(errors.horizons))
    while len(steps) > _MAX_HORIZON_COLUMNS:
        steps.pop(1)
    labels: dict[int | None, str] = {s: lead_time(s * errors.interval_minutes) for s in steps}
    return labels | ({None: say("average")} if len(errors.horizons) > 1 else {})


def _horizon_rows(errors: Errors) -> dict[int | None, str]:
    """Labels of a few horizons and, last, of their average (None)."""
    labels: dict[int | None, str] = {
        step: say("{time} (step {step})", time=lead_time(step * errors.interval_minutes), step=step)
        for step in shown_horizons(len(errors.horizons))
    }
    steps = len(errors.horizons)
    average = {None: say("average of {number} steps", number=steps)}
    return labels | (average if steps > 1 else {})


def beside_persistence(values: Sequence[float], reference: float) -> list[str]:
    """Errors of networks and persistence's.

    The lowest of the networks is bold unless another is practically equal to it; persistence's is
    daggered where it beats them all.
    """
    texts = [*map(number, values), number(reference)]
    best, *others = sorted(filter(is_number, values)) or [math.nan]
    if others and is_better(best, others[0]):
        position = list(values).index(best)
        texts[position] = bold(texts[position])
    if is_better(reference, best):
        texts[-1] += " †"
    return texts


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


def _mae(errors: Errors, model: str, feature: str, step: int | None = None) -> str:
    return with_sd(*(of("mae", model, feature, step) for of in (errors.at, errors.sd)))


def _mae_column(models: Models, feature: str, step: int | None) -> list[str]:
    """MAE of every model at a horizon, or of all horizons together (None), the lowest bold."""
    maes = [errors.at("mae", name, feature, step) for errors, name in models.values()]
    lowest = min(filter(is_number, maes), default=math.nan)
    texts = [_mae(errors, name, feature, step) for errors, name in models.values()]
    return [bold(text) if mae == lowest else text for text, mae in zip(texts, maes, strict=True)]


def model_rows(models: Models, feature: str, metrics: Sequence[str], best: Collection[str]) -> Rows:
    """A row per network and baseline: MAE by horizon, then what is of all horizons together.

    These are the skill (how much lower than persistence's MAE is; a dash for persistence itself),
    other metrics, and whether the label is among the best, those of the model confidence set; a
    dash for seeds joined, which are not tested. Without any best there is no set and no such cell.
    """
    [first, *_] = [errors for errors, _ in models.values()]
    columns = [_mae_column(models, feature, step) for step in horizon_columns(first)]
    by_model = zip(*columns, strict=True)
    rows = []
    for (label, (errors, model)), of_model in zip(models.items(), by_model, strict=True):
        maes = verdicts.with_persistence(errors, model, feature)
        skill = NOTHING if model == "persistence" else percent(-change(*maes))
        others = (_metric(errors, metric, model, feature) for metric in metrics)
        untested = NOTHING if model in errors.joined.values() else ""
        mark = ["✓" if label in best else untested] if best else []
        rows.append([label, *of_model, skill, *others, *mark])
    return rows


def _metric(errors: Errors, metric: str, model: str, feature: str) -> str:
    value = errors.at(metric, model, feature)
    return percent(value / 100) if metric == "mape" else number(value)


def block_rows(errors: Errors, models: Sequence[str], feature: str) -> Rows:
    """A row per test block: MAE of models, all horizons together, and its change from the first
    network to the second, where there are two; empty if there is a single block."""
    if len(errors.spans) == 1:
        return []
    mae = errors.by_block["mae"].sel(feature=feature, model=[*models])
    rows = []
    for block, (begin, end) in errors.spans.items():
        of_block = mae.sel(block=block).values.tolist()
        lowest = min(filter(is_number, of_block), default=math.nan)
        cells = [bold(number(one)) if one == lowest else number(one) for one in of_block]
        days = span(f"{begin:%Y-%m-%d}", f"{end:%Y-%m-%d}")
        rows.append([say("{block}, {days}", block=block, days=days), *cells])
        if len(errors.networks) > 1:
            first, second = (float(mae.sel(block=block, model=name)) for name in MODELS)
            rows[-1].append(percent(change(second, first), signed=True))
    return rows


def congestion_rows(errors: Errors) -> Rows:
    """A row per model, a column per feature: MAE, last counts; empty without any."""
    if not any(map(errors.count, errors.features)):
        return []
    models = {label: (errors, model) for model, label in errors.labels.items()}
    columns = [_mae_column(models, feature, None) for feature in errors.features]
    return [
        *([name, *cells] for name, *cells in zip(models, *columns, strict=True)),
        [say("values scored"), *(count(errors.count(feature)) for feature in errors.features)],
    ]


def event_rows(errors: Errors, congestion: Congestion) -> Rows:
    """A row per model: F1 of congestion at a few horizons and of all together, precision, recall
    and accuracy of all together, queues announced and how long before."""
    columns = [
        [congestion.at("f1", name, step) for name in errors.labels]
        for step in horizon_columns(errors)
    ]
    of_f1 = []
    for column in columns:
        highest = max((value for value, _ in column if is_number(value)), default=math.nan)
        of_f1.append([bold(with_sd(*f1)) if f1[0] == highest else with_sd(*f1) for f1 in column])
    rows = []
    for (name, label), f1 in zip(errors.labels.items(), zip(*of_f1, strict=True), strict=True):
        others = (congestion.at(score, name) for score in ("precision", "recall", "accuracy"))
        (announced, _), (lead, _) = (
            congestion.at(of, name) for of in ("announced", "lead_minutes")
        )
        ahead = lead_time(lead) if is_number(lead) else NOTHING
        rows.append(
            [label, *f1, *(number(value) for value, _ in others), percent(announced), ahead]
        )
    return rows


def interval_columns(levels: Sequence[float]) -> list[str]:
    """Headers of :func:`interval_rows`, behind the model's."""
    widest = level(levels[-1])
    return [
        *(say("coverage {level}", level=level(one)) for one in levels),
        say("width {level}", level=widest),
        say("Winkler {level}", level=widest),
        "CRPS",
        say("skill"),
    ]


def interval_rows(errors: Errors, scores: IntervalScores, feature: str) -> Rows:
    """A row per network and baseline: coverage of each level, width and Winkler score of the
    widest, CRPS and how much lower it is than persistence's; all horizons together.

    The lowest Winkler score and CRPS are bold.
    """
    widest, models = scores.levels[-1], [*errors.labels]
    columns = [
        [percent(scores.at("coverage", model, feature, one)[0]) for model in models]
        for one in scores.levels
    ]
    columns.append([with_sd(*scores.at("width", model, feature, widest)) for model in models])
    for score, width in (("winkler", widest), ("crps", None)):
        found = [scores.at(score, model, feature, width) for model in models]
        lowest = min((value for value, _ in found if is_number(value)), default=math.nan)
        columns.append([bold(with_sd(*of)) if of[0] == lowest else with_sd(*of) for of in found])
    reference, _ = scores.at("crps", "persistence", feature)
    columns.append(
        [
            NOTHING
            if model == "persistence"
            else percent(-change(scores.at("crps", model, feature)[0], reference))
            for model in models
        ]
    )
    return [list(row) for row in zip(errors.labels.values(), *columns, strict=True)]


def crps_difference_rows(differences: Mapping[str, Difference]) -> Rows:
    """A row per feature: the second network's CRPS against the first's, all horizons together."""
    return [[feature_text(name), *_difference_cells(of)] for name, of in differences.items()]


def difference_rows(errors: Errors, differences: Differences, feature: str) -> Rows:
    """A row per horizon: the second network against the first, with interval and test."""
    rows = []
    for step, label in _horizon_rows(errors).items():
        rows.append([label, *_difference_cells(differences.between[feature, step or AVERAGE])])
    return rows


def _difference_cells(difference: Difference) -> list[str]:
    """Change, interval, p-value and which network is better."""
    ends = (percent(end, signed=True) for end in (difference.low, difference.high))
    outcomes = {-1: name_of("xlstm"), 1: name_of("lstm"), 0: say("no difference")}
    return [
        percent(difference.change, signed=True),
        span(*ends) if difference.is_tested else NOTHING,
        verdicts.p_in_words(difference.p_value).removeprefix("= "),
        outcomes[verdicts.decided(difference)] if difference.is_tested else NOTHING,
    ]


def persistence_rows(errors: Errors, model: str, feature: str) -> Rows:
    """A row per horizon: MAE beside persistence's, their relative difference, RMSE, R²; the MAE
    of seeds joined comes second where there are several."""
    rows = []
    for step, label in _horizon_rows(errors).items():
        maes = verdicts.with_persistence(errors, model, feature, step)
        rows.append(
            [
                label,
                _mae(errors, model, feature, step),
                *(_mae(errors, name, feature, step) for name in errors.joined.values()),
                number(maes[1]),
                percent(change(*maes), signed=True),
                *map(number, verdicts.with_persistence(errors, model, feature, step, "rmse")),
                number(errors.at("r2", model, feature, step)),
            ]
        )
    return rows


def summary_rows(errors: Errors, model: str) -> Rows:
    """R² and MAPE per feature beside persistence's, all horizons together."""
    return [
        [
            feature_text(feature),
            *(
                _metric(errors, metric, name, feature)
                for metric in ("r2", "mape")
                for name in (model, "persistence")
            ),
            left_out_of_mape(errors, feature),
        ]
        for feature in errors.features
    ]


def left_out_of_mape(errors: Errors, feature: str) -> str:
    """Share of the truths of a feature that are too near zero for MAPE."""
    share = errors.at("mape_left_out", "persistence", feature)
    return say("{number} %", number="< 0.1") if 0 < share < 0.0005 else percent(share)


@dataclass(frozen=True)
class LongTable:
    """A row per detector or training; of many, the best and the worst, and quantiles of all."""

    rows: Rows
    quantiles: Rows
    """Empty if all rows are shown."""
    shown: int
    """How many of the best are shown, and of the worst; 0 if all are."""
    total: int


def long_table(
    errors: Sequence[float] | Floats,
    row: Callable[[int], list[str]],
    quantile_cells: Callable[[float], list[str]],
) -> LongTable:
    """The table of what has these ``errors``, from the row of a position, and the cells behind the
    name of a quantile."""
    total, half = len(errors), MAX_ROWS // 4
    if total <= MAX_ROWS:
        return LongTable([row(at) for at in range(total)], [], 0, total)
    order = np.argsort(errors, kind="stable").tolist()
    quantiles = [[quantile_name(share), *quantile_cells(share)] for share in QUANTILES]
    return LongTable([row(at) for at in order[:half] + order[-half:]], quantiles, half, total)


def quantile(values: Sequence[float] | Floats, share: float) -> float:
    """That of the defined ones; NaN if there are none."""
    defined = np.asarray(values, dtype="float64")
    defined = defined[np.isfinite(defined)]
    return float(np.quantile(defined, share)) if defined.size else math.nan


def detector_table(errors: Errors, networks: Sequence[str]) -> LongTable | None:
    """Errors by detector, a cell per feature: MAE of the networks and, last, persistence's. None
    for a single detector; the skill of the last network says which are best."""
    mae = errors.by_vd["mae"]
    if mae.sizes["vd"] == 1:
        return None
    ratio = mae.sel(model=networks[-1]) / mae.sel(model="persistence")
    ordered = mae.sel(model=[*networks, "persistence"]).transpose("vd", "feature", "model")
    vdids, values = ordered["vd"].values, ordered.values

    def row(at: int) -> list[str]:
        cells = (beside_persistence(maes, reference) for *maes, reference in values[at].tolist())
        return [code(str(vdids[at])), *map(" / ".join, cells)]

    def quantile_cells(share: float) -> list[str]:
        return [
            " / ".join(number(quantile(of_model, share)) for of_model in of_feature.T)
            for of_feature in np.moveaxis(values, 1, 0)  # [N, models]
        ]

    return long_table(ratio.mean("feature").fillna(1).values, row, quantile_cells)
