"""The page that compares all six experiments."""

from collections.abc import Mapping

import xarray as xr

from vd_forecasting.artefacts import FitErrors
from vd_forecasting.evaluation.aligned import AlignedModes
from vd_forecasting.evaluation.differences import AVERAGE, Differences, model_labels
from vd_forecasting.evaluation.errors import Errors, Json
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.pipelines.reporting.pages.costs import GAP_EXPLAINED, Costs, costs_of
from vd_forecasting.pipelines.reporting.pages.tables import (
    column_names,
    horizon_columns,
    mae_cells,
    skill,
)
from vd_forecasting.rendering.html_page import render_page
from vd_forecasting.rendering.markdown import bullets, code, image, link, page, table
from vd_forecasting.running.failure import Failure
from vd_forecasting.vocabulary import MODELS, MODES, NAMES
from vd_forecasting.wording import (
    PRACTICALLY_EQUAL,
    change,
    duration,
    is_better,
    is_number,
    is_worse,
    listed,
    number,
    percent,
    plural,
    quantity,
)

SAMPLE = "vd_sample.h5"


def write_comprehensive(
    modes: AlignedModes,
    by_mode: dict[str, Errors],
    differences: dict[str, Differences],
    confidence_sets: xr.DataArray,
    configs: dict[str, Json],
    histories: dict[str, Json],
    fit_errors: dict[str, FitErrors],
    costs: dict[str, Json],
    failures: dict[str, Failure],
) -> str:
    """The comprehensive comparison, Markdown; it lies beside the three comparison pages.

    Args:
        modes: all forecasts.
        by_mode: their errors.
        differences: between the networks of each mode.
        confidence_sets: p-values over (model, feature), of all modes' models together.
        configs: by experiment.
        histories: by experiment.
        fit_errors: by experiment.
        costs: by experiment.
        failures: why an experiment is missing from the above, or ``{mode}_baselines`` or
            ``compare_{mode}``; by that name.
    """
    comparable = modes.comparable
    spent = {
        name: costs_of(configs[name], histories[name], fit_errors[name], costs[name])
        for name in configs
    }
    seeds = {
        f"{config['mode']} {NAMES[config['model']]}": config["training"]["seeds"]
        for config in configs.values()
    }
    features = list(dict.fromkeys(f for errors in by_mode.values() for f in errors.features))
    first = next(iter(differences.values()))
    compared = [mode for mode in MODES if f"compare_{mode}" not in failures]
    return page(
        "# LSTM against xLSTM in every mode",
        _missing(failures),
        _baselines_headline(by_mode),
        tally(by_mode, differences),
        "In numbers:",
        bullets(
            [
                *(best_of(by_mode, feature) for feature in features if comparable),
                *_difference_sentences(by_mode, differences),
                *_cost_sentences(spent),
            ]
        ),
        verdicts.seed_caveat(seeds),
        _baseline_warning(by_mode),
        _target(modes, by_mode),
        image("MAE of every mode and model", plot_path("error")),
        "## Test errors",
        "MAE at single times ahead and averaged over all of them. **Bold**: the lowest. Skill: how "
        "much lower than persistence's the average is. "
        + _best_set_explained(differences, comparable),
        *(
            _feature_tables(by_mode, confidence_sets, first.confidence, feature, comparable)
            for feature in features
        ),
        image("Which models are among the best", plot_path("best_set")),
        image("MAE by horizon, in every mode", plot_path("error_by_horizon")),
        "## What training cost",
        _cost_table(configs, spent),
        "Times are of all models of an experiment together, as they ran: experiments that ran at "
        f"the same time shared the machine. {GAP_EXPLAINED} The gap is the mean of the features.",
        image("Gain over persistence against training time", plot_path("cost")),
        "## What to keep in mind",
        bullets(_caveats(modes, configs, spent)),
        "## More",
        bullets(
            [
                *(
                    link(f"{mode}: LSTM against xLSTM", f"{mode}_lstm_vs_xlstm.md")
                    for mode in compared
                ),
                "training reports: "
                + listed(link(name, f"../{name}/training_report.md") for name in configs),
                link("data quality", "../data_quality.md"),
                *([link("all scores, tidy", "metrics.csv")] if compared else []),
            ]
        ),
    )


def render_comprehensive(page: str, **plots: bytes) -> str:
    """The comprehensive comparison as one HTML file that needs no other.

    Args:
        page: as of :func:`write_comprehensive`.
        plots: PNG files by the name of the plot, as of :func:`plot_path`.
    """
    return render_page(page, {plot_path(name): content for name, content in plots.items()})


def plot_path(name: str) -> str:
    """Where a plot lies, relative to the page."""
    return f"comprehensive_plots/{name}.png"


def _missing(failures: Mapping[str, Failure]) -> str:
    """What is not on the page, and why; empty if nothing is missing."""
    if not failures:
        return ""
    because: dict[Failure, list[str]] = {}
    for name, failure in failures.items():
        because.setdefault(failure, []).append(_in_words(name))
    return page(
        "**Something is missing here, because it failed.** The page compares the rest; earlier "
        "results of what failed are not on it.",
        bullets(
            f"{listed(names)}: {code(failure.node)} failed, {code(failure.reason)}"
            for failure, names in because.items()
        ),
        "With the cause removed, the command with `--only-stale-outputs` makes what is missing.",
    ).rstrip()


def _in_words(name: str) -> str:
    if name.startswith("compare_"):
        return f"the comparison of {name.removeprefix('compare_')}"
    if name.endswith("_baselines"):
        return f"the baselines of {name.removesuffix('_baselines')}"
    return name


def _baselines_headline(by_mode: Mapping[str, Errors]) -> str:
    """What baselines beat both networks on, and in which modes."""
    modes: dict[str, list[str]] = {}
    for mode, errors in by_mode.items():
        sentence = verdicts.baselines_headline(errors)
        if sentence:
            modes.setdefault(sentence, []).append(mode)
    return " ".join(
        f"{sentence.removesuffix('.')}, in "
        f"{'every mode' if len(where) == len(by_mode) else listed(where)}."
        for sentence, where in modes.items()
    )


def _difference_sentences(
    by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]
) -> list[str]:
    """Per mode and feature the networks' difference, averaged over horizons."""
    by_mode = with_both_networks(by_mode)
    repeated = identical_modes(by_mode)
    return [
        f"{mode}, {verdicts.difference_sentence(errors, differences[mode], feature, AVERAGE)}"
        for mode, errors in by_mode.items()
        if mode not in repeated
        for feature in errors.features
    ]


def _best_set_explained(differences: Mapping[str, Differences], comparable: bool) -> str:
    first = next(iter(differences.values()))
    if not first.is_tested:
        return "Best set: not known, the test span is too short."
    among = "all models of all modes" if comparable else "the models of its mode"
    return (
        f"Best set: the model confidence set among {among}, those that no other beats beyond "
        f"chance ({100 * first.confidence:g} %)."
    )


def tally(by_mode: Mapping[str, Errors], differences: Mapping[str, Differences]) -> str:
    """In how many pairs of mode and feature which network is better."""
    wins = {"lstm": 0, "xlstm": 0}
    equal = 0
    by_mode = with_both_networks(by_mode)
    if not by_mode:
        return "**LSTM and xLSTM cannot be compared**: no mode has both."
    repeated = identical_modes(by_mode)
    for mode, errors in by_mode.items():
        if mode in repeated:
            continue
        for feature in verdicts.compared_features(errors, differences[mode]):
            sign = verdicts.decided(differences[mode].between[feature, AVERAGE])
            if sign == 0:
                equal += 1
            else:
                wins["xlstm" if sign < 0 else "lstm"] += 1
    tested = any(of_mode.is_tested for of_mode in differences.values())
    total = sum(wins.values()) + equal
    if not total:
        return "**Nothing could be compared**: no common target value is observed."
    ordered = sorted(wins, key=lambda model: -wins[model])
    better, other = ordered
    lower = "the lower MAE beyond chance" if tested else "the lower MAE"
    pairs = f"{plural(total, 'pair')} of mode and feature"
    if equal == total and tested:
        text = f"**No difference between LSTM and xLSTM is beyond chance**, in {pairs}"
    elif wins[better] == wins[other]:
        text = f"**LSTM and xLSTM are even**: of {pairs}, each has {lower} in {wins[better]}"
    else:
        text = f"**{NAMES[better]} has {lower} in {wins[better]} of {pairs}**"
        text += f", {NAMES[other]} in {wins[other]}"
    if equal and not (equal == total and tested):
        text += f"; in {equal} " + (
            "no difference is beyond chance" if tested else "they are practically equal"
        )
    text += "."
    if not tested:
        text += " Whether that is more than chance is not known, the test span is too short."
    return text + "".join(
        f" {mode} came out identical to {earlier} and is counted once: where both train a "
        "model on the same VD alone with the same settings, they are the same experiment."
        for mode, earlier in repeated.items()
    )


def with_both_networks(by_mode: Mapping[str, Errors]) -> dict[str, Errors]:
    """The modes of which no experiment is missing."""
    return {mode: errors for mode, errors in by_mode.items() if len(errors.networks) == len(MODELS)}


def identical_modes(by_mode: Mapping[str, Errors]) -> dict[str, str]:
    """Modes whose errors are those of an earlier mode, and that mode."""
    identical: dict[str, str] = {}
    modes = list(by_mode)
    for position, mode in enumerate(modes):
        for earlier in modes[:position]:
            if by_mode[mode].by_horizon.equals(by_mode[earlier].by_horizon):
                identical.setdefault(mode, earlier)
    return identical


def best_of(by_mode: Mapping[str, Errors], feature: str) -> str:
    """The best of all networks on a feature, those practically equal, and the gain it brings."""
    repeated = identical_modes(by_mode)
    errors = next(iter(by_mode.values()))
    values = {
        f"{mode} {NAMES[model]}": of_mode.at("mae", model, feature)
        for mode, of_mode in by_mode.items()
        for model in of_mode.networks
        if feature in of_mode.features and mode not in repeated
    }
    values = {name: value for name, value in values.items() if is_number(value)}
    if not values:
        return f"{feature}: not scored, {verdicts.why_undefined(errors, feature)}."
    reference = errors.at("mae", "persistence", feature)
    unit = errors.units.get(feature, "")
    best = min(values, key=lambda name: values[name])
    equal = [
        name
        for name, value in values.items()
        if name != best and change(value, values[best]) < PRACTICALLY_EQUAL
    ]
    worst = max(values, key=lambda name: values[name])
    difference = change(values[best], reference)
    if is_better(values[best], reference):
        against = f"{percent(abs(difference))} lower than persistence's ({number(reference)})"
    elif is_worse(values[best], reference):
        against = f"yet persistence's is lower ({number(reference)})"
    else:
        against = f"practically equal to persistence's ({number(reference)})"
    sentence = f"{feature}: the lowest MAE is {best}'s, {quantity(values[best], unit)}, {against}"
    if equal:
        sentence += f"; {listed(equal)} {'is' if len(equal) == 1 else 'are'} practically equal"
    if worst not in equal and worst != best:
        sentence += f"; the highest is {worst}'s, {number(values[worst])}"
    return f"{sentence}."


def _baseline_warning(by_mode: Mapping[str, Errors]) -> str:
    """Where baselines beat networks averaged over horizons; each mode's page has the horizons."""
    networks = [(mode, model) for mode, errors in by_mode.items() for model in errors.networks]
    beaten: dict[tuple[str, str], list[str]] = {}
    for mode, model in networks:
        errors = by_mode[mode]
        for feature in errors.features:
            own = errors.at("mae", model, feature)
            for name in errors.baselines:
                if is_worse(own, errors.at("mae", name, feature)):
                    beaten.setdefault((feature, name), []).append(f"{mode} {NAMES[model]}")
    if not beaten:
        return "No baseline beats a network, averaged over horizons."
    sentences = [
        f"{feature}: {NAMES[name]} beats "
        f"{'every network' if len(whom) == len(networks) else listed(whom)}."
        for (feature, name), whom in sorted(beaten.items())
    ]
    return page(
        "Where a baseline beats a network, averaged over horizons:", bullets(sentences)
    ).rstrip()


def _cost_sentences(costs: Mapping[str, Costs]) -> list[str]:
    ratios = [
        costs[f"{mode}_xlstm"].seconds_per_epoch / costs[f"{mode}_lstm"].seconds_per_epoch
        for mode in MODES
        if costs.keys() >= {f"{mode}_lstm", f"{mode}_xlstm"}
        and costs[f"{mode}_lstm"].seconds_per_epoch > 0
    ]
    if not ratios:
        return []
    low, high = number(min(ratios)), number(max(ratios))
    span = low if low == high else f"{low} to {high}"
    return [f"Cost: an epoch of xLSTM takes {span} times as long as one of LSTM."]


def _target(modes: AlignedModes, by_mode: Mapping[str, Errors]) -> str:
    first = modes.first
    if not modes.comparable:
        scored = "; ".join(
            f"{mode}: {plural(len(forecasts.vdids), 'VD')}, {len(forecasts.origins):,} forecast "
            f"origins, {verdicts.scored_in_words(by_mode[mode])}"
            for mode, forecasts in modes.by_mode.items()
        )
        left_out = [text for forecasts in modes.by_mode.values() for text in forecasts.left_out]
        return page(
            "**No VD is forecast in every mode**, so each mode is scored on its own VDs: models of "
            f"one mode can be compared, modes cannot. {scored}.",
            " ".join(left_out),
        ).rstrip()
    vdids = list(map(code, first.vdids))
    which = "the VD" if len(vdids) == 1 else f"the {len(vdids):,} VDs"
    origins = first.origins
    text = (
        f"Compared on {which} that every mode forecasts, {listed(vdids)}: "
        f"{len(origins):,} forecast origins from {str(origins[0])[:10]} to "
        f"{str(origins[-1])[:10]}, {verdicts.scored_in_words(next(iter(by_mode.values())))}, the "
        "same for all networks and baselines."
    )
    if first.left_out:
        text += " Not all forecast the same points: " + " ".join(first.left_out)
    return text


def _feature_tables(
    by_mode: Mapping[str, Errors],
    confidence_sets: xr.DataArray,
    confidence: float,
    feature: str,
    comparable: bool,
) -> str:
    groups = [dict(by_mode)] if comparable else [{mode: e} for mode, e in by_mode.items()]
    groups = [group for group in groups if feature in next(iter(group.values())).features]
    label = next(iter(groups[0].values())).label(feature)
    in_set = {
        str(model): float(confidence_sets.sel(model=model, feature=feature)) > 1 - confidence
        for model in confidence_sets["model"].values
    }
    return page(f"### {label}", *(_table(group, in_set, feature) for group in groups)).rstrip()


def _table(by_mode: Mapping[str, Errors], in_set: Mapping[str, bool], feature: str) -> str:
    """Networks and baselines of some modes, all scored on the same points."""
    first = next(iter(by_mode.values()))
    columns = horizon_columns(first)
    models = [
        (mode, model)
        for kind in ("networks", "baselines")
        for mode, errors in by_mode.items()
        for model in getattr(errors, kind)
        if f"{mode}_{model}" in in_set
    ]
    cells = mae_cells([(by_mode[mode], model) for mode, model in models], feature, columns)
    rows = []
    for label, (mode, model), of_model in zip(model_labels(models), models, cells, strict=True):
        errors = by_mode[mode]
        rows.append(
            [
                label,
                *of_model,
                skill(errors, model, feature),
                number(errors.at("mase", model, feature)),
                number(errors.at("r2", model, feature)),
                "✓" if in_set[f"{mode}_{model}"] else "",
            ]
        )
    header = [
        "",
        *column_names(first, columns),
        "skill",
        "MASE",
        "R²",
        "best set",
    ]
    return table(header, rows)


def _cost_table(configs: Mapping[str, Json], costs: Mapping[str, Costs]) -> str:
    return table(
        [
            "experiment",
            "VDs",
            "parameters",
            "training time",
            "per epoch",
            "chosen epoch",
            "over-fitting gap",
        ],
        [
            [
                link(name, f"../{name}/training_report.md"),
                f"{len(configs[name]['vdids']):,}",
                cost.parameters_in_words(),
                duration(cost.seconds),
                cost.seconds_per_epoch_in_words(),
                cost.best_epoch_in_words(),
                number(cost.gap),
            ]
            for name, cost in costs.items()
        ],
    )


def _caveats(
    modes: AlignedModes, configs: Mapping[str, Json], costs: Mapping[str, Costs]
) -> list[str]:
    sources = list(dict.fromkeys(config["source"] for config in configs.values()))
    simulated = SAMPLE in sources
    test = next(iter(configs.values()))["split"]["test"]
    caveats = [
        f"Data: {listed(map(code, sources))}"
        + (
            ", which is simulated. What holds on it need not hold on measured traffic."
            if simulated
            else "."
        ),
        f"One test period, {test['start'][:10]} to {test['end'][:10]}. Another season, or a week "
        "with an incident, may rank the models differently.",
        "Intervals and tests cover the chance of these test days, not of another season"
        + (
            ", nor that of another seed."
            if all(cost.seeds == 1 for cost in costs.values())
            else "."
        ),
        "The settings were given, not searched for each model; the training reports list them.",
    ]
    if modes.comparable:
        vds = len(modes.first.vdids)
        caveats.insert(
            1,
            f"Errors across modes rest on {plural(vds, 'VD')}; the comparison of each mode has all "
            "of its VDs.",
        )
    at_limit = [name for name, cost in costs.items() if cost.still_improving]
    if at_limit:
        caveats.append(
            f"{listed(at_limit)} {'was' if len(at_limit) == 1 else 'were'} still improving when "
            "the limit of epochs ended training; more epochs may help."
        )
    return caveats
