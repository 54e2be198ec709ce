"""The page that compares both models of a mode."""

from collections.abc import Mapping

from vd_forecasting.artefacts import FitErrors
from vd_forecasting.evaluation.aligned import AlignedForecasts
from vd_forecasting.evaluation.differences import Differences
from vd_forecasting.evaluation.errors import Errors, Json
from vd_forecasting.parameters import Evaluation
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.pipelines.reporting.pages.costs import (
    CURVES_EXPLAINED,
    GAP_EXPLAINED,
    MEMORY_EXPLAINED,
    Costs,
    cost_rows,
    costs_of,
    cut_short,
)
from vd_forecasting.pipelines.reporting.pages.tables import (
    TESTS_EXPLAINED,
    congested_table,
    difference_table,
    model_table,
    model_table_explained,
    parameter_rows,
    parameter_text,
    vd_rows,
)
from vd_forecasting.pipelines.reporting.pages.training_report import MODES_IN_WORDS
from vd_forecasting.rendering.markdown import bullets, code, image, link, page, table
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import lead_time, listed, number, plural

PAIR = ("lstm", "xlstm")


def write_comparison(
    forecasts: AlignedForecasts,
    errors: Errors,
    congested_errors: Errors,
    differences: Differences,
    evaluation: Evaluation,
    lstm_config: Json,
    lstm_training_history: Json,
    lstm_fit_errors: FitErrors,
    lstm_cost: Json,
    xlstm_config: Json,
    xlstm_training_history: Json,
    xlstm_fit_errors: FitErrors,
    xlstm_cost: Json,
) -> str:
    """The comparison of a mode, Markdown; it links to ``{mode}_plots/`` beside it.

    Args:
        forecasts: of both models and the baselines.
        errors: of these forecasts.
        congested_errors: on the congested steps among them.
        differences: between the networks' errors, tested.
        evaluation: how forecasts are scored.
        lstm_config: and the like: the artefacts of both experiments.
        lstm_training_history: see above.
        lstm_fit_errors: see above.
        lstm_cost: see above.
        xlstm_config: see above.
        xlstm_training_history: see above.
        xlstm_fit_errors: see above.
        xlstm_cost: see above.
    """
    configs = {"lstm": lstm_config, "xlstm": xlstm_config}
    costs = {
        "lstm": costs_of(lstm_config, lstm_training_history, lstm_fit_errors, lstm_cost),
        "xlstm": costs_of(xlstm_config, xlstm_training_history, xlstm_fit_errors, xlstm_cost),
    }
    mode = lstm_config["mode"]
    plots = f"{mode}_plots"
    seeds = {NAMES[model]: config["training"]["seeds"] for model, config in configs.items()}
    return page(
        f"# {mode}: LSTM against xLSTM",
        verdicts.baselines_headline(errors),
        verdicts.networks_headline(errors, differences),
        "In numbers:",
        bullets(
            [
                *verdicts.difference_details(errors, differences),
                cost_sentence(costs),
                *cut_short(costs),
            ]
        ),
        verdicts.seed_caveat(seeds),
        _baseline_warning(errors),
        _what(forecasts, configs, errors),
        image("MAE by horizon", f"{plots}/error_by_horizon.png"),
        "## Test errors",
        *(
            page(f"### {errors.label(feature)}", model_table(errors, differences, feature)).rstrip()
            for feature in errors.features
        ),
        model_table_explained(errors, differences, evaluation.mape_min_truth),
        image("MAE relative to persistence's, by horizon", f"{plots}/gain_by_horizon.png"),
        "## Is the difference more than chance?",
        image("xLSTM against LSTM, with intervals", f"{plots}/difference_by_horizon.png"),
        *(difference_table(errors, differences, feature) for feature in errors.features),
        TESTS_EXPLAINED,
        "## In congestion",
        _congestion(congested_errors, evaluation),
        image("Forecasts on the most congested day", f"{plots}/forecast.png"),
        image("Forecasts made one after the other", f"{plots}/forecast_fan.png"),
        "## When and where",
        image("MAE by hour of day", f"{plots}/error_by_hour.png"),
        image("MAE by VD", f"{plots}/error_by_vd.png"),
        _vd_table(errors),
        image("Distribution of errors", f"{plots}/residuals.png"),
        "## What it cost",
        table(["", *(NAMES[model] for model in PAIR)], cost_rows(costs)),
        f"{GAP_EXPLAINED} {MEMORY_EXPLAINED}",
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


def _congestion(errors: Errors, evaluation: Evaluation) -> str:
    slower = f"slower than {100 * evaluation.congestion_speed:g} % of the VD's free-flow speed"
    if not any(errors.count(feature) for feature in errors.features):
        return f"No test step is known to be congested ({slower}), so nothing is scored here."
    return page(
        congested_table(errors),
        f"Scored on the steps that were {slower}, the 85th percentile of its training speeds: "
        "where a forecast matters most. **Bold**: the lowest.",
    ).rstrip()


def _baseline_warning(errors: Errors) -> str:
    wins = verdicts.baseline_wins(errors)
    if not wins:
        return "No baseline beats a network anywhere."
    return page("Where a baseline beats a network:", bullets(wins)).rstrip()


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


def _what(forecasts: AlignedForecasts, configs: Mapping[str, Json], errors: Errors) -> str:
    config = configs["lstm"]
    mode = MODES_IN_WORDS.get(config["mode"], config["mode"])
    steps = len(errors.horizons)
    vds = forecasts.vdids
    sequences = sorted({c["windows"]["sequence_length"] for c in configs.values()})
    first, last = (str(forecasts.origins[at])[:10] for at in (0, -1))
    which = f" ({code(vds[0])})" if len(vds) == 1 else ""
    sentences = [
        f"Scored on {plural(len(vds), 'VD')}{which} of {code(forecasts.source)}, "
        f"{len(forecasts.origins):,} forecast origins from {first} to {last}, "
        f"{verdicts.scored_in_words(errors)}. Networks and baselines are scored on the very same "
        "values.",
        f"Mode: {mode}; {listed(map(str, sequences))} steps in, {plural(steps, 'step')} of "
        f"{lead_time(errors.interval_minutes)} out.",
    ]
    if forecasts.left_out:
        sentences.append(
            "**The two did not forecast the same points**: " + " ".join(forecasts.left_out)
        )
    return page(*sentences).rstrip()


def _vd_table(errors: Errors) -> str:
    if errors.by_vd.sizes["vd"] == 1:
        return ""
    rows, which = vd_rows(errors.by_vd["mae"], PAIR)
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
