"""The page that compares all six experiments."""

from collections.abc import Mapping

import xarray as xr

from vd_forecasting.parameters import MODES
from vd_forecasting.pipelines.reporting import verdicts
from vd_forecasting.pipelines.reporting.costs import GAP_EXPLAINED, Costs, costs_of
from vd_forecasting.pipelines.reporting.errors import Errors, Json
from vd_forecasting.pipelines.reporting.markdown import (
    bold,
    bullets,
    code,
    image,
    link,
    page,
    table,
)
from vd_forecasting.pipelines.reporting.style import NAMES
from vd_forecasting.pipelines.reporting.wording import (
    PRACTICALLY_EQUAL,
    change,
    duration,
    is_better,
    is_number,
    is_worse,
    lead_time,
    listed,
    number,
    percent,
    plural,
    quantity,
    shown_horizons,
)

SAMPLE = "vd_sample.h5"
_PLOTS = "comprehensive_plots"
_MAX_HORIZON_COLUMNS = 4


def write_comprehensive(
    points: dict[str, xr.Dataset],
    by_mode: dict[str, Errors],
    configs: dict[str, Json],
    histories: dict[str, Json],
    metrics: dict[str, Json],
) -> str:
    """The comprehensive comparison, Markdown; it lies beside the three comparison pages.

    Args:
        points: by mode, as of :func:`.comprehensive_points.find_common_target`.
        by_mode: the errors on these points.
        configs: by experiment.
        histories: by experiment.
        metrics: by experiment.
    """
    comparable = next(iter(points.values())).attrs["comparable"]
    costs = {name: costs_of(configs[name], histories[name], metrics[name]) for name in configs}
    features = list(dict.fromkeys(f for errors in by_mode.values() for f in errors.features))
    return page(
        "# LSTM against xLSTM in every mode",
        tally(by_mode),
        _persistence_warning(by_mode),
        "In numbers:",
        bullets(
            [
                *(best_of(by_mode, feature) for feature in features if comparable),
                *_cost_sentences(costs),
            ]
        ),
        verdicts.seed_caveat([config["compute"]["seed"] for config in configs.values()]),
        _target(points, by_mode),
        image("MAE of every mode and model", f"{_PLOTS}/error.png"),
        "## Test errors",
        "MAE at single horizons and averaged over all of them. **Bold**: the lowest error of the "
        "networks"
        + ("" if comparable else " of a mode")
        + " and those less than 1 % above it. †: persistence has the lower error than all of them. "
        "Change: the average relative to persistence's; negative is better than persistence.",
        *(_feature_tables(by_mode, feature, comparable) for feature in features),
        image("MAE by horizon, in every mode", f"{_PLOTS}/error_by_horizon.png"),
        "## What training cost",
        _cost_table(configs, costs),
        "Times are of all models of an experiment together, as they ran: experiments that ran at "
        f"the same time shared the machine. {GAP_EXPLAINED} The gap is the mean of the features.",
        image("Gain over persistence against training time", f"{_PLOTS}/cost.png"),
        "## What to keep in mind",
        bullets(_caveats(points, configs, costs, comparable)),
        "## More",
        bullets(
            [
                *(
                    link(f"{mode}: LSTM against xLSTM", f"{mode}_lstm_vs_xlstm.md")
                    for mode in MODES
                ),
                "training reports: "
                + listed(link(name, f"../{name}/training_report.md") for name in configs),
                link("data quality", "../data_quality.md"),
                link("all scores, tidy", "metrics.csv"),
            ]
        ),
    )


def tally(by_mode: Mapping[str, Errors]) -> str:
    """In how many pairs of mode and feature which network is better."""
    wins = {"lstm": 0, "xlstm": 0}
    equal = 0
    repeated = identical_modes(by_mode)
    for errors in (errors for mode, errors in by_mode.items() if mode not in repeated):
        for feature in errors.features:
            lstm, xlstm = errors.at("mae", "lstm", feature), errors.at("mae", "xlstm", feature)
            if is_better(lstm, xlstm):
                wins["lstm"] += 1
            elif is_better(xlstm, lstm):
                wins["xlstm"] += 1
            elif is_number(lstm) and is_number(xlstm):
                equal += 1
    total = sum(wins.values()) + equal
    if not total:
        return "**Nothing could be compared**: no common target value is observed."
    ordered = sorted(wins, key=lambda model: -wins[model])
    better, other = ordered
    if wins[better] == wins[other]:
        lead = f"**LSTM and xLSTM are even**: of {plural(total, 'pair')} of mode and feature, each"
        text = f"{lead} has the lower MAE in {wins[better]}"
    else:
        lead = f"**{NAMES[better]} has the lower MAE in {wins[better]} of {plural(total, 'pair')}"
        text = f"{lead} of mode and feature**, {NAMES[other]} in {wins[other]}"
    text += f"; in {equal} they are practically equal." if equal else "."
    for mode, earlier in repeated.items():
        text += (
            f" {mode} came out identical to {earlier} and is counted once: where both train a "
            "model on the same VD alone with the same settings, they are the same experiment."
        )
    return text


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
        for model in of_mode.models
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


def _persistence_warning(by_mode: Mapping[str, Errors]) -> str:
    sentences = []
    for mode, errors in by_mode.items():
        for model in errors.models:
            lost = [
                f"on {feature} {where}"
                for feature in errors.features
                if (where := verdicts.where_persistence_wins(errors, model, feature))
            ]
            if lost:
                sentences.append(f"it beats {mode} {NAMES[model]} {'; '.join(lost)}.")
    if not sentences:
        return ""
    return page("**Persistence wins somewhere:**", bullets(sentences)).rstrip()


def _cost_sentences(costs: Mapping[str, Costs]) -> list[str]:
    ratios = [
        costs[f"{mode}_xlstm"].seconds_per_epoch / costs[f"{mode}_lstm"].seconds_per_epoch
        for mode in MODES
        if costs[f"{mode}_lstm"].seconds_per_epoch > 0
    ]
    if not ratios:
        return []
    low, high = number(min(ratios)), number(max(ratios))
    span = low if low == high else f"{low} to {high}"
    return [f"Cost: an epoch of xLSTM takes {span} times as long as one of LSTM."]


def _target(points: dict[str, xr.Dataset], by_mode: Mapping[str, Errors]) -> str:
    first = next(iter(points.values()))
    if not first.attrs["comparable"]:
        scored = "; ".join(
            f"{mode}: {plural(dataset.sizes['vd'], 'VD')}, {dataset.sizes['origin']:,} forecast "
            f"origins, {verdicts.scored_in_words(by_mode[mode])}"
            for mode, dataset in points.items()
        )
        left_out = [text for dataset in points.values() for text in dataset.attrs["left_out"]]
        return page(
            "**No VD is forecast in every mode**, so each mode is scored on its own VDs: models of "
            f"one mode can be compared, modes cannot. {scored}.",
            " ".join(left_out),
        ).rstrip()
    vdids = [code(str(vdid)) for vdid in first["vd"].values]
    which = "the VD" if len(vdids) == 1 else f"the {len(vdids):,} VDs"
    origins = first["origin"].values
    text = (
        f"Compared on {which} that every mode forecasts, {listed(vdids)}: "
        f"{len(origins):,} forecast origins from {str(origins[0])[:10]} to "
        f"{str(origins[-1])[:10]}, {verdicts.scored_in_words(next(iter(by_mode.values())))}, the "
        "same for all six and for persistence."
    )
    if first.attrs["left_out"]:
        text += " Not all forecast the same points: " + " ".join(first.attrs["left_out"])
    return text


def _columns(errors: Errors) -> list[int]:
    steps = shown_horizons(len(errors.horizons))
    while len(steps) > _MAX_HORIZON_COLUMNS:
        steps.pop(1)
    return steps


def _feature_tables(by_mode: Mapping[str, Errors], feature: str, comparable: bool) -> str:
    groups = [dict(by_mode)] if comparable else [{mode: e} for mode, e in by_mode.items()]
    groups = [group for group in groups if feature in next(iter(group.values())).features]
    label = next(iter(groups[0].values())).label(feature)
    return page(f"### {label}", *(_table(group, feature) for group in groups)).rstrip()


def _table(by_mode: Mapping[str, Errors], feature: str) -> str:
    """Networks of some modes scored on the same points, and persistence on these points."""
    first = next(iter(by_mode.values()))
    steps = _columns(first)
    columns: list[int | None] = [*steps, None] if len(first.horizons) > 1 else [*steps]
    networks = [(mode, model) for mode, errors in by_mode.items() for model in errors.models]
    cells = [[f"{mode} {NAMES[model]}"] for mode, model in networks]
    last = ["persistence"]
    for step in columns:
        values = [by_mode[mode].at("mae", model, feature, step) for mode, model in networks]
        reference = first.at("mae", "persistence", feature, step)
        defined = [value for value in values if is_number(value)]
        for row, value in zip(cells, values, strict=True):
            marked = (
                len(defined) > 1
                and is_number(value)
                and change(value, min(defined)) < PRACTICALLY_EQUAL
            )
            row.append(bold(number(value)) if marked else number(value))
        dagger = bool(defined) and all(is_better(reference, value) for value in defined)
        last.append(f"{number(reference)}{' †' if dagger else ''}")
    for row, (mode, model) in zip(cells, networks, strict=True):
        errors = by_mode[mode]
        own, reference = (errors.at("mae", m, feature) for m in (model, "persistence"))
        row += [percent(change(own, reference), signed=True)]
        row += [number(errors.at("r2", model, feature))]
    last += ["", number(first.at("r2", "persistence", feature))]
    header = [
        "",
        *(
            "average"
            if step is None
            else f"{lead_time(step * first.interval_minutes)} (step {step})"
            for step in columns
        ),
        "change",
        "R²",
    ]
    return table(header, [*cells, last])


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
    points: dict[str, xr.Dataset],
    configs: Mapping[str, Json],
    costs: Mapping[str, Costs],
    comparable: bool,
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
        "One seed: no difference here is known to be larger than what another seed would bring.",
        "Persistence is the only baseline. A linear regression or gradient boosting on the same "
        "inputs is cheap and often strong; a network should be tried against one before it is put "
        "to use.",
        "The settings were given, not searched for each model; the training reports list them.",
    ]
    if comparable:
        vds = next(iter(points.values())).sizes["vd"]
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
