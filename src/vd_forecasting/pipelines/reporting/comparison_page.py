"""The page that compares both models of a mode."""

from collections.abc import Mapping

import xarray as xr

from vd_forecasting.pipelines.reporting import verdicts
from vd_forecasting.pipelines.reporting.costs import (
    CURVES_EXPLAINED,
    GAP_EXPLAINED,
    Costs,
    cost_rows,
    costs_of,
    still_improving,
)
from vd_forecasting.pipelines.reporting.errors import Errors, Json, mae_of_models
from vd_forecasting.pipelines.reporting.markdown import (
    bullets,
    code,
    image,
    link,
    page,
    table,
)
from vd_forecasting.pipelines.reporting.style import NAMES
from vd_forecasting.pipelines.reporting.tables import (
    BOLD_EXPLAINED,
    SUMMARY_EXPLAINED,
    beside_persistence,
    gain,
    horizon_labels,
    parameter_rows,
    parameter_text,
    summary_table,
    vd_rows,
)
from vd_forecasting.pipelines.reporting.training_report import MODES_IN_WORDS
from vd_forecasting.pipelines.reporting.wording import (
    lead_time,
    listed,
    number,
    plural,
)

PAIR = ("lstm", "xlstm")


def write_comparison(
    points: xr.Dataset,
    errors: Errors,
    lstm_config: Json,
    lstm_training_history: Json,
    lstm_metrics: Json,
    xlstm_config: Json,
    xlstm_training_history: Json,
    xlstm_metrics: Json,
) -> str:
    """The comparison of a mode, Markdown; it links to ``{mode}_plots/`` beside it.

    Args:
        points: the common points of both models' forecasts.
        errors: of both and of persistence on these points.
        lstm_config: and the like: the artefacts of both experiments.
        lstm_training_history: see above.
        lstm_metrics: see above.
        xlstm_config: see above.
        xlstm_training_history: see above.
        xlstm_metrics: see above.
    """
    configs = {"lstm": lstm_config, "xlstm": xlstm_config}
    costs = {
        "lstm": costs_of(lstm_config, lstm_training_history, lstm_metrics),
        "xlstm": costs_of(xlstm_config, xlstm_training_history, xlstm_metrics),
    }
    mode = lstm_config["mode"]
    plots = f"{mode}_plots"
    return page(
        f"# {mode}: LSTM against xLSTM",
        verdicts.networks_headline(errors),
        _persistence_warning(errors),
        "In numbers:",
        bullets([*verdicts.network_details(errors), cost_sentence(costs), *still_improving(costs)]),
        verdicts.seed_caveat([config["compute"]["seed"] for config in configs.values()]),
        _what(points, configs, errors),
        image("MAE by horizon", f"{plots}/error_by_horizon.png"),
        "## Test errors",
        BOLD_EXPLAINED,
        *(_feature_table(errors, feature) for feature in errors.features),
        "Averages weigh every observed value the same. Change: xLSTM's MAE relative to LSTM's; "
        "negative is better for xLSTM. MSE is the square of RMSE.",
        image("MAE relative to persistence's, by horizon", f"{plots}/gain_by_horizon.png"),
        "All horizons together:",
        summary_table(
            errors, [*PAIR, "persistence"], [*(NAMES[model] for model in PAIR), "persist."]
        ),
        SUMMARY_EXPLAINED,
        "## When and where",
        image("Forecasts on the most congested day", f"{plots}/forecast.png"),
        image("MAE by hour of day", f"{plots}/error_by_hour.png"),
        image("MAE by VD", f"{plots}/error_by_vd.png"),
        _vd_table(points, errors),
        "## What training cost",
        table(["", *(NAMES[model] for model in PAIR)], cost_rows(costs)),
        GAP_EXPLAINED,
        image("Loss by epoch", f"{plots}/learning_curves.png"),
        CURVES_EXPLAINED,
        "## Parameters",
        _differing(configs),
        table(["parameter", *(NAMES[model] for model in PAIR)], parameter_rows(configs)),
        "More: "
        + listed(
            link(
                f"training report of {config['experiment']}",
                f"../{config['experiment']}/training_report.md",
            )
            for config in configs.values()
        )
        + ".",
    )


def _persistence_warning(errors: Errors) -> str:
    wins = verdicts.persistence_wins(errors)
    if not wins:
        return ""
    return page("**Persistence wins somewhere:**", bullets(wins)).rstrip()


def cost_sentence(costs: Mapping[str, Costs]) -> str:
    """How much longer one model trained than the other, and how their sizes compare."""
    lstm, xlstm = costs["lstm"], costs["xlstm"]
    sizes = f"{xlstm.parameters_in_words()} parameters against {lstm.parameters_in_words()}"
    if not lstm.seconds_per_epoch or not xlstm.seconds_per_epoch:
        return f"Cost: xLSTM has {sizes}."
    return (
        f"Cost: an epoch of xLSTM takes {_ratio(xlstm.seconds_per_epoch, lstm.seconds_per_epoch)} "
        f"as one of LSTM, all training {_ratio(xlstm.seconds, lstm.seconds)}; it has {sizes}."
    )


def _ratio(value: float, reference: float) -> str:
    ratio = value / reference if reference else float("inf")
    return f"{number(ratio)} times as long"


def _what(points: xr.Dataset, configs: Mapping[str, Json], errors: Errors) -> str:
    config = configs["lstm"]
    mode = MODES_IN_WORDS.get(config["mode"], config["mode"])
    steps = len(errors.horizons)
    vds = [str(vdid) for vdid in points["vd"].values]
    sequences = sorted({c["windows"]["sequence_length"] for c in configs.values()})
    first, last = (str(points["origin"].values[at])[:10] for at in (0, -1))
    which = f" ({code(vds[0])})" if len(vds) == 1 else ""
    sentences = [
        f"Scored on {plural(len(vds), 'VD')}{which} of {code(points.attrs['source'])}, "
        f"{points.sizes['origin']:,} forecast origins from {first} to {last}, "
        f"{verdicts.scored_in_words(errors)}. Both models and persistence are scored on the very "
        "same values.",
        f"Mode: {mode}; {listed(map(str, sequences))} steps in, {plural(steps, 'step')} of "
        f"{lead_time(errors.interval_minutes)} out.",
    ]
    left_out = points.attrs["left_out"]
    if left_out:
        sentences.append("**The two did not forecast the same points**: " + " ".join(left_out))
    return page(*sentences).rstrip()


def _feature_table(errors: Errors, feature: str) -> str:
    rows = []
    for step, label in horizon_labels(errors):
        mae = {m: errors.at("mae", m, feature, step) for m in (*PAIR, "persistence")}
        rmse = {m: errors.at("rmse", m, feature, step) for m in (*PAIR, "persistence")}
        rows.append(
            [
                label,
                *beside_persistence([mae[m] for m in PAIR], mae["persistence"]),
                gain(mae["xlstm"], mae["lstm"]),
                *beside_persistence([rmse[m] for m in PAIR], rmse["persistence"]),
            ]
        )
    header = [
        "ahead",
        "MAE LSTM",
        "MAE xLSTM",
        "MAE persist.",
        "change",
        "RMSE LSTM",
        "RMSE xLSTM",
        "RMSE persist.",
    ]
    return page(f"### {errors.label(feature)}", table(header, rows)).rstrip()


def _vd_table(points: xr.Dataset, errors: Errors) -> str:
    if points.sizes["vd"] == 1:
        return ""
    rows, which = vd_rows(mae_of_models(points, pool=["horizon"]), PAIR)
    header = ["VD", *map(errors.label, errors.features)]
    return page(
        f"MAE of all horizons together: LSTM / xLSTM / persistence. {which}".rstrip(),
        table(header, rows),
    ).rstrip()


def _differing(configs: Mapping[str, Json]) -> str:
    """Say which settings that both models have are not the same."""
    lstm, xlstm = configs.values()
    differing = [
        f"{code(key)} {parameter_text(lstm[block][key])} against {parameter_text(value)}"
        for block in ("windows", "training")
        for key, value in xlstm[block].items()
        if key in lstm[block] and lstm[block][key] != value
    ]
    if not differing:
        return "Windows and training settings are the same for both; only the network differs."
    return (
        f"**Not only the network differs** (LSTM against xLSTM): {listed(differing)}. "
        "Part of the difference in errors may come from that."
    )
