"""The page of one experiment."""

import statistics

from vd_forecasting.artefacts import FitErrors
from vd_forecasting.evaluation.errors import Errors, Json
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.pipelines.reporting.pages.costs import (
    CURVES_EXPLAINED,
    GAP_EXPLAINED,
    MEMORY_EXPLAINED,
    cost_rows,
    costs_of,
    cut_short,
    runs_of,
)
from vd_forecasting.pipelines.reporting.pages.tables import (
    MAX_VD_ROWS,
    SUMMARY_EXPLAINED,
    gain,
    horizon_labels,
    parameter_rows,
    summary_table,
    vd_rows,
    with_sd,
)
from vd_forecasting.rendering.markdown import bullets, code, image, page, table
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import duration, lead_time, listed, number, plural

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_SHOWN_VDS = 10
MODES_IN_WORDS = {
    "single_vd": "one VD in, the same VD out",
    "multi_vd": "all VDs jointly in and out of one model",
    "independent_multi_vd": "a model of its own for each VD, which sees only that VD's past",
}


def write_training_report(
    config: Json, training_history: Json, fit_errors: FitErrors, cost: Json, errors: Errors
) -> str:
    """The training report, Markdown; it links to ``plots/`` beside it.

    Args:
        config: what was trained.
        training_history: epoch by epoch, per seed and trained model.
        fit_errors: on the training and validation splits.
        cost: of a forecast and of a training step.
        errors: on the test split, beside persistence.
    """
    model = config["model"]
    costs = costs_of(config, training_history, fit_errors, cost)
    return page(
        f"# {config['experiment']}",
        verdicts.against_persistence(errors, model),
        bullets(verdicts.persistence_details(errors, model)),
        "Persistence forecasts that the last known value stays. All errors are on the test split, "
        f"{verdicts.scored_in_words(errors)}, none of it used in training.",
        image("Forecast against what was measured", "plots/forecast.png"),
        "## What was trained",
        _what(config),
        table(
            ["split", "from", "to", "windows"],
            [
                [name, _date(split["start"]), _date(split["end"]), f"{split['windows']:,}"]
                for key, name in _SPLITS.items()
                for split in [config["split"][key]]
            ],
            text_columns=3,
        ),
        "## How training went",
        table(["", NAMES[model]], cost_rows({model: costs})),
        bullets(cut_short({model: costs})),
        f"{GAP_EXPLAINED} {MEMORY_EXPLAINED}",
        _models(training_history),
        image("Loss by epoch, the chosen epoch marked", "plots/learning_curves.png"),
        image("Errors by epoch on training and validation", "plots/metric_evolution.png"),
        CURVES_EXPLAINED,
        "## Test errors",
        *(_feature_table(errors, model, feature) for feature in errors.features),
        "Averages weigh every observed value the same. Change: MAE relative to persistence's; "
        "negative is better than persistence. MSE is the square of RMSE.",
        image("Error by horizon beside persistence", "plots/error_by_horizon.png"),
        "All horizons together:",
        summary_table(errors, [model, "persistence"], [NAMES[model], "persistence"]),
        SUMMARY_EXPLAINED,
        _by_vd(model, errors),
        "## Parameters",
        table(["parameter", "value"], parameter_rows({model: config})),
        f"{_seeds(config)}; "
        + ", ".join(f"{name} {version}" for name, version in config["versions"].items())
        + ".",
    )


def _seeds(config: Json) -> str:
    seeds = config["training"]["seeds"]
    if len(seeds) == 1:
        return f"Seed {seeds[0]}"
    return f"Seeds {listed(map(str, seeds))}, of which {config['best_seed']} did best in validation"


def _what(config: Json) -> str:
    interval = config["interval_minutes"]
    inputs, horizon = config["windows"]["sequence_length"], config["windows"]["prediction_length"]
    vdids = config["vdids"]
    more = [f"{len(vdids) - _SHOWN_VDS:,} more"] if len(vdids) > _SHOWN_VDS else []
    shown = listed([*map(code, vdids[:_SHOWN_VDS]), *more])
    mode = MODES_IN_WORDS.get(config["mode"], config["mode"])
    return bullets(
        [
            f"Model: {NAMES[config['model']]}, {config['num_parameters']:,} trainable parameters"
            + (f" in each of {config['num_models']:,} models" if config["num_models"] > 1 else "")
            + f"; mode {code(config['mode'])}: {mode}.",
            f"Data: {code(config['source'])}, one value every {lead_time(interval)}.",
            f"{plural(len(vdids), 'VD')}: {shown}.",
            f"In: the last {plural(inputs, 'step')} ({lead_time(inputs * interval)}) of "
            f"{listed(config['input_features'])}, with time of day and day of week.",
            f"Out: the next {plural(horizon, 'step')} ({lead_time(horizon * interval)}) of "
            f"{listed(config['target_features'])}.",
        ]
    )


def _date(iso: str) -> str:
    return iso[:16].replace("T", " ")


def _models(history: Json) -> str:
    """A table of the trained models where there are several."""
    runs = runs_of(history)
    if len(runs) == 1:
        return ""
    rows = [
        [
            code(name),
            f"{run['best_epoch']} of {len(run['epochs'])}",
            "yes" if run["stopped_early"] else "no",
            duration(run["seconds"]),
            duration(statistics.fmean(epoch["seconds"] for epoch in run["epochs"])),
            number(run["epochs"][run["best_epoch"] - 1]["val"]["loss"]),
        ]
        for name, run in list(runs.items())[:MAX_VD_ROWS]
    ]
    left = len(runs) - len(rows)
    return page(
        table(
            ["model", "chosen epoch", "stopped early", "time", "per epoch", "validation loss"], rows
        ),
        f"The other {left:,} models are in `training_history.json`." if left else "",
    ).rstrip()


def _feature_table(errors: Errors, model: str, feature: str) -> str:
    name = NAMES[model]
    rows = []
    for step, label in horizon_labels(errors):
        own, reference = (errors.at("mae", who, feature, step) for who in (model, "persistence"))
        rows.append(
            [
                label,
                with_sd(own, errors.sd("mae", model, feature, step)),
                number(reference),
                gain(own, reference),
                *(number(errors.at("rmse", who, feature, step)) for who in (model, "persistence")),
                number(errors.at("r2", model, feature, step)),
            ]
        )
    header = [
        "ahead",
        f"MAE {name}",
        "MAE persistence",
        "change",
        f"RMSE {name}",
        "RMSE persistence",
        f"R² {name}",
    ]
    return page(f"### {errors.label(feature)}", table(header, rows)).rstrip()


def _by_vd(model: str, errors: Errors) -> str:
    if errors.by_vd.sizes["vd"] == 1:
        return ""
    rows, which = vd_rows(errors.by_vd["mae"], [model])
    header = ["VD", *map(errors.label, errors.features)]
    return page(
        "## By VD",
        f"MAE of all horizons together: {NAMES[model]} / persistence. †: persistence has the lower "
        f"error. {which}".rstrip(),
        table(header, rows),
    ).rstrip()
